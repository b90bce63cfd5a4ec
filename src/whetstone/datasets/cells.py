"""Cells and columns as polars holds them: every format ends in the same few types, so nothing downstream asks for more.

A cell is a text, a number, a boolean or nothing. A list becomes its elements on lines of their own (catalogues keep
descriptions that way); any other nesting becomes JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

# Columns that the readers add: the number of the data row, from 1, and its first line in the file (null: no lines).
ROW = "whetstone:row"
LINE = "whetstone:line"


def scalar(value: Any) -> str | int | float | bool | None:
    """One JSON or Python value as a cell."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        parts = [scalar(part) for part in value]
        return "\n".join(written(part) for part in parts if part is not None)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def written(cell: str | int | float | bool) -> str:
    """A cell as text, the way JSON writes it."""
    return cell if isinstance(cell, str) else json.dumps(cell)


def series(name: str, values: Sequence[Any]) -> pl.Series:
    """Cells of one column as a series: String, Boolean, Int64 or Float64; a mixture as String.

    Raises:
        UnicodeEncodeError: a text holds half of a surrogate pair.
    """
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if kinds <= {str}:
        return pl.Series(name, values, dtype=pl.String)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds == {int, float} or kinds == {float}:
        try:
            return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
        except OverflowError:  # a whole number of more than 308 digits
            pass
    return pl.Series(name, [None if value is None else written(value) for value in values], dtype=pl.String)


def stack(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Batches of the same columns as one frame; where their types differ, numbers widen and the rest becomes text."""
    casts = {}
    for name in frames[0].columns:
        types = {frame.schema[name] for frame in frames if frame[name].null_count() < frame.height}
        if len(types) > 1:
            casts[name] = pl.Float64 if types <= {pl.Int64, pl.Float64} else pl.String
        elif types:
            casts[name] = types.pop()  # type: ignore[assignment]  # mypy: the type of the first branch
    return pl.concat([frame.cast(casts) for frame in frames])  # type: ignore[arg-type]


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of any polars type as columns of cells; columns that hold no cells (bytes, objects) are left out."""
    columns = []
    for column in frame.get_columns():
        cells = _plain_column(column)
        if cells is not None:
            columns.append(cells)
    return pl.DataFrame(columns) if columns else frame.select([])


def _plain_column(column: pl.Series) -> pl.Series | None:
    kind = column.dtype
    if kind in (pl.String, pl.Boolean, pl.Int64, pl.Float64):
        return column
    if kind.is_integer():
        return column.cast(pl.Int64 if kind not in (pl.UInt64, pl.Int128, pl.UInt128) else pl.Float64)
    if kind.is_numeric():
        return column.cast(pl.Float64)
    if kind == pl.Null or kind.is_temporal() or kind in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if kind == pl.List(pl.String):
        return column.list.join("\n", ignore_nulls=True)
    if kind.is_nested():
        return series(column.name, [scalar(value) for value in column.to_list()])
    return None


def numbers_where_all_are(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Of the named text columns, those whose every filled cell is a number become Float64; blank cells become null.

    Text files do not say which columns are numbers; this looks at the whole column, never at a sample.
    """
    done = []
    for name in names:
        if frame.schema[name] != pl.String:
            continue
        cells = frame[name].str.strip_chars()
        filled = cells.set(cells == "", None)
        numbers = filled.cast(pl.Float64, strict=False)
        whole = numbers.null_count() == filled.null_count() and filled.null_count() < frame.height
        done.append((numbers if whole else filled).alias(name))
    return frame.with_columns(done)
