"""Questions to the documents, and their answers as HTML while they are written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from whetstone.errors import UsageError
from whetstone.models.base import ReplyStream
from whetstone.retrieval.answering import Preparation
from whetstone.retrieval.kb_model import KnowledgeModel
from whetstone.retrieval.prompt import says_nothing
from whetstone.retrieval.sources import without_list
from whetstone.types import Citation, Message, Options, Usage, user
from whetstone.ui.knowledge_cites import cited_html, passage_link
from whetstone.ui.knowledge_work import Tell
from whetstone.ui.markdown import to_html

MOST_CHARACTERS = 200_000  # of a question, and of the conversation before it
_OPTIONS = Options(temperature=0)  # an answer can be repeated


class Exchange:
    """A question and its answer, as far as it has come.

    Attributes:
        prepared: what came before the answer; None at first.
        text: of the answer, its list of sources included.
        citations: of the answer, once it is whole.
    """

    def __init__(self, base: str, model: str, question: str) -> None:
        self.base, self.model, self.question = base, model, question
        self.prepared: Preparation | None = None
        self.text = ""
        self.citations: tuple[Citation, ...] = ()
        self.usage = Usage()
        self.seconds = 0.0
        self._stream: ReplyStream | None = None

    def run(self, model: KnowledgeModel, history: Sequence[Message], tell: Tell[Exchange]) -> None:
        """Find passages and read the answer to its end.

        Raises:
            WhetstoneError: the knowledge base or the model fails.
        """
        began = time.perf_counter()
        tell(self)
        messages = [*history, user(self.question)]
        self.prepared = model.prepare(messages, _OPTIONS)
        tell(self)
        self._stream = model.stream(messages, _OPTIONS)
        for chunk in self._stream:
            self.text += chunk.text
            self.citations += chunk.citations
            self.usage = chunk.usage or self.usage
            self.seconds = time.perf_counter() - began
            tell(self)

    def stop(self) -> None:
        """Stop the model's work."""
        if self._stream is not None:
            self._stream.close()


def question_of(text: str) -> str:
    """What is asked.

    Raises:
        UsageError: nothing, or too much.
    """
    if not text.strip():
        raise UsageError("write a question first")
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"the question has over {MOST_CHARACTERS:,} characters: shorten it")
    return text


def history_of(said: Any) -> list[Message]:
    """The earlier questions and answers that a page sends, the newest ones that are not too much altogether."""
    pairs = [
        (str(one.get("question", "")), str(one.get("answer", "")))
        for one in (said if isinstance(said, list) else [])
        if isinstance(one, Mapping)
    ]
    messages: list[Message] = []
    room = MOST_CHARACTERS
    for question, answer in reversed(pairs):
        room -= len(question) + len(answer)
        if room < 0:
            break
        messages = [user(question), {"role": "assistant", "content": answer}, *messages]
    return messages


def exchange_html(exchange: Exchange, *, done: bool, stopped: bool, error: str) -> str:
    """The question, how it was searched for, the answer, its sources, and what the model was given."""
    prepared = exchange.prepared
    finished = done and not error
    answer = (
        cited_html(exchange.text, exchange.base, exchange.citations)
        if finished
        else to_html(without_list(exchange.text))
    )
    waiting = "" if done else f'<p class="wh-note" role="status">{_doing(exchange)} …</p>'
    failed = f'<p class="wh-error" role="alert">{escape(error)}</p>' if error else ""
    cut = '<p class="wh-note" role="status">Stopped.</p>' if stopped and done else ""
    return (
        f'<article class="wh-kb-exchange" aria-label="Question and answer"><p class="wh-kb-question">'
        f"{escape(exchange.question)}</p>{_searched(prepared)}"
        f'<div class="wh-body" aria-busy="{str(not done).lower()}">{answer}</div>{waiting}{cut}{failed}'
        f"{_figures(exchange, prepared) if finished and prepared else ''}{_given(exchange.base, prepared)}</article>"
    )


def _doing(exchange: Exchange) -> str:
    if exchange.prepared is None:
        return "Searching"
    return "Writing" if exchange.text else f"{escape(exchange.model)} reads the passages"


def _searched(prepared: Preparation | None) -> str:
    if prepared is None:
        return ""
    rewritten = (
        f"Searched for: <b>{escape(prepared.standalone)}</b> · "
        if prepared.standalone.strip() != prepared.question.strip()
        else ""
    )
    return f'<p class="wh-note wh-kb-searched">{rewritten}certainty {prepared.confidence:.2f}</p>'


def _figures(exchange: Exchange, prepared: Preparation) -> str:
    if prepared.packed is None:
        return f'<p class="wh-note">Nothing that was found is near enough: {escape(exchange.model)} was not asked.</p>'
    said = "The model found nothing in the passages. " if says_nothing(exchange.text) else ""
    left_out = f", {len(prepared.packed.left_out)} left out for want of room" if prepared.packed.left_out else ""
    usage = exchange.usage
    return (
        f'<p class="wh-note">{said}{escape(exchange.model)} · {len(prepared.passages)} passages{left_out} · '
        f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens · {exchange.seconds:.1f} s</p>"
    )


def _given(base: str, prepared: Preparation | None) -> str:
    """The passages that the model was given; where it was not asked, what was found."""
    if prepared is None or not prepared.hits:
        return ""
    if prepared.packed is None:
        links = [
            passage_link(
                base, hit.chunk.path, path=hit.chunk.path, start=hit.chunk.chunk.start, end=hit.chunk.chunk.end
            )
            for hit in prepared.hits
        ]
        words = "What was found"
    else:
        links = [
            f"[{one.number}] {passage_link(base, one.path, path=one.path, start=one.start, end=one.end)} "
            f"{escape(' > '.join(one.headings[1:]))}"
            for one in prepared.passages
        ]
        words = "What the model was given"
    items = "".join(f"<li>{link}</li>" for link in links)
    return (
        f'<details data-keep="given"><summary>{words}: {len(links)} passages</summary><ul class="wh-sources">{items}'
        "</ul></details>"
    )
