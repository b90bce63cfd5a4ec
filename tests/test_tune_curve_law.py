"""The learning curve's law: what is fitted to errors after more and more rows, and what it dares to say."""

from __future__ import annotations

import numpy as np
import pytest

from whetstone.evaluation.power_law import gain_of_more

SIZES = (500, 1_000, 2_000, 4_000)


def errors(curve: object, noise: float, seed: int = 0, resamples: int = 400) -> np.ndarray:
    """Errors at the sizes, and resamples of them that go up and down together."""
    rng = np.random.default_rng(seed)
    measured = np.array([curve(size) for size in SIZES])  # type: ignore[operator]
    measured = measured * np.exp(rng.normal(0, noise, len(SIZES)))
    return np.vstack([measured, measured * np.exp(rng.normal(0, 0.03, (resamples, 1)))])


def test_a_clean_power_law_is_found_and_goes_on() -> None:
    found = gain_of_more(SIZES, errors(lambda n: 600 * n**-0.3, 0))
    assert found is not None
    assert found.told
    assert found.rows == 8_000
    assert found.law.exponent == pytest.approx(0.3, abs=0.02)
    true = 600 * 4_000**-0.3 - 600 * 8_000**-0.3
    assert found.gain.value == pytest.approx(true, rel=0.1)
    assert found.gain.low is not None
    assert found.gain.high is not None
    assert found.gain.low < true < found.gain.high


def test_a_floor_is_seen() -> None:
    found = gain_of_more(SIZES, errors(lambda n: 80 + 40_000 / n, 0))
    assert found is not None
    assert found.law.floor > 60
    assert found.law.error(1e9) > 60


def test_errors_that_do_not_fall_give_no_promise() -> None:
    told = [gain_of_more(SIZES, errors(lambda n: 80.0, 0.03, seed)) for seed in range(20)]
    assert sum(one is not None and one.told for one in told) <= 3


def test_two_sizes_are_too_few() -> None:
    assert gain_of_more(SIZES[:2], errors(lambda n: 1 / n, 0)[:, :2]) is None


def test_the_same_seed_gives_the_same_interval() -> None:
    table = errors(lambda n: 50 + 3_000 * n**-0.5, 0.03)
    assert gain_of_more(SIZES, table) == gain_of_more(SIZES, table)
    assert gain_of_more(SIZES, table) != gain_of_more(SIZES, table, seed=7)


def test_an_interval_has_ends_where_three_sizes_say_next_to_nothing() -> None:
    """With one degree of freedom, a draw in thousands is further off than a number can hold."""
    measured = np.array([259.4, 264.3, 263.9])
    found = gain_of_more((48, 96, 192), np.vstack([measured] * 10_001))
    assert found is not None
    assert not found.told
    assert np.isfinite([found.gain.low, found.gain.high]).all()
