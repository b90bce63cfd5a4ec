"""Habits of a tokenizer that decide how well a model handles numbers, and where two models differ in silence."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from whetstone.tokens.tokenizer import Tokenizer

_SIZES = (2, 3, 4)
_LENGTHS = range(1, 13)
_SAMPLES = 6  # numbers of each length


@dataclass(frozen=True, slots=True)
class DigitHabit:
    """How numbers are cut.

    Attributes:
        kind: "one by one"; "groups" of the same size; "other": by what was frequent in training.
        size: digits of a group.
        direction: the end of the number that full groups start from; None where they are not groups.
    """

    kind: Literal["one by one", "groups", "other"]
    size: int | None = None
    direction: Literal["left", "right"] | None = None

    def __str__(self) -> str:
        if self.kind == "groups":
            return f"in groups of up to {self.size} from the {self.direction}"
        return "one by one" if self.kind == "one by one" else "by frequency, neither one by one nor in even groups"


def digit_habit(tokenizer: Tokenizer) -> DigitHabit:
    """How a tokenizer cuts numbers of up to twelve digits, seen on random ones (always the same)."""
    source = random.Random(7)
    numbers = [str(source.randrange(10 ** (length - 1), 10**length)) for length in _LENGTHS for _ in range(_SAMPLES)]
    cuts = [
        [end - start for start, end in encoding.offsets if end > start] for encoding in tokenizer.encode_many(numbers)
    ]
    if all(size == 1 for cut in cuts for size in cut):
        return DigitHabit("one by one", 1)
    for size in _SIZES:
        if all(cut == _groups(sum(cut), size) for cut in cuts):
            return DigitHabit("groups", size, "left")
        if all(cut == _groups(sum(cut), size)[::-1] for cut in cuts):
            return DigitHabit("groups", size, "right")
    return DigitHabit("other")


def _groups(length: int, size: int) -> list[int]:
    return [size] * (length // size) + ([length % size] if length % size else [])


def boundary_habit(tokenizer: Tokenizer) -> str:
    """What it puts around a text when asked to add special tokens, in words."""

    def spelled(ids: tuple[int, ...]) -> str:
        return " ".join(f"{tokenizer.spelling(id)} ({id})" for id in ids)

    if not tokenizer.prefix_ids and not tokenizer.suffix_ids:
        return "nothing is put around a text"
    before = f"{spelled(tokenizer.prefix_ids)} before" if tokenizer.prefix_ids else ""
    after = f"{spelled(tokenizer.suffix_ids)} after" if tokenizer.suffix_ids else ""
    return " and ".join(part for part in (before, after) if part) + " every text"
