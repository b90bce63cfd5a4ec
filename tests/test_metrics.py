"""Metrics of runs, against hand-computed values, scikit-learn and rouge-score."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from whetstone.errors import DataError, UnknownNameError, UsageError
from whetstone.evaluation.metrics import DEFAULT_METRIC, METRICS, deciding_metric, metrics_for, score
from whetstone.types import Case, Prediction, Problem, Reading, TargetKind


def problem_of(truth: Sequence[float] | Sequence[str], kind: TargetKind = "number") -> Problem:
    cases = [Case(f"c{i}", "", value) for i, value in enumerate(truth)]
    labels = tuple(sorted({str(value) for value in truth})) if kind == "label" else ()
    return Problem("p", kind, "price", DEFAULT_METRIC[kind], [], [], cases, "f", unit="$", labels=labels)


def answers(guesses: Sequence[float | str | None]) -> list[Prediction]:
    """One prediction per case; None is an answer that could not be read."""
    readings = [Reading("refused") if g is None else Reading("value", g) for g in guesses]
    return [Prediction(f"c{i}", "k", reading) for i, reading in enumerate(readings)]


def values(problem: Problem, guesses: Sequence[float | str | None]) -> dict[str, float | None]:
    scores = score(problem, answers(guesses), resamples=199)
    return {name: interval.value for name, interval in scores.metrics.items()}


def test_number_metrics_by_hand() -> None:
    found = values(problem_of([100.0, 200.0, 50.0, 10.0]), [110.0, 150.0, 100.0, 10.0])
    assert found["mae"] == pytest.approx((10 + 50 + 50 + 0) / 4)
    assert found["median_ae"] == pytest.approx(30)
    assert found["rmse"] == pytest.approx(math.sqrt((100 + 2500 + 2500) / 4))
    assert found["bias"] == pytest.approx((10 - 50 + 50) / 4)
    assert found["smape"] == pytest.approx((20 / 210 + 100 / 350 + 100 / 150 + 0) / 4)
    assert found["hit_rate"] == pytest.approx(0.5)
    assert found["parse_rate"] == 1.0


def test_number_metrics_agree_with_scikit_learn() -> None:
    from sklearn import metrics

    generator = np.random.default_rng(1)
    truth = generator.lognormal(5, 1, 200)
    guess = truth * generator.lognormal(0, 0.5, 200)
    found = values(problem_of(truth.tolist()), guess.tolist())
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guess))
    assert found["median_ae"] == pytest.approx(metrics.median_absolute_error(truth, guess))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, guess))
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, guess))
    assert found["rmsle"] == pytest.approx(metrics.root_mean_squared_log_error(truth, guess))


def test_a_hit_is_strictly_within_40_or_20_percent() -> None:
    exactly_40, just_below_40 = 140.0, 139.99
    exactly_20_percent, just_below_20_percent = 1200.0, 1199.99
    problem = problem_of([100.0, 100.0, 1000.0, 1000.0])
    guesses = [exactly_40, just_below_40, exactly_20_percent, just_below_20_percent]
    assert values(problem, guesses)["hit_rate"] == 0.5
    assert values(problem, [100.0, exactly_40, 1000.0, exactly_20_percent])["hit_rate"] == 0.5


def test_an_unreadable_answer_is_left_out_of_errors_and_lowers_the_parse_rate() -> None:
    scores = score(problem_of([100.0, 200.0, 50.0, 10.0]), answers([110.0, None, None, 10.0]), resamples=199)
    assert (scores.n, scores.n_readable) == (4, 2)
    assert scores.metrics["mae"].value == 5
    assert scores.metrics["hit_rate"].value == 1.0
    assert scores.metrics["parse_rate"].value == 0.5


def test_an_answer_out_of_range_does_not_count() -> None:
    predictions = [*answers([110.0]), Prediction("c1", "k", Reading("out_of_range", 1e9))]
    scores = score(problem_of([100.0, 200.0]), predictions, resamples=199)
    assert (scores.n_readable, scores.metrics["mae"].value) == (1, 10)


def test_rmsle_takes_a_guess_below_zero_as_zero_and_is_undefined_on_truths_below_zero() -> None:
    assert values(problem_of([0.0, math.e - 1]), [-5.0, math.e - 1])["rmsle"] == pytest.approx(0)
    assert values(problem_of([-1.0, 5.0]), [1.0, 5.0])["rmsle"] is None


def test_what_is_not_defined_is_none_and_never_a_number() -> None:
    nothing = score(problem_of([1.0, 2.0]), answers([None, None]))
    assert nothing.metrics["mae"].value is None
    assert nothing.metrics["parse_rate"].value == 0
    assert score(problem_of([1.0, 2.0]), []).metrics["parse_rate"].value is None
    assert values(problem_of([5.0] * 30), [4.0 + i % 3 for i in range(30)])["r2"] is None


def test_few_items_have_a_value_but_no_interval() -> None:
    interval = score(problem_of([100.0, 200.0]), answers([110.0, 190.0])).metrics["mae"]
    assert (interval.value, interval.low, interval.high) == (10, None, None)


def test_every_interval_holds_its_value_and_stays_within_bounds() -> None:
    generator = np.random.default_rng(2)
    truth = generator.lognormal(5, 1, 60)
    problem = problem_of(truth.tolist())
    scores = score(problem, answers((truth * generator.lognormal(0, 0.4, 60)).tolist()))
    for name, interval in scores.metrics.items():
        assert interval.value is not None
        assert interval.low is not None
        assert interval.high is not None
        low, high = METRICS[name].bounds
        assert low <= interval.low <= interval.value <= interval.high <= high, name


def test_the_same_seed_gives_the_same_intervals() -> None:
    truth = np.random.default_rng(3).lognormal(5, 1, 50)
    problem, guesses = problem_of(truth.tolist()), answers((truth * 1.1 + 5).tolist())
    assert score(problem, guesses, seed=7) == score(problem, guesses, seed=7)
    assert score(problem, guesses, seed=7) != score(problem, guesses, seed=8)


def test_label_metrics_agree_with_scikit_learn_where_all_answers_are_readable() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    generator = np.random.default_rng(4)
    truth = generator.choice(["a", "b", "c", "never answered"], 300, p=[0.5, 0.3, 0.15, 0.05]).tolist()
    guess = [
        t if generator.random() < 0.6 and t != "never answered" else generator.choice(["a", "b", "c"]) for t in truth
    ]
    found = values(problem_of(truth, "label"), guess)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))


def test_an_unreadable_label_is_not_correct() -> None:
    from sklearn.metrics import f1_score

    truth = ["a", "a", "b", "b", "a", "b"]
    found = values(problem_of(truth, "label"), ["a", None, "b", None, "b", "b"])
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["parse_rate"] == pytest.approx(4 / 6)
    with_a_class_of_no_answer = f1_score(truth, ["a", "?", "b", "?", "b", "b"], labels=["a", "b"], average="macro")
    assert found["macro_f1"] == pytest.approx(with_a_class_of_no_answer)


def test_text_metrics() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    truth = ["The quick brown fox jumps", "over the lazy dog", "again"]
    guess = ["the quick  brown foxes jumped", "over the  lazy dog", None]
    found = values(problem_of(truth, "text"), guess)
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    assert found["exact_match"] == pytest.approx(1 / 3)
    for name, theirs in (("rouge_1", "rouge1"), ("rouge_l", "rougeL")):
        expected = sum(scorer.score(t, g or "")[theirs].fmeasure for t, g in zip(truth, guess, strict=True)) / 3
        assert found[name] == pytest.approx(expected)


@pytest.mark.parametrize("text", ["가격은 비싸다", "très élégant", "値段は高い", "дорого"])
def test_rouge_counts_words_of_every_script(text: str) -> None:
    found = values(problem_of([text], "text"), [text])
    assert found["rouge_l"] == 1.0
    assert values(problem_of([text], "text"), ["something else"])["rouge_l"] == 0.0


def test_answers_to_unknown_cases_and_second_answers_are_errors() -> None:
    problem = problem_of([1.0, 2.0])
    with pytest.raises(DataError, match="no test case"):
        score(problem, [Prediction("other", "k", Reading("value", 1.0))])
    with pytest.raises(DataError, match="answered twice"):
        score(problem, [*answers([1.0]), *answers([1.0])])


def test_the_order_of_answers_does_not_matter() -> None:
    problem, predictions = problem_of([1.0, 2.0, 30.0]), answers([1.0, 3.0, 20.0])
    assert score(problem, predictions[::-1]) == score(problem, predictions)


def test_only_a_metric_of_the_kind_with_a_direction_decides() -> None:
    assert deciding_metric("number", "mae").name == "mae"
    assert METRICS["r2"].higher_is_better
    assert not METRICS["mae"].higher_is_better
    with pytest.raises(UnknownNameError, match="Did you mean"):
        deciding_metric("number", "rmsel")
    with pytest.raises(UnknownNameError):
        deciding_metric("label", "mae")
    with pytest.raises(UsageError, match="cannot decide"):
        deciding_metric("number", "bias")
    for kind, name in DEFAULT_METRIC.items():
        assert deciding_metric(kind, name) in metrics_for(kind)


def test_the_published_figures_of_the_human_guesses_come_out(shared_data: Path) -> None:
    """Error $126.55, RMSLE 1.00, hits 32.0 %: the README beside the data."""
    lines = (shared_data / "price_is_right" / "items_250.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    found = values(problem_of([float(row["price"]) for row in rows]), [float(row["human_guess"]) for row in rows])
    assert found["mae"] == pytest.approx(126.55, abs=0.005)
    assert found["rmsle"] == pytest.approx(1.00, abs=0.005)
    assert found["hit_rate"] == pytest.approx(0.320)
