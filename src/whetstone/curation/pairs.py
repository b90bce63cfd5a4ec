"""Pairs of texts that are alike: candidates that share a key, then compared by their terms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from whetstone.curation.minhash import BANDS, SLOTS, Signatures, mixed, shingles
from whetstone.curation.words import Hashes, Positions

# Texts that have this share of terms and pairs of terms in common belong together.
ALIKE = 0.6
# Of texts as alike as that, one pair in a thousand has fewer equal slots; such pairs mostly meet by a half.
_LEAST_EQUAL = int(0.38 * SLOTS)
# From here on they say the same.
NEARLY_EQUAL = 0.9
# Of so many texts that share a key, every pair is a candidate; of more, each with the first and with its neighbour.
_ALL_PAIRS = 12
# Of the training rows that share half a text with a test row, so many are compared with it: boilerplate is shared by
# more, and what they share beyond it shows in bands.
_MOST_MEETINGS = 500
# So many pairs are compared together; their numbers must fit above the bits of a hash.
_AT_ONCE = 20_000
_HASH_BITS = np.uint64(48)


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows.

    Attributes:
        first, second: row numbers, the smaller one first.
        similarity: Jaccard similarity of terms and pairs of terms.
        one_term: whether they have as many terms, and at most one of them differs.
    """

    first: Positions
    second: Positions
    similarity: npt.NDArray[np.float64]
    one_term: npt.NDArray[np.bool_]

    @property
    def alike(self) -> npt.NDArray[np.bool_]:
        """Which pairs belong together."""
        return (self.similarity >= ALIKE) | self.one_term

    def where(self, chosen: npt.NDArray[np.bool_]) -> Pairs:
        """Some of them."""
        return Pairs(self.first[chosen], self.second[chosen], self.similarity[chosen], self.one_term[chosen])

    def __len__(self) -> int:
        return len(self.first)


def candidates(keys: npt.NDArray[np.uint64], slots: npt.NDArray[np.uint8]) -> tuple[Positions, Positions]:
    """Pairs of rows that share a key and may be alike by their slots, each pair once, the smaller row first.

    Args:
        keys, slots: of the rows; see `whetstone.curation.minhash.Signatures`.
    """
    found = [np.empty(0, np.int64)]
    for column in range(keys.shape[1]):
        ordered, order = _sorted(keys[:, column])
        begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else np.empty(0, np.int64)
        sizes = np.diff(np.r_[begins, len(order)])
        for a, b in _places(begins, sizes):
            # Rows in a run rise, since the sort is stable.
            first, second = order[a], order[b]
            if column < BANDS:
                chosen = _promising(slots, first, slots, second)
                first, second = first[chosen], second[chosen]
            found.append(first * len(keys) + second)
    pairs = np.unique(np.concatenate(found))
    return pairs // max(len(keys), 1), pairs % max(len(keys), 1)


def meetings(train: Signatures, test: Signatures) -> tuple[Positions, Positions]:
    """Pairs of a row of one set and a row of another that share a key and may be alike, each pair once."""
    found = [np.empty(0, np.int64)]
    size = len(train.keys)
    for column in range(train.keys.shape[1]):
        ordered, order = _sorted(train.keys[:, column])
        wanted = test.keys[:, column] & _upper_bits(size)
        begins = np.searchsorted(ordered, wanted, side="left")
        counts = np.searchsorted(ordered, wanted, side="right") - begins
        if column >= BANDS:
            counts = np.minimum(counts, _MOST_MEETINGS)
        ends = np.cumsum(counts)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
        rows = np.repeat(np.arange(len(test.keys)), counts)
        others = order[np.repeat(begins, counts) + within]
        if column < BANDS:
            chosen = _promising(train.slots, others, test.slots, rows)
            rows, others = rows[chosen], others[chosen]
        found.append(rows * size + others)
    pairs = np.unique(np.concatenate(found))
    return pairs % max(size, 1), pairs // max(size, 1)


def _sorted(keys: Hashes) -> tuple[Hashes, Positions]:
    """Keys in order without their lower bits, and their rows, which rise among equal keys.

    The row takes the place of the lower bits, so that plain numbers are sorted, a tenth of the time of `argsort`. What
    is left tells keys apart well enough: texts that share one are compared.
    """
    upper = _upper_bits(len(keys))
    packed = (keys & upper) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    return packed & upper, (packed & ~upper).astype(np.int64)


