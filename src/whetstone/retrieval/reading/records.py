"""Rows of tables and records of JSON: each one a block of lines "name: value", so that it is found by itself."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from whetstone.errors import DataError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.laying import part

_LONGEST_LINE = 16 << 20  # characters
_SEPARATORS = (",", ";", "\t", "|")  # in the order in which they are tried on the first line


def delimited(text: TextIO, path: str) -> Iterator[Block]:
    """The rows of CSV or TSV under the names in the first one; the row after that is "row 2", as in a spreadsheet.

    Args:
        text: the file, opened with newline="".
        path: of the file; ".csv" leaves the separator to what its first line holds.

    Raises:
        DataError: the quotes do not close.
    """
    lines = _lines(text, path)
    first = next(lines, "")
    separator = next((mark for mark in _SEPARATORS if mark in first), ",")
    if not path.lower().endswith(".csv"):
        separator = "\t"

    def all_lines() -> Iterator[str]:
        yield first
        yield from lines

    rows = csv.reader(all_lines(), delimiter=separator)
    names: list[str] = []
    number = 0
    try:
        for number, row in enumerate(rows, start=1):
            if number == 1:
                names = row
            else:
                yield row_block(names, row, f"row {number}")
        if number == 1:  # names without rows still say something
            yield part("list", "\n".join(names), place="row 1")
    except csv.Error as error:
        raise DataError(
            f"{path}: the table cannot be read after row {number} ({error}); look there for a quote that is not closed"
        ) from error


def row_block(names: Sequence[str], row: Sequence[str], place: str) -> Block:
    """A row; empty cells are left out."""
    cells = [(names[at].strip() if at < len(names) else "") or f"column {at + 1}" for at in range(len(row))]
    return part(
        "list",
        "\n".join(f"{name}: {value}" for name, value in zip(cells, row, strict=True) if value.strip()),
        place=place,
    )


def json_lines(text: TextIO, path: str) -> Iterator[Block]:
    """One record a line; a line that is no JSON stays as it is."""
    for number, line in enumerate(_lines(text, path), start=1):
        if not line.strip():
            continue
        try:
            shown = _shown(json.loads(line))
        except (ValueError, RecursionError):
            shown = line
        yield part("list", shown, place=f"line {number}")


def json_document(text: str, path: str) -> Iterator[Block]:
    """The items of a list, also of one within an object, one by one; the rest of an object together.

    Raises:
        DataError: broken JSON.
    """
    try:
        value = json.loads(text) if text.strip() else None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: broken JSON ({error.msg}); repair the file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: the JSON is nested too deeply, or a number in it has thousands of digits") from error
    if isinstance(value, list):
        yield from _items(value, "record")
        return
    rest = value
    if isinstance(value, dict):
        lists = {name for name, inner in value.items() if _is_records(inner)}
        rest = {name: inner for name, inner in value.items() if name not in lists}
        yield part("list", _shown(rest), place="")
        for name in value:
            if name in lists:
                yield part("heading", f"## {' '.join(name.split())}", level=2, place=name)
                yield from _items(value[name], name)
    elif value is not None:
        yield part("text", _shown(rest))


def _items(values: list[Any], name: str) -> Iterator[Block]:
    for number, value in enumerate(values, start=1):
        yield part("list", _shown(value), place=f"{name} {number}")


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _shown(value: Any) -> str:
    return "\n".join(f"{name}: {text}" if name else text for name, text in _flat("", value))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value under the names that lead to it; null and empty ones are left out."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _flat(f"{name}.{key}" if name else key, inner)
        case list() if not any(isinstance(item, (dict, list)) for item in value):
            texts = [text for item in value for _, text in _flat("", item)]
            if texts:
                yield name, ", ".join(texts)
        case list():
            for at, inner in enumerate(value):
                yield from _flat(f"{name}[{at}]", inner)
        case None | "":
            return
        case bool():
            yield name, "true" if value else "false"
        case _:
            yield name, str(value)


def _lines(text: TextIO, path: str) -> Iterator[str]:
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DataError(f"{path} has a line of more than {_LONGEST_LINE >> 20} million characters; is it damaged?")
        yield line.replace("\0", "�")
