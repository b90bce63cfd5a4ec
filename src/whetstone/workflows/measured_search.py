"""What `whet kb eval` says: metrics of a search with intervals, and two searches compared question by question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whetstone.errors import DataError, UsageError
from whetstone.evaluation.intervals import LEVEL, FunctionOfMeans, Interval, bootstrap, equal_tailed, symmetric, wilson
from whetstone.evaluation.wording import p_value
from whetstone.retrieval.measure import Measures, Question
from whetstone.retrieval.store import Store

__all__ = ["BOUNDS", "Comparison", "Difference", "as_json", "check_places", "compared", "interval"]

BOUNDS = {"mrr": 1.0, "ndcg": 1.0, "coverage": 100.0, "recall": 100.0, "strict": 1.0, "context_chars": math.inf}
"""The metrics in the order in which they are told, and the best that each can be."""

NAMES = {
    "mrr": "MRR",
    "ndcg": "nDCG",
    "coverage": "keyword coverage",
    "recall": "recall",
    "strict": "strict MRR",
    "context_chars": "characters of context",
}
_IN_JSON = ("mrr", "ndcg", "coverage", "recall", "context_chars")
_FEWEST = 20  # questions below which two searches are not compared: a single one turns the result
_SEED = 42


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of the first search minus that of the second on the same questions.

    Attributes:
        metric: its name.
        difference: None where no question has the metric.
        low, high: its 95 % interval; None where the questions are too few.
        p: two-sided p-value of "no difference".
    """

    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two searches on the same questions: every metric's difference, and the verdict by MRR in words."""

    differences: tuple[Difference, ...]
    verdict: str


def check_places(questions: Sequence[Question], store: Store) -> None:
    """Check that the documents in which something is relevant are in the knowledge base.

    Raises:
        DataError: one is not; the row is named.
    """
    if not any(question.spans for question in questions):
        return
    known = store.manifest()
    for question in questions:
        for span in question.spans:
            if span.path not in known:
                raise DataError(
                    f"Row {question.row}, field spans: {span.path} is no document of the knowledge base {store.name}; "
                    "paths are relative to its folder"
                )


def interval(measures: Measures, metric: str) -> Interval:
    """The mean of a metric over the questions, and its 95 % interval; without one where there is a single question.

    Metrics with a best value get the score interval of a share (Wilson 1927) at the number of yes-or-no questions that
    would vary as much (Korn & Graubard 1998): over 15 populations of such metrics, n from 13 to 100, it holds the true
    mean in 0.89 to 0.97 of samples, the percentile bootstrap in 0.87 to 1.00; the bootstrap-t in 0.93 to 1.00, but it
    is up to ten times as wide where nearly all questions score 1. Characters of context get the bootstrap-t.
    """
    values = np.array([value for value in measures.values(metric) if value is not None], dtype=np.float64)
    if not len(values):
        return Interval(None, None, None)
    mean, best = float(values.mean()), BOUNDS[metric]
    if len(values) == 1:
        return Interval(mean, None, None)
    variance = float(values.var(ddof=1))
    if math.isfinite(best):
        share = mean / best
        as_many = share * (1 - share) * best**2 / variance if variance > 0 else 1.0
        low, high = wilson(share * len(values) * max(1.0, as_many), len(values) * max(1.0, as_many))
        return Interval(mean, low * best, high * best)
    if not variance:
        return Interval(mean, mean, mean)
    low, high = equal_tailed(bootstrap([_mean_of(values)], [(0, None)], seed=_SEED)[0])
    return Interval(mean, _end(max(low, 0.0)), _end(high))


def as_json(measures: Measures) -> dict[str, Any]:
    """The metrics, and those of each category: `{"n", "mrr": {"value", "low", "high"}, …, "by_category"}`."""
    return {**_metrics(measures), "by_category": {name: _metrics(of) for name, of in measures.by_category().items()}}


def compared(first: Measures, second: Measures, names: tuple[str, str]) -> Comparison:
    """Compare two searches on the same questions.

    Args:
        names: what the two are called.

    Raises:
        UsageError: the questions are not the same.
    """
    if first.questions != second.questions:
        raise UsageError("Two searches are compared on the same questions only")
    differences = tuple(_difference(first, second, metric) for metric in BOUNDS)
    return Comparison(differences, _verdict(first, second, names, differences[0]))


def _difference(first: Measures, second: Measures, metric: str) -> Difference:
    pairs = [
        (a, b)
        for a, b in zip(first.values(metric), second.values(metric), strict=True)
        if a is not None and b is not None
    ]
    if not pairs:
        return Difference(metric, None, None, None, 1.0)
    values = np.array(pairs, dtype=np.float64)
    apart = float((values[:, 0] - values[:, 1]).mean())
    if len(pairs) < _FEWEST:
        return Difference(metric, apart, None, None, 1.0)
    draws = bootstrap([_mean_of(values[:, 0]), _mean_of(values[:, 1])], [(0, 1)], seed=_SEED)[0]
    low, high, p = symmetric(draws)
    return Difference(metric, apart, _end(low), _end(high), p)


def _verdict(first: Measures, second: Measures, names: tuple[str, str], mrr: Difference) -> str:
    n = len(first.questions)
    values = f"MRR {first.mean('mrr') or 0:.3f} against {second.mean('mrr') or 0:.3f}"
    if mrr.low is None or mrr.high is None:
        return f"{n} questions are too few to compare {names[0]} with {names[1]} ({values}): use at least {_FEWEST}."
    apart = f"a difference of {mrr.difference:+.3f} (95 % interval {mrr.low:+.3f} to {mrr.high:+.3f}, {p_value(mrr.p)})"
    if mrr.p > 1 - LEVEL:
        return f"No difference shown between {names[0]} and {names[1]} on {n} questions: {values}, {apart}."
    better, worse = names if (mrr.difference or 0) > 0 else names[::-1]
    return f"{better} finds better than {worse} on {n} questions: {values}, {apart}."


def _metrics(measures: Measures) -> dict[str, Any]:
    values: dict[str, Any] = {"n": len(measures.questions)}
    for metric in _IN_JSON:
        found = interval(measures, metric)
        values[metric] = None if found.value is None else {"value": found.value, "low": found.low, "high": found.high}
    return values


def _mean_of(values: Any) -> FunctionOfMeans:
    return FunctionOfMeans(np.asarray(values, dtype=np.float64)[:, None], lambda means: means[..., 0])


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None
