"""The JSON in a reply: alone, in a fence, or with words around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

# Reading stays quick whatever a reply holds.
_MOST_TRIES = 200  # beginnings of a value that are looked at
_MOST_READ = 200_000  # characters that are read again to find where a value ends
_MOST_FORGIVEN = 20_000  # characters of a value with slips
_FENCE = re.compile(r"```[^\S\n]*[\w+-]*[^\S\n]*\n(.*?)(?:\n[^\S\n]*```|\Z)", re.DOTALL)
_BEGINNING = re.compile(r"[{\[]")
_STRING = r'"(?:[^"\\]|\\.)*"'
_MARK = re.compile(rf"{_STRING}|'(?:[^'\\\n]|\\.)*'|[{{}}\[\]]", re.DOTALL)
# What models write that JSON does not know; strings are matched to be left alone.
_SLIP = re.compile(
    rf"(?P<string>{_STRING})|(?P<single>'(?:[^'\\\n]|\\.)*')|(?P<word>\b(?:True|False|None)\b)"
    r"|(?P<comma>,(?=\s*[}\]]))|(?P<comment>//[^\n]*)|(?P<key>(?<=[{,\s])[A-Za-z_]\w*(?=\s*:))",
    re.DOTALL,
)
_OPEN_ENDED = "+-.0123456789Eaeflnrstu"  # what numbers, true, false and null are made of
_WORDS = {"True": "true", "False": "false", "None": "null"}


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse)


def json_values(reply: str) -> Iterator[Any]:
    """The JSON values that a reply may mean, the likeliest first: the whole of it, fenced blocks, objects and lists.

    Slips of models are forgiven: Python's quotes and words, a comma too many, keys without quotes, comments. A value
    that was cut off is none.
    """
    text = reply.strip()
    whole = _decoded(text)
    if whole is not _NOTHING:
        yield whole
        return
    for fenced in _FENCE.findall(text):
        value = _decoded(fenced.strip())
        if value is not _NOTHING:
            yield value
    yield from _inside(text)


def cut_off_value(reply: str) -> Any:
    """The JSON value that a reply begins and does not end: what stands in it as far as it goes, the last text or number
    left out, which might have gone on.

    Raises:
        ValueError: it is no beginning of JSON.
    """
    value = from_json(reply.strip().rstrip(_OPEN_ENDED), allow_partial=True)
    if not _whole_characters(value):
        raise ValueError("half a character")
    return value


def without_last_entry(value: Any) -> Any | None:
    """A value without the last entry of the list that its end stands in; None where that is no list with entries."""
    if isinstance(value, list) and value:
        inner = without_last_entry(value[-1])
        return [*value[:-1], inner] if inner is not None else value[:-1]
    if isinstance(value, dict) and value:
        key = next(reversed(value))
        inner = without_last_entry(value[key])
        return None if inner is None else {**value, key: inner}
    return None


class _Nothing:
    pass


_NOTHING = _Nothing()


def _decoded(text: str) -> Any:
    for read in (str, _forgiven):
        try:
            value = _DECODER.decode(read(text))
        except (ValueError, RecursionError):
            continue
        return value if _whole_characters(value) else _NOTHING
    return _NOTHING


def _inside(text: str) -> Iterator[Any]:
    """Objects and lists that stand in a text, in order, those inside others aside."""
    at, left = 0, _MOST_READ
    for _ in range(_MOST_TRIES):
        beginning = _BEGINNING.search(text, at)
        if beginning is None or left < 0:
            return
        at = beginning.start()
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = _closing(text, at)
            left -= (end or len(text)) - at
            value = _decoded(text[at:end]) if end else _NOTHING
        if value is _NOTHING or not _whole_characters(value):
            at += 1
        else:
            yield value
            at = end


def _closing(text: str, start: int) -> int:
    """The end of what begins with a bracket; 0 where it is never closed."""
    depth = 0
    for mark in _MARK.finditer(text, start):
        if mark[0] in "{[":
            depth += 1
        elif mark[0] in "}]":
            depth -= 1
            if depth == 0:
                return mark.end()
    return 0


def _forgiven(text: str) -> str:
    return _SLIP.sub(_corrected, text) if len(text) <= _MOST_FORGIVEN else text


def _corrected(slip: re.Match[str]) -> str:
    if slip["string"] is not None:
        return slip["string"]
    if slip["single"] is not None:
        return '"' + slip["single"][1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    if slip["word"] is not None:
        return _WORDS[slip["word"]]
    return f'"{slip["key"]}"' if slip["key"] is not None else ""


def _whole_characters(value: Any) -> bool:
    """Whether all of it can be written: no half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
