"""Whether a text survives being turned into tokens and back, and what changed where it does not."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher

from whetstone.tokens.tokenizer import Tokenizer

_COMPARED = 4000  # characters of the part that differs; what compares them takes time with their square


@dataclass(frozen=True, slots=True)
class Change:
    """A part of a text that came back as something else.

    Attributes:
        start: its first character in the text.
        before: what it was; "" for what came in addition.
        after: what came back; "" for what was lost.
    """

    start: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What comes back of a text.

    Attributes:
        exact: whether it is the text, character by character.
        decoded: what came back.
        changes: where it differs, in order; the last one holds the rest where the texts differ over thousands of
            characters.
        reasons: what explains it, in words.
    """

    exact: bool
    decoded: str
    changes: tuple[Change, ...] = ()
    reasons: tuple[str, ...] = ()


def round_trips(tokenizer: Tokenizer, text: str, *, special: bool = False) -> RoundTrip:
    """What comes back of a text that is encoded and decoded.

    Raises:
        RequestRefusedError: the text holds a lone surrogate.
    """
    ids = tokenizer.encode(text, special=special).ids
    decoded = tokenizer.decode(ids)
    if decoded == text:
        return RoundTrip(True, decoded)
    changes = tuple(_changes(text, decoded))
    unknown = tokenizer.unk_id in ids
    return RoundTrip(False, decoded, changes, tuple(_reasons(text, decoded, changes, unknown)))


def _changes(text: str, decoded: str) -> list[Change]:
    # The parts that are equal at both ends need no comparing.
    shorter = min(len(text), len(decoded))
    first = next((n for n in range(shorter) if text[n] != decoded[n]), shorter)
    last = next((n for n in range(shorter - first) if text[-1 - n] != decoded[-1 - n]), shorter - first)
    before, after = text[first : len(text) - last], decoded[first : len(decoded) - last]
    if max(len(before), len(after)) > _COMPARED:
        return [Change(first, before, after)]
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    return [
        Change(first + start, before[start:end], after[other_start:other_end])
        for kind, start, end, other_start, other_end in matcher.get_opcodes()
        if kind != "equal"
    ]


def _reasons(text: str, decoded: str, changes: tuple[Change, ...], unknown: bool) -> list[str]:
    reasons = []
    lost = any(change.before.strip() and not change.after for change in changes)
    if unknown or lost:
        reasons.append("the vocabulary has no token for some of it")
    if decoded == unicodedata.normalize("NFC", text):
        reasons.append("it is brought to the composed Unicode form (NFC)")
    elif decoded == unicodedata.normalize("NFKC", text):
        reasons.append("it is brought to the compatible Unicode form (NFKC)")
    if any(change.start == 0 and change.before.isspace() and not change.after for change in changes):
        reasons.append("white space at its beginning is lost")
    if any(
        change.before.isspace() and change.start > 0 and len(change.after) < len(change.before) for change in changes
    ):
        reasons.append("white space within it is lost")
    if any(change.after.isspace() and not change.before for change in changes):
        reasons.append("white space is added")
    if decoded != text and decoded.casefold() == text.casefold():
        reasons.append("capital letters become small")
    return reasons or ["the tokenizer normalises it"]
