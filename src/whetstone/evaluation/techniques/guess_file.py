"""Files of guesses: CSV, TSV, one guess per line, or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import DataError, UsageError
from whetstone.registry import unknown_name

_Row = tuple[int, dict[str, str | float]]  # line number, and the cells by name

_ID_NAMES = ("id", "case_id", "case", "item", "item_id")
_GUESS_NAMES = ("guess", "prediction", "answer", "predicted", "estimate", "human_guess", "response", "output")


@dataclass(frozen=True)
class GuessFile:
    """Guesses as they were written, in the order of the file.

    Attributes:
        path: the file.
        content: its bytes.
        guesses: the raw guesses: texts, or floats where a JSON number stood.
        ids: the id beside each guess, or None where the file names none.
    """

    path: Path
    content: bytes
    guesses: Sequence[str | float]
    ids: Sequence[str] | None


def read_guess_file(path: Path, column: str = "") -> GuessFile:
    """The guesses of a file.

    A CSV file has a header (a column named guess, prediction, answer ..., and id if guesses are to be matched by id),
    or none and then one guess per row, or an id and a guess. A JSON Lines file has a guess per line, or objects with
    such names. Empty lines at the end are passed over.

    Args:
        column: the column with the guesses, where its name is none of the usual ones.

    Raises:
        DataError: the file cannot be read, or a row does not fit.
        UsageError: it is not clear which column holds the guesses.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: the guesses cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    rows = list(_json_rows(path, text) if path.suffix in (".jsonl", ".ndjson") else _csv_rows(path, text))
    if not rows:
        raise DataError(f"{path} holds no guesses")
    names = list(rows[0][1])
    guess_name = _guess_column(path, names, column)
    id_name = _id_column(names, guess_name)
    for number, row in rows:
        for name in filter(None, (guess_name, id_name)):
            if name not in row:
                raise DataError(f"{path}, line {number}: there is no {name!r} here, as there is in the lines before")
    return GuessFile(
        path,
        content,
        [row[guess_name] for _, row in rows],
        [str(row[id_name]) for _, row in rows] if id_name is not None else None,
    )


def _guess_column(path: Path, names: Sequence[str], column: str) -> str:
    if column:
        if column not in names:
            raise unknown_name(f"column of {path.name}", column, list(names))
        return column
    by_name = {name.strip().lower(): name for name in reversed(names)}
    for usual in _GUESS_NAMES:
        if usual in by_name:
            return by_name[usual]
    others = [name for name in names if name.strip().lower() not in _ID_NAMES]
    if len(others) == 1:
        return others[0]
    raise UsageError(
        f"{path}: it is not clear which column holds the guesses: {', '.join(names)}; name it, as in "
        f"guesses:{path.name}#{(others or list(names))[-1]}"
    )


def _id_column(names: Sequence[str], guess_name: str) -> str | None:
    return next((name for name in names if name != guess_name and name.strip().lower() in _ID_NAMES), None)


def _csv_rows(path: Path, text: str) -> Iterator[_Row]:
    """Line number and named cells of each row; rows without a header are named "guess", or "id" and "guess"."""
    first_line = text.split("\n", 1)[0]
    delimiter = "\t" if path.suffix == ".tsv" or "\t" in first_line else ";" if ";" in first_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            rows.append((reader.line_num, row or [""]))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from None
    while rows and not any(cell.strip() for cell in rows[-1][1]):
        rows.pop()
    if not rows:
        return
    header = _header(rows[0][1])
    if header is None:
        header = {1: ["guess"], 2: ["id", "guess"]}.get(len(rows[0][1]))
        if header is None:
            raise UsageError(f"{path}: the first row has {len(rows[0][1])} columns and no name: add a header")
    else:
        rows = rows[1:]
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(row)} columns, where the first line has {len(header)}; "
                'write a value that holds a comma in quotes: "1,299"'
            )
        yield number, dict(zip(header, row, strict=True))


def _header(cells: Sequence[str]) -> list[str] | None:
    """The first row, if it names columns: no cell is empty or holds a digit, or one is a usual name."""
    names = [cell.strip() for cell in cells]
    usual = {*_GUESS_NAMES, *_ID_NAMES}
    if any(name.lower() in usual for name in names):
        return names
    wordy = all(name and not any(character.isdigit() for character in name) for name in names)
    return names if wordy and len(names) > 1 else None


def _json_rows(path: Path, text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}") from None
        if isinstance(value, dict):
            yield number, {str(name): _cell(cell) for name, cell in value.items()}
        else:
            yield number, {"guess": _cell(value)}


def _cell(value: Any) -> str | float:
    if value is None:
        return ""
    if isinstance(value, str | float):
        return value
    return json.dumps(value, ensure_ascii=False)
