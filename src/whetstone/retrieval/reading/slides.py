"""Presentations (PPTX) as blocks, with the same parts as Word documents (see there why by hand)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.laying import part, table
from whetstone.retrieval.reading.package import Package

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_TITLES = {"title", "ctrTitle"}
_FURNITURE = {"dt", "ftr", "hdr", "sldNum", "sldImg"}


def slides(data: bytes, path: str) -> tuple[dict[str, str], list[Block]]:
    """What a presentation says of itself, and its slides in order: title, texts, tables, then the speaker's notes.

    Raises:
        DataError: see `Package`.
    """
    package = Package(data, path)
    main = package.main("ppt/presentation.xml")
    links = package.links(main)
    parts: list[Block] = []
    listed = [entry.get(_ID, "") for entry in package.xml(main).iter(f"{_P}sldId")]
    for number, key in enumerate((key for key in listed if key in links), start=1):
        name, place = links[key][1], f"slide {number}"
        parts += _slide(package.xml(name), place)
        for kind, notes in package.links(name).values():
            if kind == "notesSlide" and package.has(notes):
                parts += _slide(package.xml(notes), f"{place}, notes")
    return package.said(), parts


def _slide(root: Element, place: str) -> Iterator[Block]:
    for element in root.iter():
        if element.tag == f"{_P}sp":
            holder = element.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
            kind = holder.get("type", "") if holder is not None else ""
            text = "\n".join(_text(paragraph) for paragraph in element.iter(f"{_A}p"))
            if kind in _TITLES and text.strip():
                yield part("heading", f"## {' '.join(text.split())}", 2, place)
            elif kind not in _FURNITURE:
                yield part("text", text, place=place)
        elif element.tag == f"{_A}tbl":
            rows = [
                [" ".join(_text(paragraph) for paragraph in cell.iter(f"{_A}p")) for cell in row.iter(f"{_A}tc")]
                for row in element.iter(f"{_A}tr")
            ]
            yield part("table", table(rows), place=place)


def _text(paragraph: Element) -> str:
    texts = (
        "\n" if element.tag == f"{_A}br" else element.text or ""
        for element in paragraph.iter()
        if element.tag in (f"{_A}t", f"{_A}br")
    )
    return "".join(texts)
