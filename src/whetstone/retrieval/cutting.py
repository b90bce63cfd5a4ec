"""Blocks that are too long, cut where it hurts least."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from functools import cached_property

from whetstone.retrieval.document import Block

_PARAGRAPHS = re.compile(r"\n\s*\n\s*")
_LINES = re.compile(r"\n+")
_WORDS = re.compile(r"\s+")
# A full stop before a small letter is an abbreviation more often than an end.
_SENTENCES = re.compile(r"[.!?…]+[\"'”’»)\]*_]*\s+(?![a-z])|[。！？]+[」』”’）]*\s*|\n\s*\n\s*")
_LINE = re.compile(r"line (\d+)$")
_ORDER = {
    "table": (_LINES, _WORDS),
    "list": (_LINES, _SENTENCES, _WORDS),
    "code": (_PARAGRAPHS, _LINES, _WORDS),
    "text": (_SENTENCES, _LINES, _WORDS),
    "heading": (_SENTENCES, _WORDS),
}


def cut(block: Block, limit: int, first: int) -> list[Block]:
    """The block in pieces of about the same length.

    Blanks at a cut stay with the piece before it, so that each piece ends where the next begins.

    Args:
        block: what is too long.
        limit: characters of a piece, besides blanks at its end.
        first: the same for the first piece.
    """
    text = block.text
    places = _Places(block)
    at = _blanks_before(text) if _blanks_before(text) > first // 4 else 0
    pieces: list[Block] = []
    room = first
    while len(text) - at > room:
        rest = len(text) - at
        # As if all that is left went into pieces of one size; a last piece of a few words helps nobody.
        pieces_left = 1 + -(-(rest - room) // limit)
        want = at + min(room, -(-rest // pieces_left))
        end = places.nearest(want, at + room // 4, at + room)
        if end >= len(text.rstrip()):
            break
        pieces.append(_slice(block, at, end))
        at, room = end, limit
    pieces.append(_slice(block, at, len(text)))
    return pieces


def halves(block: Block) -> list[Block]:
    """The block in two pieces of about the same length, or the block alone where one character is all it holds."""
    begin, end = _blanks_before(block.text), len(block.text.rstrip())
    if end - begin < 2:
        return [block]
    middle = _Places(block).nearest((begin + end) // 2, begin, end - 1)
    if not begin < middle < end:  # one character made of several code points
        middle = begin + 1
    return [_slice(block, begin, middle), _slice(block, middle, len(block.text))]


def table_head(text: str) -> str:
    """The names of the columns and the line under them, if a Markdown table has these; else ""."""
    names, _, rest = text.partition("\n")
    ruler = rest.partition("\n")[0]
    return f"{names}\n{ruler}" if "-" in ruler and not ruler.strip(" |:-") else ""


def _slice(block: Block, begin: int, end: int) -> Block:
    place = block.place
    if begin and (line := _LINE.match(place)):
        further = block.text.count("\n", 0, begin)
        place = f"line {int(line[1]) + further}"
    return Block(block.kind, block.text[begin:end], block.start + begin, block.start + end, block.level, place)


def _blanks_before(text: str) -> int:
    return len(text) - len(text.lstrip())


class _Places:
    """Where a block may be cut, from the best kind of place to the worst."""

    def __init__(self, block: Block) -> None:
        self._text = block.text
        self._patterns = _ORDER[block.kind]
        self._found: dict[int, list[int]] = {}

    @cached_property
    def _head_end(self) -> int:
        """A table is not cut within its head."""
        return len(table_head(self._text)) + 1 if self._patterns is _ORDER["table"] else 0

    def nearest(self, want: int, low: int, high: int) -> int:
        """The place nearest to `want` of the best kind that has one, after `low` and up to `high`.

        Never within blanks or within a character; if need be, the next place behind `high`.
        """
        low = max(low, min(self._head_end, high - 1)) if self._patterns is _ORDER["table"] else low
        for kind in range(len(self._patterns)):
            places = self._of_kind(kind)
            first, last = bisect_right(places, low), bisect_right(places, high)
            if first < last:
                after = bisect_left(places, want, first, last)
                near = places[max(first, after - 1) : min(last, after + 1)]
                return min(near, key=lambda place: abs(place - want))
        place = want
        while place > low + 1 and _within_character(self._text, place):
            place -= 1
        while _within_character(self._text, place):
            place += 1
        while place < len(self._text) and self._text[place].isspace():
            place += 1
        return place

    def _of_kind(self, kind: int) -> list[int]:
        if kind not in self._found:
            self._found[kind] = [match.end() for match in self._patterns[kind].finditer(self._text)]
        return self._found[kind]


def _within_character(text: str, place: int) -> bool:
    """Whether a cut here would part what a reader sees as one character (the common cases of Unicode's annex 29)."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if after < "\u0300":
        return False
    if before == "\u200d" or after == "\u200d" or unicodedata.category(after).startswith("M"):
        return True
    if "\u1160" <= after <= "\u11ff" or "\ud7b0" <= after <= "\ud7ff":  # vowels and finals of decomposed Hangul
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff":  # colours of skin
        return True
    if _is_flag_half(after) and _is_flag_half(before):
        run = place
        while run > 0 and _is_flag_half(text[run - 1]):
            run -= 1
        return (place - run) % 2 == 1
    return False


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
