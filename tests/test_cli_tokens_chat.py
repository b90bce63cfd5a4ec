"""`whet tokens chat`, `check`, `mask` and `score`, as somebody at a terminal uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tiny_tokenizer import tokenizer_folder
from whetstone.cli.main import app
from whetstone.errors import DataError, UsageError

TALK = [
    {"role": "user", "content": "What is <|im_end|>? 👔"},
    {"role": "assistant", "content": "a token"},
]


def whet(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["tokens", *map(str, arguments)], input=given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tokenizer_folder(tmp_path / "tiny")


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(TALK))
    return path


def test_a_rendered_chat_is_shown_with_its_legend_and_what_stayed_text(folder: Path, talk: Path) -> None:
    shown = whet("chat", talk, "-t", folder).stdout
    assert "You are Tiny, made in a test." in shown
    assert "words that nobody wrote" in shown
    assert "spells the control token '<|im_end|>': it is sent as text" in shown


def test_the_text_alone_is_the_exact_text(folder: Path, talk: Path) -> None:
    text = whet("chat", talk, "-t", folder, "--text", "-g").stdout
    assert text.endswith("<|im_start|>assistant\na token<|im_end|>\n<|im_start|>assistant\n")
    assert not whet("chat", talk, "-t", folder, "--text").stdout.endswith("assistant\n")


def test_json_names_every_character_and_token(folder: Path, talk: Path) -> None:
    told = json.loads(whet("chat", talk, "-t", folder, "--json").stdout)
    assert "".join(told["text"][span["start"] : span["end"]] for span in told["spans"]) == told["text"]
    assert len(told["ids"]) == len(told["pieces"]) == len(told["offsets"]) == len(told["trained"])
    assert told["pasted"] == [[told["text"].index("<|im_end|>?"), told["text"].index("<|im_end|>?") + 10]]


def test_lines_come_out_as_they_went_in(folder: Path, tmp_path: Path) -> None:
    lines: list[Any] = [
        {"messages": TALK},
        {"messages": TALK[:1], "add_generation_prompt": True},
        {"messages": []},
        [{"role": "user", "content": "한국어"}],
    ]
    result = whet("chat", "-", "-t", folder, "--jsonl", given="".join(json.dumps(line) + "\n" for line in lines))
    out = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert [sorted(line) for line in out] == [["ids", "text"], ["ids", "text"], ["error"], ["ids", "text"]]
    assert out[1]["text"].endswith("<|im_start|>assistant\n")
    assert "한국어" in out[3]["text"]


def test_two_families_are_told_apart_on_one_conversation(folder: Path, talk: Path, tmp_path: Path) -> None:
    other = tokenizer_folder(tmp_path / "other", "{% for message in messages %}[{{ message.content }}]{% endfor %}")
    shown = whet("chat", talk, "-t", folder, "--diff", other).stdout
    assert "- <|im_start|>system" in shown
    assert "+ [What is <|im_end|>? 👔][a token]" in shown


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "no JSON"),
        ("3", "there are no messages"),
        ('[{"content": "x"}]', "message 1 has no role"),
        ('{"messages": [{"role": "user", "content": "x"}], "tools": "look"}', "the tools are no list"),
    ],
)
def test_what_is_no_conversation_is_said_in_a_sentence(folder: Path, tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    result = whet("chat", path, "-t", folder)
    assert isinstance(result.exception, DataError)
    assert part in str(result.exception)


def test_the_check_is_green_or_exits_with_1_and_the_first_difference(folder: Path, tmp_path: Path) -> None:
    good = whet("check", folder)
    assert good.exit_code == 0
    assert "every path makes the same of it" in good.stdout
    other = tokenizer_folder(tmp_path / "other", "{% for message in messages %}[{{ message.content }}]{% endfor %}")
    bad = whet("check", folder, "--against", other)
    assert bad.exit_code == 1
    assert "character 0:" in bad.stdout
    findings = json.loads(whet("check", folder, "--against", other, "--json").stdout)
    assert {finding["good"] for finding in findings} == {True, False}


def test_the_mask_of_random_rows_is_shown_and_an_empty_one_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": TALK}) + "\n" for _ in range(9)))
    result = whet("mask", path, "-t", folder)
    assert result.exit_code == 0
    assert result.stdout.count("tokens are learned") == 5
    path.write_text(json.dumps({"messages": TALK}) + "\n" + json.dumps({"messages": TALK[:1]}) + "\n")
    refused = whet("mask", path, "-t", folder)
    assert "nothing would be learned from 1 rows (lines 2)" in str(refused.exception)


def test_a_score_tells_probability_rank_and_perplexity() -> None:
    told = json.loads(whet("score", "The capital of France is Paris", "--json").stdout)
    first, *rest = told["tokens"]
    assert first["logprob"] is None
    assert [token["text"] for token in told["tokens"]] == ["The", " capital", " of", " France", " is", " Paris"]
    assert rest[-1]["rank"] == 1
    assert rest[-1]["top"][0][1] == " Paris"
    assert rest[0]["rank"] > 64  # it was looked up in the whole vocabulary
    assert told["perplexity"] > 1


def test_a_model_that_hides_its_probabilities_cannot_score() -> None:
    result = whet("score", "x", "-m", "openai:any?base_url=http://127.0.0.1:9/v1")
    assert isinstance(result.exception, UsageError)


def test_roles_and_orders_are_shown_for_several_templates(folder: Path) -> None:
    told = json.loads(whet("roles", "-t", folder, "-t", "smollm2", "--json").stdout)
    assert list(told) == ["tiny", "smollm2"]
    assert "refused" in whet("roles", "-t", folder).stdout
