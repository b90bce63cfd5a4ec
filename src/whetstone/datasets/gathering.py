"""Records gathered into a frame, batch by batch, keeping only the columns that are needed.

The first batch shows which columns there are; `choose` says which of them to keep, and from then on nothing else is
stored. So a file of any size is read once, and memory holds the kept columns and one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import polars as pl

from whetstone.datasets.cells import LINE, ROW, series, stack

SAMPLE_ROWS = 10_000

Choose = Callable[[pl.DataFrame], list[str]]
"""Given the first rows with every column, the columns to keep; raises DataError where one is missing."""

R = TypeVar("R")
Numbered = tuple[int, int, R]
"""A record with the number of its data row and its first line, both from 1."""


def gather(
    records: Iterator[Numbered[R]],
    names: Callable[[Sequence[R]], list[str]],
    picker: Callable[[list[str]], Callable[[R], Sequence[Any]]],
    choose: Choose,
) -> pl.DataFrame | None:
    """All batches as one frame; None where there are no records. The arguments are those of `batches`."""
    frames = list(batches(records, names, picker, choose))
    return stack(frames) if frames else None


def batches(
    records: Iterator[Numbered[R]],
    names: Callable[[Sequence[R]], list[str]],
    picker: Callable[[list[str]], Callable[[R], Sequence[Any]]],
    choose: Choose,
) -> Iterator[pl.DataFrame]:
    """Frames of `SAMPLE_ROWS` records, each with the chosen columns, `ROW` and `LINE`.

    Args:
        records: in file order.
        names: the columns that the first records have.
        picker: for a list of columns, what takes their cells from a record.
        choose: which columns to keep.
    """
    first = list(islice(records, SAMPLE_ROWS))
    if not first:
        return
    every = names([record for _, _, record in first])
    kept = choose(_frame(first, every, picker(every)).drop(ROW, LINE))
    pick = picker(kept)
    yield _frame(first, kept, pick)
    del first
    while batch := list(islice(records, SAMPLE_ROWS)):
        yield _frame(batch, kept, pick)


def _frame(batch: Sequence[Numbered[R]], names: list[str], pick: Callable[[R], Sequence[Any]]) -> pl.DataFrame:
    columns = zip(*(pick(record) for _, _, record in batch), strict=True)
    return pl.DataFrame(
        [
            pl.Series(ROW, [row for row, _, _ in batch], dtype=pl.Int64),
            pl.Series(LINE, [line for _, line, _ in batch], dtype=pl.Int64),
            *(series(name, cells) for name, cells in zip(names, columns, strict=True)),
        ]
    )
