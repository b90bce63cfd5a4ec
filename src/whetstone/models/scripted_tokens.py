"""The scripted model's tokens: a word with the whitespace before it, whitespace at the end, and ChatML's two marks."""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections.abc import Sequence

from whetstone.errors import RequestRefusedError
from whetstone.types import TokenLogprob

START, END = "<|im_start|>", "<|im_end|>"
_CONTROL = re.compile(f"({re.escape(START)}|{re.escape(END)})")
_PIECE = re.compile(r"\s*\S+|\s+")
_OTHERS = ("yes", "no", "perhaps", "other", "none")  # what the made-up alternatives say


class WordTokenizer:
    """Words as tokens. Ids are given in the order in which words are first met, by this tokenizer. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spellings = [START, END]
        # A control token's spelling met in a text is a word like any other: a token of its own.
        self._ids: dict[str, int] = {}

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids; with `special`, ChatML's marks are control tokens: 0 and 1."""
        ids: list[int] = []
        for number, part in enumerate(_CONTROL.split(text) if special else [text]):
            ids += [self._spellings.index(part)] if number % 2 else [self._id(piece) for piece in pieces(part)]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids.

        Raises:
            RequestRefusedError: an id that was never given.
        """
        known = len(self._spellings)
        if not all(0 <= number < known for number in ids):
            raise RequestRefusedError(f"a scripted model has met only the token ids 0 to {known - 1}")
        return "".join(self._spellings[number] for number in ids)

    def _id(self, piece: str) -> int:
        with self._lock:
            if piece not in self._ids:
                self._ids[piece] = len(self._spellings)
                self._spellings.append(piece)
            return self._ids[piece]

    def logprobs(self, text: str, alternatives: int) -> list[TokenLogprob]:
        """Made-up log-probabilities of a text's tokens: the same for the same text, and never more than 1 in all."""
        return [self._logprob(number, piece, alternatives) for number, piece in enumerate(pieces(text))]

    def _logprob(self, number: int, piece: str, alternatives: int) -> TokenLogprob:
        draw = hashlib.sha256(f"{number} {piece}".encode()).digest()[0] / 255
        probability = 0.2 + 0.79 * draw
        space = piece[: len(piece) - len(piece.lstrip())]
        others = [f"{space}{word}" for word in _OTHERS if word != piece.strip()]
        listed = [(piece, math.log(probability))]
        rest = 1 - probability
        for place in range(alternatives - 1):
            word = others[place % len(others)] + str(place // len(others) or "")
            listed.append((word, math.log(0.6 * rest)))
            rest *= 0.4
        top = sorted(listed, key=lambda entry: -entry[1]) if alternatives else []
        return TokenLogprob(piece, listed[0][1], self._id(piece), tuple(top))


def pieces(text: str) -> list[str]:
    """A text's tokens; joined, they are the text."""
    return _PIECE.findall(text)
