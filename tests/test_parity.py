"""The parity check is green where all is well, and catches each planted fault with its first difference."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tiny_tokenizer import CHATML, tokenizer_folder
from whetstone.errors import DataError, UsageError
from whetstone.tokens.chat import render_chat
from whetstone.tokens.parity import Finding
from whetstone.tokens.sources import load_tokenizer
from whetstone.workflows.parity import check_parity

TALK = [{"role": "user", "content": "a tie?"}, {"role": "assistant", "content": "Which colour?"}]


def red(model: Path | str, against: Sequence[Path | str] = ()) -> list[Finding]:
    return [finding for finding in check_parity(str(model), [str(path) for path in against]) if not finding.good]


def checks(findings: Sequence[Finding]) -> set[str]:
    return {finding.check for finding in findings}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return tokenizer_folder(tmp_path / "good")


def rows(path: Path, *made: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"messages": TALK, **row}) + "\n" for row in made))
    return path


def own_row(folder: Path) -> dict[str, Any]:
    chat = render_chat(load_tokenizer(str(folder)), TALK)
    labels = [token if on else -100 for token, on in zip(chat.ids, chat.trained, strict=True)]
    return {"input_ids": chat.ids, "labels": labels}


@contextmanager
def server(folder: Path, *, adds_bos: bool) -> Iterator[str]:
    """A server with llama.cpp's routes, which may put a BOS before a prompt that has one."""
    tokenizer = load_tokenizer(str(folder))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/apply-template":
                answer: Any = {"prompt": render_chat(tokenizer, body["messages"], add_generation_prompt=True).text}
            else:
                encoded = tokenizer.encode(body["content"], special=True, add_special_tokens=adds_bos)
                answer = {"tokens": encoded.ids}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}"
    finally:
        running.shutdown()
        running.server_close()


def test_a_sound_folder_is_green_on_every_path(good: Path, tmp_path: Path) -> None:
    with server(good, adds_bos=False) as url:
        findings = list(check_parity(str(good), [url, str(rows(tmp_path / "rows.jsonl", own_row(good)))]))
    bad = [finding for finding in findings if not finding.good and finding.check != "pasted"]
    assert bad == []
    assert {finding.path for finding in findings} >= {"transformers", url, str(tmp_path / "rows.jsonl")}
    assert checks(findings) >= {"text", "ids", "stable", "mask", "stop trained", "generation prompt", "pipeline"}


def test_a_server_that_reads_pasted_control_tokens_is_caught(good: Path) -> None:
    with server(good, adds_bos=False) as url:
        found = red(good, [url])
    assert [finding.check for finding in found] == ["pasted"]
    assert "<|im_end|>" in found[0].detail


def test_the_embedded_model_is_green_in_llama_cpp() -> None:
    findings = list(check_parity("smollm2"))
    assert [finding for finding in findings if not finding.good] == []
    assert "smollm2 (llama.cpp)" in {finding.path for finding in findings}


def test_a_double_bos_is_caught(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "bos", "{{- bos_token }}" + CHATML, bos="<|endoftext|>")
    assert "bos" not in checks(red(folder))
    with server(folder, adds_bos=True) as url:
        found = [finding for finding in red(folder, [url]) if finding.check == "bos"]
    assert found
    assert found[0].detail == "it begins with 2 times <|endoftext|>"


def test_a_missing_generation_prompt_is_caught(good: Path, tmp_path: Path) -> None:
    without = tokenizer_folder(tmp_path / "without", CHATML.partition("{%- if add_generation_prompt")[0])
    assert "generation prompt" in checks(red(without))
    assert {"text", "ids"} <= checks(red(good, [without]))


def test_a_changed_default_system_prompt_is_caught(good: Path, tmp_path: Path) -> None:
    changed = tokenizer_folder(tmp_path / "changed", CHATML.replace("You are Tiny", "You are tiny"))
    found = [finding for finding in red(good, [changed]) if finding.check == "text"]
    assert "'Tiny, made in a test.<|i'" in found[0].detail


def test_a_template_edited_by_one_space_is_caught(good: Path, tmp_path: Path) -> None:
    edited = tokenizer_folder(tmp_path / "edited", CHATML.replace("message['role'] + '\n'", "message['role'] + ' \n'"))
    found = red(good, [edited])
    assert {"text", "ids", "mask"} <= checks(found)
    assert "' \\nYou" in found[0].detail or "' \\n" in found[0].detail


def test_an_end_token_left_out_of_the_mask_is_caught(good: Path, tmp_path: Path) -> None:
    row = own_row(good)
    last = max(n for n, label in enumerate(row["labels"]) if label != -100)
    row["labels"][last] = -100
    found = red(good, [rows(tmp_path / "rows.jsonl", row)])
    assert checks(found) == {"stop trained", "mask", "pasted"} - {"pasted"}
    assert "'<|im_end|>' after it is not" in found[0].detail


def test_rows_without_anything_to_learn_are_caught(good: Path, tmp_path: Path) -> None:
    row = {**own_row(good), "labels": [-100] * len(own_row(good)["labels"])}
    assert "something trained" in checks(red(good, [rows(tmp_path / "rows.jsonl", row)]))


def test_a_pipeline_that_autotokenizer_rebuilds_is_caught(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "digits", digits=True, tokenizer_class="GPT2Tokenizer")
    assert "pipeline" in checks(red(folder))


def test_a_template_whose_earlier_turns_change_is_caught(tmp_path: Path) -> None:
    counting = CHATML.replace(
        "'<|im_start|>' + message['role']", "'<|im_start|>' + message['role'] + (messages | length | string)"
    )
    assert "stable" in checks(red(tokenizer_folder(tmp_path / "counting", counting)))


def test_a_base_model_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no chat template"):
        red(tokenizer_folder(tmp_path / "base", None))


@pytest.mark.parametrize("line", ["{", '{"messages": []}', '{"messages": [], "input_ids": [1], "labels": [1, 2]}', ""])
def test_rows_that_cannot_be_read_are_named(good: Path, tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        red(good, [path])


def test_a_family_on_the_shelf_is_read_by_transformers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer_folder(tmp_path / "shelf" / "mine")
    monkeypatch.setenv("WHETSTONE_TOKENIZERS", str(tmp_path / "shelf"))
    findings = list(check_parity("mine"))
    assert {finding.path for finding in findings} == {"mine (tokenizer.json)", "transformers"}
    assert all(finding.good for finding in findings)
