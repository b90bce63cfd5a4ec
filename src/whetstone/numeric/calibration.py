"""Correcting a model's distributions by what turned out true on validation items.

Three corrections are tried, each of few parameters, and the one with the smallest cross-validated CRPS is kept; none of
them, if the model's own distributions do best:

- temperature: every probability to the power 1/T (Guo et al. 2017, "On Calibration of Modern Neural Networks").
- beta: the distribution function F becomes a monotone map of itself, sigmoid(a log F - b log(1 - F) + c) with a, b > 0
  (Kuleshov, Fenner & Ermon 2018, "Accurate Uncertainties for Deep Learning Using Calibrated Regression", with the map
  of Kull, Silva Filho & Flach 2017): it moves estimates as well as widths.
- mixed: beta, after each distribution was mixed with the validation truths' own, share by share: for a model that puts
  all its trust in a few round numbers.

Intervals are then made to cover by split conformal prediction over the distribution's own quantiles (Chernozhukov,
Wüthrich & Zhu 2021, "Distributional conformal prediction"): valid for items drawn like the validation items, whatever
the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError
from whetstone.numeric.distribution import Distribution

Floats = npt.NDArray[np.float64]
Method = Literal["none", "temperature", "beta", "mixed"]
FEWEST = 20  # validation items below which nothing can be learnt from them
_FOLDS = 5
_KNOTS = 60


@dataclass(frozen=True)
class Calibration:
    """A correction of distributions over one grid.

    Attributes:
        method: what is done.
        parameters: T; or log a, log b and c, and for "mixed" the logit of the share behind them.
        prior: probabilities of the validation truths on the grid, shape (k,), for "mixed".
        crps: cross-validated CRPS of every method that was tried, in the unit of the values.
        ranks: sorted distances of the validation truths from their medians, measured in probability (0 to 0.5), after
            the correction; `interval` rests on them.
    """

    method: Method = "none"
    parameters: tuple[float, ...] = ()
    prior: tuple[float, ...] = ()
    crps: dict[str, float] = field(default_factory=dict)
    ranks: tuple[float, ...] = ()

    def apply(self, found: Distribution) -> Distribution:
        """The corrected distribution. What lies outside the grid stays as it was."""
        if self.method == "none":
            return found
        corrected = _corrected(self.method, np.array(self.parameters), found.probabilities, np.array(self.prior))
        return replace(found, masses=corrected * found.inside)

    def interval(self, corrected: Distribution, level: float) -> tuple[float, float]:
        """An interval that covers the truth of at least `level` of items drawn like the validation items.

        Args:
            corrected: what `apply` gave.

        Raises:
            UsageError: there are too few validation items for that level.
        """
        rank = math.ceil((len(self.ranks) + 1) * level)
        if rank > len(self.ranks):
            raise UsageError(
                f"{len(self.ranks)} validation items cannot vouch for {level:.0%} intervals: it takes at least "
                f"{math.ceil(level / (1 - level))}"
            )
        reach = self.ranks[rank - 1]
        # Half a unit of probability reaches the ends of the grid and beyond them.
        low = corrected.values[0] if reach >= 0.5 else corrected.quantile(max(0.5 - reach, 1e-12))
        high = corrected.values[-1] if reach >= 0.5 else corrected.quantile(min(0.5 + reach, 1 - 1e-12))
        return float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        tuples = {name: tuple(data[name]) for name in ("parameters", "prior", "ranks")}
        return cls(method=data["method"], crps=dict(data["crps"]), **tuples)


def fit_calibration(
    found: Sequence[Distribution], truths: Sequence[float], *, folds: int = _FOLDS, seed: int = 42
) -> Calibration:
    """Learn a correction from validation items.

    Args:
        found: the model's distributions, all over one grid.
        truths: what turned out true.
        folds: of the cross-validation that chooses the method.

    Raises:
        UsageError: fewer than 20 items, or distributions over several grids.
    """
    if len(found) != len(truths) or len(found) < FEWEST:
        raise UsageError(f"calibration takes at least {FEWEST} validation items with their truths, not {len(found)}")
    values = found[0].values
    if any(not np.array_equal(one.values, values) for one in found):
        raise UsageError("calibration takes distributions over one grid")
    table = np.stack([one.probabilities for one in found])
    truth = np.asarray(truths, dtype=np.float64)
    fold = np.random.default_rng(seed).permutation(len(truth)) % folds
    methods: tuple[Method, ...] = ("none", "temperature", "beta", "mixed")
    crps: dict[str, float] = {}
    held_out: dict[str, Floats] = {}
    for method in methods:
        # Corrected by what did not see the item, so that the ranks are as exchangeable as new items' are.
        held_out[method] = np.empty_like(table)
        for number in range(folds):
            learn, judge = fold != number, fold == number
            parameters, prior = _fit(method, values, table[learn], truth[learn])
            held_out[method][judge] = _corrected(method, parameters, table[judge], prior)
        crps[method] = float(_crps(values, held_out[method], truth).mean())
    # A method has to earn its parameters: a correction that gains less than a hundredth is none.
    best = min(methods, key=lambda method: crps[method] * (1.0 if method == "none" else 1.01))
    parameters, prior = _fit(best, values, table, truth)
    return Calibration(
        method=best,
        parameters=tuple(parameters.tolist()),
        prior=tuple(prior.tolist()) if best == "mixed" else (),
        crps=crps,
        ranks=tuple(np.sort(_ranks(values, held_out[best], truth)).tolist()),
    )


def _fit(method: Method, values: Floats, table: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Parameters with the smallest CRPS, and the prior that goes with them."""
    from scipy.optimize import minimize, minimize_scalar

    prior = _prior(values, truth)
    if method == "none":
        return np.array([]), prior
    start = np.zeros({"temperature": 1, "beta": 3, "mixed": 4}[method])
    if method != "temperature":  # these maps know only the distribution function, which few points describe
        knots = _knots(table.mean(axis=0))
        values, table = values[knots], np.diff(np.cumsum(table, axis=1)[:, knots], axis=1, prepend=0.0)
        thinned = np.diff(np.cumsum(prior)[knots], prepend=0.0)
    else:
        thinned = prior
    scale = max(1e-12, float(_crps(values, table, truth).mean()))

    def loss(parameters: Floats) -> float:
        regular = 1e-3 * float(np.square(parameters).sum())  # keeps a few odd items from tearing it apart
        return float(_crps(values, _corrected(method, parameters, table, thinned), truth).mean()) / scale + regular

    if method == "temperature":
        found = minimize_scalar(
            lambda x: loss(np.array([x])), bounds=(-3, 3), method="bounded", options={"xatol": 0.02}
        )
        return np.array([float(found.x)]), prior
    return np.asarray(minimize(loss, start, method="L-BFGS-B", options={"maxiter": 30}).x), prior


