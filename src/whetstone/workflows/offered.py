"""What other programs may have done here: a question answered, an item priced, documents searched, a text tokenized.

Plain values in and out, for whatever carries them; `whetstone.server.mcp_server` offers them by MCP.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from whetstone.errors import UsageError
from whetstone.models import ChatModel, TokenizingModel
from whetstone.models.base import close_stream, drain
from whetstone.models.pool import ModelPool
from whetstone.types import Chunk, Message, Options, system, user

LONGEST_TEXT = 1_000_000
"""Characters of any text that is taken."""
MOST_PASSAGES = 50
MOST_TOKENS = 4_096
"""Of an answer, and of a text whose tokens are shown one by one."""


class Stopped(Exception):
    """Whoever asked does not want the answer any more."""


class Call:
    """One call under way: how far it is, and whether anybody still waits for it. Safe to use from several threads.

    Args:
        told: called with the number of pieces that an answer has so far.
    """

    def __init__(self, told: Callable[[int], None] = lambda _: None) -> None:
        self._told = told
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._stream: Iterator[Chunk] | None = None

    def stop(self) -> None:
        """Let the work end as soon as it can: an engine that streams, at once."""
        with self._lock:
            self._stopped.set()
            close_stream(self._stream)

    def watched(self, stream: Iterator[Chunk]) -> Iterator[Chunk]:
        """The stream, counted, until it ends or is stopped.

        Raises:
            Stopped: the call was stopped.
        """
        with self._lock:
            self._stream = stream
        try:
            for number, chunk in enumerate(stream, start=1):
                self.check()
                self._told(number)
                yield chunk
            self.check()
        finally:
            with self._lock:
                self._stream = None
                close_stream(stream)

    def check(self) -> None:
        """That somebody still waits.

        Raises:
            Stopped: nobody does.
        """
        if self._stopped.is_set():
            raise Stopped


@dataclass(frozen=True)  # no slots: the `mcp` SDK takes them for defaults
class Passage:
    """A passage of a knowledge base.

    Attributes:
        path: of the document, in its folder.
        where: the headings above it, and what a person calls the spot: "page 3".
        score: how well it fits, from 0 to 1.
        text: the passage.
    """

    path: str
    where: str
    score: float
    text: str


@dataclass(frozen=True)
class Passages:
    """What a search found, best first."""

    kb: str
    passages: list[Passage]


@dataclass(frozen=True)
class Tokens:
    """A text as a model reads it.

    Attributes:
        model: whose tokenizer it was.
        count: how many tokens the text has.
        ids: the first of them, at most 4,096.
        pieces: the text of each of `ids`; a part of a character is shown as U+FFFD.
    """

    model: str
    count: int
    ids: list[int]
    pieces: list[str]


class Offered:
    """The models of a pool and the knowledge bases here, for callers that wait. Safe to use from several threads.

    Args:
        pool: the models; closed together with this.
        bases: names of the knowledge bases that may be searched.
    """

    def __init__(self, pool: ModelPool, bases: list[str]) -> None:
        from whetstone.workflows.pricers import Pricers

        self.pool = pool
        self.bases = list(bases)
        self._pricers = Pricers()
        self._lock = threading.Lock()
        self._searches: dict[str, Any] = {}
        self._open = contextlib.ExitStack()

    def close(self) -> None:
        """Close the models and knowledge bases. Closing twice is harmless."""
        with self._lock:
            self._searches.clear()
            self._open.close()
        self.pool.close()

    def ask(self, question: str, model: str, instructions: str, max_tokens: int, temperature: float, call: Call) -> str:
        """What a model answers; of one that answers from documents, with the list of its sources.

        Args:
            model: one of the pool's, "" for the first.
            instructions: the system message, "" for none.

        Raises:
            WhetstoneError: there is no such model, or it cannot answer.
            Stopped: the call was stopped.
        """
        _check_text(question, "the question")
        if not 1 <= max_tokens <= MOST_TOKENS:
            raise UsageError(f"max_tokens is {max_tokens}: an answer has between 1 and {MOST_TOKENS:,} tokens")
        if not 0 <= temperature <= 2:
            raise UsageError(f"temperature is {temperature:g}: take one between 0 and 2")
        messages: list[Message] = [system(instructions)] if instructions else []
        stream = self._model(model, call).stream(
            [*messages, user(question)], Options(temperature=temperature, max_tokens=max_tokens)
        )
        reply = drain(call.watched(stream))
        if reply.finish_reason == "length":
            return f"{reply.text}\n[cut: the answer reached max_tokens={max_tokens}]"
        return reply.text

    def price(self, text: str, model: str, candidates: str, level: float, call: Call) -> dict[str, Any]:
        """What an item costs: estimate, interval, quantiles, likeliest candidates (`PricedItem.to_json`).

        Raises:
            WhetstoneError: there is no such model, it cannot answer, or the candidates or level are none.
            Stopped: the call was stopped.
        """
        from whetstone.workflows.price import PricedItem

        _check_text(text, "the item's text")
        pricer = self._pricers.get(self._model(model, call), candidates)
        call.check()
        priced = next(iter(pricer.price([text], level=level)))
        if not isinstance(priced, PricedItem):
            raise UsageError(f"the item cannot be priced: {priced.reason}")
        return priced.to_json()

    def search(self, query: str, kb: str, k: int, call: Call) -> Passages:
        """The passages of a knowledge base that fit, best first.

        Args:
            kb: one of `bases`, "" for the first.

        Raises:
            WhetstoneError: there is no such knowledge base, or it cannot be read.
            Stopped: the call was stopped.
        """
        _check_text(query, "the query")
        if not 1 <= k <= MOST_PASSAGES:
            raise UsageError(f"k is {k}: take between 1 and {MOST_PASSAGES} passages")
        if not self.bases:
            raise UsageError("there is no knowledge base here to search; `whet kb sync FOLDER` makes one")
        name = kb or self.bases[0]
        if name not in self.bases:
            from whetstone.registry import unknown_name

            raise unknown_name("knowledge base", name, self.bases)
        search = self._search(name)
        call.check()
        return Passages(
            name,
            [
                Passage(
                    hit.chunk.path,
                    ", ".join(filter(None, (hit.chunks[0].chunk.trail, hit.chunks[0].chunk.place))),
                    round(hit.score, 4),
                    hit.shown,
                )
                for hit in search.find(query, k)
            ],
        )

    def tokenize(self, text: str, model: str, call: Call) -> Tokens:
        """A text as a model reads it.

        Raises:
            WhetstoneError: there is no such model, or it does not show its tokenizer.
            Stopped: the call was stopped.
        """
        if len(text) > LONGEST_TEXT:
            raise UsageError(f"the text has {len(text):,} characters; at most {LONGEST_TEXT:,} are taken")
        name = model or self.pool.default
        found = self._model(model, call)
        if not isinstance(found, TokenizingModel):
            raise UsageError(f"{name} does not show its tokenizer: ask for a model that runs here")
        ids = list(found.encode(text))
        shown = ids[:MOST_TOKENS]
        return Tokens(name, len(ids), shown, [found.decode([token]) for token in shown])

    def _model(self, name: str, call: Call) -> ChatModel:
        found = self.pool.get(name or self.pool.default)
        call.check()  # loading may have taken a while
        return found

    def _search(self, name: str) -> Any:
        from whetstone.retrieval.library import open_knowledge
        from whetstone.retrieval.search import Search

        with self._lock:
            if name not in self._searches:
                knowledge = self._open.enter_context(open_knowledge(name))
                self._searches[name] = Search(knowledge.store, lambda: knowledge.embedder)
            return self._searches[name]


def _check_text(text: str, what: str) -> None:
    if not text.strip():
        raise UsageError(f"{what} is empty")
    if len(text) > LONGEST_TEXT:
        raise UsageError(f"{what} has {len(text):,} characters; at most {LONGEST_TEXT:,} are taken")
