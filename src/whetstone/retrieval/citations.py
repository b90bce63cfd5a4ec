"""Citations in an answer: read out of it while it streams, and checked against the passages that were given.

A model cites by writing "[2]" behind a claim. A number that no passage has is taken out of the text. What an answer
obeying a hostile document could turn into a live reference, such as "[1](http://…)", is spelled apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# How models write them: [1], [1, 2], [1-3], [^1], [Passage 1], and 【1】 as some were trained to.
_MARKER = re.compile(
    r"[\[【]\s*(?:\^|(?:passages?|sources?|documents?|문서|출처)\s*)?"
    r"(\d{1,4}(?:\s*(?:[,;、–-]|and|&)\s*\d{1,4})*)\s*(?:†[^\]】\n]*)?[\]】]",
    re.IGNORECASE,
)
_LONGEST = 48  # characters between the brackets of a marker
_MOST_NUMBERS = 20  # in one marker: "[1-9999]" is no citation
_NUMBER = re.compile(r"\d+|[–-]")


class CitationReader:
    """Takes an answer piece by piece and gives it back with its markers checked.

    What stands between backticks is left as it is: `row[3]` cites nothing.

    Args:
        known: the numbers of the passages that were given.

    Attributes:
        spans: number -> where its markers stand in the text that was given back, in characters.
        unknown: numbers that were cited and not given, in the order in which they came.
    """

    def __init__(self, known: Sequence[int]) -> None:
        self.spans: dict[int, list[tuple[int, int]]] = {}
        self.unknown: list[int] = []
        self._known = frozenset(known)
        self._held = ""  # what may be the beginning of a marker, with the blanks before it
        self._written = 0  # characters given back
        self._ticks = 0  # backticks that opened the code we are in
        self._after_marker = False
        self._blanks = ""  # that stood before a marker which was taken out, for one right behind it

    def feed(self, text: str) -> str:
        """What can be shown so far."""
        buffer, self._held = self._held + text, ""
        given: list[str] = []
        at = 0
        while at < len(buffer):
            character = buffer[at]
            if character == "`":
                end = _run(buffer, at)
                if end == len(buffer):  # more of them may follow
                    break
                self._code(end - at)
                self._give(given, buffer[at:end])
            elif self._ticks:
                end = at + 1
                if character == "\n" and self._ticks < 3:
                    self._ticks = 0  # inline code ends with its line at the latest
                self._give(given, character)
            elif character in " \t[【":
                found = self._marker(buffer, at)
                if found is None:
                    break
                end = found
                self._settle(given, buffer[at:end])
            else:
                end = at + 1
                self._give(given, character)
            at = end
        self._held = buffer[at:]
        return "".join(given)

    def finish(self) -> str:
        """The rest."""
        rest, self._held = self._held, ""
        given: list[str] = []
        self._give(given, rest)
        return "".join(given)

    def _marker(self, buffer: str, at: int) -> int | None:
        """Where the blanks, and the marker behind them if there is one, end; None when more must come to tell."""
        start = at
        while start < len(buffer) and buffer[start] in " \t":
            start += 1
        if start == len(buffer):
            return None
        if buffer[start] not in "[【":
            return start
        if (match := _MARKER.match(buffer, start)) is not None:
            return match.end()
        inside = buffer[start + 1 : start + 1 + _LONGEST]
        open_still = len(inside) < _LONGEST and not re.search(r"[\]】\[【\n]", inside)
        return None if open_still else start + 1

    def _settle(self, given: list[str], piece: str) -> None:
        """Give back blanks and what follows them: a marker that is checked, or a bracket."""
        bare = piece.lstrip(" \t")
        match = _MARKER.fullmatch(bare)
        if match is None:
            self._give(given, piece)
            return
        numbers = _numbers(match[1])
        known = [number for number in numbers if number in self._known]
        self.unknown += [number for number in numbers if number not in self._known]
        blanks = piece[: len(piece) - len(bare)]
        if not known:
            self._blanks = self._blanks or blanks
            return
        self._give(given, blanks or self._blanks)
        for number in known:
            self._give(given, f"[{number}]")
            self.spans.setdefault(number, []).append((self._written - len(f"[{number}]"), self._written))
            self._after_marker = False
        self._after_marker = True

    def _give(self, given: list[str], text: str) -> None:
        if not text:
            return
        self._blanks = ""
        if self._after_marker and text[0] in "(:":
            given.append(" ")  # "[1](…" would be a link in Markdown, and "[1]: …" would make a link of every [1]
            self._written += 1
        self._after_marker = False
        given.append(text)
        self._written += len(text)

    def _code(self, ticks: int) -> None:
        if not self._ticks:
            self._ticks = ticks
        elif self._ticks == ticks:
            self._ticks = 0


def _run(text: str, at: int) -> int:
    """Where a run of backticks ends."""
    end = at
    while end < len(text) and text[end] == "`":
        end += 1
    return end


def _numbers(written: str) -> list[int]:
    """The numbers of a marker, without repetitions: "1-3, 5" is 1, 2, 3, 5."""
    found: list[int] = []
    through = False
    for part in _NUMBER.findall(written):
        if not part[0].isdigit():
            through = bool(found)
            continue
        number = int(part)
        if through and 0 < number - found[-1] <= _MOST_NUMBERS:
            found += range(found[-1] + 1, number + 1)
        else:
            found.append(number)
        through = False
    return list(dict.fromkeys(found))
