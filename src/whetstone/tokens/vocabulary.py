"""Looking things up in a vocabulary, and what two vocabularies have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from whetstone.errors import RequestRefusedError, UsageError
from whetstone.tokens.pieces import PieceKind, is_text, visible_bytes
from whetstone.tokens.tokenizer import Tokenizer

By = Literal["text", "regex", "id", "bytes"]

_HIGHEST = 1 << 24  # no vocabulary has more; gaps between ids are stepped over up to here


@dataclass(frozen=True, slots=True)
class Entry:
    """One token of a vocabulary.

    Attributes:
        id: its id.
        spelling: as the vocabulary has it.
        kind: see `Piece.kind`.
        bytes: what it stands for.
    """

    id: int
    spelling: str
    kind: PieceKind
    bytes: bytes

    @property
    def shown(self) -> str:
        """Its bytes made visible."""
        return visible_bytes(self.bytes)


def entries(tokenizer: Tokenizer) -> Iterator[Entry]:
    """All tokens by rising id."""
    added = {token.id: token for token in tokenizer.added}
    left = tokenizer.vocab_size
    for id in range(_HIGHEST):
        if not left:
            return
        try:
            spelling, data = tokenizer.spelling(id), tokenizer.token_bytes(id)
        except RequestRefusedError:  # a gap
            continue
        left -= 1
        token = added.get(id)
        kind: PieceKind = "text" if is_text(data) else "bytes"
        if token is not None:
            kind = "control" if token.special else "added"
        yield Entry(id, spelling, kind, data)


def search(tokenizer: Tokenizer, query: str, *, by: By = "text") -> Iterator[Entry]:
    """The tokens that a query finds, by rising id.

    Args:
        tokenizer: whose vocabulary.
        query: what is sought.
        by: "text": a part of what a token stands for, or of its spelling; "regex": a regular expression found in
            what it stands for; "id": ids and ranges, `42` or `0-16,100`; "bytes": hexadecimal, `F0 9F`.

    Raises:
        UsageError: the query is no regular expression, id or hexadecimal.
        RequestRefusedError: an id is out of range.
    """
    if by == "id":
        return _by_ids(tokenizer, query)
    fits = _matcher(query, by)
    return (entry for entry in entries(tokenizer) if fits(entry))


def _matcher(query: str, by: By) -> Callable[[Entry], bool]:
    if not query:
        raise UsageError("nothing to search for: give a part of a token")
    if by == "bytes":
        try:
            sought = bytes.fromhex(query.replace("0x", " ").replace("<", " ").replace(">", " "))
        except ValueError:
            raise UsageError(f"{query!r} is no hexadecimal: write bytes as F0 9F") from None
        return lambda entry: sought in entry.bytes
    if by == "regex":
        try:
            pattern = re.compile(query)
        except re.error as error:
            raise UsageError(f"{query!r} is no regular expression: {error}") from None
        return lambda entry: bool(pattern.search(entry.bytes.decode("utf-8", "replace")))
    as_bytes = query.encode("utf-8", "surrogatepass")
    return lambda entry: as_bytes in entry.bytes or query in entry.spelling


def _by_ids(tokenizer: Tokenizer, query: str) -> Iterator[Entry]:
    ids: list[int] = []
    for part in query.replace(" ", ",").split(","):
        if not part:
            continue
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        if match is None:
            raise UsageError(f"{part!r} is no id: write ids and ranges as 42 or 0-16,100")
        first = int(match[1])
        last = min(int(match[2]), tokenizer.vocab_size - 1) if match[2] else first
        ids += range(first, last + 1)
    if not ids:
        raise UsageError(f"{query!r} names no id: write ids and ranges as 42 or 0-16,100")
    added = {token.id: token for token in tokenizer.added}

    def found() -> Iterator[Entry]:
        for id in dict.fromkeys(ids):
            data = tokenizer.token_bytes(id)
            kind: PieceKind = "text" if is_text(data) else "bytes"
            if id in added:
                kind = "control" if added[id].special else "added"
            yield Entry(id, tokenizer.spelling(id), kind, data)

    return found()


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two vocabularies share, by the bytes their tokens stand for; control tokens are left out.

    Attributes:
        common: tokens in both.
        first: tokens of the first.
        second: tokens of the second.
    """

    common: int
    first: int
    second: int

    @property
    def share(self) -> float:
        """Common tokens as a share of all of both (Jaccard)."""
        union = self.first + self.second - self.common
        return self.common / union if union else 0.0


def byte_set(tokenizer: Tokenizer) -> frozenset[bytes]:
    """What the ordinary tokens of a vocabulary stand for."""
    return frozenset(entry.bytes for entry in entries(tokenizer) if entry.kind in ("text", "bytes"))


def overlap(first: frozenset[bytes], second: frozenset[bytes]) -> Overlap:
    """What two `byte_set`s share."""
    return Overlap(len(first & second), len(first), len(second))
