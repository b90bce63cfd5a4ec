"""What a good answer is under a metric: the median of what is likely, its mean, or the mean of its logarithm."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Aim = Literal["absolute", "squared", "log"]

_AIMS: dict[str, Aim] = {"rmse": "squared", "r2": "squared", "rmsle": "log"}


def aim_of(metric: str, targets: Floats) -> Aim:
    """The family of error that a metric measures.

    Absolute errors (MAE, median absolute error, SMAPE, hit rate) are smallest at the median, squared ones at the mean,
    squared errors of log(1 + value) at the mean of that logarithm, which needs targets that are not negative.
    """
    aim = _AIMS.get(metric, "absolute")
    return "squared" if aim == "log" and targets.min() < 0 else aim


def to_scale(values: Floats, aim: Aim) -> Floats:
    """Targets on the scale on which a least-squares fit serves the aim."""
    return np.log1p(values) if aim == "log" else values


def from_scale(values: npt.NDArray[Any], aim: Aim) -> Floats:
    """The inverse of `to_scale`."""
    values = np.asarray(values, dtype=np.float64)
    return np.expm1(values) if aim == "log" else values


def loss(aim: Aim, truth: Floats, guess: Floats, weights: Floats | None = None) -> float:
    """The mean error that the aim makes small, for choosing between fits.

    Args:
        weights: of the answers, shape (n,); all alike when not given.
    """
    if aim == "absolute":
        return float(np.average(np.abs(truth - guess), weights=weights))
    return float(np.average(np.square(to_scale(truth, aim) - to_scale(guess, aim)), weights=weights))


def centre(values: Floats, weights: Floats, aim: Aim) -> Floats:
    """For each row the weighted centre of its values that the aim asks for.

    Args:
        values: shape (n, k).
        weights: positive, shape (n, k).

    Returns:
        Shape (n,): weighted medians (the middle of two where the weight halves between them), or weighted means.
    """
    if aim != "absolute":
        scaled = to_scale(values, aim)
        return from_scale((scaled * weights).sum(axis=1) / weights.sum(axis=1), aim)
    order = np.argsort(values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=1)
    shares = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    shares /= shares[:, -1:]
    rows = np.arange(len(values))
    lower = ranked[rows, (shares < 0.5 - 1e-12).sum(axis=1)]
    upper = ranked[rows, np.minimum((shares < 0.5 + 1e-12).sum(axis=1), values.shape[1] - 1)]
    return np.asarray((lower + upper) / 2)
