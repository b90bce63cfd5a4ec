"""The headings above a chunk."""

from __future__ import annotations

from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.markdown import heading_text

SEPARATOR = " > "
_LEFT_OUT = "…"


class Trail:
    """Keeps account of the headings above a place in a document.

    A first heading that says the same as the title is not repeated.

    Args:
        title: of the document.
        longest: characters of a trail.
    """

    def __init__(self, title: str, longest: int) -> None:
        self._title, self._longest = " ".join(title.split()), longest
        self._stack: list[tuple[int, str]] = []
        self.headings = self._now()

    def enter(self, heading: Block) -> tuple[str, ...]:
        """Go on below a heading; returns the headings above itself."""
        while self._stack and self._stack[-1][0] >= heading.level:
            self._stack.pop()
        above = self._now()
        self._stack.append((heading.level, heading_text(heading)))
        self.headings = self._now()
        return above

    def _now(self) -> tuple[str, ...]:
        texts = [text for _, text in self._stack if text]
        if texts and texts[0].casefold() == self._title.casefold():
            del texts[0]
        return shortened(tuple([self._title, *texts] if self._title else texts), self._longest)


def shortened(headings: tuple[str, ...], longest: int) -> tuple[str, ...]:
    """The headings, joined in at most `longest` characters: without those between, then without the middle of each."""
    if _length(headings) <= longest:
        return headings
    kept = list(headings)
    while len(kept) > 2 and _length((*kept[:1], _LEFT_OUT, *kept[2:])) > longest:
        del kept[1]
    if len(kept) > 2:
        return (kept[0], _LEFT_OUT, *kept[2:])
    between = [_LEFT_OUT] if len(headings) > len(kept) else []
    room = longest - _length((*between, "")) * bool(between) - len(SEPARATOR) * (len(kept) - 1)
    # What a short one leaves over is given to the other.
    each = [room // len(kept)] * len(kept)
    for at, text in enumerate(kept):
        spare = each[at] - len(text)
        if spare > 0 and len(kept) == 2:
            each[1 - at] += spare
    texts = [_middle_left_out(text, size) for text, size in zip(kept, each, strict=True)]
    return (texts[0], *between, *texts[1:])


def _middle_left_out(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    if longest < 3:
        return _LEFT_OUT
    head = longest * 2 // 3
    return text[:head].rstrip() + _LEFT_OUT + text[len(text) - (longest - head - 1) :].lstrip()


def _length(headings: tuple[str, ...]) -> int:
    return sum(map(len, headings)) + len(SEPARATOR) * (len(headings) - 1)