def _upper_bits(rows: int) -> np.uint64:
    """The bits that numbers of rows leave free."""
    return ~np.uint64((1 << max(rows - 1, 1).bit_length()) - 1)


def _promising(
    left: npt.NDArray[np.uint8], first: Positions, right: npt.NDArray[np.uint8], second: Positions
) -> npt.NDArray[np.bool_]:
    """Which pairs may be alike: enough of their slots are equal."""
    chosen = np.empty(len(first), bool)
    for begin in range(0, len(first), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        chosen[part] = (left[first[part]] == right[second[part]]).sum(axis=1) >= _LEAST_EQUAL
    return chosen


def _places(begins: Positions, sizes: Positions) -> Iterator[tuple[Positions, Positions]]:
    """Places in the order to pair, for runs of equal keys."""
    for size in range(2, _ALL_PAIRS + 1):
        runs = begins[sizes == size]
        for a in range(size if len(runs) else 0):
            for b in range(a + 1, size):
                yield runs + a, runs + b
    large = sizes > _ALL_PAIRS
    for begin, size in zip(begins[large].tolist(), sizes[large].tolist(), strict=True):
        others = np.arange(begin + 1, begin + size)
        yield np.full(size - 1, begin), others
        yield others[:-1], others[1:]


def compare(terms: pl.Series, first: Positions, second: Positions) -> Pairs:
    """How alike the pairs are.

    Args:
        terms: for each row, the hashes of its terms: lists of UInt32.
        first, second: row numbers.
    """
    similarity, one_term = np.empty(len(first)), np.empty(len(first), bool)
    for begin in range(0, len(first), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        similarity[part], one_term[part] = _compare(terms, first[part], second[part])
    return Pairs(first, second, similarity, one_term)


def _compare(
    terms: pl.Series, first: Positions, second: Positions
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    left, left_starts = _gathered(terms, first)
    right, right_starts = _gathered(terms, second)
    sets = [_elements(each, starts) for each, starts in ((left, left_starts), (right, right_starts))]
    both = np.sort(np.concatenate(sets))
    # An element of both sets is there twice.
    shared = _counted(both[1:][both[1:] == both[:-1]], len(first))
    sizes = [_counted(each, len(first)) for each in sets]
    return shared / (sizes[0] + sizes[1] - shared), _one_term_apart(left, left_starts, right, right_starts)


def _gathered(terms: pl.Series, rows: Positions) -> tuple[Hashes, Positions]:
    lists = terms.gather(rows)
    starts = np.concatenate([[0], np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)])
    return lists.explode().to_numpy().astype(np.uint64), starts


def _elements(terms: Hashes, starts: Positions) -> Hashes:
    """The distinct terms and pairs of terms of each text, sorted: the text's number above 48 bits of their hash."""
    owner = np.repeat(np.arange(len(starts) - 1, dtype=np.uint64) << _HASH_BITS, np.diff(starts))
    hashed = mixed(terms)
    keys = np.concatenate([hashed, shingles(hashed, starts)]) >> (np.uint64(64) - _HASH_BITS)
    keys |= np.concatenate([owner, owner])
    keys.sort()
    return keys[np.r_[True, keys[1:] != keys[:-1]]]


def _counted(elements: Hashes, texts: int) -> Positions:
    """How many of the elements each text has."""
    return np.bincount((elements >> _HASH_BITS).astype(np.int64), minlength=texts)


def _one_term_apart(
    left: Hashes, left_starts: Positions, right: Hashes, right_starts: Positions
) -> npt.NDArray[np.bool_]:
    lengths = np.diff(left_starts)
    same = lengths == np.diff(right_starts)
    chosen = np.repeat(same, lengths)
    owner = np.repeat(np.arange(len(same)), lengths)[chosen]
    differs = left[chosen] != right[np.repeat(same, np.diff(right_starts))]
    differing = np.bincount(owner[differs], minlength=len(same))
    return np.asarray(same & (differing <= 1) & (lengths > 1), dtype=bool)
