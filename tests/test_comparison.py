"""Runs compared pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from whetstone.errors import UsageError
from whetstone.evaluation.comparison import MIN_ITEMS, Pair, compare, holm
from whetstone.evaluation.metrics import DEFAULT_METRIC, metrics_for
from whetstone.types import Case, Prediction, Problem, Reading, TargetKind

Floats = NDArray[np.float64]


def problem_of(truth: Sequence[float] | Sequence[str], kind: TargetKind = "number") -> Problem:
    cases = [Case(f"c{i}", "", value) for i, value in enumerate(truth)]
    return Problem("p", kind, "price", DEFAULT_METRIC[kind], [], [], cases, "f", unit="$")


def answers(guesses: Sequence[float | str | None]) -> list[Prediction]:
    """One prediction per case; None is an answer that could not be read."""
    readings = [Reading("unparsable") if g is None else Reading("value", g) for g in guesses]
    return [Prediction(f"c{i}", "k", reading) for i, reading in enumerate(readings)]


def prices(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).lognormal(5, 0.9, n)


def guesses(truth: Floats, spread: float, seed: int) -> list[float]:
    return (truth * np.random.default_rng(seed).lognormal(0, spread, len(truth))).tolist()


def pair_of(truth: Floats, a: Sequence[float | None], b: Sequence[float | None], metric: str | None = None) -> Pair:
    (pair,) = compare(problem_of(truth.tolist()), {"a": answers(a), "b": answers(b)}, metric, resamples=999)
    return pair


def test_a_clear_difference_is_distinguishable_and_said_in_the_unit() -> None:
    truth = prices(250)
    a, b = guesses(truth, 0.2, 1), guesses(truth, 0.8, 2)
    pair = pair_of(truth, a, b)
    difference = np.abs(a - truth).mean() - np.abs(b - truth).mean()
    assert pair.difference == pytest.approx(difference)
    assert pair.low is not None
    assert pair.high is not None
    assert pair.low < difference < pair.high < 0
    assert pair.distinguishable
    assert pair.needed_items is None
    assert pair.n == 250
    assert f"a's mean absolute error is ${abs(difference):,.2f} lower than b's" in pair.sentence


def test_a_small_difference_cannot_be_told_apart_and_needs_more_items() -> None:
    truth = prices(100)
    pair = pair_of(truth, guesses(truth, 0.50, 2), guesses(truth, 0.52, 3))
    assert not pair.distinguishable
    assert pair.needed_items is not None
    assert pair.needed_items > 100
    assert "cannot be told apart at n = 100" in pair.sentence
    assert "items would be needed" in pair.sentence


def test_the_needed_items_would_show_the_difference() -> None:
    """Differences of mean 1 and sd 10: (1.960 + 0.842)² · 100 = 785 items for a power of 80 %."""
    noise = np.random.default_rng(3).normal(0, 10, 200)
    noise = (noise - noise.mean()) / noise.std() * 10
    truth = np.zeros(200)
    pair = pair_of(truth, (101 + noise).tolist(), [100.0] * 200)
    assert pair.difference == pytest.approx(1)
    assert pair.needed_items == 785
    bigger = np.random.default_rng(4).normal(1, 10, (400, 785))
    shown = np.abs(bigger.mean(axis=1)) / (bigger.std(axis=1) / np.sqrt(785)) > 1.96
    assert 0.74 < shown.mean() < 0.86


def test_identical_predictions_cannot_be_told_apart_by_any_number_of_items() -> None:
    truth = prices(60)
    same = guesses(truth, 0.4, 1)
    for metric in metrics_for("number"):
        if metric.better != "zero":
            pair = pair_of(truth, same, same, metric.name)
            assert (pair.difference, pair.low, pair.high, pair.p) == (0, 0, 0, 1)
            assert not pair.distinguishable
            assert pair.needed_items is None
            assert "no number of items" in pair.sentence


def test_a_pair_of_number_runs_is_on_the_items_that_both_answered() -> None:
    truth = prices(100)
    a, b = guesses(truth, 0.2, 1), guesses(truth, 0.6, 2)
    partly_a = [None if i % 10 == 0 else g for i, g in enumerate(a)]
    partly_b = [None if i % 10 == 1 else g for i, g in enumerate(b)]
    pair = pair_of(truth, partly_a, partly_b)
    both = [i for i in range(100) if i % 10 > 1]
    assert pair.n == 80
    expected = np.mean([abs(a[i] - truth[i]) - abs(b[i] - truth[i]) for i in both])
    assert pair.difference == pytest.approx(expected)


def test_an_unreadable_label_counts_as_wrong_in_a_pair() -> None:
    truth = ["x", "y"] * 50
    right: list[str | None] = list(truth)
    silent = [None if i % 2 else label for i, label in enumerate(truth)]
    (pair,) = compare(problem_of(truth, "label"), {"right": answers(right), "silent": answers(silent)}, resamples=999)
    assert (pair.n, pair.difference, pair.distinguishable) == (100, 0.5, True)
    assert "50.0 points higher" in pair.sentence


def test_too_few_items_in_common_say_nothing() -> None:
    truth = prices(MIN_ITEMS - 1)
    pair = pair_of(truth, truth.tolist(), (truth * 3).tolist())
    assert not pair.distinguishable
    assert "too few to say anything" in pair.sentence
    nothing = pair_of(truth, truth.tolist(), [None] * len(truth))
    assert (nothing.n, nothing.difference, nothing.p) == (0, None, 1)


def test_every_pair_appears_once_with_its_sign() -> None:
    truth = prices(50)
    spreads = {"a": 0.2, "b": 0.4, "c": 0.8}
    runs = {name: answers(guesses(truth, spread, seed=ord(name))) for name, spread in spreads.items()}
    pairs = compare(problem_of(truth.tolist()), runs, resamples=999)
    assert [(pair.a, pair.b) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    by = {(pair.a, pair.b): pair.difference for pair in pairs}
    ab, ac, bc = by["a", "b"], by["a", "c"], by["b", "c"]
    assert ab is not None
    assert ac is not None
    assert bc is not None
    assert ab + bc == pytest.approx(ac)
    reverse = compare(problem_of(truth.tolist()), {"b": runs["b"], "a": runs["a"]}, resamples=999)
    assert reverse[0].difference == pytest.approx(-ab)


def test_holm_by_hand() -> None:
    corrected, levels = holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert levels == pytest.approx([0.05 / 3, 0.05, 0.05 / 2, 0.05 / 4])
    assert holm([0.9, 0.8])[0] == [1.0, 1.0]
    assert holm([]) == ([], [])


def test_many_comparisons_ask_for_more_than_one_does() -> None:
    truth = prices(120)
    base, other = guesses(truth, 0.40, 1), guesses(truth, 0.53, 2)
    alone = pair_of(truth, base, other)
    assert alone.distinguishable
    crowd = {"a": answers(base), "b": answers(other)}
    crowd |= {f"x{i}": answers(guesses(truth, 0.45, 10 + i)) for i in range(8)}
    in_a_crowd = compare(problem_of(truth.tolist()), crowd, resamples=999)[0]
    assert in_a_crowd.difference == pytest.approx(alone.difference or 0)
    assert in_a_crowd.p == pytest.approx(alone.p, abs=0.02)
    assert in_a_crowd.p_holm > alone.p_holm
    assert not in_a_crowd.distinguishable
    assert "over 45 comparisons" in in_a_crowd.sentence


@pytest.mark.parametrize("metric", [m.name for m in metrics_for("number") if m.better != "zero"])
def test_every_number_metric_compares(metric: str) -> None:
    truth = prices(200)
    good, bad = guesses(truth, 0.1, 1), guesses(truth, 0.6, 2)
    bad_and_silent: list[float | None] = [None if i % 3 == 0 else g for i, g in enumerate(bad)]
    pair = pair_of(truth, good, bad_and_silent if metric == "parse_rate" else bad, metric)
    assert pair.distinguishable, pair
    assert pair.low is not None
    assert pair.high is not None
    assert pair.difference is not None
    assert pair.low <= pair.difference <= pair.high


@pytest.mark.parametrize("metric", [m.name for m in metrics_for("label") if m.name != "parse_rate"])
def test_every_label_metric_compares(metric: str) -> None:
    generator = np.random.default_rng(5)
    truth = generator.choice(["a", "b", "c"], 200).tolist()
    good = [t if generator.random() < 0.9 else "a" for t in truth]
    bad = [t if generator.random() < 0.4 else "a" for t in truth]
    runs = {"good": answers(good), "bad": answers(bad)}
    (pair,) = compare(problem_of(truth, "label"), runs, metric, resamples=999)
    assert pair.distinguishable
    assert (pair.difference or 0) > 0


@pytest.mark.parametrize("metric", ["rouge_l", "rouge_1", "exact_match"])
def test_every_text_metric_compares(metric: str) -> None:
    truth = [f"the quick brown fox number {i}" for i in range(40)]
    runs = {"good": answers(truth), "bad": answers(["nothing of it"] * 40)}
    (pair,) = compare(problem_of(truth, "text"), runs, metric, resamples=999)
    assert (pair.difference, pair.distinguishable) == (1.0, True)


def test_the_bias_decides_nothing() -> None:
    with pytest.raises(UsageError, match="cannot decide"):
        compare(problem_of([1.0]), {"a": answers([1.0]), "b": answers([1.0])}, "bias")


def test_the_same_seed_gives_the_same_table_whatever_else_is_in_it() -> None:
    truth = prices(40)
    runs = {name: answers(guesses(truth, 0.4, i)) for i, name in enumerate("abc")}
    problem = problem_of(truth.tolist())
    table = compare(problem, runs, resamples=999)
    assert table == compare(problem, runs, resamples=999)
    (alone,) = compare(problem, {"a": runs["a"], "b": runs["b"]}, resamples=999)
    assert alone.p == table[0].p
    assert (alone.low, alone.high) == pytest.approx((table[0].low, table[0].high))
