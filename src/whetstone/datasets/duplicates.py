"""Rows that belong together: the same text up to case, blanks and Unicode form, or the same value in a group column."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

_BATCH = 10_000


def normalised(text: str) -> str:
    """A text as duplicates are compared: NFKC, case folded, runs of blanks as one space."""
    if not text.isascii():
        # Folding may undo the normal form (U+0345, some ligatures), so it is brought back afterwards.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        return " ".join(text.split())
    return " ".join(text.lower().split())


def text_keys(texts: pl.Series) -> Keys:
    """For each text, a number that is equal for duplicates; the same on every platform."""
    return hashed(map(normalised, _values(texts)), b"text", len(texts))


def group_keys(groups: pl.Series) -> Keys:
    """For each value of a group column, a number; what it is for null means nothing."""
    return hashed((group or "" for group in _values(groups)), b"group", len(groups))


def hashed(texts: Iterable[str], purpose: bytes, count: int) -> Keys:
    """For each of `count` texts, 64 bits of BLAKE2b: of a million, two agree by chance once in 10^7 tries.

    Args:
        texts: to hash.
        purpose: at most 16 bytes; the same text has other numbers for other purposes.
        count: how many there are.
    """
    numbers = (
        int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=purpose).digest(), "big")
        for text in texts
    )
    return np.fromiter(numbers, dtype=np.uint64, count=count)


def _values(column: pl.Series) -> Iterator[Any]:
    for start in range(0, len(column), _BATCH):
        yield from column[start : start + _BATCH].to_list()


def components(texts: Keys, groups: Keys | None = None, grouped: npt.NDArray[np.bool_] | None = None) -> Rows:
    """A number for each row, the same for rows linked by equal texts or groups, directly or not.

    Numbers run from 0 in the order of each component's smallest text key, so they do not depend on the order of rows.

    Args:
        texts: for each row, the key of its text.
        groups: for each row, the key of its group.
        grouped: for each row, whether it has a group; all by default.
    """
    distinct, text_of = np.unique(texts, return_inverse=True)
    if groups is None:
        return text_of.astype(np.int64)
    linked = np.arange(len(texts)) if grouped is None else np.flatnonzero(grouped)
    _, group_of = np.unique(groups[linked], return_inverse=True)
    # Union-find over texts, then groups; the smaller number is always the parent, so a root is its smallest text.
    parent = list(range(len(distinct) + len(linked)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for text, group in zip(text_of[linked].tolist(), (len(distinct) + group_of).tolist(), strict=True):
        a, b = root(text), root(group)
        parent[max(a, b)] = min(a, b)
    roots = np.fromiter(map(root, range(len(distinct))), dtype=np.int64, count=len(distinct))
    _, numbers = np.unique(roots, return_inverse=True)
    return numbers[text_of].astype(np.int64)
