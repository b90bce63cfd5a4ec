"""Markdown as blocks: headings, paragraphs, lists, tables, code; and the front matter before it.

The structure is that of CommonMark with tables, by markdown-it-py, which says in which lines each block stands. What it
passes over (definitions of links, comments) is kept as text: every line belongs to a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

import yaml
from markdown_it import MarkdownIt

from whetstone.retrieval.document import Block, BlockKind
from whetstone.retrieval.reading.lines import Line
from whetstone.retrieval.reading.plain import block_of, paragraphs

_STRETCH = 1 << 18  # characters that are parsed at a time: a book of gigabytes does not come into memory
_LONGEST_FRONT_MATTER = 1000  # lines
_KINDS: dict[str, BlockKind] = {
    "heading_open": "heading",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
}
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LINK = re.compile(r"!?\[([^\]\[]*)\](?:\([^()]*\)|\[[^\]\[]*\])")
_EMPHASIS = re.compile(r"(\*\*\*|\*\*|\*|~~|`+)(?=\S)(.+?)(?<=\S)\1")
_UNDERSCORES = re.compile(r"(?<!\w)(__|_)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def front_matter(lines: Iterator[Line]) -> tuple[dict[str, str], Iterator[Line]]:
    """What a Markdown file says of itself between two lines of `---`, and the lines after that.

    Values are kept as they are written; lists of them are joined by commas; what is nested deeper is left out. A head
    that is no YAML stays in the text.
    """
    first = next(lines, None)
    if first is None or first.text != "---":
        return {}, chain([first] if first is not None else [], lines)
    head = [first]
    for line in lines:
        head.append(line)
        if line.text in ("---", "..."):
            values = _values("\n".join(line.text for line in head[1:-1]))
            return ({}, chain(head, lines)) if values is None else (values, lines)
        if len(head) > _LONGEST_FRONT_MATTER:
            break
    return {}, chain(head, lines)


def _values(text: str) -> dict[str, str] | None:
    try:
        found = yaml.load(text, Loader=yaml.BaseLoader)  # every value stays the text that it is
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    values: dict[str, str] = {}
    for name, value in found.items():
        if isinstance(value, list):
            value = ", ".join(part for part in value if isinstance(part, str))
        if isinstance(name, str) and isinstance(value, str) and value:
            values[name] = value
    return values


def markdown(lines: Iterable[Line]) -> Iterator[Block]:
    """The blocks of a Markdown text."""
    for stretch in _stretches(lines):
        yield from _parsed(stretch)


def heading_text(block: Block) -> str:
    """What a heading says, without its marks."""
    text = block.text.strip()
    if text.startswith("#"):
        text = re.sub(r"\s#+$", "", text.lstrip("#")).strip()
    elif "\n" in text:  # underlined
        text = text.rpartition("\n")[0]
    for pattern, kept in ((_LINK, r"\1"), (_EMPHASIS, r"\2"), (_UNDERSCORES, r"\2"), (_ESCAPE, r"\1")):
        text = pattern.sub(kept, text)
    return " ".join(text.split())


def _stretches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Parts that may be parsed on their own: a long text is cut before a line at the left edge after a blank line.

    Where none comes for as long again, it is cut anywhere.
    """
    held: list[Line] = []
    size = 0
    fence = ""
    after_blank = False
    for line in lines:
        at_edge = after_blank and not fence and line.text[:1].strip() != "" and line.text[0] not in "-*+>0123456789"
        if size >= _STRETCH and (at_edge or size >= 2 * _STRETCH):
            yield held
            held, size = [], 0
        mark = _FENCE.match(line.text)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line.text[mark.end() :].strip():
            fence = ""
        held.append(line)
        size += len(line.text) + 1
        after_blank = not line.text
    if held:
        yield held


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").disable("inline")


def _parsed(lines: list[Line]) -> Iterator[Block]:
    done = 0
    for token in _parser().parse("\n".join(line.text for line in lines)):
        if token.level or token.map is None:
            continue
        first, last = token.map
        yield from paragraphs(lines[done:first])
        done = max(done, last)
        held = lines[first:done]
        while held and not held[-1].text:
            held.pop()
        if not held:
            continue
        kind = _KINDS.get(token.type, "text")
        level = int(token.tag[1]) if kind == "heading" else 0
        yield block_of(kind, held, level)
    yield from paragraphs(lines[done:])
