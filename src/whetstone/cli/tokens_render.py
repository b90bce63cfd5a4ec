"""How tokens look in a terminal: coloured pieces with their ids, and tokenizers aligned by character."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from whetstone.tokens.pieces import Cell, Piece
    from whetstone.tokens.tokenizer import Encoding

# Colours carry their own background and ink, so that they read the same on light and dark terminals.
EVEN, ODD = "black on #cfe3ff", "black on #ffe2b0"
KINDS = {"control": "bold white on #a3195b", "added": "bold white on #5b3fa0", "bytes": "black on #f3b3b3"}
LEGEND = {"control": "control token", "added": "added token", "bytes": "part of a character"}
_COUNTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def style_of(piece: Piece, number: int) -> str:
    """The colours of the piece with this number."""
    return KINDS.get(piece.kind, (EVEN, ODD)[number % 2])


def piece_lines(shown: Sequence[Piece], width: int) -> Iterator[tuple[Text, Text]]:
    """Lines of pieces and, under each, its id; wrapped to `width` columns and after line ends."""
    from rich.cells import cell_len
    from rich.text import Text

    top, bottom, used = Text(), Text(), 0
    for number, piece in enumerate(shown):
        text, id = _standing(piece.shown or "∅"), str(piece.id)
        while cell_len(text) > width > 1:  # a piece longer than the line
            text = text[: len(text) * width // (2 * cell_len(text))] + "…"
        room = max(cell_len(text), len(id)) + 1
        if used and used + room > width:
            yield top, bottom
            top, bottom, used = Text(), Text(), 0
        top.append(text, style_of(piece, number)).append(" " * (room - cell_len(text)))
        bottom.append(id, "dim").append(" " * (room - len(id)))
        used += room
        if piece.bytes.endswith(b"\n"):
            yield top, bottom
            top, bottom, used = Text(), Text(), 0
    if used:
        yield top, bottom


def aligned_lines(
    text: str, names: Sequence[str], encodings: Sequence[Encoding], width: int
) -> Iterator[list[tuple[str, Text]]]:
    """Blocks of lines, one line for each tokenizer, in which the same character stands in the same column.

    A bar stands where a token begins; a raised number behind a character tells of how many tokens it is made.
    """
    from rich.cells import cell_len
    from rich.text import Text

    from whetstone.tokens.pieces import aligned, visible_character

    rows = aligned(text, encodings)
    lines = [Text() for _ in names]
    used = 0
    for position, character in enumerate(text):
        shown = _standing(visible_character(character))
        cells = [row[position] for row in rows]
        bar = position > 0 and any(cell.cut for cell in cells)
        counts = max(len(_raised(cell)) for cell in cells)
        room = cell_len(shown) + bar + counts
        if used and used + room > width:
            yield list(zip(names, lines, strict=True))
            lines, used = [Text() for _ in names], 0
        for line, cell in zip(lines, cells, strict=True):
            style = "strike dim" if cell.token is None else (EVEN, ODD)[cell.token % 2]
            if bar:
                line.append("│" if cell.cut else " ", "dim" if cell.cut else style)
            line.append(shown + _raised(cell).ljust(counts), style)
        used += room
        if character == "\n":
            yield list(zip(names, lines, strict=True))
            lines, used = [Text() for _ in names], 0
    if used:
        yield list(zip(names, lines, strict=True))


def _standing(shown: str) -> str:
    """A text whose first character has a width: a mark on its own is put on a circle."""
    from rich.cells import cell_len

    return shown if cell_len(shown[0]) else f"◌{shown}"


def _raised(cell: Cell) -> str:
    return str(cell.tokens).translate(_COUNTS) if cell.tokens > 1 else ""


def counted(number: int, noun: str) -> str:
    """ "1 token", "2,000 tokens"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def ratio(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
