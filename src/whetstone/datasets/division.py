"""Usable rows divided into training, validation and test cases: drawn from one source, or every row a test case."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from whetstone.datasets.cases import CaseTable
from whetstone.datasets.cells import numbers_where_all_are, stack
from whetstone.datasets.duplicates import Keys, Rows, components, group_keys, hashed, text_keys
from whetstone.datasets.rows import EXPECTED, GROUP, ID, TEXT, UsableRows
from whetstone.datasets.split import Sizes, Split, split_rows, split_training
from whetstone.errors import UsageError


@dataclass(frozen=True)
class Divided:
    """Rows and the split of each.

    Attributes:
        table: as in `UsableRows`, fields that hold only numbers as numbers.
        fields: names of its field columns.
        split: positions in the table.
        groups: for cross-fitting, the group of each test row; else empty.
        notes: remarks for the user.
    """

    table: pl.DataFrame
    fields: tuple[str, ...]
    split: Split
    groups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def cases(self) -> tuple[CaseTable, CaseTable, CaseTable]:
        """Training, validation and test cases."""
        table = self.table
        every = CaseTable(table[ID], table[TEXT], table[EXPECTED], table.select(self.fields))
        return every.take(self.split.train), every.take(self.split.validation), every.take(self.split.test)


def divide(rows: UsableRows, sizes: Sizes, seed: int) -> Divided:
    """Draw all three splits from one source.

    Raises:
        UsageError: too few rows.
    """
    fields = rows.columns.fields or ()
    table = numbers_where_all_are(rows.frame, fields)
    contents = _contents(table, named=rows.columns.id is not None)
    split = split_rows(_components(table), contents, sizes, seed)
    return Divided(table, fields, split, notes=split.notes)


def every_row_tested(rows: UsableRows) -> Divided:
    """Every row a test case, in order, with the groups for cross-fitting."""
    fields = rows.columns.fields or ()
    table = numbers_where_all_are(rows.frame, fields)
    groups = tuple(map(str, _components(table).tolist()))
    return Divided(table, fields, Split(_NONE, _NONE, _positions(0, table.height)), groups)


def trained_apart(rows: UsableRows, train: UsableRows, sizes: Sizes, seed: int) -> Divided:
    """Every row of one source a test case, in order; training and validation rows from another.

    Args:
        rows: to test on.
        train: to train on and validate with; those that belong together with a test row are dropped.
        sizes: of validation and training.
        seed: of the draw of validation rows.

    Raises:
        UsageError: no rows to train on are left.
    """
    fields = train.columns.fields or ()
    # Row numbers name the rows of both sources, so those to train on carry a mark.
    marked = train.frame.with_columns(pl.concat_str(pl.lit("train:"), pl.col(ID)).alias(ID))
    columns = [ID, TEXT, EXPECTED, *([GROUP] if GROUP in marked.columns else []), *fields]
    table = numbers_where_all_are(stack([rows.frame.select(columns), marked.select(columns)]), fields)
    tests, candidates = _positions(0, rows.frame.height), _positions(rows.frame.height, table.height)
    component = _components(table)
    free = candidates[~np.isin(component[candidates], component[tests])]
    if not len(free):
        raise UsageError("Every row to train on is also a test row; name another file to train on")
    drawn = split_training(free, component, _contents(table, named=train.columns.id is not None), sizes, seed)
    notes = []
    if len(free) < len(candidates):
        dropped = len(candidates) - len(free)
        notes.append(f"{dropped:,} rows to train on were dropped, because they belong together with test rows")
    missing = [name for name in rows.columns.fields or () if name not in fields]
    if missing:
        notes.append(f"fields that the rows to train on lack are left out: {', '.join(missing)}")
    return Divided(table, fields, replace(drawn, test=tests), notes=tuple(notes))


_NONE: Rows = np.empty(0, dtype=np.int64)


def _positions(start: int, end: int) -> Rows:
    return np.arange(start, end, dtype=np.int64)


def _components(table: pl.DataFrame) -> Rows:
    keys = text_keys(table[TEXT])
    if GROUP not in table.columns:
        return components(keys)
    return components(keys, group_keys(table[GROUP]), table[GROUP].is_not_null().to_numpy())


def _contents(table: pl.DataFrame, named: bool) -> Keys:
    """A hash of what each row says; of its id too where that is the row's own and not its place."""
    rows = table.select(TEXT, EXPECTED, *([ID] if named else [])).iter_rows(buffer_size=10_000)
    return hashed(("\x1f".join(map(str, row)) for row in rows), b"row", table.height)
