"""A number as a probability distribution over candidates, and the answers that can be read off it.

The estimate that does best depends on the metric: the median for absolute errors, the mean for squared ones, the
exponential of the mean logarithm for logarithmic ones. Source: Lukasik, Narasimhan, Menon, Yu & Kumar 2024, "Regression
Aware Inference with LLMs" (minimum Bayes risk over the model's own distribution instead of its most likely text).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError

Floats = npt.NDArray[np.float64]
Estimate = Literal["mode", "median", "mean", "log_mean"]
ESTIMATES: tuple[Estimate, ...] = ("mode", "median", "mean", "log_mean")
_BY_METRIC: dict[str, Estimate] = {"rmse": "mean", "r2": "mean", "rmsle": "log_mean"}


def estimate_for(metric: str) -> Estimate:
    """The estimate whose expected error is smallest under a metric ("mae" -> "median")."""
    return _BY_METRIC.get(metric, "median")


@dataclass(frozen=True)
class Distribution:
    """Probabilities of candidate numbers.

    Attributes:
        values: the candidates, shape (k,), rising.
        masses: what the model gives each of them, shape (k,), summing up to `inside`.
        bound: no probability is off by more than this, and neither is a sum of some of them; 0 where they are exact
            up to rounding.
    """

    values: Floats
    masses: Floats
    bound: float = 0.0

    @cached_property
    def inside(self) -> float:
        """The probability that the model answers with one of the candidates at all."""
        return float(self.masses.sum())

    @property
    def outside(self) -> float:
        """The probability of anything else: other numbers, other spellings, words."""
        return max(0.0, 1.0 - self.inside)

    @cached_property
    def probabilities(self) -> Floats:
        """The masses, normalised to sum up to 1, shape (k,).

        Raises:
            UsageError: no candidate has any mass.
        """
        if not self.inside > 0:
            raise UsageError("the model gives no candidate of the grid any probability: does the prompt ask for one?")
        return self.masses / self.inside

    @cached_property
    def _cumulated(self) -> Floats:
        return np.cumsum(self.probabilities)

    @property
    def mode(self) -> float:
        """The most likely candidate; the smallest of equals."""
        return float(self.values[int(self.probabilities.argmax())])

    @property
    def median(self) -> float:
        """The middle; see `quantile`."""
        return self.quantile(0.5)

    @property
    def mean(self) -> float:
        """The expected value."""
        return float(self.probabilities @ self.values)

    @property
    def log_mean(self) -> float:
        """exp(E log(1 + x)) - 1, which makes RMSLE small.

        Raises:
            UsageError: a candidate is negative, so there is no such logarithm.
        """
        if self.values[0] < 0:
            raise UsageError("the mean of the logarithm needs candidates that are not negative")
        return float(np.expm1(self.probabilities @ np.log1p(self.values)))

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(max(0.0, float(self.probabilities @ np.square(self.values - self.mean))))

    def estimate(self, kind: Estimate) -> float:
        """One of the estimates by name."""
        value: float = getattr(self, kind)
        return value

    def quantile(self, share: float) -> float:
        """The smallest candidate up to which at least `share` of the probability lies, 0 < share < 1."""
        place = int(np.searchsorted(self._cumulated, share - 1e-12))
        return float(self.values[min(place, len(self.values) - 1)])

    def interval(self, level: float) -> tuple[float, float]:
        """The central interval that holds at least `level` of the probability, its ends included."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def below(self, value: float) -> float:
        """The probability of a candidate of at most `value`."""
        place = int(np.searchsorted(self.values, value, side="right"))
        return float(self._cumulated[place - 1]) if place else 0.0

    def crps(self, truth: float) -> float:
        """The continuous ranked probability score against what turned out true, in the unit of the values.

        The integral of the squared difference between the distribution function and the truth's step (Gneiting &
        Raftery 2007); for a single candidate, the absolute error. Smaller is better.
        """
        distance = self.probabilities @ np.abs(self.values - truth)
        # E|X - X'| / 2 is the integral of F (1 - F).
        gaps = np.diff(self.values)
        spread = float((self._cumulated[:-1] * (1 - self._cumulated[:-1]) * gaps).sum())
        return float(distance - spread)
