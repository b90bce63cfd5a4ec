"""One door to rows: CSV, TSV, JSON, JSONL (also .gz), Parquet, a pandas or polars frame, or a Hugging Face dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import polars as pl

from whetstone.datasets.columnar import read_lazy, read_pandas, read_parquet
from whetstone.datasets.delimited import read_delimited
from whetstone.datasets.gathering import Choose
from whetstone.datasets.hub import read_hub
from whetstone.datasets.jsonfiles import read_json, read_json_lines
from whetstone.datasets.opening import FORMATS, file_kind, open_text
from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = Union[str, Path, pl.DataFrame, pl.LazyFrame, "pd.DataFrame"]
"""A file, a frame, a folder or a hub id ("owner/name", or "hf:owner/name" to rule out a file).

A folder or hub id may carry its split and configuration: "owner/name?split=test&config=en".
"""

_HUB = "hf:"


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        format: csv, tsv, json, jsonl or parquet, for files whose name does not say; None goes by the extension.
        encoding: of a text file; None is UTF-8, with or without a byte order mark.
        split: of a Hugging Face dataset.
        config: of a Hugging Face dataset.
        progress: told the share of a text file that has been read, 0 to 1.
    """

    format: str | None = None
    encoding: str | None = None
    split: str | None = None
    config: str | None = None
    progress: Callable[[float], None] | None = None


def source_name(source: Source) -> str:
    """What messages call a source."""
    if isinstance(source, (str, Path)):
        return str(source)
    return "the pandas frame" if _is_pandas(source) else "the polars frame"


def read_rows(
    source: Source, choose: Choose, rejects: Rejects, options: ReadOptions | None = None, notes: list[str] | None = None
) -> pl.DataFrame:
    """The rows of a source as a frame of the chosen columns, with `ROW` and `LINE` (see `whetstone.datasets.cells`).

    Cells are texts, numbers or booleans. Text files come as text columns (CSV), lists as lines of text.

    Args:
        source: where the rows are.
        choose: given the first rows with every column, which columns to keep.
        rejects: takes rows that cannot be taken apart (ragged, broken JSON).
        options: how to read.
        notes: takes remarks for the user.

    Raises:
        DataError: the source as a whole cannot be read; a sentence says where and why.
        UsageError: an encoding, format, split or configuration that does not exist.
        MissingPackageError: a Hugging Face dataset without the package `datasets`.
    """
    options = options or ReadOptions()
    name = source_name(source)
    if isinstance(source, (pl.DataFrame, pl.LazyFrame)):
        return read_lazy(source.lazy(), choose, name)
    if not isinstance(source, (str, Path)):
        if not _is_pandas(source):
            raise UsageError(
                f"Rows cannot be read from a {type(source).__name__}; pass a path, or a pandas or polars frame"
            )
        return read_pandas(source, choose, name)
    if is_hub_reference(source):
        reference, options = _hub_reference(name, options)
        return read_hub(
            reference, choose, split=options.split, config=options.config, notes=notes if notes is not None else []
        )
    if options.split or options.config:
        raise UsageError(f"{name} is a file; split and config are for Hugging Face datasets: leave them out")
    return _read_file(Path(source).expanduser(), choose, rejects, options)


def is_hub_reference(source: str | Path) -> bool:
    """Whether a source is read with the package `datasets`: "hf:…", a folder, or "owner/name" where no such file is."""
    text = str(source).partition("?")[0]
    path = Path(text).expanduser()
    if text.startswith(_HUB) or path.is_dir():
        return True
    if isinstance(source, Path) or path.exists() or text.startswith((".", "/", "~")) or "\\" in text:
        return False
    suffixes = {suffix.lower() for suffix in path.suffixes}
    return text.count("/") == 1 and not suffixes & {*FORMATS, ".gz", ".txt"}


def _hub_reference(text: str, options: ReadOptions) -> tuple[str, ReadOptions]:
    """A folder or hub id without what comes before and after it, and the options with what comes after it."""
    reference, _, query = text.removeprefix(_HUB).partition("?")
    for part in query.split("&") if query else []:
        key, _, value = part.partition("=")
        if key == "split" and value:
            options = replace(options, split=value)
        elif key == "config" and value:
            options = replace(options, config=value)
        else:
            raise UsageError(
                f"{text}: {part!r} cannot be read; after the question mark go split=… and config=…, joined by &"
            )
    folder = Path(reference).expanduser()
    return (str(folder) if folder.is_dir() else reference), options


def _read_file(path: Path, choose: Choose, rejects: Rejects, options: ReadOptions) -> pl.DataFrame:
    kind = file_kind(path, options.format)
    if kind.format == "parquet":
        return read_parquet(path, choose)
    newline = "" if kind.format in ("csv", "tsv") else "\n"
    with open_text(path, kind, newline=newline, encoding=options.encoding, progress=options.progress) as text:
        match kind.format:
            case "csv":
                return read_delimited(text, None, choose, rejects)
            case "tsv":
                return read_delimited(text, "\t", choose, rejects)
            case "json":
                return read_json(text, choose, rejects)
            case "jsonl":
                return read_json_lines(text, choose, rejects)
    raise DataError(f"{path}: no reader for {kind.format}")


def _is_pandas(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] == "pandas" and type(source).__name__ == "DataFrame"
