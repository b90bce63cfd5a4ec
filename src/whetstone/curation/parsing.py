"""JSON Lines as frames: all lines at once where all are sound, line by line where one is not."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from whetstone.datasets.cells import LINE, ROW, scalar, written
from whetstone.datasets.jsonfiles import Object, json_lines
from whetstone.datasets.rejects import LONGEST_CELL, Rejects

_MARK = b"\xef\xbb\xbf"
_SURROGATES = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?P<pair>\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})"
)
_TEXTS = pl.List(pl.String())


@dataclass(frozen=True)
class Broken:
    """A row that cannot be taken apart.

    Attributes:
        row: its number in the chunk, from 1.
        line: its line, from 1; None where the format has no lines.
        reason: why.
        text: what stands there; cut at 2,000 characters.
    """

    row: int
    line: int | None
    reason: str
    text: str


def parse_lines(data: bytes, fields: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame, list[Broken], int]:
    """The objects of a block of lines.

    Args:
        data: whole lines, one object in each; blank ones are passed over.
        fields: the fields to read, as String or List(String). What is neither becomes JSON text.

    Returns:
        A frame of `fields` with `ROW` and `LINE`, the rows that cannot be read, the number of lines.
    """
    data = _without_half_pairs(data.removeprefix(_MARK))
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    if not data.strip():
        return _numbered(pl.DataFrame(schema=dict(fields)), None, None), [], lines
    frame = _at_once(data, fields)
    if frame is not None and frame.height == lines:
        return _numbered(frame, None, None), [], lines
    # A broken line, a blank one, or a field of another type than the layout says.
    frame, broken = _one_by_one(data, fields)
    return frame, broken, lines


def _without_half_pairs(data: bytes) -> bytes:
    """Escapes that bring in half of a surrogate pair, as texts cut inside an emoji have, as the replacement character.

    polars would read NUL, and Python a character that no UTF-8 file can hold.
    """
    if b"\\ud" in data or b"\\uD" in data:
        return _SURROGATES.sub(lambda found: found[0] if found["pair"] else rb"\ufffd", data)
    return data


def _at_once(data: bytes, fields: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(io.BytesIO(data), schema=dict(fields))
    except pl.exceptions.PolarsError:
        return None


def _one_by_one(data: bytes, fields: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame, list[Broken]]:
    rejects = Rejects("")
    foreign: dict[int, Broken] = {}
    found = list(json_lines(_decoded(data, foreign), rejects))
    frame = parse_objects([value for _, _, value in found], fields)
    broken = [Broken(each.row, each.line, each.reason, str(each.content["text"])) for each in rejects]
    broken = [
        replace(foreign[each.line], row=each.row) if each.line is not None and each.line in foreign else each
        for each in broken
    ]
    return _numbered(frame, [row for row, _, _ in found], [line for _, line, _ in found]), broken


def _decoded(data: bytes, foreign: dict[int, Broken]) -> Iterator[str]:
    """The lines as text; one that is not UTF-8 goes to `foreign`, and a line that is no object stands in its place."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            reason = f"not UTF-8: byte {error.start + 1} of the line is 0x{line[error.start]:02X}"
            foreign[number] = Broken(0, number, reason, line.decode("utf-8", "replace")[:LONGEST_CELL])
            yield "null"


def parse_objects(objects: Sequence[Object], fields: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Objects as a frame of `fields`."""
    return pl.DataFrame(
        [
            pl.Series(name, [_cell(each.get(name), kind) for each in objects], dtype=kind)
            for name, kind in fields.items()
        ]
    )


def _cell(value: Any, kind: pl.DataType) -> Any:
    if value is None:
        return None
    if kind == _TEXTS:
        parts = value if isinstance(value, list) else [value]
        return [None if part is None else _written(part) for part in parts]
    return _written(value)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    cell = scalar(value)
    return "" if cell is None else written(cell)


def _numbered(frame: pl.DataFrame, rows: list[int] | None, lines: list[int] | None) -> pl.DataFrame:
    counted = range(1, frame.height + 1)
    return frame.with_columns(
        pl.Series(ROW, counted if rows is None else rows, dtype=pl.Int64),
        pl.Series(LINE, counted if lines is None else lines, dtype=pl.Int64),
    )
