"""Numbers of words by their hashes, looked up for millions of words at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]


class WordIndex:
    """A hash table in two arrays, with linear probing.

    Args:
        size: slots, a power of two; at most half of them are filled.
    """

    def __init__(self, size: int) -> None:
        self._mask = np.uint64(size - 1)
        self._numbers = np.full(size, -1, np.int32)
        self.hashes = np.empty(0, np.uint64)

    def __len__(self) -> int:
        return len(self.hashes)

    def find(self, hashes: Hashes) -> npt.NDArray[np.int32]:
        """The number of each word, -1 where it is unknown."""
        if not len(self):
            return np.full(len(hashes), -1, np.int32)
        # `take` by signed numbers: indexing by unsigned ones copies them first, and all takes twice the time.
        slots = (hashes & self._mask).view(np.int64)
        found: npt.NDArray[np.int32] = self._numbers.take(slots)
        wrong = np.flatnonzero(self.hashes.take(found, mode="wrap") != hashes)
        wrong = wrong[found[wrong] >= 0]
        while len(wrong):
            slots[wrong] = (slots[wrong] + 1) & int(self._mask)
            found[wrong] = self._numbers[slots[wrong]]
            wrong = wrong[(found[wrong] >= 0) & (self.hashes[found[wrong]] != hashes[wrong])]
        return found

    def extended(self, new: Hashes) -> WordIndex:
        """With new words, which get the next numbers; the index itself stays as it is for those who read it."""
        total = len(self) + len(new)
        size = len(self._numbers)
        while size < 2 * total:
            size *= 2
        grown = WordIndex(size)
        grown.hashes = np.concatenate([self.hashes, new])
        if size == len(self._numbers):
            grown._numbers = self._numbers.copy()
            waiting = np.arange(len(self), total, dtype=np.int32)
        else:
            waiting = np.arange(total, dtype=np.int32)
        slots = grown.hashes[waiting] & grown._mask
        while len(waiting):
            # Of the words that want one free slot the last to be written has it; the others go on to the next.
            free = grown._numbers[slots] < 0
            grown._numbers[slots[free]] = waiting[free]
            left = grown._numbers[slots] != waiting
            waiting, slots = waiting[left], (slots[left] + np.uint64(1)) & grown._mask
        return grown
