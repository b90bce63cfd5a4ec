"""A question answered from documents: rewritten if need be, searched for, packed into a request, answered, cited.

`prepare` does all that comes before the model's answer, `stream_answer` the rest. Where nothing that was found is good
enough, the model is not asked at all: "the documents do not say" is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from whetstone.embeddings import Embedder
from whetstone.errors import UsageError
from whetstone.models import ChatModel, ContextModel
from whetstone.models.base import ReplyStream
from whetstone.retrieval.attribution import attribute
from whetstone.retrieval.circles import ends_sentence, goes_in_circles
from whetstone.retrieval.citations import CitationReader
from whetstone.retrieval.confidence import THRESHOLD
from whetstone.retrieval.document import EVERYTHING, Filter
from whetstone.retrieval.packing import Packed, Passage, pack
from whetstone.retrieval.prompt import not_said, request_for, says_nothing
from whetstone.retrieval.rewriting import standalone_question
from whetstone.retrieval.search import Hit
from whetstone.retrieval.sources import sources_text
from whetstone.types import Chunk, Citation, Message, Options, Usage, text_of

DEFAULT_K = 10  # passages that are looked at for an answer
_LOOKED_AT = 1000  # chunks of an answer in which a repetition is looked for


class Finder(Protocol):
    """What finds chunks: `search.Search`."""

    def find(self, question: str, k: int = ..., where: Filter = ...) -> list[Hit]: ...


@dataclass(frozen=True, slots=True)
class Preparation:
    """All that comes before an answer.

    Attributes:
        question: as it was asked.
        standalone: as it was searched for: the question as it reads without the conversation.
        hits: what was found, best first.
        confidence: how sure it is that they hold the answer, see `confidence`.
        packed: the request; None where they are not good enough, and the documents do not say.
        usage: tokens that rewriting the question took.
        continues: the answer goes on with a text that the conversation ends in.
    """

    question: str
    standalone: str
    hits: tuple[Hit, ...]
    confidence: float
    packed: Packed | None
    usage: Usage = field(default_factory=Usage)
    continues: bool = False

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The passages that the model is given."""
        return self.packed.passages if self.packed else ()


def prepare(
    finder: Finder,
    sure: Callable[[str, Sequence[Hit]], float],
    model: ChatModel,
    conversation: Sequence[Message],
    options: Options = Options(),  # noqa: B008
    *,
    k: int = DEFAULT_K,
    where: Filter = EVERYTHING,
    threshold: float = THRESHOLD,
) -> Preparation:
    """Rewrite the last question of a conversation, search, and pack what is found into a request.

    Args:
        finder: searches.
        sure: how sure it is, from 0 to 1, that what was found holds the answer to a question, see `confidence`.
        model: who rewrites and answers.
        conversation: holds a message of the user's; if it ends with the assistant's, the answer goes on with that.
        k: most passages.
        threshold: least confidence with which the model is asked; 0 always asks it.

    Raises:
        UsageError: there is no question.
        ContextTooLongError: conversation and one passage do not fit.
        StorageError, ModelError: the knowledge base or the model fails.
    """
    asked = max((n for n, message in enumerate(conversation) if message["role"] == "user"), default=None)
    question = text_of(conversation[asked]) if asked is not None else ""
    if asked is None or not question.strip():
        raise UsageError("a knowledge base answers questions, and the conversation holds none: write one")
    history = [message for message in conversation[:asked] if message["role"] in ("user", "assistant")]
    counted = _Counted(model)
    standalone = standalone_question(counted, history, question)
    hits = tuple(finder.find(standalone, k, where))
    certainty = sure(standalone, hits)
    continues = conversation[-1]["role"] == "assistant"
    if not hits or certainty < threshold:
        return Preparation(question, standalone, hits, certainty, None, counted.usage, continues)
    part_marks = not isinstance(model, ContextModel)  # an endpoint renders the prompt itself
    packed = pack(
        model,
        [hit.chunks for hit in hits],
        lambda passages: request_for(conversation, standalone, passages, part_marks=part_marks),
        options,
    )
    return Preparation(question, standalone, hits, certainty, packed, counted.usage, continues)


