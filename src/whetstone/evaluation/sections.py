"""What the report's page shows of one run: its figures, its tables, its worst and its unreadable answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from whetstone.evaluation.bands import BANDS, UNREADABLE, Band
from whetstone.evaluation.classes import Confusion, LabelScores, confusion, label_scores
from whetstone.evaluation.figures.answers import running_mean, score_histogram, truth_against_guess
from whetstone.evaluation.figures.parts import Figure
from whetstone.evaluation.figures.ranges import TruthRange, error_by_truth, range_name, truth_ranges
from whetstone.evaluation.figures.sureness import sureness_figures
from whetstone.evaluation.intervals import Interval
from whetstone.evaluation.judged import Judged, judge
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import RunResult
from whetstone.evaluation.tables import NOTHING, interval_cells
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem

MOST_WORST = 20
MOST_UNREADABLE = 50

_REASONS = {
    "refused": "refused",
    "unparsable": "no single answer in it",
    "out_of_range": "out of range",
    "error": "the model failed",
    "value": "no finite number",
}


@dataclass(frozen=True)
class AnswerRow:
    """An answer as a row of a table; every value in words."""

    item: Judged
    truth: str
    guess: str
    error: str
    reason: str


@dataclass(frozen=True)
class RangeRow:
    """A range of the truth as a row of a table: its name, its mean error and the error's interval in words."""

    name: str
    error: str
    interval: str
    numbers: TruthRange


@dataclass(frozen=True)
class SureRow:
    """Distributions of a run as a row of a table, in words: CRPS, and for each interval its coverage and its width."""

    name: str
    crps: str
    intervals: list[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """What the page shows of one run.

    Attributes:
        counts: how many answers have each grade.
        figures: as the kind of problem has them.
        ranges: of a number problem, the error by range of the truth.
        sure, sure_figures: how sure it was of its numbers, where its answers have distributions.
        confusion, labels: of a label problem.
        worst: the answers furthest off, at most MOST_WORST of `mistakes`.
        unreadable: the first MOST_UNREADABLE answers without a value.
        identity: what settles the run's answers, as JSON; "" where it is not known.
    """

    result: RunResult
    counts: list[tuple[Band, int]]
    figures: list[Figure]
    ranges: list[RangeRow]
    sure: list[SureRow]
    sure_figures: list[Figure]
    confusion: Confusion | None
    labels: list[LabelScores]
    worst: list[AnswerRow]
    mistakes: int
    unreadable: list[AnswerRow]
    n_unreadable: int
    identity: str


def build_section(problem: Problem, result: RunResult) -> Section:
    """Everything that the page shows of this run."""
    items = judge(problem, result.predictions)
    mistakes = sorted((item for item in items if item.error), key=lambda item: (-(item.error or 0.0), item.number))
    worst = mistakes[:MOST_WORST]
    unreadable = [item for item in items if item.band is UNREADABLE]
    ranges = truth_ranges(items) if problem.kind == "number" else []
    labelled = problem.kind == "label"
    return Section(
        result=result,
        counts=[(band, sum(item.band is band for item in items)) for band in BANDS],
        figures=_figures(problem, items, worst, ranges),
        ranges=[_range_row(problem, one) for one in ranges],
        sure=_sure_rows(problem, result),
        sure_figures=[] if result.sureness is None else sureness_figures(problem, result.sureness),
        confusion=confusion(items) if labelled and items else None,
        labels=label_scores(items) if labelled else [],
        worst=[_answer_row(problem, item) for item in worst],
        mistakes=len(mistakes),
        unreadable=[_answer_row(problem, item) for item in unreadable[:MOST_UNREADABLE]],
        n_unreadable=len(unreadable),
        identity=json.dumps(result.identity, ensure_ascii=False, indent=1, default=str) if result.identity else "",
    )


def _figures(
    problem: Problem, items: Sequence[Judged], worst: Sequence[Judged], ranges: Sequence[TruthRange]
) -> list[Figure]:
    readable = any(item.error is not None for item in items)
    figures: list[Figure] = []
    if problem.kind == "number" and readable:
        figures.append(truth_against_guess(problem, items, worst))
    if problem.kind == "text" and items:
        figures.append(score_histogram(problem, items))
    if len(items) > 1 and (readable or problem.kind != "number"):
        figures.append(running_mean(problem, items))
    if any(one.error is not None for one in ranges):
        figures.append(error_by_truth(problem, ranges))
    return figures


def _sure_rows(problem: Problem, result: RunResult) -> list[SureRow]:
    known = result.sureness
    if known is None:
        return []
    spreads = [("as answered" if known.uncorrected is None else "corrected", known.answered)]
    if known.uncorrected is not None:
        spreads.append(("the model's own", known.uncorrected))
    return [
        SureRow(
            name,
            with_unit(spread.crps, problem.unit),
            [
                (f"{100 * share:.1f} %", f"median width {with_unit(width, problem.unit)}")
                for share, width in zip(spread.coverage, spread.widths, strict=True)
            ],
        )
        for name, spread in spreads
    ]


def _range_row(problem: Problem, one: TruthRange) -> RangeRow:
    interval = Interval(one.error, one.error_low, one.error_high)
    return RangeRow(range_name(one, problem.unit), *interval_cells(METRICS["mae"], interval, problem.unit), one)


def _answer_row(problem: Problem, item: Judged) -> AnswerRow:
    if item.error is None:
        error = ""
    elif problem.kind == "label":
        error = "right" if item.error == 0 else "wrong"
    else:
        error = with_unit(item.error, problem.unit) if problem.kind == "number" else f"{item.error:.3f}"
    return AnswerRow(
        item,
        truth=_written(problem, item.case.expected),
        guess=_written(problem, item.prediction.reading.value),
        error=error,
        reason=_REASONS[item.prediction.reading.status],
    )


def _written(problem: Problem, value: float | str | None) -> str:
    if value is None:
        return NOTHING
    return with_unit(float(value), problem.unit) if problem.kind == "number" else str(value)
