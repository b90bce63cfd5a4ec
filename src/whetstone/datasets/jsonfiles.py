"""JSON Lines, and JSON arrays of objects read piece by piece: both in one pass, holding one record at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import polars as pl

from whetstone.datasets.cells import scalar
from whetstone.datasets.gathering import Choose, Numbered, gather
from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError

Object = dict[str, Any]

_PIECE = 1 << 20
# An error this many characters before the end of what was read is no matter of reading on.
_LONGEST_STRING = 16 << 20
_BLANK = " \t\r\n"
_DECODER = json.JSONDecoder()


def read_json_lines(text: io.TextIOBase, choose: Choose, rejects: Rejects) -> pl.DataFrame:
    """The chosen fields of a file with one object per line; blank lines are passed over.

    Args:
        text: the file, opened with newline="\\n".
        choose: which fields to keep.
        rejects: takes lines that are no JSON, or no objects.

    Raises:
        DataError: no rows.
    """
    return _gathered(json_lines(text, rejects), choose, rejects)


def read_json(text: io.TextIOBase, choose: Choose, rejects: Rejects) -> pl.DataFrame:
    """The chosen fields of a file with one array of objects. Objects one per line are read too, whatever the name says.

    Raises:
        DataError: neither, no rows, or broken JSON (with its line): in an array nothing can be read after that.
    """
    first, blank_lines = _first_line(text)
    if first.lstrip().startswith("["):
        return _gathered(_array(_ArrayText(text, first, blank_lines + 1, rejects.source), rejects), choose, rejects)
    try:
        is_row = isinstance(json.loads(first), dict)
    except ValueError:
        is_row = False
    if first and not is_row:
        raise DataError(
            f"{rejects.source} is neither an array of objects nor one object per line (it begins "
            f"{first.strip()[:40]!r}); write the rows as [{{…}}, {{…}}]"
        )
    return _gathered(json_lines(chain([first], text), rejects, blank_lines + 1), choose, rejects)


def json_array(text: io.TextIOBase, rejects: Rejects) -> Iterator[Numbered[Object]]:
    """The objects of a file with one array, one at a time, each with its row and its line.

    Raises:
        DataError: it does not begin with a bracket, or is broken (with its line).
    """
    first, blank_lines = _first_line(text)
    if not first.lstrip().startswith("["):
        raise DataError(f"{rejects.source} is no array of objects (it begins {first.strip()[:40]!r})")
    return _array(_ArrayText(text, first, blank_lines + 1, rejects.source), rejects)


def _first_line(text: io.TextIOBase) -> tuple[str, int]:
    """The first line that is not blank, "" where there is none, and how many blank ones stand before it."""
    blank_lines = 0
    for line in text:
        if line.strip():
            return line, blank_lines
        blank_lines += 1
    return "", blank_lines


def _gathered(records: Iterator[Numbered[Object]], choose: Choose, rejects: Rejects) -> pl.DataFrame:
    frame = gather(records, _names, _picker, choose)
    if frame is None:
        if rejects:
            rejects.refuse_most(len(rejects))
        raise DataError(f"{rejects.source} holds no rows; it needs one JSON object per case")
    return frame


def _names(records: Sequence[Object]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _picker(names: list[str]) -> Callable[[Object], Sequence[Any]]:
    def pick(record: Object) -> list[Any]:
        return [scalar(record.get(name)) for name in names]

    return pick


def json_lines(text: Iterable[str], rejects: Rejects, first_line: int = 1) -> Iterator[Numbered[Object]]:
    """The objects of a file with one per line, one at a time, each with its row and its line."""
    row = 0
    for number, line in enumerate(text, start=first_line):
        if not line or line.isspace():
            continue
        row += 1
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            reason = f"broken JSON ({error.msg}, at character {error.pos + 1})"
            rejects.add(row, number, "", reason, {"text": line.rstrip("\r\n")})
        except _UNREADABLE as error:
            rejects.add(row, number, "", _unreadable(error), {"text": line.rstrip("\r\n")})
        else:
            reason = _objection(value, line)
            if reason:
                rejects.add(row, number, "", reason, {"text": line.rstrip("\r\n")})
            else:
                yield row, number, value


# Python limits both the depth of JSON and the digits of a whole number.
_UNREADABLE = (RecursionError, ValueError)


def _unreadable(error: Exception) -> str:
    return "the JSON is nested too deeply" if isinstance(error, RecursionError) else "a number has thousands of digits"


def _objection(value: Any, raw: str) -> str:
    """Why a JSON value is no row; "" where it is one."""
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number or a truth value")
        return f"{kind} where an object with a field per column was expected"
    if "\\ud" in raw or "\\uD" in raw:  # only an escape can bring in half of a surrogate pair
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "the text holds half of a surrogate pair (a character cut in two by an escape)"
    return ""


def _array(text: _ArrayText, rejects: Rejects) -> Iterator[Numbered[Object]]:
    for row, (line, value, raw) in enumerate(text.items(), start=1):
        reason = _objection(value, raw)
        if reason:
            rejects.add(row, line, "", reason, {"text": raw})
        else:
            yield row, line, value


class _ArrayText:
    """The values of a JSON array, decoded one by one from a window that moves along the text.

    Args:
        text: the file, of which the first lines have been read.
        window: the line with the opening bracket.
        line: its number.
        source: the file, as messages name it.
    """

    def __init__(self, text: io.TextIOBase, window: str, line: int, source: str) -> None:
        self._text, self._window, self._source = text, window, source
        self._at = 0
        self._line = line  # of self._at

    def items(self) -> Iterator[tuple[int, Any, str]]:
        """Line, value and raw text of each.

        Raises:
            DataError: broken or cut off.
        """
        self._move(self._window.index("[") + 1)
        if self._mark() != "]":
            while True:
                yield self._value()
                mark = self._mark()
                if mark == "]":
                    break
                if mark != ",":
                    raise self._broken("a comma is missing", self._at)
                self._move(self._at + 1)
                self._mark()
        self._move(self._at + 1)
        while True:
            rest = self._window[self._at :]
            if rest.strip():
                start = self._at + len(rest) - len(rest.lstrip())
                raise self._broken("there is more text after the array", start)
            if not self._more():
                return

    def _value(self) -> tuple[int, Any, str]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
            except json.JSONDecodeError as error:
                if len(self._window) - error.pos < _LONGEST_STRING and self._more():
                    continue
                raise self._broken(error.msg, error.pos) from None
            except _UNREADABLE as error:
                raise self._broken(_unreadable(error), self._at) from None
            if end == len(self._window) and self._more():
                continue  # a number may go on
            line, raw = self._line, self._window[self._at : end]
            self._move(end)
            return line, value, raw

    def _mark(self) -> str:
        """The next character that is not blank, left in place."""
        while True:
            rest = self._window[self._at : self._at + 1]
            if not rest and not self._more():
                raise self._broken("the file ends before the array does", self._at)
            if rest and rest not in _BLANK:
                return rest
            if rest:
                self._move(self._at + 1)

    def _move(self, to: int) -> None:
        self._line += self._window.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        """Read on, and drop what lies behind; False, and nothing changed, at the end of the file."""
        piece = self._text.read(max(_PIECE, len(self._window) - self._at))
        if piece:
            self._window, self._at = self._window[self._at :] + piece, 0
        return bool(piece)

    def _broken(self, message: str, position: int) -> DataError:
        line = self._line + self._window.count("\n", self._at, position)
        return DataError(
            f"{self._source}, line {line}: broken JSON ({message}); an array cannot be read beyond that: repair the "
            "line, or write one object per line (.jsonl), where a broken line costs one row"
        )
