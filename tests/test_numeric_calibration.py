"""Corrections learnt on validation items help on new ones, and their intervals cover."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whetstone.errors import UsageError
from whetstone.numeric.calibration import Calibration, coverage, fit_calibration, selective
from whetstone.numeric.distribution import Distribution

VALUES = np.arange(0.0, 300.0)


def normal(mean: float, deviation: float) -> Distribution:
    density = np.exp(-0.5 * np.square((VALUES - mean) / deviation))
    return Distribution(VALUES, 0.9 * density / density.sum())


def items(count: int, seed: int, *, bias: float = 0.0, factor: float = 1.0) -> tuple[list[Distribution], list[float]]:
    """Truths scattered by 20 around known centres, as told by a model off by `bias`, and by `factor` in its width."""
    random = np.random.default_rng(seed)
    centres = random.uniform(90, 200, count)
    truths = centres + random.normal(0, 20, count)
    return [normal(centre + bias, 20 * factor) for centre in centres], truths.tolist()


def score(found: list[Distribution], truths: list[float]) -> float:
    return float(np.mean([one.crps(truth) for one, truth in zip(found, truths, strict=True)]))


def test_a_well_calibrated_model_is_left_alone() -> None:
    assert fit_calibration(*items(300, 1)).method == "none"


@pytest.mark.parametrize(("bias", "factor"), [(0, 0.2), (0, 4.0), (-30, 1.0), (25, 0.3)])
def test_a_correction_helps_on_items_that_it_has_not_seen(bias: float, factor: float) -> None:
    calibration = fit_calibration(*items(300, 1, bias=bias, factor=factor))
    found, truths = items(400, 2, bias=bias, factor=factor)
    corrected = [calibration.apply(one) for one in found]
    ideal, _ = items(400, 2)
    assert calibration.method != "none"
    assert score(corrected, truths) < 0.85 * score(found, truths)
    assert score(corrected, truths) < 1.25 * score(ideal, truths)
    assert all(one.inside == pytest.approx(0.9) for one in corrected)


@pytest.mark.parametrize(("bias", "factor"), [(0, 1.0), (0, 0.2), (-40, 3.0)])
def test_conformal_intervals_cover_what_they_say_whatever_the_model(bias: float, factor: float) -> None:
    held = {0.5: [], 0.8: [], 0.95: []}  # type: ignore[var-annotated]
    for seed in range(4):
        calibration = fit_calibration(*items(100, seed, bias=bias, factor=factor))
        found, truths = items(400, 1000 + seed, bias=bias, factor=factor)
        corrected = [calibration.apply(one) for one in found]
        for level, share in coverage(corrected, truths, interval=calibration.interval).items():
            held[level].append(share)
    for level, shares in held.items():
        assert level - 0.06 <= np.mean(shares) <= level + 0.09


def test_an_overconfident_model_does_not_cover_before_the_correction() -> None:
    found, truths = items(400, 3, factor=0.2)
    assert coverage(found, truths)[0.8] < 0.4


def test_a_truth_beyond_the_grid_is_an_item_that_no_interval_holds() -> None:
    found, truths = items(40, 1)
    calibration = fit_calibration(found, [*truths[:30], *[5000.0] * 10])
    assert calibration.interval(calibration.apply(found[0]), 0.9) == (0.0, 299.0)


def test_too_few_items_are_refused() -> None:
    found, truths = items(19, 1)
    with pytest.raises(UsageError, match="at least 20"):
        fit_calibration(found, truths)
    calibration = fit_calibration(*items(20, 1))
    with pytest.raises(UsageError, match="99% intervals: it takes at least 99"):
        calibration.interval(normal(100, 20), 0.99)


def test_a_calibration_survives_json() -> None:
    calibration = fit_calibration(*items(100, 1, bias=-30))
    again = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    assert again == calibration


def test_answering_only_the_surest_lowers_the_error_where_doubt_means_something() -> None:
    curve = selective([10.0, 1.0, 5.0, 20.0], [3.0, 1.0, 2.0, 3.0])
    assert curve == [(0.25, 1.0), (0.5, 3.0), (1.0, 9.0)]
