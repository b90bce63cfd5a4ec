"""Parquet files and frames in memory: what is columnar already is selected, not parsed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from whetstone.datasets.cells import LINE, ROW, plain, scalar, series
from whetstone.datasets.gathering import SAMPLE_ROWS, Choose
from whetstone.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_parquet(path: Path, choose: Choose) -> pl.DataFrame:
    """The chosen columns of a Parquet file; the other columns are not read.

    Raises:
        DataError: it cannot be read, or holds no rows.
    """
    try:
        return read_lazy(pl.scan_parquet(path), choose, str(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as Parquet ({reason}); it may be cut off: fetch or write it again"
        ) from error


def read_lazy(lazy: pl.LazyFrame, choose: Choose, source: str) -> pl.DataFrame:
    """The chosen columns of a polars query, run as a stream.

    Raises:
        DataError: no rows.
    """
    names = choose(plain(lazy.head(SAMPLE_ROWS).collect()))
    return numbered(plain(lazy.select(names).collect(engine="streaming")), source)


def read_pandas(frame: pd.DataFrame, choose: Choose, source: str) -> pl.DataFrame:
    """The chosen columns of a pandas frame, converted without pyarrow.

    Raises:
        DataError: no rows, or a column twice.
    """
    for name, count in Counter(map(str, frame.columns)).items():
        if count > 1:
            raise DataError(f"{source} has {count} columns named {name!r}; rename all but one")
    name_of = {str(name): name for name in frame.columns}
    names = choose(_from_pandas(frame.head(SAMPLE_ROWS), name_of))
    return numbered(_from_pandas(frame, {name: name_of[name] for name in names}), source)


def _from_pandas(frame: pd.DataFrame, name_of: dict[str, Any]) -> pl.DataFrame:
    columns = []
    for name, key in name_of.items():
        column = frame[key]
        cells = column.astype(object).where(column.notna(), None).tolist()
        try:
            columns.append(series(name, [scalar(_unboxed(cell)) for cell in cells]))
        except UnicodeEncodeError:
            raise DataError(f"column {name!r} of the frame holds half of a surrogate pair; repair the text") from None
    return pl.DataFrame(columns)


def _unboxed(cell: Any) -> Any:
    """A numpy scalar or array inside an object column as Python values."""
    return cell.tolist() if type(cell).__module__ == "numpy" else cell


def numbered(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """With `ROW` and `LINE`; these formats have no lines.

    Raises:
        DataError: no rows.
    """
    if frame.is_empty():
        raise DataError(f"{source} holds no rows; it needs one row per case")
    return frame.with_columns(
        pl.int_range(1, frame.height + 1, dtype=pl.Int64).alias(ROW), pl.lit(None, dtype=pl.Int64).alias(LINE)
    )
