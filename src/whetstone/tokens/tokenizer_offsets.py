"""Positions of tokens in the text, where the `tokenizers` library leaves them vague.

Its offsets are characters of the text that was given, which is what is wanted. Three things are put right:

- What is put after a text (an EOS) lies at (0, 0) as if it came first.
- A space that the tokenizer itself puts before a word (`▁`) claims the characters of the word that follows.
- A letter that was composed with the marks after it (NFC) covers the letter alone, so that the marks belong to nobody.
"""

from __future__ import annotations

import unicodedata

Offsets = list[tuple[int, int]]


def settle_suffix(offsets: Offsets, suffix: int, length: int) -> None:
    """Put the last `suffix` tokens, which no text stands behind, at the end of the text."""
    if suffix:
        offsets[len(offsets) - suffix :] = [(length, length)] * suffix


def release_prepended(ids: list[int], offsets: Offsets, space: int) -> None:
    """Let a lone space token that claims the next token's first character have no text."""
    index, last = -1, len(ids) - 1
    while True:
        try:
            index = ids.index(space, index + 1, last)  # a loop over all tokens would cost as much as encoding
        except ValueError:
            return
        start = offsets[index][0]
        if start == offsets[index + 1][0]:
            offsets[index] = (start, start)


def cover_marks(text: str, offsets: Offsets) -> None:
    """Let a token reach over the marks that its last letter was composed with."""
    count = len(offsets)
    for index, (start, end) in enumerate(offsets):
        following = offsets[index + 1][0] if index + 1 < count else len(text)
        if start == end or following <= end:
            continue
        reach = end
        while reach < following and _joins(text[reach]):
            reach += 1
        if reach > end:
            # All parts of the same character share its span.
            first = index
            while first >= 0 and offsets[first] == (start, end):
                offsets[first] = (start, reach)
                first -= 1


def _joins(character: str) -> bool:
    """Whether a character can become one with what is before it: a mark, or a vowel or final of Hangul."""
    return unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"
