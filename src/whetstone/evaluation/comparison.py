"""Runs compared pair by pair on the same items: by how much they differ, and whether the difference is real."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

import numpy as np

from whetstone.evaluation.answers import align
from whetstone.evaluation.intervals import LEVEL, RESAMPLES, Draws, Floats, bootstrap, symmetric
from whetstone.evaluation.metrics import FEWEST, Metric, deciding_metric
from whetstone.evaluation.wording import approximately, metric_difference, p_value
from whetstone.types import Prediction, Problem

ALPHA = 1 - LEVEL
POWER = 0.8
MIN_ITEMS = 20  # items in common below which nothing is said: a single odd item still turns the result


@dataclass(frozen=True)
class Pair:
    """Run a against run b on the items that both were asked (number problems: that both answered readably).

    Attributes:
        a, b: names of the runs.
        metric: what they are compared by.
        difference: the metric of a minus that of b; None where undefined.
        low, high: its 95 % interval, not widened for the number of comparisons; None where the items are too few.
        p: two-sided p-value of "no difference"; at most 0.05 exactly when 0 lies outside the interval.
        p_holm: p corrected for all comparisons of the table (Holm 1979).
        n: items in common.
        distinguishable: whether the difference is real at 5 %, after the correction.
        needed_items: where it is not: about how many items would show a difference of this size with 80 % power; None
            where no number would, or where it is.
        sentence: all this in words.
    """

    a: str
    b: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float
    p_holm: float
    n: int
    distinguishable: bool
    needed_items: int | None
    sentence: str = ""


def compare(
    problem: Problem,
    runs: Mapping[str, Sequence[Prediction]],
    metric: str | None = None,
    seed: int = 42,
    resamples: int = RESAMPLES,
) -> list[Pair]:
    """Every pair of runs, by the paired bootstrap: both runs are resampled on the same items.

    The interval is the symmetric bootstrap-t (see `whetstone.evaluation.intervals` for what was measured).

    Args:
        runs: name -> answers; cases that a run has no answer to yet are left out of its pairs.
        metric: by which; the problem's deciding metric by default.

    Raises:
        UnknownNameError: no such metric for this kind of problem.
        UsageError: the metric cannot decide.
        DataError: an answer to something that is no test case of the problem, or two to the same.
    """
    chosen = deciding_metric(problem.kind, metric or problem.metric)
    features = {name: _features(problem, predictions, chosen) for name, predictions in runs.items()}
    found = _draw_pairs(chosen, features, seed, resamples)
    intervals = [(-math.inf, math.inf, 1.0) if drawn is None else symmetric(drawn) for _, _, _, drawn in found]
    adjusted, levels = holm([p for _, _, p in intervals])
    pairs = []
    for (a, b, n, drawn), (low, high, p), p_holm, level in zip(found, intervals, adjusted, levels, strict=True):
        defined = drawn is not None and all(map(math.isfinite, (drawn.estimate, low, high)))
        distinguishable = defined and n >= MIN_ITEMS and p_holm <= ALPHA
        pair = Pair(
            a=a,
            b=b,
            metric=chosen.name,
            difference=drawn.estimate if drawn is not None and defined else None,
            low=low if defined else None,
            high=high if defined else None,
            p=p,
            p_holm=p_holm,
            n=n,
            distinguishable=distinguishable,
            needed_items=needed_items(drawn, n, level) if drawn is not None and not distinguishable else None,
        )
        pairs.append(replace(pair, sentence=_sentence(pair, chosen, problem.unit, len(found))))
    return pairs


def resampled_together(
    problem: Problem, runs: Mapping[str, Sequence[Prediction]], *, seed: int = 42, resamples: int = RESAMPLES
) -> tuple[int, Floats]:
    """The deciding metric of every run on the items that all of them have in common, and on resamples of these.

    Returns:
        How many items those are, and shape (1 + resamples, runs): the items themselves in the first row, then the
        resamples, the same ones for every run. No rows where the items are too few.
    """
    metric = deciding_metric(problem.kind, problem.metric)
    features = {name: _features(problem, predictions, metric) for name, predictions in runs.items()}
    items = sorted(set.intersection(*(set(found) for found in features.values())))
    if len(items) < FEWEST:
        return len(items), np.empty((0, len(runs)))
    statistics = [metric.statistic(np.array([found[item] for item in items])) for found in features.values()]
    drawn = bootstrap(statistics, [(i, None) for i in range(len(statistics))], seed=seed, resamples=resamples)
    return len(items), np.column_stack([np.r_[one.estimate, one.values] for one in drawn])


def _features(problem: Problem, predictions: Sequence[Prediction], metric: Metric) -> dict[int, Floats]:
    """The metric's features of each item it is over, by the item's position among the test cases."""
    answers = align(problem, predictions)
    items = metric.items(answers)
    features = metric.features(answers) if items.any() else None
    if features is None:
        return {}
    return dict(zip(answers.positions[items].tolist(), features[items], strict=True))


def _draw_pairs(
    metric: Metric, features: Mapping[str, dict[int, Floats]], seed: int, resamples: int
) -> list[tuple[str, str, int, Draws | None]]:
    """(a, b, items in common, draws of the difference) of every pair; pairs on the same items share their resamples."""
    pairs = list(combinations(features, 2))
    by_items: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    for a, b in pairs:
        by_items.setdefault(tuple(sorted(features[a].keys() & features[b].keys())), []).append((a, b))
    found: dict[tuple[str, str], tuple[int, Draws | None]] = {}
    for items, members in by_items.items():
        if len(items) < FEWEST:
            found.update({pair: (len(items), None) for pair in members})
            continue
        names = list(dict.fromkeys(name for pair in members for name in pair))
        tables = [np.array([features[name][item] for item in items]) for name in names]
        contrasts = [(names.index(a), names.index(b)) for a, b in members]
        statistics = [metric.statistic(table) for table in tables]
        drawn = bootstrap(statistics, [(i, j) for i, j in contrasts], seed=seed, resamples=resamples)
        for pair, (i, j), draws in zip(members, contrasts, drawn, strict=True):
            if tables[i].shape == tables[j].shape and np.array_equal(tables[i], tables[j]):
                zeros = np.zeros(resamples)  # exactly, where rounding might leave a remainder
                draws = Draws(0.0, 0.0, zeros, zeros)
            found[pair] = (len(items), draws)
    return [(a, b, *found[a, b]) for a, b in pairs]


def holm(p_values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Holm's correction for several comparisons (Holm 1979, Scandinavian Journal of Statistics 6).

    Returns:
        The corrected p-values, and the level that each raw p-value has to stay below for 5 % over all.
    """
    corrected, levels = [0.0] * len(p_values), [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index], levels[index] = largest, ALPHA / (len(p_values) - rank)
    return corrected, levels


