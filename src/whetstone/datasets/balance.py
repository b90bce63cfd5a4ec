"""Weights by which rare price bands, or rare labels, have the same say as frequent ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError
from whetstone.types import Problem

Floats = npt.NDArray[np.float64]

# Price ranges of about the same width to a buyer, as curation has them.
_PRICE_EDGES = (10.0, 20.0, 35.0, 60.0, 100.0, 200.0, 400.0)
_OTHER_BANDS = 8  # of numbers that are no dollars, evenly spaced between the extremes
_FURTHEST = 10.0  # no row counts more than this many times as much as the average one


def balanced_weights(problem: Problem, expected: Sequence[float | str]) -> Floats:
    """Weights of rows by their true answers: every band or label counts the same, 1 on average, at most 10.

    Returns:
        Shape (len(expected),).

    Raises:
        UsageError: the problem asks for texts.
    """
    if problem.kind == "text":
        raise UsageError(f"balanced weights are for numbers and labels, and {problem.name} asks for a text")
    if problem.kind == "label":
        names = np.array([str(each) for each in expected])
        return _even(names)
    numbers = np.array(expected, dtype=np.float64)
    edges = np.array(_PRICE_EDGES) if problem.unit == "$" else _spaced(numbers)
    return _even(np.searchsorted(edges, numbers, side="right"))


def _even(bands: npt.NDArray[Any]) -> Floats:
    _, band, counts = np.unique(bands, return_inverse=True, return_counts=True)
    raw: Floats = 1.0 / counts[band]
    for _ in range(20):  # the limit moves the average, so both are repeated until it stays
        raw = np.minimum(raw / raw.mean(), _FURTHEST)
    return raw.round(4)


def _spaced(numbers: Floats) -> Floats:
    """Bounds of bands: evenly spaced in the logarithm where all numbers are above 0, else evenly."""
    low, high = float(numbers.min()), float(numbers.max())
    spaced = np.geomspace if low > 0 and high > 10 * low else np.linspace
    return np.asarray(spaced(low, high, _OTHER_BANDS + 1)[1:-1], dtype=np.float64)
