"""A distribution in short, as an answer keeps it, and what can be computed from that."""

from __future__ import annotations

from collections.abc import Sequence

from whetstone.numeric.calibration import Calibration
from whetstone.numeric.distribution import Distribution
from whetstone.types import INTERVAL_LEVELS, QUANTILE_LEVELS, NumberSummary


def summarise(found: Distribution, calibration: Calibration | None = None) -> NumberSummary:
    """A model's distribution in short.

    Args:
        calibration: corrects it first, and gives intervals that cover; without one they are the distribution's own.

    Raises:
        UsageError: no candidate has any mass.
    """
    best = found if calibration is None else calibration.apply(found)
    intervals = [
        (level, *(best.interval(level) if calibration is None else calibration.interval(best, level)))
        for level in INTERVAL_LEVELS
    ]
    return NumberSummary(
        quantiles=_quantiles(best),
        mode=_short(best.mode),
        mean=_short(best.mean),
        log_mean=_short(best.log_mean) if best.values[0] >= 0 else None,
        deviation=_short(best.deviation),
        inside=_short(best.inside),
        bound=_short(best.bound),
        intervals=tuple((level, _short(low), _short(high)) for level, low, high in intervals),
        uncorrected=() if calibration is None else _quantiles(found),
    )


def crps_of_quantiles(quantiles: Sequence[float], truth: float) -> float:
    """The CRPS of a distribution that is known by its quantiles at `QUANTILE_LEVELS`; see `Distribution.crps`.

    Each quantile stands for the probability around it, and the two outermost for what lies beyond them: on prices this
    is within a hundredth of the exact score. CRPS as the mean of quantile losses: Gneiting & Raftery 2007.
    """
    step = QUANTILE_LEVELS[0]
    weights = [1.5 * step, *[step] * (len(quantiles) - 2), 1.5 * step]
    distance = sum(weight * abs(value - truth) for weight, value in zip(weights, quantiles, strict=True))
    below, spread = 0.0, 0.0
    for weight, value, following in zip(weights, quantiles, quantiles[1:], strict=False):
        below += weight
        spread += below * (1 - below) * (following - value)
    return distance - spread


def _quantiles(found: Distribution) -> tuple[float, ...]:
    return tuple(_short(found.quantile(level)) for level in QUANTILE_LEVELS)


def _short(value: float) -> float:
    """Six significant digits: a journal of ten thousand answers stays small."""
    return float(f"{value:.6g}")
