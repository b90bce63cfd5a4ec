"""A text that does not fit a model's context, cut into parts that do, at the best places there are."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from whetstone.errors import ContextTooLongError

_SLACK = 1.1  # parts of equal size would need luck with the breaks
_TRIES = 12  # at a part's end; each is shorter by what it was too long, and more with every try
_SHORTER = 0.9

# Where to cut, the best first; a cut is behind the match.
_BREAKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n[ \t]*\n\s*",  # paragraphs
        r"\n\s*",  # lines: list entries, turns of a dialogue
        r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[」』”]*\s*|[؟۔]\s*",  # sentences
        r"[;:,،；：，、]\s*",
        r"\s+",
    )
)
_FIRST = 0.5  # of a part: a better kind of break is taken as long as at least this much stays
_JOINERS = "\u200d\ufe0f"  # ZERO WIDTH JOINER and VARIATION SELECTOR-16, of emoji


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text.

    Attributes:
        text: without white space at its ends.
        after: the white space that followed it, so that parts can be put together again.
    """

    text: str
    after: str = ""


def split_text(text: str, size: Callable[[str], int], room: int) -> list[Part]:
    """Parts of a text, each of at most `room`, alike in length as far as the breaks allow.

    Args:
        text: not empty.
        size: what a piece of it takes: tokens.
        room: the most of it that a part may take.

    Raises:
        ContextTooLongError: the room does not hold a single character.
    """
    return list(_parts(text, size, room))


def _parts(text: str, size: Callable[[str], int], room: int) -> Iterator[Part]:
    density = size(text) / len(text)
    start = 0
    last: Part | None = None
    while start < len(text):
        rest = len(text) - start
        count = math.ceil(rest * density / max(room, 1))
        share = rest if count < 2 else min(rest, math.ceil(rest / count * _SLACK))
        end = _end(text, start, share, size, room)
        piece = text[start:end]
        stripped = piece.strip()
        if last is not None:  # what a cut left in front belongs behind the part before
            last = Part(last.text, last.after + piece[: len(piece) - len(piece.lstrip())])
        if stripped:
            if last is not None:
                yield last
            last = Part(stripped, piece[len(piece.rstrip()) :])
        start = end
    if last is not None:
        yield last


def _end(text: str, start: int, share: int, size: Callable[[str], int], room: int) -> int:
    """Where a part that begins at `start` ends."""
    length = share
    for attempt in range(_TRIES):
        end = _cut(text, start, start + length)
        taken = size(text[start:end].strip())
        if taken <= room:
            return end
        length = max(1, min(end - start - 1, int((end - start) * room / taken * _SHORTER**attempt)))
    if length <= 1 or size(text[start : start + 1]) > room:
        raise ContextTooLongError(
            f"the context leaves {max(room, 0):,} tokens for the text, which is not enough to read it in parts; use a "
            "model with more context, or ask for a shorter answer"
        )
    return start + 1


def _cut(text: str, start: int, end: int) -> int:
    """The best place at or before `end` to cut, never inside of a character that is made of several."""
    if end >= len(text):
        return len(text)
    first = start + int((end - start) * _FIRST)
    for pattern in _BREAKS:
        if breaks := [match.end() for match in pattern.finditer(text, first, end)]:
            return breaks[-1]
    while end > start + 1 and (unicodedata.combining(text[end]) or text[end] in _JOINERS or text[end - 1] == "\u200d"):
        end -= 1
    return end