def needed_items(drawn: Draws, n: int, level: float) -> int | None:
    """About how many items it takes to tell a difference of the size seen from none, with 80 % power.

    From the spread of the paired differences, sd = error * sqrt(n): N = (z(1 - level/2) + z(power))² sd² / difference²
    (Cohen 1988, Statistical Power Analysis). None where no number of items would do.
    """
    if drawn.estimate == 0 or not math.isfinite(drawn.estimate) or not drawn.spread > 0:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(POWER)
    needed = (z * drawn.spread / drawn.estimate) ** 2 * n
    return max(n + 1, math.ceil(needed)) if needed < 1e12 else None


def _sentence(pair: Pair, metric: Metric, unit: str, comparisons: int) -> str:
    """A pair in words; `comparisons` is how many there are in the table."""
    if pair.n < MIN_ITEMS:
        return f"{pair.a} and {pair.b} have {pair.n} answered items in common, too few to say anything."
    if pair.difference is None or pair.low is None or pair.high is None:
        return f"{pair.a} and {pair.b} cannot be compared: their {metric.title} is not defined on these items."
    if pair.difference == pair.low == pair.high == 0:
        same = f"{pair.a} and {pair.b} score the same on every one of {pair.n:,} items"
        return f"{same}; no number of items would tell them apart."
    if pair.difference == 0:
        equal = f"{pair.a} and {pair.b} have the same {metric.title} on {pair.n:,} items"
        return f"{equal}; no number of items would tell so small a difference from none."

    def written(value: float) -> str:
        return metric_difference(metric, value, unit)

    seen = (
        f"{pair.a}'s {metric.title} is {written(abs(pair.difference))} {'lower' if pair.difference < 0 else 'higher'}"
    )
    corrected = p_value(pair.p_holm) + (" after Holm's correction" if comparisons > 1 else "")
    if pair.distinguishable:
        near, far = sorted((abs(pair.low), abs(pair.high)))
        interval = f"95 % interval {written(near)} to {written(far)}"
        return f"{seen} than {pair.b}'s ({interval}; {corrected}; {pair.n:,} items)."
    interval = f"95 % interval {written(pair.low)} to {written(pair.high)}"
    if pair.p <= ALPHA:
        corrected = f"{p_value(pair.p)}, but {p_value(pair.p_holm)} over {comparisons} comparisons"
    more = "No number of items would be enough."
    if pair.needed_items:
        more = f"About {approximately(pair.needed_items)} items would be needed."
    return f"{pair.a} and {pair.b} cannot be told apart at n = {pair.n:,}: {seen} ({interval}; {corrected}). {more}"
