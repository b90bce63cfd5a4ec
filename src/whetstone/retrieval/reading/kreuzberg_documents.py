"""PDF and workbooks (XLSX) as blocks, by kreuzberg: PDFium and calamine in one wheel.

It neither caches, nor looks for pictures or text in pictures, nor opens a connection (traced). Its Markdown is not
used: it takes lines of text in a PDF for tables and escapes words ("a\\_b"). Taken are the plain text of each page, its
guess which lines are headings, and the cells of sheets. It runs in the process that `converting` starts and limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from whetstone.errors import DataError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.laying import part
from whetstone.retrieval.reading.package import Package
from whetstone.retrieval.reading.records import row_block

_MIDNIGHT = " 00:00:00"  # which a cell gets that holds a date alone
_PDF = "application/pdf"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# PDFium's mark for a hyphen that only divides a word at the end of its line.
_DIVIDED = re.compile("[\x02\ufffe]\r?\n?")
_NO_TITLE = re.compile(
    r"(Microsoft Word - |untitled\b|slide 1\b).*|.*\.(docx?|pptx?|xlsx?|tex|indd|dvi|qxd)", re.IGNORECASE
)


def pdf(data: bytes, path: str) -> tuple[dict[str, str], list[Block]]:
    """What a PDF says of itself, and the text of its pages, headings where they can be told from the rest.

    Raises:
        DataError: damaged, locked by a password, or without any text.
    """
    result = _extract(data, _PDF, path)
    pages = result.pages or []
    headings = _headings(result.document)
    parts: list[Block] = []
    blank: list[str] = []
    for page in pages:
        number = int(page["page_number"])
        text = _DIVIDED.sub("", page["content"]).replace("\r\n", "\n").replace("\r", "\n")
        if text.strip():
            parts += _page(text, headings.get(number, {}), f"page {number}")
        else:
            blank.append(str(number))
    if not parts:
        raise DataError(f"{path} has no text on its {len(pages)} pages (scanned?); make it readable with OCR first")
    said = _said(result.metadata)
    if blank:
        said["pages without text"] = ", ".join(blank)
    if _NO_TITLE.fullmatch(said.get("title", "")):
        del said["title"]
    return said, parts


def sheets(data: bytes, path: str) -> tuple[dict[str, str], list[Block]]:
    """What a workbook says of itself, and the rows of its sheets under the names in the first one of several cells.

    Raises:
        DataError: damaged, locked by a password, or too large, see `Package`.
    """
    said = Package(data, path).said()  # also refuses a zip bomb before it is unpacked
    result = _extract(data, _XLSX, path)
    names = list(result.metadata.get("sheet_names") or [])
    parts: list[Block] = []
    for found in result.tables:
        name = names[found.page_number - 1] if 0 < found.page_number <= len(names) else f"{found.page_number}"
        parts.append(part("heading", f"## {name}", 2, f"sheet {name}"))
        parts += _rows(found.cells, f"sheet {name}")
    return said, parts


def _extract(data: bytes, kind: str, path: str) -> Any:
    import kreuzberg

    config = kreuzberg.ExtractionConfig(
        use_cache=False,
        enable_quality_processing=False,
        disable_ocr=True,
        output_format="markdown" if kind == _PDF else "plain",  # headings are only looked for in Markdown
        include_document_structure=kind == _PDF,
        pages=kreuzberg.PageConfig(extract_pages=True),
    )
    try:
        return kreuzberg.extract_bytes_sync(data, kind, config)
    except kreuzberg.KreuzbergError as error:
        words = str(error)
        if "password" in words.lower() or "encrypted" in words.lower():
            raise DataError(f"{path} is password-protected; save it without a password") from error
        raise DataError(f"{path} is damaged, or not what its name says; open it and save it anew") from error


def _headings(document: Any) -> dict[int, dict[str, int]]:
    """Page -> heading -> level."""
    found: dict[int, dict[str, int]] = {}
    for node in (document or {}).get("nodes", ()):
        content = node["content"]
        if content.get("node_type") == "heading" and node.get("page"):
            found.setdefault(node["page"], {})[" ".join(content["text"].split())] = int(content["level"])
    return found


def _page(text: str, headings: dict[str, int], place: str) -> Iterator[Block]:
    held: list[str] = []
    for line in [*text.split("\n"), ""]:
        words = " ".join(line.split())
        level = min(headings.get(words, 0), 6) if words else 0
        if held and (not words or level):
            yield part("text", "\n".join(held), place=place)
            held = []
        if level:
            yield part("heading", f"{'#' * level} {words}", level, place)
        elif words:
            held.append(line)


def _rows(cells: list[list[str]], place: str) -> Iterator[Block]:
    names: list[str] | None = None
    for row in cells:
        filled = [cell for cell in row if cell.strip()]
        if names is None and len(filled) < min(2, len(row)):
            yield part("text", " ".join(filled), place=place)
        elif names is None:
            names = row
        else:
            yield row_block(names, [cell.removesuffix(_MIDNIGHT) for cell in row], place)
    if names is not None and all(row is names or not any(row) for row in cells):
        yield part("list", "\n".join(names), place=place)


def _said(metadata: Any) -> dict[str, str]:
    said = {"title": metadata.get("title"), "subject": metadata.get("subject")}
    said["author"] = ", ".join(metadata.get("authors") or [])
    said["keywords"] = ", ".join(metadata.get("keywords") or [])
    return {name: " ".join(value.split()) for name, value in said.items() if value and value.strip()}
