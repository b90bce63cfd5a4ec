"""Distributions in short, and kept on disk: what is computed from them equals what the whole gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_hf
from whetstone.errors import StorageError, UsageError
from whetstone.models import load_model
from whetstone.models.token_tree import TokenTree
from whetstone.numeric.calibration import fit_calibration
from whetstone.numeric.distribution import Distribution
from whetstone.numeric.grid import parse_grid
from whetstone.numeric.kept import KeptNumbers
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.numeric.summary import crps_of_quantiles, summarise
from whetstone.types import QUANTILE_LEVELS, NumberSummary, Prediction, Reading

VALUES = np.arange(0.0, 1000.0)


def lognormal(centre: float, width: float) -> Distribution:
    density = np.exp(-0.5 * np.square((np.log1p(VALUES) - np.log(centre)) / width)) / (1 + VALUES)
    return Distribution(VALUES, 0.8 * density / density.sum())


def test_a_summary_says_what_the_distribution_says() -> None:
    found = lognormal(150, 0.7)
    short = summarise(found)
    assert short.quantiles == tuple(found.quantile(level) for level in QUANTILE_LEVELS)
    assert short.median == found.median
    assert (short.mode, short.mean, short.log_mean, short.deviation, short.inside) == pytest.approx(
        (found.mode, found.mean, found.log_mean, found.deviation, 0.8), rel=1e-5
    )
    assert all(short.interval(level) == found.interval(level) for level in (0.5, 0.8, 0.95))
    assert short.uncorrected == ()


@pytest.mark.parametrize(("centre", "width"), [(150, 0.7), (20, 0.3), (400, 1.5)])
def test_the_score_of_the_quantiles_is_that_of_the_distribution(centre: float, width: float) -> None:
    found = lognormal(centre, width)
    for truth in (0, 5, centre / 2, centre, 2 * centre, 990):
        exact = found.crps(truth)
        assert crps_of_quantiles(summarise(found).quantiles, truth) == pytest.approx(exact, rel=0.01, abs=0.15)


def test_a_corrected_summary_keeps_what_the_model_said() -> None:
    rng = np.random.default_rng(1)
    truths = rng.lognormal(5, 0.8, 60).clip(1, 990).tolist()
    narrow = [lognormal(truth * rng.lognormal(0, 0.8), 0.1) for truth in truths]
    calibration = fit_calibration(narrow, truths)
    short, plain = summarise(narrow[0], calibration), summarise(narrow[0])
    assert short.uncorrected == plain.quantiles != short.quantiles
    assert short.interval(0.8) == tuple(
        pytest.approx(end, rel=1e-5) for end in calibration.interval(calibration.apply(narrow[0]), 0.8)
    )
    assert short.interval(0.8)[1] - short.interval(0.8)[0] > 2 * (plain.interval(0.8)[1] - plain.interval(0.8)[0])


def test_a_grid_below_zero_has_no_mean_logarithm() -> None:
    assert summarise(Distribution(np.array([-1.0, 0.0, 1.0]), np.full(3, 1 / 3))).log_mean is None


def test_an_answer_with_a_distribution_survives_the_journal_and_old_journals_are_read() -> None:
    answer = Prediction("a", "k", Reading("value", 3.0), distribution=summarise(lognormal(150, 0.7)))
    line = json.dumps(answer.to_json())
    assert len(line) < 1_500
    assert Prediction.from_json(json.loads(line)) == answer
    old = {name: value for name, value in answer.to_json().items() if name != "distribution"}
    assert Prediction.from_json(old).distribution is None
    assert isinstance(answer.distribution, NumberSummary)


class Counted:
    """A model that counts the prompts it reads, and may break off."""

    def __init__(self, model: Any, most: int = 10**6) -> None:
        self.identity, self.vocabulary = model.identity, model.vocabulary
        self._model, self.read, self._most = model, 0, most

    def tree_logprobs(self, prompts: Sequence[Any], tree: TokenTree, wanted: Sequence[int]) -> Iterator[Any]:
        for found in self._model.tree_logprobs(prompts, tree, wanted):
            if self.read == self._most:
                raise KeyboardInterrupt
            self.read += 1
            yield found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    loaded = load_model(f"hf:{tiny_hf.llama(tmp_path_factory.mktemp('m') / 'tiny')}")
    yield loaded
    loaded.close()


def prompts_of(model: Any, count: int) -> list[list[int]]:
    return [model.vocabulary.encode(f"{'A lamp. ' * (n % 7)}Number {n} costs $").ids for n in range(count)]


def test_each_prompt_is_read_once_and_gives_what_the_model_gives(model: Any) -> None:
    trie = number_trie(model, parse_grid("0..99"), "costs $")
    prompts = prompts_of(model, 50)
    asked = [*prompts, prompts[3]]
    counted, told = Counted(model), []
    first = {i: one for i, one, _ in KeptNumbers(counted, trie).read(asked, lambda *done: told.append(done))}
    assert counted.read == 50
    assert told[-1] == (51, 51)
    for index, exact in read_numbers(model, asked, trie):
        np.testing.assert_allclose(first[index].masses, exact.masses, rtol=1e-3, atol=1e-7)
    again = {i: (one, seconds) for i, one, seconds in KeptNumbers(counted, trie).read(asked)}
    assert counted.read == 50
    assert all(np.array_equal(again[i][0].masses, first[i].masses) for i in range(51))
    assert all(seconds > 0 for _, seconds in again.values())


def test_another_grid_is_another_file(model: Any) -> None:
    paths = {KeptNumbers(model, number_trie(model, parse_grid(grid), "costs $")).path for grid in ("0..9", "1..9")}
    assert len(paths) == 2


def test_a_broken_off_reading_goes_on_where_it_was(model: Any) -> None:
    trie = number_trie(model, parse_grid("0..9"), "costs $")
    prompts = prompts_of(model, 80)
    stopped, resumed = Counted(model, most=70), Counted(model)
    with pytest.raises(KeyboardInterrupt):
        list(KeptNumbers(stopped, trie).read(prompts))
    assert len(list(KeptNumbers(resumed, trie).read(prompts))) == 80
    assert resumed.read == 80 - 64


def test_a_damaged_file_is_named(model: Any) -> None:
    kept = KeptNumbers(model, number_trie(model, parse_grid("0..9"), "costs $"))
    Path(kept.path).parent.mkdir(parents=True)
    kept.path.write_bytes(b"no database at all, but long enough to look like one" * 40)
    with pytest.raises(StorageError, match="may be deleted at any time"):
        list(kept.read(prompts_of(model, 1)))


def test_a_distribution_without_mass_has_no_summary() -> None:
    with pytest.raises(UsageError, match="gives no candidate of the grid any probability"):
        summarise(Distribution(VALUES, np.zeros(1000)))
