"""A distribution as a few bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whetstone.numeric.distribution import Distribution


@dataclass(frozen=True, slots=True)
class Bin:
    """The probability of all candidates from `low` up to, but not including, `high`."""

    low: float
    high: float
    probability: float


def bins(found: Distribution, most: int = 12, share: float = 0.98) -> list[Bin]:
    """Bars of one round width (1, 2 or 5 times a power of ten).

    Args:
        most: bars in the middle.
        share: of the probability that these bars show at least; what lies beyond them is in two further bars, at the
            ends, unless there is none.
    """
    low, high = found.interval(share)
    smallest = float(np.diff(found.values).min(initial=math.inf))
    width = _round_up(max((high - low) / most, min(smallest, abs(high) or 1.0) if math.isfinite(smallest) else 1.0))
    first = math.floor(low / width)
    last = math.floor(high / width)
    edges = [n * width for n in range(first, last + 2)]
    places = np.searchsorted(found.values, np.array(edges) - 1e-9 * width)
    below = np.concatenate([[0.0], np.cumsum(found.probabilities)])
    made = [Bin(edges[n], edges[n + 1], float(below[places[n + 1]] - below[places[n]])) for n in range(len(edges) - 1)]
    if places[0] > 0:
        made.insert(0, Bin(float(found.values[0]), edges[0], float(below[places[0]])))
    if places[-1] < len(found.values):
        beyond = math.nextafter(float(found.values[-1]), math.inf)
        made.append(Bin(edges[-1], beyond, float(below[-1] - below[places[-1]])))
    return made


def _round_up(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9))
