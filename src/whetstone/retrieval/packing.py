"""Passages for a prompt: found chunks, best first, as many as fit beside the conversation and the reply.

A passage is whole or left out. Passages that overlap or follow each other in their document become one, so that nothing
is sent twice. The best passage stands first, also in the prompt: its number 1 is what a weak model copies, and
the middle of a long prompt is what models read worst (Liu et al. 2023, "Lost in the Middle").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from whetstone.errors import ContextTooLongError
from whetstone.models import ChatModel, ContextModel
from whetstone.retrieval.document import StoredChunk
from whetstone.types import Citation, Message, Options, text_of

RESERVED_REPLY = 512  # tokens kept for the reply when nobody says how long it may be; a quarter of a small context
UNKNOWN_CONTEXT = 8192  # tokens that a model is taken to hold which does not tell: an endpoint's
_LINE_ENDS = 2  # that stand between two blocks of a document's text, and nothing else
_BYTES_PER_TOKEN = 2  # of a tokenizer that cannot be asked: few enough for Korean, half of what English has


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of one document, as it is given to a model.

    Attributes:
        number: how an answer refers to it, from 1.
        chunks: ids of the chunks that it is made of.
        path, title: of its document.
        headings, header, place: see `Chunk`.
        start, end: in characters of the document's text.
        text: exactly the document's text from `start` to `end`.
    """

    number: int
    chunks: tuple[int, ...]
    path: str
    title: str
    headings: tuple[str, ...]
    header: str
    place: str
    start: int
    end: int
    text: str

    @property
    def trail(self) -> str:
        """Title > H2 > H3."""
        return " > ".join(self.headings)

    @property
    def shown(self) -> str:
        """What a model reads: where it stands, a table's head, the text."""
        where = " · ".join(part for part in (self.trail or self.title or self.path, self.place) if part)
        return "\n".join(part for part in (where, self.header, self.text) if part)

    def cited(self, base: str, spans: Sequence[tuple[int, int]], *, attributed: bool) -> Citation:
        """The citation of it."""
        return Citation(
            number=self.number,
            base=base,
            path=self.path,
            title=self.title,
            trail=self.trail,
            place=self.place,
            start=self.start,
            end=self.end,
            text=self.text,
            spans=tuple(spans),
            attributed=attributed,
        )


@dataclass(frozen=True, slots=True)
class Packed:
    """Passages that fit, and the request that holds them.

    Attributes:
        passages: numbered from 1, the best first.
        left_out: passages for which there was no room, the best first, as the chunks that they are made of.
        messages: the request.
        tokens: of the request; `exact` if the model's own tokenizer counted, otherwise guessed from its bytes.
        limit: tokens that the request may have: the model's context without what is kept for the reply.
    """

    passages: tuple[Passage, ...]
    left_out: tuple[tuple[StoredChunk, ...], ...]
    messages: tuple[Message, ...]
    tokens: int
    limit: int
    exact: bool


def pack(
    model: ChatModel,
    found: Sequence[Sequence[StoredChunk]],
    request: Callable[[Sequence[Passage]], list[Message]],
    options: Options = Options(),  # noqa: B008
) -> Packed:
    """The passages that fit into a model's context.

    One that does not fit is left out; a smaller one behind it may still fit.

    Args:
        model: who reads them.
        found: passages as chunks that follow each other in one document; the best passage first.
        request: makes the request of passages.
        options: `max_tokens` is what is kept for the reply.

    Raises:
        ContextTooLongError: there are passages, and not even one fits.
        ModelError: the model cannot count.
    """
    limit = context_of(model)
    limit -= options.max_tokens or min(RESERVED_REPLY, limit // 4)
    chosen: list[Sequence[StoredChunk]] = []
    left_out: list[tuple[StoredChunk, ...]] = []
    passages: list[Passage] = []
    messages = request([])
    tokens = _count(model, messages, options)
    for chunks in found:
        more = as_passages([*chosen, chunks])
        asked = request(more)
        size = _count(model, asked, options)
        if size > limit:
            left_out.append(tuple(chunks))
            continue
        chosen.append(chunks)
        passages, messages, tokens = more, asked, size
    if found and not chosen:
        raise ContextTooLongError(
            f"{model.identity.spec}: the conversation takes {tokens:,} of the {limit:,} tokens that the context has "
            "besides the reply, so that no passage of the documents fits; begin a new conversation, ask with fewer "
            "words, or use a model with more context"
        )
    return Packed(tuple(passages), tuple(left_out), tuple(messages), tokens, limit, isinstance(model, ContextModel))


def context_of(model: ChatModel) -> int:
    """Tokens of prompt and reply that a model holds; `UNKNOWN_CONTEXT` if it does not tell."""
    return model.context_length if isinstance(model, ContextModel) else UNKNOWN_CONTEXT


def _count(model: ChatModel, messages: Sequence[Message], options: Options) -> int:
    if isinstance(model, ContextModel):
        return model.count_tokens(messages, options)
    return sum(len(text_of(message).encode("utf-8", "surrogatepass")) for message in messages) // _BYTES_PER_TOKEN


def as_passages(found: Sequence[Sequence[StoredChunk]]) -> list[Passage]:
    """Chunks as numbered passages, the best first; those of one spot are joined at the better one's place.

    Args:
        found: for each passage its chunks, which follow each other in one document; the best passage first.
    """
    passages: list[Passage] = []
    for chunks in found:
        for new in map(_passage, chunks):
            position = len(passages)
            while (other := next((old for old in passages if _join(old, new)), None)) is not None:
                position = min(position, passages.index(other))
                passages.remove(other)
                new = _join(other, new) or new
            passages.insert(position, new)
    return [replace(passage, number=number) for number, passage in enumerate(passages, 1)]


def _passage(stored: StoredChunk) -> Passage:
    chunk = stored.chunk
    return Passage(
        number=0,
        chunks=(stored.id,),
        path=stored.path,
        title=stored.title,
        headings=chunk.headings,
        header=chunk.header,
        place=chunk.place,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
    )


def _join(one: Passage, other: Passage) -> Passage | None:
    """Both as one passage; None where a part of the document stands between them."""
    if one.path != other.path:
        return None
    first, last = (one, other) if one.start <= other.start else (other, one)
    gap = last.start - first.end
    if gap > _LINE_ENDS:
        return None
    return replace(
        first,
        chunks=first.chunks + last.chunks,
        end=max(first.end, last.end),
        text=first.text + "\n" * max(0, gap) + last.text[max(0, -gap) :],
    )
