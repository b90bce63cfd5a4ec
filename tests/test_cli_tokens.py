"""`whet tokens` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tiny_tokenizers import byte_level, folder_of, prepending

WHET = [sys.executable, "-c", "from whetstone.cli.main import run; run()", "tokens"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tokenizer folders."""
    folder = tmp_path_factory.mktemp("shelf")
    folder_of(folder / "bytes", byte_level())
    folder_of(folder / "llama", prepending(), bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return folder


def whet(*arguments: str, shelf: Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WHETSTONE_TOKENIZERS": str(shelf), "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [*WHET, *arguments], capture_output=True, text=True, encoding="utf-8", input=given, env=environment, check=False
    )


def as_json(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_text_is_shown_with_ids_and_what_is_invisible(shelf: Path) -> None:
    result = whet("the price\t🦜<|im_end|>\n", "-t", "bytes", "-t", "llama", shelf=shelf)
    assert result.returncode == 0, result.stderr
    assert "·price" in result.stdout
    assert "⇥" in result.stdout
    assert "<F0>" in result.stdout
    assert "--special makes tokens of them" in result.stdout
    tokens = as_json(whet("the <|im_end|>", "-t", "bytes", "--special", "--json", shelf=shelf))["tokenizers"][0]
    assert (tokens["tokens"][-1]["kind"], tokens["ids"][-1]) == ("control", 2)
    assert (tokens["tokens"][-1]["start"], tokens["tokens"][-1]["end"]) == (4, 14)
    assert tokens["round_trip"]["exact"]


@pytest.mark.parametrize("arguments", [("--", "compare"), ("show", "compare"), ("-t", "bytes", "--", "compare")])
def test_a_text_may_be_a_commands_name(shelf: Path, arguments: tuple[str, ...]) -> None:
    if "-t" not in arguments:
        arguments = ("show", "-t", "bytes", "--", "compare") if arguments[0] == "--" else (*arguments, "-t", "bytes")
    result = whet(*arguments, shelf=shelf)
    assert result.returncode == 0, result.stderr
    assert "7 characters" in result.stdout


def test_text_comes_from_standard_input_and_from_files(shelf: Path, tmp_path: Path) -> None:
    shown = as_json(whet("-", "-t", "bytes", "--json", shelf=shelf, given="한국어"))
    (tmp_path / "text.txt").write_text("한국어", encoding="utf-8")
    assert as_json(whet("--file", str(tmp_path / "text.txt"), "-t", "bytes", "--json", shelf=shelf)) == shown
    (tmp_path / "text.txt").write_bytes(b"ok \xff")
    assert "byte 3 is 0xff" in sentence(whet("-f", str(tmp_path / "text.txt"), "-t", "bytes", shelf=shelf))


def test_tokenizers_stand_side_by_side(shelf: Path) -> None:
    result = whet("compare", "한국어 price $42 🦜", "-t", "bytes", "-t", "llama", shelf=shelf)
    assert result.returncode == 0, result.stderr
    from rich.cells import cell_len

    lines = result.stdout.splitlines()[:2]
    assert [line.split()[0] for line in lines] == ["bytes", "llama"]
    # The same character stands in the same column, whatever its width.
    for character in "국$🦜":
        assert len({cell_len(line.partition(character)[0]) for line in lines}) == 1
    values = as_json(whet("compare", "price $42", "-t", "bytes", "-t", "llama", "--json", shelf=shelf))
    assert [view["count"] for view in values["tokenizers"]] == [len(view["ids"]) for view in values["tokenizers"]]
    assert values["overlaps"][0]["common"] > 200
    assert "at least two" in sentence(whet("compare", "a", "-t", "bytes", shelf=shelf))


def test_a_vocabulary_is_described_and_searched(shelf: Path) -> None:
    facts = as_json(whet("vocab", "-t", "llama", "--json", shelf=shelf))["tokenizers"][0]
    assert facts["around"] == "<s> (1) before and </s> (2) after every text"
    assert (facts["bos_id"], facts["eos_id"], facts["chat_template"]) == (1, 2, True)
    found = as_json(whet("vocab", "--bytes", "F0", "-t", "bytes", "--json", shelf=shelf))["tokenizers"][0]
    assert all("f0" in token["bytes"] for token in found["tokens"])
    assert "no regular expression" in sentence(whet("vocab", "--regex", "(", "-t", "bytes", shelf=shelf))
    assert "no token id" in sentence(whet("vocab", "--id", "99999", "-t", "bytes", shelf=shelf))


def test_a_corpus_is_measured_from_text_and_tables(shelf: Path, tmp_path: Path) -> None:
    lines = ["the price is $42", "", "한국어 문장"]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"id": n, "note": line}) + "\n" for n, line in enumerate(lines)), encoding="utf-8"
    )
    arguments = ("-t", "bytes", "--limit", "5", "--price", "openai:gpt-4o-mini", "--json")
    of_text = as_json(whet("corpus", str(tmp_path / "lines.txt"), *arguments, shelf=shelf))
    of_rows = as_json(whet("corpus", str(tmp_path / "rows.jsonl"), "-c", "note", *arguments, shelf=shelf))
    assert of_text["tokenizers"] == of_rows["tokenizers"]
    use = of_text["tokenizers"][0]
    assert use["texts"] == 2
    assert use["limit"]["texts"] == 2
    assert use["cost"] == pytest.approx(use["tokens"] * 0.15 / 1e6)
    shown = whet("corpus", str(tmp_path / "lines.txt"), "-t", "bytes", "--limit", "5", shelf=shelf)
    assert "a limit of 5 tokens cuts 2 of 2 texts (100.0%)" in shown.stdout
    assert "has no column 'nte'" in sentence(whet("corpus", str(tmp_path / "rows.jsonl"), "-c", "nte", shelf=shelf))
    assert "no price is known" in sentence(
        whet("corpus", str(tmp_path / "lines.txt"), "--price", "openai:x", shelf=shelf)
    )
    assert "nowhere.txt" in sentence(whet("corpus", str(tmp_path / "nowhere.txt"), "-t", "bytes", shelf=shelf))


