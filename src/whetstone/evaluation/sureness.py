"""How sure a run was of its numbers, and how right it was to be: coverage, CRPS, reliability, what doubt is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whetstone.evaluation.judged import Judged
from whetstone.numeric.calibration import selective
from whetstone.numeric.summary import crps_of_quantiles
from whetstone.types import INTERVAL_LEVELS, QUANTILE_LEVELS

_DOUBT = 0.8  # the interval whose width says how unsure an answer is


@dataclass(frozen=True)
class Spread:
    """Distributions held against the truth.

    Attributes:
        crps: the mean continuous ranked probability score, in the unit of the numbers; smaller is better.
        coverage: for each of `INTERVAL_LEVELS`, the share of truths within their intervals.
        widths: the median width of those intervals.
        below: for each of `QUANTILE_LEVELS`, the share of truths at or below that quantile.
    """

    crps: float
    coverage: tuple[float, ...]
    widths: tuple[float, ...]
    below: tuple[float, ...]


@dataclass(frozen=True)
class Sureness:
    """What the distributions of a run were worth.

    Attributes:
        n: answers that have one.
        answered: the distributions that the answers rest on, with the intervals that they state.
        uncorrected: those of the model itself, where a correction was applied.
        selective: (share answered, mean error) when only the surest answers are given.
    """

    n: int
    answered: Spread
    uncorrected: Spread | None
    selective: tuple[tuple[float, float], ...]


def sureness(items: Sequence[Judged]) -> Sureness | None:
    """The distributions of a run, judged; None where no answer has one."""
    known = [(item, item.prediction.distribution) for item in items]
    pairs = [(item, found) for item, found in known if found is not None]
    if not pairs:
        return None
    truth = np.array([float(item.case.expected) for item, _ in pairs])
    stated = np.array([[found.interval(level) for level in INTERVAL_LEVELS] for _, found in pairs])
    quantiles = np.array([found.quantiles for _, found in pairs])
    before = None
    if all(found.uncorrected for _, found in pairs):
        own = np.array([found.uncorrected for _, found in pairs])
        before = _spread(own, np.stack([_central(own, level) for level in INTERVAL_LEVELS], axis=1), truth)
    graded = [(item.error, np.ptp(found.interval(_DOUBT))) for item, found in pairs if item.error is not None]
    return Sureness(
        n=len(pairs),
        answered=_spread(quantiles, stated, truth),
        uncorrected=before,
        selective=tuple(selective(*zip(*graded, strict=True))) if graded else (),
    )


def _central(quantiles: np.typing.NDArray[np.float64], level: float) -> np.typing.NDArray[np.float64]:
    """The ends of the central interval of each row, shape (n, 2)."""
    ends = [QUANTILE_LEVELS.index(round(80 * share) / 80) for share in ((1 - level) / 2, (1 + level) / 2)]
    return quantiles[:, ends]


def _spread(
    quantiles: np.typing.NDArray[np.float64],
    intervals: np.typing.NDArray[np.float64],
    truth: np.typing.NDArray[np.float64],
) -> Spread:
    """Quantiles (n, levels) and intervals (n, levels, 2) against truths (n,)."""
    low, high = intervals[..., 0], intervals[..., 1]
    held = (low <= truth[:, None]) & (truth[:, None] <= high)
    scores = [crps_of_quantiles(row, value) for row, value in zip(quantiles.tolist(), truth.tolist(), strict=True)]
    return Spread(
        crps=float(np.mean(scores)),
        coverage=tuple(held.mean(axis=0).tolist()),
        widths=tuple(np.median(high - low, axis=0).tolist()),
        below=tuple((truth[:, None] <= quantiles).mean(axis=0).tolist()),
    )
