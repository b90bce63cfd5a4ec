"""Metrics of texts beyond ROUGE: translations, entities, short answers, coverage, programs that run."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from whetstone import settings
from whetstone.datasets.freeze import freeze, thaw
from whetstone.errors import DataError, UsageError
from whetstone.evaluation import execution
from whetstone.evaluation.judged import judge
from whetstone.evaluation.metrics import deciding_metric, metrics_of, score
from whetstone.evaluation.translation import cut
from whetstone.types import Case, Prediction, Problem, Reading


def problem_of(metric: str, cases: Sequence[Case], pinned: Sequence[str] = ()) -> Problem:
    return Problem("p", "text", "answer", metric, [], [], cases, "ab" * 32, pinned=tuple(pinned))


def answers(guesses: Sequence[str | None]) -> list[Prediction]:
    readings = [Reading("unparsable") if g is None else Reading("value", g) for g in guesses]
    return [Prediction(f"c{i}", "k", reading) for i, reading in enumerate(readings)]


def values(problem: Problem, guesses: Sequence[str | None]) -> dict[str, float | None]:
    scores = score(problem, answers(guesses), resamples=199)
    return {name: interval.value for name, interval in scores.metrics.items()}


SENTENCES = [
    ("The bridge stays closed until May.", "The bridge is closed until the end of May."),
    ("We drank tea on the roof and talked until midnight.", "We drank tea on the roof and talked until midnight."),
    ("Nobody dared to speak.", "Everyone was quiet, as nobody dared to speak at all."),
    ("My cousin has a cold.", "Completely different words here"),
    ("No swimming.", None),
]


@pytest.mark.parametrize("kept", [5, 4, 1])
def test_chrf_and_bleu_of_a_run_are_the_corpus_figures_of_sacrebleu(kept: int) -> None:
    from sacrebleu.metrics import BLEU, CHRF

    some = SENTENCES[-kept:]
    cases = [Case(f"c{i}", "", truth) for i, (truth, _) in enumerate(some)]
    guesses = [guess for _, guess in some]
    found = values(problem_of("chrf", cases), guesses)
    said, truths = [guess or "" for guess in guesses], [[truth for truth, _ in some]]
    assert found["chrf"] == pytest.approx(CHRF().corpus_score(said, truths).score)
    assert found["bleu"] == pytest.approx(BLEU().corpus_score(said, truths).score)


def test_words_are_cut_by_the_script_of_the_reference() -> None:
    assert cut("Der Zug fährt um 9 Uhr ab.") == "13a"
    assert cut("火车九点出发") == "zh"
    assert cut("列車は九時に出ます") == cut("기차는 아홉 시에 떠납니다") == "char"
    assert cut("") == "13a"


def test_only_the_metrics_that_belong_to_the_deciding_one_are_told() -> None:
    def names(metric: str) -> list[str]:
        return [one.name for one in metrics_of(problem_of(metric, []))]

    assert names("rouge_l") == ["exact_match", "rouge_l", "rouge_1", "length_ratio", "copied", "parse_rate"]
    assert names("pass_rate") == ["pass_rate", "parse_rate"]
    assert "bleu" in names("chrf")
    assert "entity_f1" not in names("chrf")
    with pytest.raises(UsageError, match="take rouge_l"):
        deciding_metric("text", "copied")


def test_what_a_summary_copied_and_its_length_are_told_beside_its_score() -> None:
    source = "The council met on Monday and decided to close the old pool for good after a long debate."
    cases = [Case("c0", source, "The council closes the old pool"), Case("c1", source, "The pool closes")]
    copied = "on Monday and decided to close the old pool for good"
    found = values(problem_of("rouge_l", cases), [copied, "Swimmers lose their bath"])
    assert found["copied"] == pytest.approx((1 + 0) / 2)
    assert found["length_ratio"] == pytest.approx((11 / 6 + 4 / 3) / 2)
    # An unreadable answer has no length: the two are over those that could be read.
    assert values(problem_of("rouge_l", cases), [copied, None])["copied"] == 1.0
    assert values(problem_of("rouge_l", [Case("c0", "", "x")]), ["x"])["copied"] is None


def _entities(*named: tuple[str, str]) -> str:
    return json.dumps([{"type": kind, "text": text} for kind, text in named])


def test_entity_f1_strict_and_partial_by_hand() -> None:
    text = "Ada Lovelace met Charles Babbage in London."
    truth = _entities(("person", "Ada Lovelace"), ("person", "Charles Babbage"), ("place", "London"))
    guess = _entities(("person", "Ada Lovelace"), ("person", "Babbage"), ("person", "London"), ("place", "met"))
    problem = problem_of("entity_f1", [Case("c0", text, truth), Case("c1", "Nothing.", "[]")])
    found = values(problem, [guess, "[]"])
    assert found["entity_f1"] == pytest.approx(2 * 1 / (4 + 3))
    assert found["entity_f1_partial"] == pytest.approx((2 * 1 + 1) / (4 + 3))
    assert found["entity_precision"] == pytest.approx(1 / 4)
    assert found["entity_recall"] == pytest.approx(1 / 3)
    errors = [item.error for item in judge(problem, answers([guess, "[]"]))]
    assert errors == [pytest.approx(1 - 2 / 7), 0.0]


def test_an_entity_that_was_named_twice_counts_once_and_an_unreadable_answer_finds_none() -> None:
    case = Case("c0", "Ada and Ada", _entities(("person", "Ada")))
    assert values(problem_of("entity_f1", [case]), [_entities(("person", "Ada"), ("Person", " Ada"))])["entity_f1"] == 1
    assert values(problem_of("entity_f1", [case]), [None])["entity_f1"] == 0
    assert values(problem_of("entity_f1", [case]), ["no list"])["entity_f1"] == 0


def test_one_found_name_is_not_the_partner_of_two() -> None:
    case = Case("c0", "Ada Lovelace", _entities(("person", "Ada Lovelace")))
    found = values(problem_of("entity_f1", [case]), [_entities(("person", "Ada"), ("person", "Lovelace"))])
    assert found["entity_f1_partial"] == pytest.approx(1 / 3)


def test_a_truth_that_is_no_list_of_entities_is_said() -> None:
    with pytest.raises(DataError, match="JSON lists such as"):
        values(problem_of("entity_f1", [Case("c0", "Ada", "Ada")]), ["[]"])


def test_short_answers_count_as_squad_counts_them() -> None:
    cases = [
        Case("c0", "", "the Aurora"),
        Case("c1", "", "ten to nine", {"accepted": json.dumps(["ten to nine", "8:50"])}),
        Case("c2", "", "화요일"),
        Case("c3", "", "a broken rudder"),
    ]
    found = values(problem_of("answer_match", cases), ["aurora.", "8:50", "매주 화요일", "her rudder had broken"])
    assert found["answer_match"] == pytest.approx(2 / 4)
    assert found["token_f1"] == pytest.approx((1 + 1 + 2 / 3 + 2 * 2 / (2 + 4)) / 4)


def test_coverage_is_the_share_of_points_that_are_mentioned() -> None:
    points = json.dumps([["pollinat"], ["pesticide", "poison"], ["honey"]])
    case = Case("c0", "Bees", "…", {"points": points})
    assert values(problem_of("coverage", [case]), ["Pollinators die of POISON."])["coverage"] == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match="the case 'c0' lacks"):
        values(problem_of("coverage", [Case("c0", "Bees", "…")]), ["Bees"])


PYTHON = {"language": "python", "tests": "assert double(2) == 4"}
SQL = {
    "language": "sql",
    "script": "CREATE TABLE t (a TEXT, b REAL); INSERT INTO t VALUES ('x', 0.1), ('y', 0.2), (NULL, 3);",
    "rows": '[["y", 0.2], [null, 3.0]]',
}


def test_programs_pass_when_their_tests_do_and_only_then() -> None:
    programs = [
        "def double(n):\n    return 2 * n",
        "def double(n):\n    return n",
        "import sys\nsys.exit(0)",  # leaves before its tests are reached
        "def double(n:",
        None,
    ]
    cases = [Case(f"c{i}", "", "…", PYTHON) for i in range(len(programs))]
    problem = problem_of("pass_rate", cases)
    assert values(problem, programs)["pass_rate"] == pytest.approx(1 / 5)
    assert [item.band.letter for item in judge(problem, answers(programs))] == ["G", "R", "R", "R", "U"]


def test_a_program_that_loops_is_stopped_by_what_it_computes_and_the_clock_may_be_generous(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execution, "PROCESSOR_SECONDS", 1.0)
    monkeypatch.setattr(execution, "SECONDS", 3000.0)  # however busy the machine is
    found = execution.outcome(Case("c0", "", "…", PYTHON), "while True:\n    pass")
    assert (found.passed, found.timed_out, found.problem) == (False, True, "it was stopped after 1 s of computing")
    assert not list((settings.home() / "checks").rglob("*.json"))  # a faster machine might have seen it pass
    execution.outcome(Case("c0", "", "…", PYTHON), "def double(n): return 2 * n")
    assert len(list((settings.home() / "checks").rglob("*.json"))) == 1


def test_queries_pass_when_they_give_the_right_rows_in_any_order() -> None:
    queries = [
        "SELECT a, b FROM t WHERE b >= 0.2",
        "SELECT a, 0.1 + 0.1 FROM t WHERE a = 'y' UNION ALL SELECT NULL, 3",
        "SELECT b, a FROM t WHERE b > 0.1",
        "SELECT a, b FROM t",
        "DROP TABLE t",
        "SELEC",
    ]
    cases = [Case(f"c{i}", "", "…", SQL) for i in range(len(queries))]
    assert values(problem_of("pass_rate", cases), queries)["pass_rate"] == pytest.approx(2 / 6)
    ordered = Case("c0", "", "…", {**SQL, "ordered": "yes"})
    assert values(problem_of("pass_rate", [ordered]), ["SELECT a, b FROM t WHERE b > 0.1"])["pass_rate"] == 1
    backwards = "SELECT a, b FROM t WHERE b > 0.1 ORDER BY b DESC"
    assert values(problem_of("pass_rate", [ordered]), [backwards])["pass_rate"] == 0


def test_a_case_without_tests_cannot_be_judged_by_running() -> None:
    with pytest.raises(UsageError, match="the case 'c0' has none"):
        values(problem_of("pass_rate", [Case("c0", "", "…", {"language": "python"})]), ["x = 1"])


def test_pinned_fields_are_frozen_with_the_cases_and_others_are_not() -> None:
    cases = [Case("c0", "question", "…", {**PYTHON, "colour": "red"})]
    problem = problem_of("pass_rate", cases, ["language", "tests"])
    thawed = thaw(freeze(problem))
    assert dict(thawed.test[0].fields) == PYTHON
    assert thawed.pinned == ("language", "tests")
    assert values(thawed, ["def double(n): return n + n"])["pass_rate"] == 1
