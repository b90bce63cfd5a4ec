"""Files of every kind as blocks of text with their places.

A document's text is its blocks, each from its `start` to its `end`, with line ends between them: `document_text` lays
it out again. Text files are streamed; what has to be converted is held while it is.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from whetstone.errors import DataError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.converting import convert
from whetstone.retrieval.reading.encoding import Encoding, encoding_of
from whetstone.retrieval.reading.formats import kind_of, type_of
from whetstone.retrieval.reading.html import charset
from whetstone.retrieval.reading.laying import laid_out
from whetstone.retrieval.reading.lines import lines
from whetstone.retrieval.reading.markdown import front_matter, heading_text, markdown
from whetstone.retrieval.reading.plain import code, paragraphs
from whetstone.retrieval.reading.records import delimited, json_document, json_lines
from whetstone.retrieval.reading.source import ChangedWhileReadError, Source, digest_of

__all__ = ["ChangedWhileReadError", "Reading", "digest_of", "document_text", "read", "supported"]

_MOST_HELD = 256 << 20
"""Bytes of a file that cannot be streamed."""
_TITLE_WITHIN = 64
"""Blocks among which a Markdown document's title is looked for."""


class Reading:
    """A document as it is read.

    Attributes:
        title: what the document calls itself, else its first heading, else the file's name without its type.
        metadata: what filters can ask for: what the file says of itself, and "type" and "folder", see
            `DocumentRecord`; "encoding" where that of a text had to be assumed.
        blocks: its parts in order, once. They raise DataError where the file cannot be read, and ChangedWhileReadError
            at the end if it changed meanwhile.
    """

    def __init__(self, title: str, metadata: dict[str, str], blocks: Iterator[Block], source: Source) -> None:
        self.title, self.metadata, self.blocks = title, metadata, blocks
        self._source = source

    def digest(self) -> str:
        """sha256 of the bytes that were read, in hex; known when `blocks` is exhausted."""
        if not self._source.digest:
            raise RuntimeError("the digest of a document is known when all its blocks have been read")
        return self._source.digest


def supported(path: str) -> bool:
    """Whether files of that name can be read."""
    return kind_of(path) is not None


def read(file: Path, path: str) -> Reading:
    """Open a document.

    Args:
        file: where it is.
        path: its name in the knowledge base, relative to the folder, with "/" between its parts.

    Raises:
        DataError: it cannot be read; a sentence says why.
        ChangedWhileReadError: it changed meanwhile.
        MissingPackageError: it has to be converted, and the extra `documents` is not installed.
    """
    kind = kind_of(path)
    if kind is None:
        raise DataError(f"{path}: files of this type are not read")
    source = Source(file, path)
    metadata = {"type": type_of(path), "folder": path.partition("/")[0] if "/" in path else ""}
    title = PurePosixPath(path).stem
    found, said, blocks = _opened(source, kind)
    for name, value in said.items():
        # The document's own words for these two must not hide what every document has.
        metadata[f"own {name}" if name in metadata else name] = value
    return Reading(unicodedata.normalize("NFC", found or title), metadata, blocks, source)


def document_text(blocks: Iterable[Block]) -> str:
    """The text of a document, in which blocks and chunks have their places."""
    parts: list[str] = []
    at = 0
    for block in blocks:
        parts.append("\n" * (block.start - at))
        parts.append(block.text)
        at = block.end
    return "".join(parts)


_Found = tuple[str, dict[str, str], Iterator[Block]]  # title or "", what the file says of itself, blocks


def _opened(source: Source, kind: str) -> _Found:
    if kind in ("pdf", "docx", "pptx", "xlsx", "eml", "html"):
        return _converted(source, kind)
    data = source.all_bytes() if source.is_small() else None
    rewind: Callable[[], BinaryIO] = source.rewind if data is None else lambda: io.BytesIO(data)
    encoding = encoding_of(rewind, source.path)
    said = {"encoding": encoding.note} if encoding.note else {}
    if kind in ("csv", "json", "jsonl"):
        return "", said, _finishing(laid_out(_records(rewind(), encoding, kind, source)), source)
    text = lines(rewind(), encoding)
    match kind:
        case "markdown":
            head, rest = front_matter(text)
            title, blocks = _titled(markdown(rest))
            return head.pop("title", "") or title, head | said, _finishing(blocks, source)
        case "code":
            return PurePosixPath(source.path).name, said, _finishing(code(text), source)
        case _:
            return "", said, _finishing(paragraphs(text), source)


def _records(reader: BinaryIO, encoding: Encoding, kind: str, source: Source) -> Iterator[Block]:
    with io.TextIOWrapper(reader, encoding.codec, encoding.errors, newline="" if kind == "csv" else None) as text:
        if kind == "csv":
            yield from delimited(text, source.path)
        elif kind == "jsonl":
            yield from json_lines(text, source.path)
        else:
            _refuse_large(source)
            yield from json_document(text.read(), source.path)


def _converted(source: Source, kind: str) -> _Found:
    _refuse_large(source)
    data = source.all_bytes()
    said: dict[str, str] = {}
    if not data.strip():
        return "", said, iter(())
    if kind == "html":
        named = charset(data)
        encoding = encoding_of(lambda: io.BytesIO(data), source.path)
        if named and encoding.note:
            encoding = Encoding(named, "replace")
        said = {"encoding": encoding.note} if encoding.note else {}
        data = data.decode(encoding.codec, encoding.errors).encode()
    found, parts = convert(data, kind, source.path)
    title, blocks = _titled(laid_out(parts)) if kind != "xlsx" else ("", laid_out(parts))
    return found.pop("title", "") or title, found | said, blocks


def _refuse_large(source: Source) -> None:
    if source.size > _MOST_HELD:
        raise DataError(
            f"{source.path} has {source.size / 1e6:,.0f} MB; files of this type are read up to "
            f"{_MOST_HELD / 1e6:,.0f} MB: divide it"
        )


def _finishing(blocks: Iterator[Block], source: Source) -> Iterator[Block]:
    yield from blocks
    if not source.digest:
        source.finish()


def _titled(blocks: Iterator[Block]) -> tuple[str, Iterator[Block]]:
    """The first heading of the highest level among the first blocks, and all blocks."""
    seen: list[Block] = []
    best: Block | None = None
    for block in blocks:
        seen.append(block)
        if block.kind == "heading" and (best is None or block.level < best.level):
            best = block
        if (best is not None and best.level == 1) or len(seen) == _TITLE_WITHIN:
            break
    return heading_text(best) if best is not None else "", chain(seen, blocks)