def _knots(masses: Floats) -> npt.NDArray[np.int64]:
    """Candidates at which to look at a distribution function: dense where the mass is; the last one is among them."""
    below = np.cumsum(masses)
    return np.unique([*np.searchsorted(below, np.linspace(0.005, 0.995, _KNOTS)), len(masses) - 1])


def _corrected(method: Method, parameters: Floats, table: Floats, prior: Floats) -> Floats:
    """Corrected probabilities of distributions, shape (..., k)."""
    if method == "none":
        return table
    if method == "temperature":
        with np.errstate(divide="ignore"):
            logs = np.log(table) * math.exp(-float(np.clip(parameters[0], -5, 5)))
        powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if method == "mixed":
        share = 1 / (1 + math.exp(-float(np.clip(parameters[3], -20, 20))))
        table = (1 - share) * table + share * prior
    return _mapped(table, parameters[:3])


def _mapped(table: Floats, parameters: Floats) -> Floats:
    """Probabilities whose distribution function is the beta map of the old one."""
    below = np.clip(np.cumsum(table, axis=-1), 0.0, 1.0)
    first, second = np.exp(np.clip(parameters[:2], -4, 4))
    with np.errstate(divide="ignore", over="ignore"):
        logit = first * np.log(below) - second * np.log1p(-below) + parameters[2]
        mapped = 1 / (1 + np.exp(-logit))
    mapped[..., -1] = 1.0
    return np.asarray(np.maximum(np.diff(mapped, axis=-1, prepend=0.0), 0.0))


