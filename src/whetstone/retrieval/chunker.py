"""Blocks of a document packed into chunks that follow its structure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from whetstone.errors import UsageError
from whetstone.retrieval.cutting import cut, halves, table_head
from whetstone.retrieval.document import Block, Chunk
from whetstone.retrieval.trail import SEPARATOR, Trail, shortened

__all__ = ["ChunkSettings", "Chunker"]

_VERSION = 1
_COUNT_AT_ONCE = 1024  # chunks whose tokens are counted in one call
_FEWEST_TOKENS = 32


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How documents are divided; all in characters of a chunk as it is shown, so with its trail.

    Chunks are small because search joins those that stand together (`passages`): with ten passages of at most 4,000
    characters in all, 100 questions on 76 documents, packaged MiniLM, target / longest / least gave an MRR of
    300/400/100 0.915, 350/450/100 0.929, 400/450/100 0.927, 350/600/100 0.915, 450/600/100 0.910.

    Attributes:
        target: blocks are packed together up to this size.
        longest: a block that is longer than this by itself is cut.
        overlap: the last blocks of a chunk begin the next one too, as far as they are no longer than this together,
            unless a heading begins it.
        least: a heading begins a new chunk if the one before holds at least this much besides headings.
        trail: longest trail; a longer one is shortened in the middle.
    """

    target: int = 350
    longest: int = 450
    overlap: int = 0
    least: int = 100
    trail: int = 120

    def __post_init__(self) -> None:
        if not (0 < self.target <= self.longest and 0 <= self.overlap < self.target and self.least >= 0):
            raise UsageError("Chunks need 0 < target <= longest, 0 <= overlap < target and least >= 0")
        if not 16 <= self.trail <= self.longest // 2:
            raise UsageError("The trail of a chunk needs at least 16 characters and at most half of the longest chunk")


@dataclass(slots=True)
class _Part:
    """A block, or a piece of one, on its way into a chunk; `repeated` if the chunk before has it too."""

    block: Block
    headings: tuple[str, ...]
    header: str = ""
    repeated: bool = False

    @property
    def is_heading(self) -> bool:
        return self.block.kind == "heading"


@dataclass(slots=True)
class _Draft:
    """A chunk whose tokens have not been counted yet."""

    parts: list[_Part]
    headings: tuple[str, ...]
    header: str

    def chunk(self) -> Chunk:
        """The chunk, its ordinal not settled yet; without text if nothing but blanks is in it."""
        pieces: list[str] = []
        first = self.parts[0].block
        at = first.start
        for part in self.parts:
            block = part.block
            if block.start > at:
                pieces.append("\n" * (block.start - at))
            pieces.append(block.text)
            at = block.end
        text = "".join(pieces).rstrip()
        return Chunk(0, self.headings, text, first.start, first.start + len(text), first.place, self.header)

    def under(self, headings: tuple[str, ...]) -> _Draft:
        """The same draft with a shorter trail, which its parts keep when it is divided."""
        parts = [replace(part, headings=headings) if part.headings == self.headings else part for part in self.parts]
        return _Draft(parts, headings, self.header)

    def divided(self) -> list[_Draft]:
        """The same parts in two drafts."""
        parts = self.parts
        starts = [at for at in range(1, len(parts)) if not parts[at - 1].is_heading]
        if not starts:  # headings and at most one block after them
            longest = max(range(len(parts)), key=lambda at: len(parts[at].block.text))
            block = parts[longest].block
            two = [replace(parts[longest], block=piece) for piece in halves(block)]
            if len(two) == 2 and block.kind == "table" and not two[1].header:
                two[1].header = table_head(block.text)
            parts = [*parts[:longest], *two, *parts[longest + 1 :]]
            starts = [longest + 1] if len(two) == 2 else list(range(1, len(parts)))
        if not starts:
            return [replace(self, headings=(), header="")]
        middle = (parts[0].block.start + parts[-1].block.end) // 2
        split = min(starts, key=lambda at: abs(parts[at].block.start - middle))
        return [_Draft(parts[:split], self.headings, self.header), _draft(parts[split:])]


def _draft(parts: list[_Part]) -> _Draft:
    return _Draft(parts, parts[0].headings, parts[0].header)


def _size(parts: list[_Part], block: Block) -> int:
    """Characters of a chunk as it is shown, once this block has been added to it."""
    first = parts[0]
    trail = sum(len(heading) + len(SEPARATOR) for heading in first.headings)
    return trail + len(first.header) + block.end - first.block.start


def _without_last_headings(parts: list[_Part]) -> tuple[list[_Part], list[_Part]]:
    """The parts up to the last one that is no heading, and the headings after that: they lead what follows."""
    end = len(parts)
    while parts[end - 1].is_heading:
        end -= 1
    return parts[:end], parts[end:]


