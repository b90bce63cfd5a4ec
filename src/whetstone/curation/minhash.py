"""MinHash: texts that are alike share keys with high probability, so that they are found without comparing all.

A text is the set of its terms and of its pairs of neighbouring terms. Two sets agree in a slot of their signatures with
the probability of their Jaccard similarity (Broder 1997). Slots are taken in bands of three (Indyk and Motwani 1998):
texts that agree in a whole band are compared. With 16 bands, texts of similarity 0.6 meet with probability 0.98, of 0.7
with 0.998, of 0.3 with 0.35. Texts with one term replaced always meet: either their first or their second halves are
the same, and halves are keys beside the bands.

Own numpy rather than a package: the terms are hashed already (`whetstone.curation.words`), so that a signature costs
6 microseconds a text, where rensa 0.5 takes 39 (33 of them to build its lists of strings) and datasketch 2.0 190 or
more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whetstone.curation.words import Hashes, Positions

BANDS, ROWS = 16, 3
HALVES = 2
SLOTS = BANDS * ROWS
KEYS = BANDS + HALVES

# So many texts are drawn for together, and so many numbers scrambled, that they stay in the processor's cache.
_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 15
_U64 = np.uint64
_GOLDEN = _U64(0x9E3779B97F4A7C15)


def mixed(values: Hashes) -> Hashes:
    """Numbers scrambled, each by itself: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    found = np.empty_like(values)
    for begin in range(0, len(values), _NUMBERS_AT_ONCE):
        part = values[begin : begin + _NUMBERS_AT_ONCE]
        scrambled = found[begin : begin + _NUMBERS_AT_ONCE]
        np.right_shift(part, _U64(30), out=scrambled)
        scrambled ^= part
        scrambled *= _U64(0xBF58476D1CE4E5B9)
        scrambled ^= scrambled >> _U64(27)
        scrambled *= _U64(0x94D049BB133111EB)
        scrambled ^= scrambled >> _U64(31)
    return found


def shingles(terms: Hashes, starts: Positions) -> Hashes:
    """For each term, the hash of the pair that it begins; the last of a text, which begins none, stands for itself.

    Args:
        terms: of all texts, one text after the other.
        starts: where each text begins; one longer than the texts, none of which is empty.
    """
    pairs = mixed(terms + _GOLDEN)
    pairs[:-1] += terms[1:]
    pairs = mixed(pairs)
    last = starts[1:] - 1
    pairs[last] = terms[last]
    return pairs


@dataclass(frozen=True)
class Signatures:
    """What texts are compared by.

    Attributes:
        whole: a key for the terms in their order, shape (texts,).
        keys: what texts that may be alike share, shape (texts, 18): bands, then the two halves.
        slots: a byte of each slot, shape (texts, 48): the share of equal ones estimates the similarity.
    """

    whole: Hashes
    keys: npt.NDArray[np.uint64]
    slots: npt.NDArray[np.uint8]


def signatures(terms: Hashes, starts: Positions) -> Signatures:
    """Signatures of texts; the arguments are those of `shingles`."""
    count = len(starts) - 1
    keys = np.empty((count, KEYS), np.uint64)
    slots = np.empty((SLOTS, count), np.uint32)
    # Terms and pairs side by side, so that those of a text stand together.
    drawn_from = np.empty((len(terms), 2), np.uint32)
    drawn_from[:, 0], drawn_from[:, 1] = terms >> _U64(32), shingles(terms, starts) >> _U64(32)
    factors = np.random.default_rng(0).integers(0, 2**32, SLOTS, dtype=np.uint32) | np.uint32(1)
    for begin in range(0, count, _AT_ONCE):
        texts = slice(begin, min(begin + _AT_ONCE, count))
        edges = 2 * starts[texts.start : texts.stop + 1]
        _fill(slots[:, texts], drawn_from.ravel()[edges[0] : edges[-1]], edges[:-1] - edges[0], factors)
    for band in range(BANDS):
        key = np.full(count, band, np.uint64)
        for row in range(ROWS):
            key = mixed(key * _GOLDEN + slots[band * ROWS + row])
        keys[:, band] = key
    halves = _half_keys(terms, starts)
    keys[:, BANDS:] = mixed(np.asarray(halves + np.arange(HALVES, dtype=np.uint64), dtype=np.uint64))
    # The upper byte of a minimum is nearly always 0.
    return Signatures(mixed(halves[:, 0] * _GOLDEN + halves[:, 1]), keys, slots.T.astype(np.uint8))


def _fill(
    slots: npt.NDArray[np.uint32], hashes: npt.NDArray[np.uint32], begins: Positions, factors: npt.NDArray[np.uint32]
) -> None:
    """Each slot the smallest hash of a text under one function: multiplication by an odd number, modulo 2^32."""
    drawn = np.empty_like(hashes)
    for slot, factor in enumerate(factors):
        np.multiply(hashes, factor, out=drawn)
        np.minimum.reduceat(drawn, begins, out=slots[slot])


def _half_keys(terms: Hashes, starts: Positions) -> npt.NDArray[np.uint64]:
    """For the first and the second half of each text a key of its terms in their order, shape (texts, 2)."""
    lengths = np.diff(starts)
    edges = np.empty(2 * len(lengths) + 1, np.int64)
    edges[::2], edges[1::2] = starts, starts[:-1] + lengths // 2
    sizes = np.diff(edges)
    within = (np.arange(len(terms)) - np.repeat(edges[:-1], sizes)).astype(np.uint64)
    within *= _GOLDEN
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed(terms + within), dtype=np.uint64)])
    # Sums wrap around, and so do their differences.
    return mixed(np.diff(sums[edges]) + sizes.astype(np.uint64)).reshape(-1, 2)
