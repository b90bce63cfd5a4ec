"""Error by range of the truth: a mean over all hides that cheap things are priced well and dear ones badly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whetstone.evaluation.features import mean
from whetstone.evaluation.figures.parts import Figure, axis, compact, safe, short, unit_axis
from whetstone.evaluation.intervals import FunctionOfMeans, bootstrap, equal_tailed
from whetstone.evaluation.judged import Judged
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem

_MOST_RANGES = 8
_FEWEST_ITEMS = 15
_RESAMPLES = 999


@dataclass(frozen=True)
class TruthRange:
    """Answers whose truth lies in one range.

    Attributes:
        low, high: smallest and largest truth in it.
        n: items asked.
        unreadable: of them, answers that could not be read.
        error: mean absolute error of the others; None where there are none.
        error_low, error_high: its 95 % interval; None where the items are too few.
    """

    low: float
    high: float
    n: int
    unreadable: int
    error: float | None
    error_low: float | None
    error_high: float | None


def truth_ranges(items: Sequence[Judged]) -> list[TruthRange]:
    """The answers cut into ranges of the truth with about equally many items; equal truths stay together.

    Empty where the items are too few for two ranges, or all have the same truth.
    """
    wanted = min(_MOST_RANGES, len(items) // _FEWEST_ITEMS)
    if wanted < 2:
        return []
    truth = np.array([float(item.case.expected) for item in items])
    cuts = np.unique(np.quantile(truth, np.linspace(0, 1, wanted + 1)[1:-1], method="inverted_cdf"))
    place = np.searchsorted(cuts, truth, side="left")
    held = np.unique(place)
    if len(held) < 2:
        return []
    return [_one_range([item for item, at in zip(items, place, strict=True) if at == index]) for index in held]


def _one_range(items: Sequence[Judged]) -> TruthRange:
    truth = [float(item.case.expected) for item in items]
    errors = np.array([[item.error] for item in items if item.error is not None], dtype=np.float64)
    low = high = None
    if len(errors) >= _FEWEST_ITEMS // 2:
        drawn = bootstrap([FunctionOfMeans(errors, mean)], [(0, None)], seed=0, resamples=_RESAMPLES)[0]
        low, high = equal_tailed(drawn)
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        low = high = None
    return TruthRange(
        low=min(truth),
        high=max(truth),
        n=len(items),
        unreadable=len(items) - len(errors),
        error=float(errors.mean()) if len(errors) else None,
        error_low=None if low is None else max(0.0, low),
        error_high=high,
    )


def range_name(one: TruthRange, unit: str) -> str:
    """ "$40 – $85"."""
    return f"{compact(one.low, unit)} – {compact(one.high, unit)}"


def error_by_truth(problem: Problem, ranges: Sequence[TruthRange]) -> Figure:
    """The mean error in each range of the truth, with its interval."""
    rows = [(one, one.error) for one in ranges if one.error is not None]
    names = [range_name(one, problem.unit) for one, _ in rows]
    errors = [with_unit(error, problem.unit) for _, error in rows]
    bar = {
        "type": "bar",
        "x": [safe(name) for name in names],
        "y": [short(error) for _, error in rows],
        "marker": {"color": "var(--accent-soft)"},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [0.0 if one.error_high is None else short(one.error_high - error) for one, error in rows],
            "arrayminus": [0.0 if one.error_low is None else short(error - one.error_low) for one, error in rows],
            "color": "var(--ink)",
            "thickness": 1.2,
            "width": 4,
        },
        "text": [
            safe(f"{name}: mean error {error}") + f"<br>{one.n:,} items, {one.unreadable:,} unreadable"
            for name, error, (one, _) in zip(names, errors, rows, strict=True)
        ],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }
    told = "; ".join(f"{name}: {error}" for name, error in zip(names, errors, strict=True))
    return Figure(
        f"Error by {problem.target}",
        f"Ranges of the true {problem.target} with about equally many items each. Whiskers are 95 % intervals.",
        f"Bar chart of the mean error by range of the truth. {told}.",
        [bar],
        {
            "xaxis": axis(f"true {problem.target}", type="category", tickangle=-35, showgrid=False),
            "yaxis": unit_axis("mean error", problem, rangemode="tozero"),
            "showlegend": False,
            "bargap": 0.35,
        },
    )
