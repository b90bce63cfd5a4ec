"""The text of a document that had to be converted, laid out from its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from whetstone.retrieval.document import Block, BlockKind

_BETWEEN = 2  # a blank line


def part(kind: BlockKind, text: str, level: int = 0, place: str = "") -> Block:
    """A block whose place in the text is not settled yet."""
    return Block(kind, text, 0, 0, level, place)


def laid_out(parts: Iterable[Block]) -> Iterator[Block]:
    """The parts one after the other, a blank line between them; those without text are left out.

    Blanks at the ends of lines go; null characters and halves of surrogate pairs, which no store takes, become "�".
    """
    at = 0
    for block in parts:
        text = "\n".join(line.rstrip() for line in _storable(block.text).splitlines()).strip("\n")
        if text.strip():
            yield Block(block.kind, text, at, at + len(text), block.level, block.place)
            at += len(text) + _BETWEEN


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first one as its head."""
    width = max((len(row) for row in rows), default=0)
    lines = []
    for row in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row] + [""] * (width - len(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines[:1], "|" + "---|" * width, *lines[1:]]) if width else ""


def _storable(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "�")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
