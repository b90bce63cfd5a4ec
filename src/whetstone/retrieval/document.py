"""What travels from a file to an answer: blocks, chunks, and where each stands in its document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

BlockKind = Literal["heading", "text", "list", "table", "code"]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a document that is kept whole where it can be: a heading, a paragraph, a list, a table, code.

    Attributes:
        text: as Markdown, without the blank lines around it.
        start, end: where it stands in the document's text, in characters.
        level: of a heading, from 1 to 6; otherwise 0.
        place: what a person calls the spot, where the file knows one: "page 3", "slide 2", "sheet Prices", "row 17".
    """

    kind: BlockKind
    text: str
    start: int
    end: int
    level: int = 0
    place: str = ""


@dataclass(frozen=True)
class Chunk:
    """What is embedded, searched for, and shown to a model.

    Attributes:
        ordinal: which one of its document, from 0.
        headings: title of the document, then the headings above the chunk, the outermost first.
        header: rows of a table's head that stand above the chunk, repeated where a table is cut; else "".
        text: exactly the document's text from `start` to `end`.
        start, end: in characters of the document's text.
        place: of its first block, see `Block`.
    """

    ordinal: int
    headings: tuple[str, ...]
    text: str
    start: int
    end: int
    place: str = ""
    header: str = ""

    @property
    def trail(self) -> str:
        """Title > H2 > H3."""
        return " > ".join(self.headings)

    @cached_property
    def shown(self) -> str:
        """The chunk as it is embedded, searched and put into prompts: the trail, a table's head, the text."""
        return "\n".join(part for part in (self.trail, self.header, self.text) if part)

    @cached_property
    def hash(self) -> bytes:
        """16 bytes that settle the chunk's vector: a digest of `shown`."""
        return hashlib.blake2b(self.shown.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """What a knowledge base knows of one file: a line of its manifest.

    Attributes:
        path: relative to the knowledge base's folder, with "/" between its parts.
        size, modified: of the file when it was read, in bytes and in nanoseconds since 1970; a time of 0 cannot be
            relied on, as the file was written a moment before or could not be read: its bytes are the judge.
        digest: sha256 of the file's bytes, in hex; "" if it could not be read.
        title: of the document.
        metadata: what filters can ask for, as text: what the file says of itself (front matter, author) and "type"
            (the suffix in lower case, without its dot) and "folder" (the first part of the path; "" at the top).
        chunks: how many.
        problem: why nothing of it is searched, or what is missing; "" when all is well.
    """

    path: str
    size: int
    modified: int
    digest: str
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    chunks: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk in a knowledge base.

    Attributes:
        id: stays the same as long as the chunk does; never used again for another one.
        path, title, metadata: of its document, see `DocumentRecord`.
    """

    id: int
    path: str
    title: str
    metadata: Mapping[str, str]
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chunks may be found. All conditions hold together; without any, every chunk may.

    Attributes:
        metadata: name -> the value that the document's metadata must have.
        path: a pattern of the document's path as in a shell ("contracts/*.md"; `*` also crosses "/"); "" for any.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    path: str = ""

    def __bool__(self) -> bool:
        return bool(self.metadata) or bool(self.path)


EVERYTHING = Filter()
