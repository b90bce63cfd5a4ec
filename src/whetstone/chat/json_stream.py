"""JSON values of a file one by one: of an array, of lines, or a single one. Holds one value at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from whetstone.errors import DataError

MOST_CHARACTERS = 256 << 20  # of one value: far more than any conversation, and what a machine can still hold
_PIECE = 1 << 20
_LONGEST_STRING = 16 << 20  # an error further than this from the end of what was read is no matter of reading on
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that could not be read."""

    reason: str


def json_values(text: io.TextIOBase, name: str) -> tuple[bool, Iterator[Any | Broken]]:
    """Whether the file is one array, and its values.

    A line that is no JSON costs one value. In an array nothing can be read after a broken value: it is the last one.

    Args:
        text: the file, opened with newline="\\n".
        name: the file, as messages name it.

    Raises:
        DataError: the file is empty, or holds no JSON at all.
    """
    first = _first_line(text)
    if not first:
        raise DataError(f"{name} is empty")
    if first.startswith("["):
        whole = _loaded(first)
        if whole is None:
            return True, _array(text, first[1:])
        second = _first_line(text)
        return (
            (False, _lines(text, [whole, *_loaded_line(second + _rest(text, second))]))
            if second
            else (True, iter(whole))
        )
    if not first.startswith("{"):
        raise DataError(f"{name} holds no JSON: it begins with {first.strip()[:40]!r}")
    first += _rest(text, first)
    if _loaded(first) is not None:
        return False, _lines(text, _loaded_line(first))
    second = _first_line(text)
    if not second or second.startswith("{"):  # no object goes on like this: the first line is broken
        return False, _lines(text, [*_loaded_line(first), *_loaded_line(second + _rest(text, second))])
    whole = first + second + text.read(MOST_CHARACTERS)
    if text.read(1):
        raise DataError(f"{name} holds one object that is too large; write one conversation per line (.jsonl)")
    return False, iter(_loaded_line(whole))


def _first_line(text: io.TextIOBase) -> str:
    """The next line that is not blank, without blanks before it; "" at the end."""
    while line := text.readline(_PIECE):
        if line := line.lstrip():
            return line
    return ""


def _loaded(text: str) -> Any:
    """The value, or None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rest(text: io.TextIOBase, line: str) -> str:
    """What is missing of a line that was read in part."""
    return "" if not line or line.endswith("\n") else text.readline(MOST_CHARACTERS)


def _loaded_line(line: str) -> list[Any | Broken]:
    """The value of a line, or why there is none; nothing for a blank one."""
    if not line.strip():
        return []
    try:
        return [json.loads(line)]
    except (ValueError, RecursionError) as error:
        return [Broken(_reason(error))]


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON ({error.msg})"
    return "the JSON is nested too deeply" if isinstance(error, RecursionError) else "a number has thousands of digits"


def _lines(text: io.TextIOBase, first: list[Any | Broken]) -> Iterator[Any | Broken]:
    yield from first
    while line := text.readline(MOST_CHARACTERS):
        yield from _loaded_line(line)


def _array(text: io.TextIOBase, window: str) -> Iterator[Any | Broken]:
    """The values after the opening bracket, from a window that moves along the text."""
    at = 0
    expects_value = True

    def more() -> bool:
        nonlocal window, at
        piece = text.read(max(_PIECE, len(window) - at))  # twice as much each time: long values stay cheap
        if piece:
            window, at = window[at:] + piece, 0
        return bool(piece)

    while True:
        while at < len(window) and window[at] in " \t\r\n":
            at += 1
        if at == len(window):
            if not more():
                yield Broken("the file ends before its array does")
                return
            continue
        if window[at] == "]":
            if window[at + 1 :].strip() or _first_line(text):
                yield Broken("there is more after the end of the array, which was not read")
            return
        if not expects_value:
            if window[at] != ",":
                yield Broken("a comma is missing; nothing after it could be read")
                return
            at, expects_value = at + 1, True
            continue
        try:
            value, end = _DECODER.raw_decode(window, at)
        except json.JSONDecodeError as error:
            if len(window) - at >= MOST_CHARACTERS:
                yield Broken(f"it is longer than {MOST_CHARACTERS} characters; nothing after it could be read")
                return
            if len(window) - error.pos < _LONGEST_STRING and more():
                continue
            yield Broken(f"{_reason(error)}; nothing after it could be read")
            return
        except (ValueError, RecursionError) as error:
            yield Broken(f"{_reason(error)}; nothing after it could be read")
            return
        if end == len(window) and more():
            continue  # a number may go on
        yield value
        at, expects_value = end, False
