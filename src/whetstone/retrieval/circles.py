"""Small models that have said all they had to say it again, until their context is full."""

from __future__ import annotations

import re

_TIMES = 3  # what is said that often in a row
_LONGEST_ROUND = 4  # sentences
_TAIL = 4000  # characters that are looked at
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？\n]+")
_END = re.compile(r"[.!?。！？\n]")
_MARK = re.compile(r"\[\d+\]")


def ends_sentence(piece: str) -> bool:
    """Whether a sentence may end in a piece of an answer."""
    return _END.search(piece) is not None


def goes_in_circles(answer: str) -> bool:
    """Whether an answer ends in the same one to four sentences, three times in a row."""
    sentences = [_MARK.sub("", found).split() for found in _SENTENCE.findall(answer[-_TAIL:])]
    said = [" ".join(words).casefold() for words in sentences if words]
    for length in range(1, _LONGEST_ROUND + 1):
        last = said[-length * _TIMES :]
        if len(last) == length * _TIMES and last == last[:length] * _TIMES and len("".join(last[:length])) >= 12:
            return True
    return False