class Chunker:
    """Divides documents.

    A chunk is made of whole blocks that follow each other: a heading stands with what comes after it, tables and code
    stay whole up to `longest`. A longer block is cut: tables, lists and code at line ends, text at the ends of
    sentences, then at blanks, then between characters, never inside one that is made of several code points. The later
    pieces of a table carry its head in `Chunk.header`, unless that takes more than a third of `longest`.

    Trails are at most `ChunkSettings.trail` characters long; in a longer one the middle headings become "…", and then
    the middle of each heading. Chunks that begin with a heading have it in their text, and in the trail only those
    above it.

    Args:
        count_tokens: tokens of each text, as the embedder reads it, see `Embedder`.
        max_tokens: no chunk has more of them in `shown`; at least 32.
        settings: sizes.
    """

    def __init__(
        self,
        count_tokens: Callable[[Sequence[str]], list[int]],
        max_tokens: int,
        settings: ChunkSettings | None = None,
    ) -> None:
        if max_tokens < _FEWEST_TOKENS:
            raise UsageError(f"Chunks of at most {max_tokens} tokens hold too little; at least {_FEWEST_TOKENS} work")
        self._count, self._max_tokens = count_tokens, max_tokens
        self._settings = settings or ChunkSettings()

    @property
    def version(self) -> str:
        """What settles where chunks begin and end: version of the code, token limit and settings."""
        sizes = self._settings
        return (
            f"{_VERSION} tokens={self._max_tokens} target={sizes.target} longest={sizes.longest} "
            f"overlap={sizes.overlap} least={sizes.least} trail={sizes.trail}"
        )

    def chunks(self, title: str, blocks: Iterable[Block]) -> Iterator[Chunk]:
        """The chunks of a document in order; blocks are taken as they are needed.

        Args:
            title: of the document.
            blocks: its parts in order, without overlap.
        """
        drafts = self._drafts(title, blocks)
        ordinal = 0
        while batch := list(islice(drafts, _COUNT_AT_ONCE)):
            for chunk in self._fitted(batch):
                yield replace(chunk, ordinal=ordinal) if chunk.ordinal != ordinal else chunk
                ordinal += 1

    def _drafts(self, title: str, blocks: Iterable[Block]) -> Iterator[_Draft]:
        """Parts packed by their characters."""
        sizes = self._settings
        above = Trail(title, sizes.trail)
        held: list[_Part] = []
        body = 0  # characters besides headings
        for block in blocks:
            if block.kind == "heading":
                headings = above.enter(block)
                if held and (body >= sizes.least or _size(held, block) > (sizes.target if body else sizes.longest)):
                    yield _draft(held)
                    held, body = [], 0
                held += self._parts(block, headings, [])
                continue
            for part in self._parts(block, above.headings, held if not body else []):
                if body and _size(held, part.block) > sizes.target:
                    done, led = _without_last_headings(held)
                    yield _draft(done)
                    held = led or self._overlap(done, part)
                    body = sum(len(kept.block.text) for kept in held if not kept.is_heading)
                held.append(part)
                body += len(part.block.text)
        if held:
            yield _draft(held)

    def _parts(self, block: Block, headings: tuple[str, ...], lead: list[_Part]) -> list[_Part]:
        """The block, or its pieces if it is too long to stand under its trail and the headings that lead it."""
        longest = self._settings.longest
        trail = sum(len(heading) + len(SEPARATOR) for heading in headings)
        used = block.start - lead[0].block.start if lead else 0
        if trail + used + len(block.text) <= longest:
            return [_Part(block, headings)]
        header = table_head(block.text) if block.kind == "table" else ""
        if len(header) > longest // 3:
            header = ""
        least = longest // 3  # whatever stands above, a piece says something
        limit = max(longest - trail - len(header), least)
        first, *rest = cut(block, limit, max(longest - trail - used, least))
        return [_Part(first, headings), *(_Part(piece, headings, header) for piece in rest)]

    def _overlap(self, parts: list[_Part], following: _Part) -> list[_Part]:
        """The last parts of a chunk that begin the next one too."""
        sizes = self._settings
        first = len(parts)
        while first > 1 and not parts[first - 1].is_heading:
            begins = parts[first - 1]
            length = parts[-1].block.end - begins.block.start
            if length > sizes.overlap or _size([begins], following.block) > sizes.target:
                break
            first -= 1
        return [replace(part, repeated=True) for part in parts[first:]]

    def _fitted(self, drafts: list[_Draft]) -> Iterator[Chunk]:
        """Chunks within the limit of tokens; what is above it is divided until it is not."""
        waiting: list[_Draft | Chunk] = list(drafts)  # chunks in their final form, and drafts not counted yet
        while any(isinstance(item, _Draft) for item in waiting):
            chunks = [item.chunk() if isinstance(item, _Draft) else item for item in waiting]
            unknown = [chunk.shown for chunk, item in zip(chunks, waiting, strict=True) if isinstance(item, _Draft)]
            counts = iter(self._count(unknown))
            following: list[_Draft | Chunk] = []
            for chunk, item in zip(chunks, waiting, strict=True):
                if isinstance(item, Chunk) or next(counts) <= self._max_tokens:
                    following.append(chunk)
                else:
                    following += self._smaller(item)
            waiting = following
        return (item for item in waiting if isinstance(item, Chunk) and item.text)

    def _smaller(self, draft: _Draft) -> list[_Draft]:
        """Parts of a draft that has too many tokens, or the same parts with less above them."""
        fresh = [part for part in draft.parts if not part.repeated]
        if len(fresh) < len(draft.parts):
            return [_draft(fresh)]
        trail, header = self._count([SEPARATOR.join(draft.headings), draft.header])
        if trail > self._max_tokens // 3 and draft.headings:
            length = len(SEPARATOR.join(draft.headings)) * 2 // 3
            return [draft.under(shortened(draft.headings, length) if length > 8 else ())]
        if header > self._max_tokens // 3 and draft.header:
            return [replace(draft, header="")]
        return draft.divided()
