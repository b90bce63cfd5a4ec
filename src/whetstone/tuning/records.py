"""Rows of a source as they stand in it, nested values and all, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.jsonfiles import json_array, json_lines
from whetstone.datasets.opening import FileKind, file_kind, open_text
from whetstone.datasets.readers import ReadOptions, is_hub_reference, read_rows
from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError, UsageError

Record = tuple[int, int | None, dict[str, Any]]
"""The number of a data row, from 1; its line, where the format has lines; and its cells by column."""

_LOOKED_AT = 100  # rows whose columns say which layout a JSON file has
_PIECE = 10_000


def read_records(source: str, rejects: Rejects, split: str | None = None) -> tuple[list[str], Iterator[Record]]:
    """The columns of a source, and its rows.

    Args:
        source: a file, a folder as the Hugging Face hub has it, or a hub id.
        rejects: takes rows that cannot be taken apart.
        split: of a data set with several; "train", where not asked for.

    Raises:
        DataError: it cannot be read, or holds no rows.
        UsageError: there is no such split.
    """
    path = Path(source).expanduser()
    if not is_hub_reference(source):
        kind = file_kind(path)
        if kind.format == "parquet":
            return _parquet(path)
        if kind.format in ("json", "jsonl"):
            return _json(path, kind, rejects)
    frame = read_rows(source, lambda sample: sample.columns, rejects, ReadOptions(split=split))
    columns = [name for name in frame.columns if name not in (ROW, LINE)]
    return columns, _cells(frame)


def has_split(source: str, split: str) -> bool:
    """Whether a folder or hub id has a split of that name."""
    if not is_hub_reference(source):
        return False
    try:
        read_rows(source, lambda sample: sample.columns[:1], Rejects(source), ReadOptions(split=split))
    except UsageError:
        return False
    return True


def _parquet(path: Path) -> tuple[list[str], Iterator[Record]]:
    lazy = pl.scan_parquet(path)
    try:
        columns = lazy.collect_schema().names()
        total = int(lazy.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as Parquet ({reason}); it may be cut off: write it again") from error
    if not total:
        raise DataError(f"{path} holds no rows; it needs one row per example")

    def rows() -> Iterator[Record]:
        for start in range(0, total, _PIECE):
            piece = lazy.slice(start, _PIECE).collect()
            for number, row in enumerate(piece.iter_rows(named=True), start=start + 1):
                yield number, None, row

    return columns, rows()


def _json(path: Path, kind: FileKind, rejects: Rejects) -> tuple[list[str], Iterator[Record]]:
    records = _json_records(path, kind, rejects)
    first = list(islice(records, _LOOKED_AT))
    if not first:
        rejects.refuse_most(len(rejects))
        raise DataError(f"{path} holds no rows; it needs one JSON object per example")
    columns = list(dict.fromkeys(name for _, _, row in first for name in row))
    return columns, chain(first, records)


def _json_records(path: Path, kind: FileKind, rejects: Rejects) -> Iterator[Record]:
    with open_text(path, kind, newline="\n") as text:
        array = kind.format == "json" and _begins_array(path, kind)
        yield from json_array(text, rejects) if array else json_lines(text, rejects)


def _begins_array(path: Path, kind: FileKind) -> bool:
    with open_text(path, kind, newline="\n") as text:
        first = next((line for line in text if line.strip()), "")
    return first.lstrip().startswith("[")


def _cells(frame: pl.DataFrame) -> Iterator[Record]:
    for row in frame.iter_rows(named=True, buffer_size=_PIECE):
        number, line = row.pop(ROW), row.pop(LINE)
        yield number, line, {name: _turns(cell) for name, cell in row.items()}


def _turns(cell: Any) -> Any:
    """A list of turns, which a table holds as text: one JSON object a line, as `datasets.cells` writes lists."""
    if not isinstance(cell, str) or not cell.startswith("{"):
        return cell
    try:
        turns = [json.loads(line) for line in cell.split("\n")]
    except ValueError:
        return cell
    return turns if all("role" in turn or "from" in turn for turn in turns) else cell