def _prior(values: Floats, truth: Floats) -> Floats:
    """The truths' own distribution on the grid, spread a little in the logarithm so that none stands alone."""
    scale = np.log1p(values - min(0.0, float(values[0])))
    points = np.log1p(np.clip(truth, values[0], values[-1]) - min(0.0, float(values[0])))
    width = max(1e-3, 1.06 * float(points.std()) * len(points) ** -0.2)
    density = np.exp(-0.5 * np.square((scale[:, None] - points[None]) / width)).sum(axis=1)
    # From a density of the logarithm to masses of candidates: weighed by how much of the logarithm each stands for.
    edges = np.concatenate([scale[:1], (scale[1:] + scale[:-1]) / 2, scale[-1:]])
    masses = density * np.maximum(np.diff(edges), 1e-12)
    return np.asarray(masses / masses.sum())


def _crps(values: Floats, table: Floats, truth: Floats) -> Floats:
    """The CRPS of each row, see `Distribution.crps`, shape (n,)."""
    below = np.cumsum(table, axis=-1)
    spread = (below[:, :-1] * (1 - below[:, :-1]) * np.diff(values)).sum(axis=-1)
    return np.asarray((table * np.abs(values[None] - truth[:, None])).sum(axis=-1) - spread)


def _ranks(values: Floats, table: Floats, truth: Floats) -> Floats:
    """How far each truth lies from the median, in probability, shape (n,); 0.5 beyond all candidates."""
    ranks = np.empty(len(truth))
    below = np.cumsum(table, axis=-1)
    for row, value in enumerate(truth):
        place = int(np.searchsorted(values, value))
        if place == len(values) or value < values[0]:
            ranks[row] = 0.5
            continue
        # The interval that just reaches the candidates around the truth.
        upper = below[row, place - 1] if place else 0.0
        nearest = place if values[place] == value else max(place - 1, 0)
        lower = below[row, nearest]
        ranks[row] = max(0.0, upper - 0.5 if upper > 0.5 else 0.5 - lower if lower < 0.5 else 0.0) + 1e-9
    return np.minimum(ranks, 0.5)


def coverage(
    found: Sequence[Distribution],
    truths: Sequence[float],
    levels: Sequence[float] = (0.5, 0.8, 0.95),
    interval: Callable[[Distribution, float], tuple[float, float]] = Distribution.interval,
) -> dict[float, float]:
    """The share of truths that lie within the intervals of each level."""
    held = {level: 0 for level in levels}
    for one, truth in zip(found, truths, strict=True):
        for level in levels:
            low, high = interval(one, level)
            held[level] += low <= truth <= high
    return {level: count / len(truths) for level, count in held.items()}


def selective(errors: Sequence[float], doubt: Sequence[float]) -> list[tuple[float, float]]:
    """Mean error when only the surest answers are given: (share answered, mean error), from the surest one on.

    Args:
        errors: of each answer.
        doubt: how unsure each answer is, such as the width of its interval; equal doubts stay together.
    """
    order = np.argsort(np.asarray(doubt, dtype=np.float64), kind="stable")
    ranked = np.asarray(doubt, dtype=np.float64)[order]
    sums = np.cumsum(np.asarray(errors, dtype=np.float64)[order])
    last = np.flatnonzero(np.append(np.diff(ranked) > 0, True))
    return [((place + 1) / len(order), float(sums[place] / (place + 1))) for place in last.tolist()]
