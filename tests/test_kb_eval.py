"""Measuring a search: the metrics by hand, the questions file and its errors, intervals, comparisons."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import DataError, UsageError
from whetstone.retrieval.document import Chunk, StoredChunk
from whetstone.retrieval.measure import Measures, Question, Scores, Span, evaluate, read_questions
from whetstone.retrieval.measure.metrics import coverage, ndcg, recall, reciprocal_rank, strict_rank
from whetstone.retrieval.search import Hit
from whetstone.workflows.measured_search import as_json, compared, interval

T, F = True, False


def hit(text: str, *, path: str = "a.md", start: int = 0, id_: int = 1) -> Hit:
    return Hit(StoredChunk(id_, path, "A", {}, Chunk(id_, ("A",), text, start, start + len(text))), 0.5)


def measures(values: Sequence[float], category: str = "") -> Measures:
    """As many questions as there are values of MRR."""
    questions = tuple(Question(row, f"q{row}", ("k",), category=category) for row, _ in enumerate(values, 1))
    return Measures(questions, tuple(Scores(value, value, 100 * value, None, value, 3_000, 0.01) for value in values))


def test_metrics_are_those_of_their_definitions() -> None:
    table = [[F, T, T], [T, F, F], [F, F, F]]
    assert math.isclose(reciprocal_rank(table), (1 / 2 + 1 + 0) / 3)
    gain = (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert math.isclose(ndcg(table), (gain + 1 + 0) / 3)
    assert math.isclose(coverage(table), 200 / 3)
    assert strict_rank(table) == 0
    assert strict_rank([[F, T, T], [T, F, T]]) == 1 / 3
    assert (reciprocal_rank([[]]), ndcg([[]]), coverage([[]]), strict_rank([[]])) == (0, 0, 0, 0)


@given(st.integers(0, 6).flatmap(lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1)))
def test_metrics_stay_within_their_bounds_and_the_strict_one_is_never_kinder(table: list[list[bool]]) -> None:
    assert 0 <= strict_rank(table) <= reciprocal_rank(table) <= 1
    assert 0 <= ndcg(table) <= 1
    assert reciprocal_rank(table) * 100 <= coverage(table) + 1e-9 <= 100 + 1e-9


def test_a_passage_counts_with_its_headings_in_any_case_and_within_words() -> None:
    questions = [Question(1, "q", ("PRICE", "a\nlamp"))]
    (scores,) = evaluate(lambda _: [hit("lamp oil"), hit("the prices")], questions).scores
    assert scores.mrr == (1 / 2 + 1) / 2
    assert scores.context_chars == len("A\nlamp oil") + len("A\nthe prices")
    assert (scores.coverage, scores.recall) == (100, None)


def test_recall_is_of_characters_and_does_not_count_one_twice() -> None:
    spans = [Span("a.md", 10, 30), Span("b.md", 0, 20)]
    hits = [hit("x" * 15, start=5), hit("x" * 10, start=15, id_=2), hit("x" * 50, path="c.md")]
    assert recall(hits, spans) == 100 * 15 / 40
    (scores,) = evaluate(lambda _: hits, [Question(1, "q", spans=tuple(spans))]).scores
    assert (scores.recall, scores.coverage) == (37.5, None)
    assert scores.mrr == (1 + 0) / 2


def test_recall_does_not_depend_on_how_a_document_is_divided() -> None:
    spans = [Span("a.md", 7, 93)]
    whole = [hit("x" * 100)]
    parts = [hit("x" * 10, start=at, id_=at) for at in range(0, 100, 10)]
    assert recall(whole, spans) == recall(parts, spans) == 100


def write(file: Path, *lines: Any) -> Path:
    file.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    )
    return file


def test_questions_are_read_with_rows_of_their_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "q.jsonl",
        {"question": " 언제? ", "keywords": ["2015"], "category": "시간", "id": 7},
        "",
        {"question": "Where?", "spans": [{"path": "cafe\u0301.md", "start": 0, "end": 5}], "keywords": None},
    )
    first, second = read_questions(file)
    assert first == Question(1, "언제?", ("2015",), category="시간")
    assert second == Question(3, "Where?", spans=(Span("café.md", 0, 5),))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "row 2: this is no JSON"),
        ("[1]", "row 2: expected an object"),
        ({"keywords": ["a"]}, "row 2, field question: expected a text that is not empty, it is missing"),
        ({"question": 7, "keywords": ["a"]}, "row 2, field question: .* found 7"),
        ({"question": "q", "keywords": "a"}, 'row 2, field keywords: expected a list of texts .*, found "a"'),
        ({"question": "q", "keywords": ["a", ""]}, "row 2, field keywords"),
        ({"question": "q"}, "row 2: neither keywords nor spans"),
        ({"question": "q", "spans": [{"path": "a", "start": 5, "end": 5}]}, r"row 2, field spans\[0\]: .*start < end"),
        ({"question": "q", "spans": {}}, "row 2, field spans"),
        ({"question": "q", "keywords": ["a"], "category": 3}, "row 2, field category"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: Any, said: str) -> None:
    file = write(tmp_path / "q.jsonl", {"question": "q", "keywords": ["a"]}, line)
    with pytest.raises(DataError, match=said):
        read_questions(file)


def test_files_that_are_no_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes('{"question": "Größe"}'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_questions(tmp_path / "latin.jsonl")
    with pytest.raises(DataError, match="no questions"):
        read_questions(write(tmp_path / "empty.jsonl", "", ""))


def test_intervals_hold_the_mean_within_the_bounds() -> None:
    found = interval(measures([1.0] * 30 + [0.5] * 6 + [0.0] * 4), "mrr")
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high <= 1
    assert found.high - found.low < 0.3


def test_perfect_scores_are_not_taken_for_certainty_and_one_question_for_nothing() -> None:
    perfect = interval(measures([1.0] * 10), "coverage")
    assert (perfect.value, perfect.high) == (100, 100)
    assert perfect.low is not None
    assert 60 < perfect.low < 95
    single = interval(measures([1.0]), "mrr")
    assert (single.value, single.low, single.high) == (1, None, None)
    assert interval(measures([1.0]), "recall").value is None


def test_json_has_exactly_the_promised_fields() -> None:
    both = Measures(
        measures([1.0, 0.5], "a").questions + measures([0.0], "b").questions,
        measures([1.0, 0.5], "a").scores + measures([0.0], "b").scores,
    )
    values = as_json(both)
    assert list(values) == ["n", "mrr", "ndcg", "coverage", "recall", "context_chars", "by_category"]
    assert (values["n"], values["recall"], values["mrr"]["value"]) == (3, None, 0.5)
    assert all(set(values[name]) == {"value", "low", "high"} for name in ("mrr", "ndcg", "coverage", "context_chars"))
    assert {name: of["n"] for name, of in values["by_category"].items()} == {"a": 2, "b": 1}
    json.dumps(values, allow_nan=False)


def test_a_comparison_says_which_is_better_or_that_nothing_is_shown() -> None:
    good, bad = measures([1.0, 0.5] * 20), measures([0.5, 0.25] * 20)
    better = compared(bad, good, ("dense", "hybrid"))
    assert better.verdict.startswith("hybrid finds better than dense on 40 questions")
    assert better.differences[0].high is not None
    assert better.differences[0].high < 0
    same = compared(good, good, ("a", "b"))
    assert same.verdict.startswith("No difference shown between a and b")
    mixed = compared(measures([1.0, 0.0] * 20), measures([0.0, 1.0] * 20), ("a", "b"))
    assert mixed.verdict.startswith("No difference shown")


def test_too_few_or_other_questions_are_not_compared() -> None:
    few = compared(measures([1.0] * 5), measures([0.0] * 5), ("a", "b"))
    assert few.verdict.startswith("5 questions are too few")
    assert few.differences[0].low is None
    with pytest.raises(UsageError, match="same questions"):
        compared(measures([1.0] * 30), measures([1.0] * 31), ("a", "b"))


def test_the_figures_that_were_promised_are_reached(shared_data: Path) -> None:
    """100 questions on 76 documents, packaged MiniLM, ten passages of at most 4,000 characters."""
    from kb_small import synced
    from whetstone.retrieval.library import open_knowledge
    from whetstone.retrieval.search import Search

    folder = shared_data / "insurellm"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    synced(folder / "knowledge-base", "measured")
    with open_knowledge("measured") as knowledge:
        found = evaluate(Search(knowledge.store, knowledge.embedder).find, read_questions(folder / "questions.jsonl"))
    assert (found.mean("mrr") or 0) >= 0.89
    assert (found.mean("ndcg") or 0) >= 0.87
    assert (found.mean("coverage") or 0) >= 97
    assert max(score.context_chars for score in found.scores) <= 4_000
