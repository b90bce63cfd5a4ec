"""A text as its pieces, ready to be shown: what each token is, and several tokenizers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whetstone.tokens.tokenizer import Encoding, Tokenizer

PieceKind = Literal["text", "bytes", "added", "control"]

_MARKS = {" ": "·", "\t": "⇥", "\n": "⏎", "\r": "␍", "\u00a0": "⍽", "\u3000": "□"}
_DIRECTION = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
_INVISIBLE = {0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10)}


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of a text.

    Attributes:
        id: its id.
        spelling: as the vocabulary has it.
        kind: "control" for a control token, "added" for another added token, "bytes" for a part of a character, "text".
        bytes: what it stands for.
        start: first character in the text.
        end: one past the last.
    """

    id: int
    spelling: str
    kind: PieceKind
    bytes: bytes
    start: int
    end: int

    @property
    def shown(self) -> str:
        """Its bytes made visible: spaces and line ends as marks, bytes that are no character as `<F0><9F>`."""
        return visible_bytes(self.bytes)


def pieces(tokenizer: Tokenizer, text: str, *, special: bool = False, add_special_tokens: bool = False) -> list[Piece]:
    """The tokens of a text, described.

    Raises:
        RequestRefusedError: the text holds a lone surrogate.
    """
    return describe(tokenizer, tokenizer.encode(text, special=special, add_special_tokens=add_special_tokens))


def describe(tokenizer: Tokenizer, encoding: Encoding) -> list[Piece]:
    """The tokens of an encoding, described."""
    added = {token.id: token for token in tokenizer.added}
    known: dict[int, tuple[str, PieceKind, bytes]] = {}
    found: list[Piece] = []
    for id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if id not in known:
            token = added.get(id)
            data = tokenizer.token_bytes(id)
            kind: PieceKind = "text" if is_text(data) else "bytes"
            if token is not None:
                kind = "control" if token.special else "added"
            known[id] = (tokenizer.spelling(id), kind, data)
        found.append(Piece(id, *known[id], start, end))
    return found


def is_text(data: bytes) -> bool:
    """Whether bytes are whole characters."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def visible_bytes(data: bytes) -> str:
    """Bytes as text in which nothing is invisible; those that are no character as `<F0>`."""
    shown: list[str] = []
    rest = data
    while rest:
        try:
            shown.append(visible_text(rest.decode()))
            break
        except UnicodeDecodeError as error:
            shown.append(visible_text(rest[: error.start].decode()))
            shown += [f"<{byte:02X}>" for byte in rest[error.start : error.end]]
            rest = rest[error.end :]
    return "".join(shown)


def visible_text(text: str) -> str:
    """Text in which spaces, line ends, controls and marks without width or of direction are shown by something else."""
    return "".join([visible_character(character) for character in text])


def visible_character(character: str) -> str:
    """One character, or what shows it."""
    mark = _MARKS.get(character)
    if mark is not None:
        return mark
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0x80 <= code < 0xA0 or code in _DIRECTION or code in _INVISIBLE or 0x2028 <= code <= 0x2029:
        return f"⟨{code:04X}⟩"
    return "\ufffd" if 0xD800 <= code < 0xE000 else character


@dataclass(frozen=True, slots=True)
class Cell:
    """One character of a text under one tokenizer.

    Attributes:
        cut: whether a token begins here.
        token: number of the token that the character belongs to, counted from 0; of several the first; None where no
            token covers it.
        tokens: how many tokens begin at this character and end within it, beyond one: 3 for an emoji of three tokens.
    """

    cut: bool
    token: int | None
    tokens: int


def aligned(text: str, encodings: Sequence[Encoding]) -> list[list[Cell]]:
    """For each encoding of the same text one cell per character, so that columns line up."""
    return [_cells(len(text), encoding.offsets) for encoding in encodings]


def _cells(length: int, offsets: Sequence[tuple[int, int]]) -> list[Cell]:
    first: list[int | None] = [None] * length
    starts = [0] * length
    for number, (start, end) in enumerate(offsets):
        if end > start:
            starts[start] += 1
            for position in range(start, end):
                if first[position] is None:
                    first[position] = number
    return [
        Cell(starts[position] > 0, first[position], max(starts[position], 1) if first[position] is not None else 0)
        for position in range(length)
    ]
