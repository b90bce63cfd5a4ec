"""A text file as lines with their places, read as they are needed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from whetstone.retrieval.reading.encoding import Encoding

LONGEST = 1 << 16
"""Characters; a longer line is taken as several, so that a file without line ends stays out of memory."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        number: from 1.
        start: its place in the document's text, in characters.
        text: without its line end and the blanks before that.
    """

    number: int
    start: int
    text: str


def lines(reader: BinaryIO, encoding: Encoding) -> Iterator[Line]:
    """Every line. The document's text is made of them, each without blanks at its end, with "\\n" between them."""
    number, start, rest = 1, 0, ""
    with io.TextIOWrapper(reader, encoding.codec, encoding.errors, newline=None) as text:
        while True:
            raw = rest + text.readline(LONGEST - len(rest))
            rest = ""
            if not raw:
                return
            ended = raw.endswith("\n")
            if not ended and len(raw) >= LONGEST:
                rest = raw[cut:] if (cut := raw.rfind(" ", LONGEST // 2) + 1) else ""
                raw = raw[:cut] if cut else raw
            kept = raw.rstrip().replace("\0", "�")
            yield Line(number, start, kept)
            # A line that was taken in pieces goes on right behind the blanks.
            start += len(kept) + 1 if ended else len(raw)
            number += ended
