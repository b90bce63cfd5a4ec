"""The metrics, by kind of problem, and the scores of one run.

Errors of numbers are computed over the readable answers, and the parse rate stands beside them. For labels and texts an
unreadable answer is no correct answer: accuracy, F1, exact match and ROUGE are over all items that were asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whetstone.errors import UsageError
from whetstone.evaluation import features as f
from whetstone.evaluation.answers import Answers, align
from whetstone.evaluation.intervals import (
    RESAMPLES,
    Floats,
    FunctionOfMeans,
    Interval,
    Median,
    Statistic,
    bootstrap,
    equal_tailed,
    median_interval,
    wilson,
)
from whetstone.registry import unknown_name
from whetstone.types import Prediction, Problem, TargetKind

FEWEST = 5  # items below which no interval is given (shares excepted): their spread is as good as unknown


@dataclass(frozen=True)
class Metric:
    """One way to judge answers.

    Attributes:
        name: in tables, JSON and `Problem.metric`.
        title: in sentences.
        kinds: kinds of problem it is for.
        better: "lower", "higher", or "zero": a property to know rather than a goal, which cannot decide a comparison.
        scale: "unit" (in the problem's unit), "share" (0 to 1, shown in percent) or "plain".
        features: answers -> (n, k); None where the metric is not defined. See `whetstone.evaluation.features`.
        form: what it makes of the features. "share": the mean of zeros and ones; "smooth": `function` of their means;
            "rough": the same, but without a usable gradient; "median": the median of the one feature.
        function: means of the features (..., k) -> values (...).
        over: "readable" items, or "all" that were asked.
        bounds: the smallest and the largest value that it can have.
    """

    name: str
    title: str
    kinds: tuple[TargetKind, ...]
    better: Literal["lower", "higher", "zero"]
    scale: Literal["unit", "share", "plain"]
    features: Callable[[Answers], Floats | None]
    form: Literal["share", "smooth", "rough", "median"]
    function: Callable[[Floats], Floats] = f.mean
    over: Literal["readable", "all"] = "all"
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is better."""
        return self.better == "higher"

    def items(self, answers: Answers) -> NDArray[np.bool_]:
        """Which of the answers it is over, (n,)."""
        return answers.readable if self.over == "readable" else np.ones(len(answers.readable), dtype=np.bool_)

    def statistic(self, features: Floats) -> Statistic:
        """The metric as a statistic of items with these features, (n, k), which resampling understands."""
        if self.form == "median":
            return Median(features[:, 0])
        return FunctionOfMeans(features, self.function, smooth=self.form != "rough")


_NUMBER: tuple[TargetKind, ...] = ("number",)
_LABEL: tuple[TargetKind, ...] = ("label",)
_TEXT: tuple[TargetKind, ...] = ("text",)
_INFINITE = math.inf

# fmt: off
_TABLE = (
    Metric("mae", "mean absolute error", _NUMBER, "lower", "unit",
           f.absolute_errors, "smooth", f.mean, "readable", (0, _INFINITE)),
    Metric("median_ae", "median absolute error", _NUMBER, "lower", "unit",
           f.absolute_errors, "median", f.mean, "readable", (0, _INFINITE)),
    Metric("rmse", "root mean squared error", _NUMBER, "lower", "unit",
           f.squared_errors, "smooth", f.root_mean, "readable", (0, _INFINITE)),
    # The share of the truth's variance that the guesses explain; below 0 where always guessing its mean does better.
    Metric("r2", "R²", _NUMBER, "higher", "plain",
           f.explained, "smooth", f.r2, "readable", (-_INFINITE, 1)),
    Metric("rmsle", "RMSLE", _NUMBER, "lower", "plain",
           f.squared_log_errors, "smooth", f.root_mean, "readable", (0, _INFINITE)),
    Metric("smape", "SMAPE", _NUMBER, "lower", "share",
           f.symmetric_relative_errors, "smooth", f.mean, "readable", (0, 2)),
    Metric("hit_rate", "hit rate", _NUMBER, "higher", "share",
           f.hits, "share", f.mean, "readable"),
    Metric("bias", "mean error", _NUMBER, "zero", "unit",
           f.errors, "smooth", f.mean, "readable", (-_INFINITE, _INFINITE)),
    Metric("accuracy", "accuracy", _LABEL, "higher", "share", f.correct, "share"),
    # Over the labels that occur as a truth or as an answer, as in scikit-learn.
    Metric("macro_f1", "macro F1", _LABEL, "higher", "plain", f.classes, "rough", f.macro_f1),
    Metric("exact_match", "exact match", _TEXT, "higher", "share", f.same_text, "share"),
    Metric("rouge_l", "ROUGE-L", _TEXT, "higher", "plain", f.rouge_l, "smooth"),
    Metric("rouge_1", "ROUGE-1", _TEXT, "higher", "plain", f.rouge_1, "smooth"),
    Metric("parse_rate", "parse rate", ("number", "label", "text"), "higher", "share", f.readable, "share"),
)
# fmt: on
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
DEFAULT_METRIC: Mapping[TargetKind, str] = {"number": "mae", "label": "accuracy", "text": "rouge_l"}


def metrics_for(kind: TargetKind) -> list[Metric]:
    """The metrics of a kind of problem, in the order of tables."""
    return [metric for metric in _TABLE if kind in metric.kinds]


def deciding_metric(kind: TargetKind, name: str) -> Metric:
    """The metric of this name, which a comparison on this kind of problem may be decided by.

    Raises:
        UnknownNameError: the kind of problem has no such metric.
        UsageError: it has, but neither more nor less of it is better.
    """
    known = {metric.name: metric for metric in metrics_for(kind)}
    if name not in known:
        raise unknown_name(f"metric for {kind} problems", name, known)
    if known[name].better == "zero":
        raise UsageError(f"{name} cannot decide a comparison, because neither more nor less of it is better: take mae")
    return known[name]


@dataclass(frozen=True)
class Scores:
    """How one technique did.

    Attributes:
        n: items it was asked.
        n_readable: answers that could be read.
        metrics: metric name -> value with its 95 % interval.
    """

    n: int
    n_readable: int
    metrics: Mapping[str, Interval]


def score(problem: Problem, predictions: Sequence[Prediction], *, seed: int = 42, resamples: int = RESAMPLES) -> Scores:
    """Every metric of the problem's kind on one run's answers, each with its 95 % interval.

    Raises:
        DataError: an answer to something that is no test case of the problem, or two to the same.
    """
    answers = align(problem, predictions)
    results = {metric.name: Interval(None, None, None) for metric in metrics_for(problem.kind)}
    resampled: dict[int, dict[str, Statistic]] = {}  # by number of items
    for metric in metrics_for(problem.kind):
        items = metric.items(answers)
        table = metric.features(answers) if items.any() else None
        if table is None:
            continue
        table = table[items]
        n = len(table)
        if metric.form == "share":
            hits = int(table.sum())
            results[metric.name] = Interval(hits / n, *wilson(hits, n))
        elif metric.form == "median":
            results[metric.name] = _bounded(metric, n, float(np.median(table)), *median_interval(table[:, 0]))
        else:
            resampled.setdefault(n, {})[metric.name] = metric.statistic(table)
    for n, statistics in resampled.items():
        contrasts = [(i, None) for i in range(len(statistics))]
        draws = bootstrap(list(statistics.values()), contrasts, seed=seed, resamples=resamples)
        for name, drawn in zip(statistics, draws, strict=True):
            results[name] = _bounded(METRICS[name], n, drawn.estimate, *equal_tailed(drawn))
    return Scores(len(answers.readable), int(answers.readable.sum()), results)


def _bounded(metric: Metric, n: int, value: float, low: float, high: float) -> Interval:
    """The interval within the metric's bounds; without ends where the items are too few to give them."""
    if not math.isfinite(value):
        return Interval(None, None, None)
    if n < FEWEST or not (math.isfinite(low) and math.isfinite(high)):
        return Interval(value, None, None)
    return Interval(value, max(low, metric.bounds[0]), min(high, metric.bounds[1]))
