"""Chunks of source files: cut at places that do not depend on who reads them, so that all engines make the same ones.

A chunk of JSON Lines holds the lines that begin within its 16 MB of the (unpacked) file, one of Parquet 16,384 rows,
one of CSV or of a JSON array 10,000. Plain JSON Lines and Parquet can be read from any chunk on; the others from the
first only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import polars as pl

from whetstone.curation.layouts import Layout, as_cells, layout_for
from whetstone.curation.listing import SCHEMA
from whetstone.curation.parsing import Broken, parse_lines, parse_objects
from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.columnar import numbered
from whetstone.datasets.delimited import delimited_batches
from whetstone.datasets.gathering import SAMPLE_ROWS, Numbered
from whetstone.datasets.jsonfiles import Object, json_array
from whetstone.datasets.opening import FileKind, file_kind, open_bytes, open_text
from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError

BLOCK_BYTES = 16 << 20
BLOCK_ROWS = 16_384
_SAMPLE_LINES = 50


@dataclass(frozen=True)
class Span:
    """Chunks of one file that are read in one go.

    Attributes:
        file: the file's number among those of the source.
        path: the file.
        first: number of the first chunk.
        last: number of the last one; None for all that follow.
    """

    file: int
    path: str
    first: int
    last: int | None


@dataclass(frozen=True)
class Chunk:
    """Listings as they were read.

    Attributes:
        file: the file's number.
        number: the chunk's number in its file.
        listings: the rows that can be read; `ROW` and `LINE` count from the chunk's beginning.
        broken: the rows that cannot.
        lines: how many lines the chunk spans, 0 for formats without lines.
    """

    file: int
    number: int
    listings: pl.DataFrame
    broken: list[Broken]
    lines: int

    @property
    def rows(self) -> int:
        """Every data row of the chunk, readable or not."""
        return self.listings.height + len(self.broken)


def spans(file: int, path: Path) -> list[Span]:
    """A file's spans, each as short as its format allows.

    Raises:
        DataError: the file cannot be read.
    """
    kind = file_kind(path)
    if kind.format == "parquet":
        rows = _parquet(path).select(pl.len()).collect().item()
        return [Span(file, str(path), number, number) for number in range(max(1, -(-rows // BLOCK_ROWS)))]
    if kind.format == "jsonl" and not kind.compressed:
        return [
            Span(file, str(path), number, number) for number in range(max(1, -(-path.stat().st_size // BLOCK_BYTES)))
        ]
    return [Span(file, str(path), 0, None)]


def find_layout(path: Path, mapping: dict[str, str]) -> Layout:
    """The layout of a file, by the names of its columns.

    Raises:
        DataError: it cannot be read, has no rows, or its columns are of no known layout.
        UsageError: the mapping cannot be used.
    """
    return layout_for(_columns(path, file_kind(path)), mapping, str(path))


def _columns(path: Path, kind: FileKind) -> list[str]:
    match kind.format:
        case "parquet":
            return _parquet(path).collect_schema().names()
        case "jsonl":
            with open_bytes(path, kind) as stream:
                head = b"".join(stream.readline() for _ in range(_SAMPLE_LINES))
            return _names_in(head)
        case "json":
            with open_text(path, kind, newline="\n") as text:
                first = next(json_array(text, Rejects(str(path))), None)
            return list(first[2]) if first else []
        case _:
            with open_text(path, kind, newline="") as text:
                return _header(path, text.readline(), kind)


def _header(path: Path, line: str, kind: FileKind) -> list[str]:
    frames = delimited_batches([line, line], _separator(kind), lambda sample: sample.columns, Rejects(str(path)))
    return [name for name in next(frames).columns if name not in (ROW, LINE)]


def _separator(kind: FileKind) -> str | None:
    return "\t" if kind.format == "tsv" else None


def _names_in(head: bytes) -> list[str]:
    names: dict[str, None] = {}
    for line in head.splitlines():
        try:
            value = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            names.update(dict.fromkeys(value))
    return list(names)


def read_span(span: Span, layout: Layout, skip: frozenset[int] = frozenset()) -> Iterator[Chunk]:
    """The chunks of a span, in order, but those whose numbers are in `skip`.

    Raises:
        DataError: the file cannot be read, or is cut off.
    """
    path = Path(span.path)
    kind = file_kind(path)
    match kind.format:
        case "parquet":
            chunks = _parquet_chunks(span, path, layout, skip)
        case "jsonl":
            chunks = _line_chunks(span, path, kind, layout, skip)
        case "json":
            chunks = _array_chunks(span, path, kind, layout)
        case _:
            chunks = _table_chunks(span, path, kind, layout)
    yield from (chunk for chunk in chunks if chunk.number not in skip)


def _line_chunks(span: Span, path: Path, kind: FileKind, layout: Layout, skip: frozenset[int]) -> Iterator[Chunk]:
    with open_bytes(path, kind) as stream:
        position = _start(stream, span.first)
        number = span.first
        while span.last is None or number <= span.last:
            data = _block(stream, position, (number + 1) * BLOCK_BYTES)
            if not data and not stream.peek(1):  # type: ignore[attr-defined]  # both readers have it
                return
            position += len(data)
            if number not in skip:
                frame, broken, lines = parse_lines(data, layout.fields)
                yield Chunk(span.file, number, layout.listings(frame), broken, lines)
            number += 1


def _start(stream: BinaryIO, number: int) -> int:
    """Move to the first line that begins within this chunk; where that is."""
    if number == 0:
        return 0
    stream.seek(number * BLOCK_BYTES - 1)
    stream.readline()
    return stream.tell()


def _block(stream: BinaryIO, position: int, end: int) -> bytes:
    """The lines that begin before `end`."""
    if position >= end:
        return b""
    data = stream.read(end - position)
    return data if data.endswith(b"\n") else data + stream.readline()


def _parquet(path: Path) -> pl.LazyFrame:
    try:
        frame = pl.scan_parquet(path)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as Parquet ({reason}); it may be cut off: fetch or write it again"
        ) from error
    return frame


def _parquet_chunks(span: Span, path: Path, layout: Layout, skip: frozenset[int]) -> Iterator[Chunk]:
    table = _parquet(path)
    wanted = [name for name in table.collect_schema().names() if name in layout.fields]
    for number in range(span.first, (span.first if span.last is None else span.last) + 1):
        if number in skip:
            continue
        try:
            frame = table.select(wanted).slice(number * BLOCK_ROWS, BLOCK_ROWS).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}); fetch or write it again") from error
        cells = as_cells(frame, layout)
        listings = layout.listings(numbered(cells, str(path))) if frame.height else pl.DataFrame(schema=SCHEMA)
        yield Chunk(span.file, number, listings, [], 0)


def _array_chunks(span: Span, path: Path, kind: FileKind, layout: Layout) -> Iterator[Chunk]:
    """Of a file with one JSON array."""
    rejects = Rejects(str(path))
    with open_text(path, kind, newline="\n") as text:
        rows = json_array(text, rejects)
        yield from _gathered(span, _array_frames(rows, layout), rejects, layout)


def _array_frames(rows: Iterator[Numbered[Object]], layout: Layout) -> Iterator[pl.DataFrame]:
    while batch := list(islice(rows, SAMPLE_ROWS)):
        yield parse_objects([value for _, _, value in batch], layout.fields).with_columns(
            pl.Series(ROW, [row for row, _, _ in batch], dtype=pl.Int64),
            pl.Series(LINE, [line for _, line, _ in batch], dtype=pl.Int64),
        )


def _table_chunks(span: Span, path: Path, kind: FileKind, layout: Layout) -> Iterator[Chunk]:
    """Of CSV or TSV."""
    rejects = Rejects(str(path))
    with open_text(path, kind, newline="") as text:
        frames = delimited_batches(
            text, _separator(kind), lambda sample: [name for name in sample.columns if name in layout.fields], rejects
        )
        yield from _gathered(span, frames, rejects, layout)


def _gathered(span: Span, frames: Iterator[pl.DataFrame], rejects: Rejects, layout: Layout) -> Iterator[Chunk]:
    """Chunks of frames whose rows are numbered through the file, with what was rejected while each was read."""
    number = done = told = 0
    for frame in chain(frames, [pl.DataFrame(schema=SCHEMA)]):
        broken = [
            Broken(each.row - done, each.line, each.reason, str(each.content["text"]))
            for each in islice(rejects, told, None)
        ]
        if frame.is_empty() and not broken:
            continue
        local = frame.with_columns(pl.col(ROW) - done)
        chunk = Chunk(span.file, number, layout.listings(local), broken, 0)
        yield chunk
        number, done, told = number + 1, done + chunk.rows, told + len(broken)
