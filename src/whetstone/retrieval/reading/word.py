"""Word documents (DOCX) as blocks.

kreuzberg 4.10 was tried first: it drops every "&", "<" and ">" of a Word document ("AT&T" becomes "ATT").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.laying import part, table
from whetstone.retrieval.reading.package import Package

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BREAKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_HEADING = re.compile(r"heading (\d)$", re.IGNORECASE)


def word(data: bytes, path: str) -> tuple[dict[str, str], list[Block]]:
    """What a Word document says of itself, and its parts: headings, paragraphs, lists, tables, then its notes.

    Headers and footers of pages are left out, and so is what was deleted under tracked changes.

    Raises:
        DataError: see `Package`.
    """
    package = Package(data, path)
    main = package.main("word/document.xml")
    links = dict(package.links(main).values())
    levels = _levels(package.xml(links["styles"])) if package.has(links.get("styles", "")) else {}
    parts = list(_joined_lists(_blocks(package.xml(main), levels)))
    for notes in ("footnotes", "endnotes"):
        if package.has(links.get(notes, "")):
            for note in package.xml(links[notes]):
                parts.append(part("text", "\n".join(_text(paragraph) for paragraph in note.iter(f"{_W}p"))))
    return package.said(), parts


def _levels(styles: Element) -> dict[str, int]:
    """Style -> level of heading, for those that are headings, by their outline level, name, or what they build on."""
    bases: dict[str, str] = {}
    levels: dict[str, int] = {}
    for style in styles.iter(f"{_W}style"):
        key = style.get(f"{_W}styleId", "")
        bases[key] = _value(style, "basedOn")
        name, outline = _value(style, "name"), _value(style, f"pPr/{_W}outlineLvl")
        if match := _HEADING.match(name):
            levels[key] = int(match[1])
        elif name.lower() == "title":
            levels[key] = 1
        elif outline.isdigit() and int(outline) < 9:
            levels[key] = int(outline) + 1
    for key in bases:
        seen, base = {key}, key
        while base not in levels and base in bases and bases[base] not in seen:
            base = bases[base]
            seen.add(base)
        if base in levels:
            levels[key] = levels[base]
    return levels


def _blocks(element: Element, levels: dict[str, int]) -> Iterator[Block]:
    for child in element:
        if child.tag == f"{_W}p":
            yield _paragraph(child, levels)
        elif child.tag == f"{_W}tbl":
            yield part("table", table(list(_rows(child))))
        elif child.tag not in (f"{_W}del", f"{_W}moveFrom"):
            yield from _blocks(child, levels)


def _paragraph(paragraph: Element, levels: dict[str, int]) -> Block:
    text = _text(paragraph)
    level = levels.get(_value(paragraph, f"pPr/{_W}pStyle"), 0)
    outline = _value(paragraph, f"pPr/{_W}outlineLvl")
    if outline.isdigit() and int(outline) < 9:
        level = int(outline) + 1
    if level and text.strip():
        level = min(level, 6)
        return part("heading", f"{'#' * level} {' '.join(text.split())}", level)
    if paragraph.find(f"{_W}pPr/{_W}numPr") is not None and text.strip():
        depth = _value(paragraph, f"pPr/{_W}numPr/{_W}ilvl")
        return part("list", f"{'  ' * (int(depth) if depth.isdigit() else 0)}- {text.strip()}")
    return part("text", text)


def _joined_lists(parts: Iterable[Block]) -> Iterator[Block]:
    items: list[str] = []
    for block in parts:
        if block.kind == "list":
            items.append(block.text)
            continue
        if items:
            yield part("list", "\n".join(items))
            items = []
        yield block
    if items:
        yield part("list", "\n".join(items))


def _rows(element: Element) -> Iterator[list[str]]:
    for row in element.iter(f"{_W}tr"):
        yield [" ".join(_text(paragraph) for paragraph in cell.iter(f"{_W}p")) for cell in row.iter(f"{_W}tc")]


def _text(element: Element) -> str:
    """The words of a paragraph, those of text boxes in it on lines of their own."""
    pieces: list[str] = []
    for child in element:
        if child.tag == f"{_W}t":
            pieces.append(child.text or "")
        elif child.tag in _BREAKS:
            pieces.append(_BREAKS[child.tag])
        elif child.tag == f"{_W}p":
            pieces.append(f"\n{_text(child)}\n")
        elif child.tag not in (f"{_W}pPr", f"{_W}del", f"{_W}moveFrom"):
            pieces.append(_text(child))
    return "".join(pieces)


def _value(element: Element, path: str) -> str:
    found = element.find(f"{_W}{path}")
    return found.get(f"{_W}val", "") if found is not None else ""
