"""The candidates of a number problem, where nobody says which ones."""

from __future__ import annotations

import math

import numpy as np

from whetstone.errors import UsageError
from whetstone.numeric.grid import PRICES, Grid, parse_grid
from whetstone.types import Problem

_MOST_WHOLE = 1_000  # candidates of a grid of whole numbers
_LOG_SPACED = 200  # candidates of a grid that spans more: neighbours differ by some percent
_TENTHS = 20  # a narrower range than this, whose truths have decimals, has a candidate at every tenth


def number_grid(problem: Problem, written: str = "") -> Grid:
    """The candidates of a number problem.

    Args:
        written: as the user asked for them, see `parse_grid`. By default they span the true answers of the training and
            validation cases: whole dollars from 0 to 999 where those hold them; else whole numbers, tenths in a narrow
            range, or numbers evenly spaced in the logarithm.

    Raises:
        UsageError: it cannot be read; or there are no true answers to go by, or some below 0 over too wide a range.
    """
    if written:
        return parse_grid(written)
    known = np.array([case.expected for part in (problem.train, problem.validation) for case in part], dtype=np.float64)
    if not len(known):
        if problem.unit == "$":
            return parse_grid(PRICES)
        raise UsageError(
            f"{problem.name} has no training cases to see the range of its numbers from: say which numbers to consider "
            "(--grid 0..100)"
        )
    low, high = math.floor(known.min()), math.ceil(known.max())
    if problem.unit == "$" and low >= 0 and high < _MOST_WHOLE:
        return parse_grid(PRICES)
    if high - low <= _TENTHS and not np.array_equal(known, np.round(known)):
        return parse_grid(f"{low}.0..{high}.0")
    if high - low < _MOST_WHOLE:
        return parse_grid(f"{low}..{high}")
    if low < 0:
        raise UsageError(
            f"the numbers of {problem.name} reach from {low:,} to {high:,}: say which ones to consider (--grid)"
        )
    return parse_grid(f"log:{max(low, 1)}..{high}:{_LOG_SPACED}")