def stream_answer(
    model: ChatModel,
    preparation: Callable[[], Preparation],
    base: str,
    embedder: Callable[[], Embedder],
    options: Options = Options(),  # noqa: B008
) -> ReplyStream:
    """The answer, piece by piece, its citations checked; then its sources as text; then the last chunk, which has them.

    A reply that must be JSON, or that calls tools, is passed on as it is. One that goes in circles is stopped, with
    "[…]" at its end.

    Args:
        preparation: makes what comes before, once the first chunk is asked for.
        base: name of the knowledge base.
        embedder: compares sentences with passages where the model cites nothing.
    """
    streams: list[Iterator[Chunk]] = []
    stopped: list[bool] = []

    def stop() -> None:
        stopped.append(True)
        for stream in streams:
            _close(stream)

    def chunks() -> Generator[Chunk]:
        ready = preparation()
        if ready.packed is None:
            said = "" if ready.continues else not_said(ready.question)
            yield Chunk(text=said, finish_reason="stop", usage=ready.usage)
            return
        stream = model.stream(ready.packed.messages, options)
        streams.append(stream)
        if stopped:  # `stop` may have looked before this stream was there
            stop()
        verbatim = options.json_schema is not None or bool(options.tools)
        for chunk in stream if verbatim else _cited(stream, ready.passages, base, embedder):
            yield chunk if chunk.usage is None else replace(chunk, usage=chunk.usage + ready.usage)

    return ReplyStream(chunks(), stop)


def _close(stream: Iterator[Chunk]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()


class _Counted:
    """A model that counts the tokens of what it is asked."""

    def __init__(self, model: ChatModel) -> None:
        self.identity = model.identity
        self.concurrency = model.concurrency
        self.usage = Usage()
        self._model = model

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        for chunk in self._model.stream(messages, options):
            self.usage += chunk.usage or Usage()
            yield chunk

    def close(self) -> None:
        """The model stays open."""


def _cited(
    stream: Iterator[Chunk], passages: Sequence[Passage], base: str, embedder: Callable[[], Embedder]
) -> Iterator[Chunk]:
    reader = CitationReader([passage.number for passage in passages])
    parts: list[str] = []
    last: Chunk | None = None
    for chunk in stream:
        text = reader.feed(chunk.text)
        parts.append(text)
        if last is None and ends_sentence(text) and goes_in_circles("".join(parts[-_LOOKED_AT:])):
            _close(stream)
            last = Chunk(text=text + " […]", finish_reason="stop")
            break
        if chunk.finish_reason is not None or chunk.usage is not None:
            last = replace(chunk, text=text) if last is None else _both(last, chunk, text)
        elif text or chunk.reasoning or chunk.tool_calls or chunk.logprobs:
            yield replace(chunk, text=text)
    rest = reader.finish()
    answer = "".join([*parts, rest])
    citations: tuple[Citation, ...] = ()
    if answer.strip() and not says_nothing(answer):
        citations = _citations(answer, reader, passages, base, embedder)
        rest += sources_text(citations)
    last = last or Chunk()
    yield replace(last, text=last.text + rest, citations=citations)


def _both(last: Chunk, chunk: Chunk, text: str) -> Chunk:
    """Two chunks of which one tells why the reply ended, and the other its counts."""
    return replace(
        last,
        text=last.text + text,
        reasoning=last.reasoning + chunk.reasoning,
        tool_calls=last.tool_calls + chunk.tool_calls,
        logprobs=last.logprobs + chunk.logprobs,
        finish_reason=chunk.finish_reason or last.finish_reason,
        usage=chunk.usage or last.usage,
    )


def _citations(
    answer: str,
    reader: CitationReader,
    passages: Sequence[Passage],
    base: str,
    embedder: Callable[[], Embedder],
) -> tuple[Citation, ...]:
    """What the model cited; where it cited nothing, what its sentences belong to."""
    spans, attributed = reader.spans, not reader.spans
    if attributed:
        spans = attribute(answer, passages, embedder())
    return tuple(
        passage.cited(base, spans[passage.number], attributed=attributed)
        for passage in passages
        if passage.number in spans
    )
