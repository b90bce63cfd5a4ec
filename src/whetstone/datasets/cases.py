"""Cases over columns: a million of them cost what their columns cost, and each `Case` is built when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import polars as pl

from whetstone.types import Case

# Iterating builds this many cases at a time: fast, and never the whole table as Python objects.
_BATCH = 4_096


class CaseTable(Sequence[Case]):
    """An immutable sequence of cases, kept as columns. Tables taken from one another share the columns.

    Args:
        ids: n unique texts.
        texts: n texts.
        expected: n true answers, Float64 for numbers and String else.
        fields: n rows, a column for each field; no columns where there are no fields.
        rows: positions of the cases in these columns, in order; all by default.
    """

    def __init__(
        self,
        ids: pl.Series,
        texts: pl.Series,
        expected: pl.Series,
        fields: pl.DataFrame,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._ids, self._texts, self._expected, self._fields = ids, texts, expected, fields
        self._rows = np.arange(len(ids), dtype=np.int64) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> CaseTable: ...
    def __getitem__(self, index: int | slice) -> Case | CaseTable:
        if isinstance(index, slice):
            return self._with(self._rows[index])
        row = int(self._rows[index])
        fields = self._fields.row(row, named=True) if self._fields.width else {}
        return Case(self._ids[row], self._texts[row], self._expected[row], fields)

    def __iter__(self) -> Iterator[Case]:
        for rows in self._batches():
            fields = self._fields[rows].to_dicts() if self._fields.width else [{} for _ in range(len(rows))]
            yield from starmap(Case, zip(*self._columns(rows), fields, strict=True))

    def triples(self) -> Iterator[tuple[str, str, float | str]]:
        """Id, text and expected answer of each case, without building cases."""
        for rows in self._batches():
            yield from zip(*self._columns(rows), strict=True)

    def _batches(self) -> Iterator[npt.NDArray[np.int64]]:
        return (self._rows[start : start + _BATCH] for start in range(0, len(self), _BATCH))

    def _columns(self, rows: npt.NDArray[np.int64]) -> tuple[list[Any], list[Any], list[Any]]:
        return self._ids[rows].to_list(), self._texts[rows].to_list(), self._expected[rows].to_list()

    def _with(self, rows: npt.NDArray[np.int64]) -> CaseTable:
        return CaseTable(self._ids, self._texts, self._expected, self._fields, rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CaseTable):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # compares by content, like a list

    def __repr__(self) -> str:
        return f"<CaseTable: {len(self):,} cases, fields: {', '.join(self._fields.columns) or 'none'}>"

    def take(self, positions: Sequence[int] | npt.NDArray[np.int64]) -> CaseTable:
        """The cases at these positions, in this order."""
        return self._with(self._rows[np.asarray(positions, dtype=np.int64)])

    @property
    def frame(self) -> pl.DataFrame:
        """The fields, for techniques on tabular data: a column each, a row per case. Without fields it has no rows."""
        return self._fields[self._rows] if self._fields.width else self._fields

    def ids(self) -> list[str]:
        """Every case's id."""
        return self._ids[self._rows].to_list()

    def texts(self) -> list[str]:
        """Every case's text."""
        return self._texts[self._rows].to_list()

    def expected(self) -> list[float] | list[str]:
        """Every case's true answer."""
        return self._expected[self._rows].to_list()