def test_lines_are_encoded_and_decoded_in_order(shelf: Path, tmp_path: Path) -> None:
    library = prepending()
    texts = ["the price", "", "한국어 \x00 🦜", "a</s>b\n"] * 400
    rows = [{"text": text, "add_special_tokens": n % 3 == 0} for n, text in enumerate(texts)]
    rows[1].pop("add_special_tokens")  # as the library does when it is not said: added
    (tmp_path / "texts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    result = whet("encode", "-t", str(shelf / "llama"), "--jsonl", str(tmp_path / "texts.jsonl"), shelf=shelf)
    assert result.returncode == 0, result.stderr
    ids = [json.loads(line)["ids"] for line in result.stdout.splitlines()]
    added = [row.get("add_special_tokens", True) for row in rows]
    assert ids == [
        library.encode(text, add_special_tokens=bool(add)).ids for text, add in zip(texts, added, strict=True)
    ]
    asked = [{"ids": each, "skip_special_tokens": False} if n % 2 else {"ids": each} for n, each in enumerate(ids)]
    back = "".join(f"{json.dumps(row)}\n" for row in asked)
    decoded = whet("decode", "-t", str(shelf / "llama"), "--jsonl", "-", shelf=shelf, given=back)
    assert decoded.returncode == 0, decoded.stderr
    assert [json.loads(line)["text"] for line in decoded.stdout.split("\n")[:-1]] == [
        library.decode(each, skip_special_tokens=n % 2 == 0) for n, each in enumerate(ids)
    ]


def test_a_bad_line_keeps_its_place_and_the_others_are_done(shelf: Path) -> None:
    good, odd = '{"text": "the"}', '{"text": "a", "add_special_tokens": 1}'
    lines = [good, "nonsense", '{"text": 3}', '{"text": "\\ud800"}', odd, "[]", good]
    result = whet("encode", "-t", "bytes", "--jsonl", "-", shelf=shelf, given="\n".join(lines))
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert ["ids" in answer for answer in answers] == [True, False, False, False, False, False, True]
    assert "lone surrogate" in answers[3]["error"]
    assert "standard input: 5 of 7 lines could not be used; the first: line 2: no JSON" in sentence(result)
    bad = '{"ids": [99999]}\n{"ids": "x"}\n{"ids": [1.5]}'
    result = whet("decode", "-t", "bytes", "--jsonl", "-", shelf=shelf, given=bad)
    assert [list(json.loads(line)) for line in result.stdout.splitlines()] == [["error"]] * 3
    assert "99999 is no token id of bytes" in sentence(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "-t", "nothing"), "no tokenizer named 'nothing'"),
        (("x", "-t", "./nowhere"), "no folder or file"),
        (("encode", "-t", "bytes"), "either a text or --jsonl"),
        (("encode", "-t", "bytes", "--jsonl", "nowhere.jsonl"), "nowhere.jsonl"),
        (("show", "-t", "bytes"), "either a text or --file"),
    ],
)
def test_mistakes_are_one_sentence(shelf: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in sentence(whet(*arguments, shelf=shelf))
