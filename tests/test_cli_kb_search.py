"""`whet kb search` and `whet kb eval` as a user runs them, on a small real knowledge base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from kb_small import HANDBOOK, synced, write
from whetstone.cli.main import app
from whetstone.errors import WhetstoneError

QUESTIONS = [
    {"question": "How many days of annual leave are there?", "keywords": ["27 days"], "category": "fact"},
    {"question": "Who founded Hazelworks?", "keywords": ["Ingrid", "Solberg"], "category": "fact"},
    {"question": "What may a hotel cost?", "keywords": ["140 euros"], "category": "amount"},
    {"question": "When do receipts come in?", "spans": [{"path": "travel.md", "start": 0, "end": 60}]},
]


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    folder = write(tmp_path / "handbook", HANDBOOK)
    synced(folder)
    return tmp_path


def questions(folder: Path, lines: list[dict[str, Any]]) -> str:
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["kb", *arguments])


def test_search_shows_passages_and_on_request_the_parts_of_their_scores(handbook: Path) -> None:
    plain = run("search", "Who founded Hazelworks?", "--kb", "handbook", "-k", "1")
    assert plain.exit_code == 0
    assert "people.md" in plain.stdout
    assert "Ingrid Solberg" in plain.stdout
    assert "BM25" not in plain.stdout
    explained = run("search", "Who founded Hazelworks?", "--kb", "handbook", "-k", "1", "--explain")
    assert all(word in explained.stdout for word in ("cosine", "BM25", "coverage", "hazelwork"))


def test_search_as_json_says_where_each_passage_stands(handbook: Path) -> None:
    result = run("search", "carry over leave", "--kb", "handbook", "--json")
    found = json.loads(result.stdout)
    best = found["hits"][0]
    assert (found["question"], best["path"]) == ("carry over leave", "leave.md")
    assert {"score", "dense", "keyword", "coverage", "matched", "text", "start", "end", "trail", "place"} <= set(best)
    assert 0 <= best["start"] < best["end"]


def test_search_keeps_to_its_filters_and_says_when_nothing_passes(handbook: Path) -> None:
    def paths(*options: str) -> set[str]:
        result = run("search", "leave and travel", "--kb", "handbook", "--json", *options)
        return {hit["path"] for hit in json.loads(result.stdout)["hits"]}

    assert paths("--path", "t*.md") == {"travel.md"}
    assert paths("--where", "type=md", "--path", "l*") == {"leave.md"}
    nothing = run("search", "leave", "--kb", "handbook", "--where", "type=pdf")
    assert (nothing.exit_code, "Nothing was found among" in nothing.stdout) == (0, True)


def test_search_by_words_needs_no_embedder(handbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whetstone.embeddings.EMBEDDERS", {})
    result = run("search", "receipts", "--kb", "handbook", "--mode", "keyword", "--json")
    assert json.loads(result.stdout)["hits"][0]["path"] == "travel.md"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("search", "x", "--kb", "handbok"), "Did you mean handbook"),
        (("search", "", "--kb", "handbook"), "nothing to search for"),
        (("search", "x", "--kb", "handbook", "--where", "pdf"), "write NAME=VALUE"),
        (("search", "x", "--kb", "handbook", "--where", "type=a", "--where", "type=b"), "at once"),
        (("search", "x", "--kb", "handbook", "--rerank", "best"), "names no reranker"),
        (("eval", "{file}", "--kb", "handbook", "--against", "colour=red"), "is no setting"),
        (("eval", "{file}", "--kb", "handbook", "--against", "k=many"), "is no number"),
        (("eval", "{file}", "--kb", "handbook", "--against", "mode=fuzzy"), "no search mode"),
        (("eval", "{file}", "--kb", "handbook", "--against", "other"), "no knowledge base named"),
        (("eval", "{file}x", "--kb", "handbook"), "No such file"),
    ],
)
def test_mistakes_get_a_sentence(handbook: Path, arguments: tuple[str, ...], said: str) -> None:
    file = questions(handbook, QUESTIONS)
    result = run(*(argument.replace("{file}", file) for argument in arguments))
    assert isinstance(result.exception, WhetstoneError)
    assert said in str(result.exception)
    assert result.exception.exit_code == 2


def test_eval_as_json_has_the_promised_form(handbook: Path) -> None:
    result = run("eval", questions(handbook, QUESTIONS), "--kb", "handbook", "--json")
    values = json.loads(result.stdout)
    assert list(values) == ["n", "mrr", "ndcg", "coverage", "recall", "context_chars", "by_category"]
    assert values["n"] == 4
    assert values["mrr"]["value"] == 1
    assert values["coverage"]["value"] == values["recall"]["value"] == 100
    assert list(values["by_category"]) == ["fact", "amount"]
    assert values["by_category"]["fact"]["recall"] is None


def test_eval_shows_a_table_and_a_comparison_with_its_verdict(handbook: Path) -> None:
    file = questions(handbook, QUESTIONS)
    shown = run("eval", file, "--kb", "handbook")
    assert shown.exit_code == 0
    assert all(word in shown.stdout for word in ("MRR", "nDCG", "strict", "fact", "amount"))
    both = run("eval", file, "--kb", "handbook", "--against", "mode=keyword,k=3", "--json")
    values = json.loads(both.stdout)
    assert (values["first"]["name"], values["second"]["name"]) == ("mode=hybrid, k=10", "mode=keyword, k=3")
    assert values["verdict"].startswith("4 questions are too few")
    assert {one["metric"] for one in values["differences"]} >= {"mrr", "ndcg", "strict"}


def test_eval_refuses_places_in_documents_that_are_not_there(handbook: Path) -> None:
    file = questions(handbook, [{"question": "q", "spans": [{"path": "gone.md", "start": 0, "end": 5}]}])
    result = run("eval", file, "--kb", "handbook")
    assert "Row 1, field spans: gone.md is no document" in str(result.exception)


def test_eval_refuses_a_broken_line_by_row_and_field(handbook: Path) -> None:
    file = questions(handbook, [*QUESTIONS, {"question": "q", "keywords": "27"}])
    result = run("eval", file, "--kb", "handbook")
    assert "row 5, field keywords" in str(result.exception)
