"""The learning curve of tuning: the same run on a part of the rows, then on more; and what more still would bring."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from whetstone.errors import UsageError
from whetstone.evaluation.comparison import resampled_together
from whetstone.evaluation.harness import Watcher as AnswersWatcher
from whetstone.evaluation.intervals import Interval
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.power_law import FEWEST, Gain, gain_of_more
from whetstone.evaluation.report import Report
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.wording import metric_difference, metric_value
from whetstone.models import ChatModel, load_model
from whetstone.tuning.rows import PackedRows
from whetstone.types import Problem
from whetstone.workflows.compare import compare
from whetstone.workflows.tune import Prepared, plan_of, run_tuning

if TYPE_CHECKING:
    from whetstone.tuning.train import Watcher

SHARES: tuple[Fraction, ...] = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(1))
_FACTOR = 2


@dataclass(frozen=True)
class CurvePoint:
    """One size.

    Attributes:
        rows: training rows.
        run: the tuning run.
        value: the deciding metric on the test items.
        on_curve: the fitted curve there; None where none was fitted.
    """

    rows: int
    run: str
    value: Interval
    on_curve: float | None


@dataclass(frozen=True)
class LearningCurve:
    """What tuning gave with how many rows.

    Attributes:
        points: the sizes, rising.
        gain: what twice the rows would bring; None where the sizes are too few.
        sentence: that in words.
        report: all sizes on the same test items, and the base.
    """

    points: tuple[CurvePoint, ...]
    gain: Gain | None
    sentence: str
    report: Report

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        gain = None
        if self.gain is not None:
            gain = {**asdict(self.gain), "told": self.gain.told}
        return {
            "points": [asdict(point) for point in self.points],
            "gain": gain,
            "sentence": self.sentence,
            "report": self.report.to_json(),
        }


def learning_curve(
    whole: Prepared,
    *,
    shares: Sequence[Fraction] = SHARES,
    how: str = "",
    watching: Callable[[Prepared], AbstractContextManager[Watcher | None]] = lambda _: nullcontext(),
    answering: Callable[[Problem], AnswersWatcher | None] = lambda _: None,
    store: RunStore | None = None,
    load: Callable[[str], ChatModel] = load_model,
) -> LearningCurve | None:
    """Tune on parts of the rows, each part within the next, and let every run answer the same test items.

    Every part is a run of its own, `RUN-1of8` and so on, and `RUN` itself for all rows. Killed at any instant and
    called again, this goes on where it was.

    Args:
        whole: the run on all rows.
        shares: of the training rows.
        how: how the tuned models are asked, see `tuned`.
        watching: gives somebody who looks on at a tuning run, while it goes on.
        answering: gives somebody who follows the answers.
        store: where answers are kept.
        load: how a model spec becomes a model.

    Returns:
        None where who looks on stopped a run.

    Raises:
        UsageError: the data has no test items, or is too small to be divided.
    """
    config, problem = whole.config, whole.data.problem
    if problem is None or not len(problem.test):
        raise UsageError(
            f"{config.data}: a learning curve needs test items to judge by; take a problem with a target, or name the "
            "items in test_data"
        )
    parts = _parts(whole, sorted(set(shares)))
    for part in parts:
        with watching(part) as watcher:
            if not run_tuning(part.config, prepared=part, watcher=watcher).outcome.finished:
                return None
    arms = [f"tuned:{part.config.run}@best" + (f":{how}" if how else "") for part in parts]
    report = compare(
        problem,
        [_base_arm(problem, how), *arms],
        models=[config.base],
        question=config.question or None,
        seed=config.seed,
        store=store,
        watcher=answering(problem),
        load=load,
    )
    return _curve(problem, parts, report, config.seed)


def _parts(whole: Prepared, shares: Sequence[Fraction]) -> list[Prepared]:
    """The run on each share of the rows. What is in a smaller one is in every larger one."""
    rows, data, config = whole.data.train, whole.data, whole.config
    order = list(range(len(rows)))
    random.Random(config.seed).shuffle(order)
    parts = []
    for share in shares:
        if not 0 < share <= 1:
            raise UsageError(f"{share} is no share of the rows: write fractions above 0, up to 1")
        if share == 1:
            parts.append(whole)
            continue
        count = round(share * len(rows))
        if count < config.batch_size:
            raise UsageError(
                f"{share} of {len(rows):,} rows is {count}, less than one batch of {config.batch_size}: leave small "
                "shares away"
            )
        name = f"{share.numerator}of{share.denominator}"
        chosen = PackedRows.of(rows[index] for index in sorted(order[:count]))
        part = replace(data, train=chosen, fingerprint=f"{data.fingerprint}-{name}")
        own = config.model_copy(update={"run": f"{config.run[:70]}-{name}"})
        parts.append(replace(whole, config=own, data=part, plan=plan_of(own, part)))
    return parts


def _base_arm(problem: Problem, how: str) -> str:
    """The model without tuning, asked in the same way."""
    if problem.kind == "number":
        return how if how.startswith(("price", "calibrated")) else f"price:{how}" if how else "price"
    return how or "ask"


def _curve(problem: Problem, parts: Sequence[Prepared], report: Report, seed: int) -> LearningCurve:
    tuned = report.results[1:]
    metric = METRICS[problem.metric]
    sizes = [sum(not row.replay for row in part.data.train) for part in parts]
    _, values = resampled_together(problem, {result.label: result.predictions for result in tuned}, seed=seed)
    errors = 1 - values if metric.higher_is_better else values
    gain = gain_of_more(sizes, errors, _FACTOR, seed) if len(errors) else None

    def fitted(rows: int) -> float | None:
        if gain is None:
            return None
        return 1 - gain.law.error(rows) if metric.higher_is_better else gain.law.error(rows)

    points = tuple(
        CurvePoint(size, part.config.run, result.scores.metrics[metric.name], fitted(size))
        for size, part, result in zip(sizes, parts, tuned, strict=True)
    )
    return LearningCurve(points, gain, _sentence(problem, points, gain), report)


def _sentence(problem: Problem, points: Sequence[CurvePoint], gain: Gain | None) -> str:
    """What twice the rows would bring, in words."""
    metric, unit = METRICS[problem.metric], problem.unit
    if gain is None or gain.gain.value is None or gain.gain.low is None or gain.gain.high is None:
        few = f"there are {len(points)} sizes, and {FEWEST} are needed" if len(points) < FEWEST else "too few answers"
        return f"What more rows would bring cannot be told: {few}."
    low, high = (metric_difference(metric, end, unit) for end in (gain.gain.low, gain.gain.high))
    if not gain.told:
        return (
            f"What {gain.rows:,} rows would bring instead of {points[-1].rows:,} cannot be told: a {metric.title} "
            f"better by {low} to {high} (95 % interval), so it may be nothing."
        )
    word = "better" if gain.gain.value > 0 else "worse"
    size = metric_difference(metric, abs(gain.gain.value), unit)
    then = gain.law.error(gain.rows)
    there = metric_value(metric, 1 - then if metric.higher_is_better else then, unit)
    return (
        f"{gain.rows:,} rows instead of {points[-1].rows:,} would make the {metric.title} about {size} {word} "
        f"(95 % interval {low} to {high}): {there}, if the curve goes on as it has."
    )
