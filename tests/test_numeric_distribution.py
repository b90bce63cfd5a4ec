"""What is read off a distribution, against sums written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import UsageError
from whetstone.numeric.distribution import Distribution, estimate_for

MASSES = st.lists(st.floats(0, 1), min_size=1, max_size=40).filter(lambda masses: sum(masses) > 1e-3)


def distribution(masses: list[float], step: float = 1.0) -> Distribution:
    return Distribution(np.arange(len(masses)) * step, np.array(masses) / max(1.0, sum(masses)))


@given(MASSES, st.sampled_from([0.5, 1.0, 7.0]))
def test_each_estimate_has_the_smallest_expected_error_of_its_metric(masses: list[float], step: float) -> None:
    found = distribution(masses, step)
    guesses = np.linspace(0, found.values[-1], 200)[:, None]

    def risk(loss: np.ndarray) -> np.ndarray:
        return loss @ found.probabilities

    absolute = risk(np.abs(found.values - guesses)).min()
    assert float(np.abs(found.values - found.median) @ found.probabilities) <= absolute + 1e-9
    squared = risk(np.square(found.values - guesses)).min()
    assert float(np.square(found.values - found.mean) @ found.probabilities) <= squared + 1e-9
    logs = risk(np.square(np.log1p(found.values) - np.log1p(guesses))).min()
    own = np.square(np.log1p(found.values) - np.log1p(found.log_mean)) @ found.probabilities
    assert float(own) <= logs + 1e-9


@given(MASSES, st.floats(-5, 60))
def test_crps_is_the_integral_of_the_squared_difference(masses: list[float], truth: float) -> None:
    found = distribution(masses)
    points = np.unique([*found.values, truth, found.values[0] - 10, found.values[-1] + 70])
    integral = sum(
        (found.below(left) - float(left >= truth)) ** 2 * (right - left) for left, right in itertools.pairwise(points)
    )
    assert found.crps(truth) == pytest.approx(integral, abs=1e-9)


@given(MASSES, st.floats(0.01, 0.99))
def test_an_interval_holds_its_share(masses: list[float], level: float) -> None:
    found = distribution(masses)
    low, high = found.interval(level)
    held = found.probabilities[(found.values >= low) & (found.values <= high)].sum()
    assert held >= level - 1e-9


def test_what_lies_outside_is_told_and_not_mixed_in() -> None:
    found = Distribution(np.array([10.0, 20.0]), np.array([0.3, 0.1]))
    assert found.inside == pytest.approx(0.4)
    assert found.outside == pytest.approx(0.6)
    assert found.mean == pytest.approx(12.5)
    assert found.mode == 10.0


def test_no_mass_at_all_is_an_error_and_no_zero() -> None:
    with pytest.raises(UsageError, match="no candidate"):
        _ = Distribution(np.array([1.0, 2.0]), np.zeros(2)).mean


def test_a_negative_candidate_has_no_mean_logarithm() -> None:
    with pytest.raises(UsageError, match="logarithm"):
        _ = Distribution(np.array([-1.0, 2.0]), np.array([0.5, 0.5])).log_mean


def test_the_estimate_fits_the_metric() -> None:
    assert [estimate_for(metric) for metric in ("mae", "rmse", "rmsle", "hit_rate")] == [
        "median",
        "mean",
        "log_mean",
        "median",
    ]
