"""Distributions kept on disk: a model reads a prompt once, for every estimate and every run, also after a kill."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import numpy as np

from whetstone.models.base import ChatModel
from whetstone.numeric.distribution import Distribution
from whetstone.numeric.scoring import read_numbers
from whetstone.numeric.trie import NumberTrie
from whetstone.storage.kept_vectors import KeptVectors, cache_file

# Prompts read between two commits: what a kill can cost. Alike in length, they fill their batches all the same.
_SAVE_EVERY = 32
_READING = 2  # raised when distributions are computed in another way


class KeptNumbers:
    """Distributions of one model over one grid, from `WHETSTONE_HOME/cache/numbers` where they are known.

    Masses are rounded to single precision, in which models compute them, whether they are new or known.

    Args:
        model: what reads the prompts that are not there yet.
        trie: the grid in its tokens.
    """

    def __init__(self, model: ChatModel, trie: NumberTrie) -> None:
        self._model = model
        self._trie = trie
        spelled = hashlib.sha256(trie.steps.tobytes() + trie.wanted.tobytes() + trie.stops.tobytes()).hexdigest()
        self.path = cache_file("numbers", f"{_READING} {asdict(model.identity)} {trie.grid.name} {spelled}")

    def read(
        self, prompts: Sequence[Sequence[int]], progress: Callable[[int, int], None] | None = None
    ) -> Iterator[tuple[int, Distribution, float]]:
        """`(index, distribution, seconds)` for each prompt (token ids), in any order.

        The seconds are what reading took when it was done; prompts that are read together share their time evenly.

        Args:
            progress: told `(done, total)` prompts.

        Raises:
            UsageError: see `read_numbers`.
            StorageError: the file cannot be read or written.
        """
        places: dict[bytes, list[int]] = {}
        for index, ids in enumerate(prompts):
            places.setdefault(_key(ids), []).append(index)
        done = 0
        with KeptVectors.opened(self.path) as kept:
            missing = set(places)
            for key, row in kept.look_up(list(places)):
                missing.discard(key)
                for index in places[key]:
                    done += 1
                    yield index, *self._distribution(row)
            # The longest first, as engines plan their batches.
            todo = sorted(missing, key=lambda key: -len(prompts[places[key][0]]))
            for start in range(0, len(todo), _SAVE_EVERY):
                keys = todo[start : start + _SAVE_EVERY]
                rows = dict(zip(keys, self._fresh([prompts[places[key][0]] for key in keys]), strict=True))
                kept.keep(rows.items())
                for key, row in rows.items():
                    for index in places[key]:
                        done += 1
                        yield index, *self._distribution(row)
                if progress is not None:
                    progress(done, len(prompts))

    def _fresh(self, prompts: Sequence[Sequence[int]]) -> list[np.typing.NDArray[np.float32]]:
        """A row for each prompt: the masses, the bound, the seconds."""
        began = time.perf_counter()
        found = dict(read_numbers(self._model, prompts, self._trie))
        seconds = (time.perf_counter() - began) / len(prompts)
        return [
            np.array([*found[index].masses, found[index].bound, seconds], dtype=np.float32)
            for index in range(len(prompts))
        ]

    def _distribution(self, row: np.typing.NDArray[np.float32]) -> tuple[Distribution, float]:
        values = row.astype(np.float64)
        return Distribution(self._trie.grid.values, values[:-2], float(values[-2])), float(values[-1])


def _key(ids: Sequence[int]) -> bytes:
    return hashlib.sha256(np.asarray(ids, dtype="<i8").tobytes()).digest()
