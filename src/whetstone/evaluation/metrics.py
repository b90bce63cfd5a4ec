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
from whetstone.evaluation import coverage, entities, execution, overlap, short_answers
from whetstone.evaluation import features as f
from whetstone.evaluation import translation as mt
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
        better: "lower" or "higher"; or "zero", "one" (best near it) or "neither": a property to know rather than a
            goal, which cannot decide a comparison.
        scale: "unit" (in the problem's unit), "share" (0 to 1, shown in percent), "plain", or "hundred" (0 to 100).
        features: answers -> (n, k); None where the metric is not defined. See `whetstone.evaluation.features`.
        form: what it makes of the features. "share": the mean of zeros and ones; "smooth": `function` of their means;
            "rough": the same, but without a usable gradient; "median": the median of the one feature.
        function: means of the features (..., k) -> values (...).
        over: "readable" items, or "all" that were asked.
        bounds: the smallest and the largest value that it can have.
        beside: the deciding metrics that it is reported beside, where it does not belong to every problem of its kind.
        reads: fields of a case that it judges by, where it needs more than the text and the true answer.
    """

    name: str
    title: str
    kinds: tuple[TargetKind, ...]
    better: Literal["lower", "higher", "zero", "one", "neither"]
    scale: Literal["unit", "share", "plain", "hundred"]
    features: Callable[[Answers], Floats | None]
    form: Literal["share", "smooth", "rough", "median"]
    function: Callable[[Floats], Floats] = f.mean
    over: Literal["readable", "all"] = "all"
    bounds: tuple[float, float] = (0.0, 1.0)
    beside: frozenset[str] = frozenset()
    reads: tuple[str, ...] = ()

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is better."""
        return self.better == "higher"

    @property
    def decides(self) -> bool:
        """Whether a comparison can be decided by it."""
        return self.better in ("lower", "higher")

    @property
    def goal(self) -> str:
        """Which values are good ones, for the head of a column."""
        near = {"zero": "best near 0", "one": "best near 1", "neither": "tells, and does not judge"}
        return near.get(self.better, f"{self.better} is better")

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
_HUNDRED = (0.0, 100.0)
# Which of the metrics of texts are told together: one that does not fit the task would only be noise beside the others.
_WORDING = frozenset({"exact_match", "rouge_l", "rouge_1", "coverage"})
_TRANSLATION = frozenset({"chrf", "bleu"})
_ANSWER = frozenset({"token_f1", "answer_match"})
_CODE = frozenset({"pass_rate"})
_ENTITIES = frozenset({"entity_f1", "entity_f1_partial", "entity_precision", "entity_recall"})

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
    Metric("exact_match", "exact match", _TEXT, "higher", "share", f.same_text, "share",
           beside=_WORDING | _TRANSLATION | _ANSWER),
    Metric("rouge_l", "ROUGE-L", _TEXT, "higher", "plain", f.rouge_l, "smooth", beside=_WORDING),
    Metric("rouge_1", "ROUGE-1", _TEXT, "higher", "plain", f.rouge_1, "smooth", beside=_WORDING),
    Metric("coverage", "coverage", _TEXT, "higher", "share", coverage.coverages, "smooth",
           beside=frozenset({"coverage"}), reads=("points",)),
    Metric("chrf", "chrF", _TEXT, "higher", "hundred", mt.chrf_counts, "smooth", mt.chrf,
           bounds=_HUNDRED, beside=_TRANSLATION),
    Metric("bleu", "BLEU", _TEXT, "higher", "hundred", mt.bleu_counts, "rough", mt.bleu,
           bounds=_HUNDRED, beside=_TRANSLATION),
    Metric("token_f1", "word F1", _TEXT, "higher", "plain", short_answers.f1_scores, "smooth",
           beside=_ANSWER, reads=("accepted",)),
    Metric("answer_match", "right answers", _TEXT, "higher", "share", short_answers.same, "share",
           beside=_ANSWER, reads=("accepted",)),
    Metric("pass_rate", "pass rate", _TEXT, "higher", "share", execution.passes, "share",
           beside=_CODE, reads=execution.FIELDS),
    Metric("entity_f1", "entity F1", _TEXT, "higher", "plain", entities.counts, "smooth", entities.f1,
           beside=_ENTITIES),
    Metric("entity_f1_partial", "partial entity F1", _TEXT, "higher", "plain", entities.counts, "smooth",
           entities.partial_f1, beside=_ENTITIES),
    Metric("entity_precision", "entity precision", _TEXT, "higher", "share", entities.counts, "smooth",
           entities.precision, beside=_ENTITIES),
    Metric("entity_recall", "entity recall", _TEXT, "higher", "share", entities.counts, "smooth",
           entities.recall, beside=_ENTITIES),
    Metric("length_ratio", "length ratio", _TEXT, "one", "plain", overlap.lengths, "smooth",
           f.mean, "readable", (0, _INFINITE), beside=_WORDING | _TRANSLATION),
    Metric("copied", "copied text", _TEXT, "neither", "share", overlap.copied, "smooth", f.mean, "readable",
           beside=_WORDING),
    Metric("parse_rate", "parse rate", ("number", "label", "text"), "higher", "share", f.readable, "share"),
)
# fmt: on
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
DEFAULT_METRIC: Mapping[TargetKind, str] = {"number": "mae", "label": "accuracy", "text": "rouge_l"}


def metrics_for(kind: TargetKind) -> list[Metric]:
    """The metrics that a kind of problem can have, in the order of tables."""
    return [metric for metric in _TABLE if kind in metric.kinds]


def metrics_of(problem: Problem) -> list[Metric]:
    """The metrics that are reported on a problem, in the order of tables: the deciding one, and what belongs to it."""
    return [metric for metric in metrics_for(problem.kind) if not metric.beside or problem.metric in metric.beside]


def deciding_metric(kind: TargetKind, name: str) -> Metric:
    """The metric of this name, which a comparison on this kind of problem may be decided by.

    Raises:
        UnknownNameError: the kind of problem has no such metric.
        UsageError: it has, but neither more nor less of it is better.
    """
    known = {metric.name: metric for metric in metrics_for(kind)}
    if name not in known:
        raise unknown_name(f"metric for {kind} problems", name, known)
    if not known[name].decides:
        instead = DEFAULT_METRIC[kind]
        raise UsageError(
            f"{name} cannot decide a comparison, because neither more nor less of it is better: take {instead}"
        )
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
    results = {metric.name: Interval(None, None, None) for metric in metrics_of(problem)}
    resampled: dict[int, dict[str, Statistic]] = {}  # by number of items
    for metric in metrics_of(problem):
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
