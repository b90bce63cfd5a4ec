"""Plain text and source code as blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from whetstone.retrieval.document import Block, BlockKind
from whetstone.retrieval.reading.lines import Line

LONGEST_BLOCK = 1 << 14
"""Characters; a longer paragraph is taken as several blocks, so that a file without blank lines stays out of memory."""


def paragraphs(lines: Iterable[Line]) -> Iterator[Block]:
    """Lines between blank lines."""
    held: list[Line] = []
    size = 0
    for line in lines:
        if held and (not line.text or size + len(line.text) > LONGEST_BLOCK):
            yield block_of("text", held)
            held, size = [], 0
        if line.text:
            held.append(line)
            size += len(line.text) + 1
    if held:
        yield block_of("text", held)


def code(lines: Iterable[Line]) -> Iterator[Block]:
    """Stretches that begin after a blank line at a line that is not indented: functions and classes, mostly whole.

    A closing bracket or keyword at the left edge ("}", "end") belongs to what it closes.
    """
    held: list[Line] = []
    size = 0
    after_blank = False
    for line in lines:
        if not line.text:
            after_blank = True
            continue
        begins = after_blank and not line.text[0].isspace() and line.text[0] not in "})]" and line.text != "end"
        if held and (begins or size + len(line.text) > LONGEST_BLOCK):
            yield block_of("code", held)
            held, size = [], 0
        held.append(line)
        size += len(line.text) + 1
        after_blank = False
    if held:
        yield block_of("code", held)


def block_of(kind: BlockKind, lines: list[Line], level: int = 0) -> Block:
    """Some lines as a block; blank ones between them may be left out of the list."""
    parts: list[str] = []
    at = lines[0].start
    for line in lines:
        parts.append("\n" * (line.start - at))
        parts.append(line.text)
        at = line.start + len(line.text)
    return Block(kind, "".join(parts), lines[0].start, at, level, f"line {lines[0].number}")
