"""The verdict: the cheapest technique that cannot be told apart from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from whetstone.errors import UsageError
from whetstone.evaluation.comparison import compare
from whetstone.evaluation.metrics import score
from whetstone.evaluation.verdict import Entry, Verdict, verdict
from whetstone.types import Case, Prediction, Problem, Reading

TRUTH = np.random.default_rng(0).lognormal(5, 0.8, 200)
CASES = [Case(f"c{i}", "", value) for i, value in enumerate(TRUTH.tolist())]
PROBLEM = Problem("p", "number", "price", "mae", [], [], CASES, "f", unit="$")


def run(spread: float, seed: int, unreadable: float = 0.0, n: int = 200) -> list[Prediction]:
    generator = np.random.default_rng(seed)
    values = TRUTH * generator.lognormal(0, spread, 200)
    readable = generator.random(200) >= unreadable
    readings = [
        Reading("value", float(v)) if ok else Reading("refused") for v, ok in zip(values, readable, strict=True)
    ]
    return [Prediction(f"c{i}", "k", reading) for i, reading in enumerate(readings)][:n]


def judge(
    runs: Mapping[str, Sequence[Prediction]],
    cost: Mapping[str, float | None] | None = None,
    seconds: Mapping[str, float] | None = None,
    problem: Problem = PROBLEM,
) -> Verdict:
    entries = [
        Entry(name, score(problem, p, resamples=199), (cost or {}).get(name, 0.0), (seconds or {}).get(name, 1.0))
        for name, p in runs.items()
    ]
    return verdict(problem, entries, compare(problem, runs, resamples=999))


def test_a_clear_winner_is_said_with_its_interval_and_unit() -> None:
    found = judge({"good": run(0.1, 1), "bad": run(0.9, 2)}, cost={"good": 5.0, "bad": 0.0})
    assert (found.winner, found.best) == ("good", "good")
    assert found.sentence.startswith("Take good: mean absolute error $")
    assert "95 % interval $" in found.sentence
    assert "better than bad beyond chance" in found.sentence


def test_of_those_that_cannot_be_told_apart_the_cheapest_wins() -> None:
    runs = {"dear": run(0.40, 2), "cheap": run(0.41, 3), "bad": run(1.2, 4)}
    found = judge(runs, cost={"dear": 4.0, "cheap": 0.1, "bad": 0.0})
    assert found.best == "dear"
    assert found.winner == "cheap"
    assert "cheapest that cannot be told apart from the best, dear" in found.sentence
    assert "may be chance" in found.sentence
    assert any("dear asks no language model: $20 per 1,000" in reason for reason in found.reasons)
    assert any("bad" in reason and "mean absolute error" in reason for reason in found.reasons)


def test_at_equal_cost_the_quicker_one_wins() -> None:
    runs = {"slow": run(0.40, 2), "quick": run(0.41, 3), "bad": run(1.2, 4)}
    found = judge(runs, seconds={"slow": 20_000, "quick": 1, "bad": 0.1})
    assert found.winner == "quick"
    assert any("slow asks no language model: free of charge, 1 min 40 s per item" in reason for reason in found.reasons)


def test_an_unknown_cost_comes_after_every_known_one() -> None:
    runs = {"unknown": run(0.40, 2), "known": run(0.41, 3)}
    found = judge(runs, cost={"unknown": None, "known": 9.0})
    assert found.winner == "known"
    assert any("unknown price" in reason for reason in found.reasons)


def test_when_everything_ties_it_says_so() -> None:
    found = judge({"a": run(0.4, 2), "b": run(0.4, 3), "c": run(0.4, 4)}, seconds={"a": 1, "b": 2, "c": 3})
    assert found.winner == "a"
    assert "These items do not tell any technique from the best" in found.sentence


def test_a_technique_that_answers_too_rarely_is_passed_over_with_the_reason() -> None:
    runs = {"silent": run(0.01, 1, unreadable=0.4), "plain": run(0.3, 2), "bad": run(1.2, 3)}
    found = judge(runs)
    assert (found.winner, found.best) == ("plain", "plain")
    (reason,) = [reason for reason in found.reasons if reason.startswith("silent is passed over")]
    assert "of its 200 answers could be read" in reason
    assert "significantly below 90 %" in reason


def test_a_parse_rate_that_may_well_be_90_percent_is_no_reason() -> None:
    almost = run(0.01, 1, unreadable=0.1)
    assert judge({"almost": almost, "plain": run(0.3, 2)}).best == "almost"


def test_unreadable_labels_are_in_the_accuracy_already() -> None:
    cases = [Case(f"c{i}", "", "xy"[i % 2]) for i in range(200)]
    problem = Problem("p", "label", "class", "accuracy", [], [], cases, "f", labels=("x", "y"))
    often_silent = [
        Prediction(c.id, "k", Reading("refused") if i % 5 == 0 else Reading("value", c.expected))
        for i, c in enumerate(cases)
    ]
    always_x = [Prediction(c.id, "k", Reading("value", "x")) for c in cases]
    assert judge({"often silent": often_silent, "always x": always_x}, problem=problem).best == "often silent"


def test_with_few_items_nothing_can_be_said() -> None:
    small = replace(PROBLEM, test=CASES[:12])
    found = judge({"a": run(0.1, 1, n=12), "b": run(0.9, 2, n=12)}, problem=small)
    assert found.winner == ""
    assert "Nothing can be said: at least 20 answered items are needed, and the most is 12" in found.sentence


def test_a_run_that_has_only_begun_does_not_win() -> None:
    found = judge({"whole": run(0.4, 1), "begun": run(0.1, 2, n=10), "bad": run(1.2, 3)}, seconds={"begun": 0.0})
    assert found.winner == "whole"
    assert "begun is passed over: it answered only 10 items." in found.reasons


def test_one_technique_is_no_comparison() -> None:
    found = judge({"only": run(0.4, 1)})
    assert (found.winner, found.best) == ("", "only")
    assert "nothing to compare" in found.sentence


def test_techniques_that_answer_nothing_give_no_verdict() -> None:
    found = judge({"a": run(0.4, 1, unreadable=1), "b": run(0.4, 2, unreadable=1)})
    assert (found.winner, found.best) == ("", "")
    assert found.sentence.startswith("Nothing can be said")


def test_the_best_is_not_one_that_another_beats_on_their_common_items() -> None:
    """`picky` leaves out the dear items, so that its mean error is lower, though `thorough` is better on each."""
    truth = np.where(np.arange(200) < 18, 5_000.0, 100.0)
    cases = [Case(f"c{i}", "", float(value)) for i, value in enumerate(truth)]
    problem = replace(PROBLEM, test=cases)
    generator = np.random.default_rng(5)
    thorough = [Prediction(c.id, "k", Reading("value", float(c.expected) * 1.2)) for c in cases]
    noise = generator.normal(0, 1, 200)
    picky = [
        Prediction(c.id, "k", Reading("refused") if i < 18 else Reading("value", float(c.expected) * 1.25 + noise[i]))
        for i, c in enumerate(cases)
    ]
    entries = [Entry(name, score(problem, p), 0.0, 1.0) for name, p in (("thorough", thorough), ("picky", picky))]
    maes = {entry.name: entry.scores.metrics["mae"].value or 0 for entry in entries}
    assert maes["picky"] < maes["thorough"]
    found = verdict(problem, entries, compare(problem, {"thorough": thorough, "picky": picky}))
    assert found.best == "thorough"


def test_no_entries_is_a_mistake() -> None:
    with pytest.raises(UsageError):
        verdict(PROBLEM, [], [])
