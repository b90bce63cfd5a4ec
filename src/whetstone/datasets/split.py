"""Train, validation and test rows, drawn once with a seed so that rows that belong together never straddle.

The order of the draw is a hash of the seed and of what the rows say, not of where they stand: the same rows in another
order, on another machine, give the same split.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from whetstone.datasets.duplicates import Keys, Rows
from whetstone.errors import UsageError

# Test and validation rows by default: enough to tell techniques apart, few enough to ask a language model about each.
DEFAULT_SIZE = 250
DEFAULT_TEST_SHARE = 0.2
DEFAULT_VALIDATION_SHARE = 0.1

Size = int | float
"""A number of rows, or below 1 a fraction of all rows."""


@dataclass(frozen=True)
class Sizes:
    """How many rows each split gets. None: min(250, 20 %) to test, min(250, 10 %) to validate, the rest to train."""

    test: Size | None = None
    validation: Size | None = None
    train: Size | None = None


@dataclass(frozen=True)
class Split:
    """Positions of rows, each split in the order of the draw; rows beyond a cap on training are in none."""

    train: Rows
    validation: Rows
    test: Rows
    notes: tuple[str, ...] = field(default=())


def draw_order(component: Rows, contents: Keys, seed: int) -> Rows:
    """Positions of all rows in a random order that keeps each component together.

    Args:
        component: for each row, the number of its component.
        contents: for each row, a hash of what it says.
        seed: another seed gives another order.
    """
    distinct, member_of = np.unique(component, return_inverse=True)
    smallest = np.full(len(distinct), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, member_of, contents)
    rank = _mixed(smallest, seed)[member_of]
    # Two components may share a rank by chance; their rows must not mingle all the same.
    return np.lexsort((contents, member_of, rank)).astype(np.int64)


def _mixed(values: Keys, seed: int) -> Keys:
    """Each number scrambled with the seed: SplitMix64 (Steele, Lea and Flood 2014), alike on every platform."""
    start = int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    mixed = values ^ np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def split_rows(component: Rows, contents: Keys, sizes: Sizes, seed: int) -> Split:
    """Draw the test rows, then the validation rows, then the training rows.

    A component that is larger than what a split still lacks is passed over and goes to a later split.

    Args:
        component: for each row, the number of its component.
        contents: for each row, a hash of what it says.
        sizes: how many rows each split gets.
        seed: of the draw.

    Raises:
        UsageError: too few rows for the sizes.
    """
    total = len(component)
    test_size = _rows(sizes.test, total, DEFAULT_TEST_SHARE, "test")
    validation_size = _rows(sizes.validation, total, DEFAULT_VALIDATION_SHARE, "validation")
    train_size = total if sizes.train is None else _rows(sizes.train, total, 1.0, "train")
    if test_size < 1 or train_size < 1 or test_size + validation_size >= total:
        raise UsageError(
            f"{total:,} usable rows are too few for {test_size:,} test and {validation_size:,} validation rows with "
            "some left to train on; ask for smaller splits, or make every row a test case (test_all)"
        )
    order = draw_order(component, contents, seed)
    test, order = _take(order, component, test_size)
    validation, train = _take(order, component, validation_size)
    notes = [
        f"{name}: {len(got):,} rows instead of {asked:,}, because larger groups of duplicates are kept together"
        for name, got, asked in (("test", test, test_size), ("validation", validation, validation_size))
        if len(got) < asked
    ]
    if not len(test) or not len(train):
        raise UsageError(
            f"The {total:,} usable rows fall into {len(np.unique(component)):,} groups of rows that belong together, "
            f"too few to draw {test_size:,} test rows and leave some to train on; add rows, or change the test size"
        )
    return Split(train[:train_size], validation, test, tuple(notes))


def split_training(rows: Rows, component: Rows, contents: Keys, sizes: Sizes, seed: int) -> Split:
    """Draw the validation rows and then the training rows from `rows`, which are positions; there is no test split.

    Raises:
        UsageError: too few rows for the sizes.
    """
    validation_size = _rows(sizes.validation, len(rows), DEFAULT_VALIDATION_SHARE, "validation")
    if sizes.validation is None and len(rows) == 1:
        validation_size = 0
    order = rows[draw_order(component[rows], contents[rows], seed)]
    validation, train = _take(order, component, validation_size)
    if sizes.train is not None:
        train = train[: _rows(sizes.train, len(rows), 1.0, "train")]
    if not len(train):
        raise UsageError(
            f"{len(rows):,} rows to train on are too few for {validation_size:,} validation rows with some left; ask "
            "for a smaller validation size, or 0"
        )
    return Split(train, validation, np.empty(0, dtype=np.int64))


def _rows(size: Size | None, total: int, share: float, name: str) -> int:
    if size is None:
        return min(DEFAULT_SIZE, max(1, int(total * share)))
    if size < 0 or (size != int(size) and size > 1):
        raise UsageError(f"The {name} size {size} is neither a number of rows nor a fraction below 1")
    return int(size) if isinstance(size, int) or size >= 1 else round(size * total)


def _take(order: Rows, component: Rows, size: int) -> tuple[Rows, Rows]:
    """The first `size` rows of an order by whole components, and the rows that are left, in order."""
    numbers = component[order]
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]]) if len(order) else np.empty(0, dtype=np.int64)
    ends = np.r_[starts[1:], len(order)]
    taken = np.zeros(len(order), dtype=bool)
    left = size
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if left == 0:
            break
        if end - start <= left:
            taken[start:end] = True
            left -= end - start
    return order[taken], order[~taken]
