"""Does an export answer like the tuned model? Next tokens after the same prompts, and conversations, compared."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, cast
from unicodedata import normalize

import numpy as np

from whetstone.errors import ContextTooLongError, ModelError
from whetstone.models import LogitModel, PromptModel
from whetstone.models.base import NextToken
from whetstone.tokens.chat import render_chat
from whetstone.tokens.json_tokenizer import JsonTokenizer
from whetstone.tokens.parity import CONVERSATIONS, Facts, Finding, Messages, Seen
from whetstone.tokens.parity import Path as Way
from whetstone.tokens.parity import check as check_ways
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.export_prompts import chat_prompts, text_prompts
from whetstone.workflows.parity import EnginePath

TIE = 0.01  # nats; rounding alone changes as much (llama.cpp keeps keys and values in 16 bits)
_TOP = 64  # tokens whose log-probability an engine is asked for

Told = Callable[[str, int, int], None]  # what is being done, how much of it is done, and of how much


@dataclass(frozen=True, slots=True)
class Differing:
    """A prompt after which the two engines expect another token first.

    Attributes:
        prompt: its last words.
        tuned: the tuned model's most probable token, spelled.
        exported: the export's.
        lead: by how much the tuned model prefers its own over the export's, in nats; a near tie is near 0.
    """

    prompt: str
    tuned: str
    exported: str
    lead: float


@dataclass(frozen=True)
class Answers:
    """How alike two engines answer.

    Attributes:
        prompts: how many were asked.
        agreement: share of prompts with the same most probable next token.
        ties: how many of the others were near ties: the tuned model prefers its token by less than `TIE` nats.
        median: median change of the log-probability of the tuned model's most probable token, in nats.
        largest: the largest such change.
        differing: prompts after which the tokens differ.
        other_ids: texts that the export's tokenizer cuts otherwise.
    """

    prompts: int
    agreement: float
    median: float
    largest: float
    ties: int = 0
    differing: Sequence[Differing] = ()
    other_ids: Sequence[str] = ()

    @property
    def decided(self) -> float:
        """Share of prompts with the same token, near ties among them."""
        return self.agreement + self.ties / self.prompts


def prompts_for(tuned: LogitModel, chats: bool, count: int) -> list[tuple[str, list[int]]]:
    """Prompts as text and token ids: three of five are chats, where the model has a template."""
    texts = [(text, tuned.encode(text)) for text in text_prompts()]
    if not chats or not isinstance(tuned, PromptModel):
        return _repeated(texts, count)
    told = [(str(chat[-1]["content"]), tuned.prompt_ids(chat)) for chat in chat_prompts()]
    share = -(-3 * count // 5)
    return [*_repeated(told, share), *_repeated(texts, count - share)]


def _repeated(listed: Sequence[tuple[str, list[int]]], count: int) -> list[tuple[str, list[int]]]:
    """As many; from the second round on each begins with a shorter end of itself, so that none comes twice."""
    picked = ((number // len(listed), *listed[number % len(listed)]) for number in range(count))
    return [(text, ids[round_ % len(ids) :]) for round_, text, ids in picked]


def compare_answers(
    tuned: LogitModel, exported: LogitModel, asked: Sequence[tuple[str, list[int]]], told: Told | None = None
) -> Answers:
    """Ask two models what follows each prompt.

    Args:
        tuned: the reference.
        exported: what is held against it.
        asked: prompts as text and as the reference's token ids, which both are sent.
        told: is told how far it is.

    Raises:
        ModelError: a model cannot answer.
    """
    other_ids = [
        text for text in dict.fromkeys(text for text, _ in asked) if exported.encode(text) != tuned.encode(text)
    ]
    ids = [ids for _, ids in asked]
    changes: list[float] = []
    differing: list[Differing] = []
    with _sentence():
        pairs = zip(_asked(tuned, ids), _asked(exported, ids), strict=True)
        for number, (one, two) in enumerate(pairs):
            best, other = int(one.ids[0]), int(two.ids[0])
            changes.append(abs(float(one.logprobs[0]) - _logprob(two, best)))
            if best != other:
                lead = float(one.logprobs[0]) - _logprob(one, other)
                words = " ".join(asked[number][0].split())[-80:]
                differing.append(Differing(words, tuned.decode([best]), tuned.decode([other]), lead))
            if told is not None:
                told("comparing answers", number + 1, len(ids))
    return Answers(
        prompts=len(asked),
        agreement=1 - len(differing) / len(asked),
        median=float(np.median(changes)),
        largest=float(np.max(changes)),
        ties=sum(one.lead < TIE for one in differing),
        differing=differing,
        other_ids=other_ids,
    )


def _asked(model: LogitModel, prompts: Sequence[list[int]], window: int = 20) -> Iterator[NextToken]:
    """What follows each prompt; a window at a time, so that progress can be told."""
    waiting = iter(prompts)
    while batch := list(islice(waiting, window)):
        yield from model.next_token(batch, top=_TOP)


def _logprob(expected: NextToken, token: int) -> float:
    """A token's log-probability; that of the least listed one where it is not listed, which is more than it has."""
    at = np.flatnonzero(expected.ids == token)
    return float(expected.logprobs[at[0]] if len(at) else expected.logprobs[-1])


@contextlib.contextmanager
def _sentence() -> Iterator[None]:
    try:
        yield
    except ContextTooLongError as error:
        raise ModelError(f"the export cannot be checked: {error}") from error


class _TemplatePath:
    """A tokenizer with its chat template, given what llama.cpp gives every template."""

    def __init__(self, name: str, tokenizer: Tokenizer) -> None:
        self.name = name
        self._tokenizer = tokenizer
        self._given: dict[str, Any] = {"date_string": _today()} if tells_the_date(tokenizer) else {}

    def prompt(self, messages: Messages) -> Seen:
        chat = render_chat(self._tokenizer, messages, add_generation_prompt=True, **self._given)
        return Seen(chat.ids, chat.text)

    def training(self, messages: Messages) -> None:
        """An export is not trained on."""


def _today() -> str:
    return datetime.now().strftime("%d %b %Y")


def tells_the_date(tokenizer: Tokenizer) -> bool:
    """Whether a template tells the model a date that llama.cpp sets to today's (Llama 3.1)."""
    return "date_string" in (tokenizer.template or "")


def composes(tokenizer: Tokenizer) -> bool:
    """Whether text is brought to its composed Unicode form first, which llama.cpp leaves out (Qwen)."""
    return isinstance(tokenizer, JsonTokenizer) and (tokenizer.pipeline["normalizer"] or {}).get("type") == "NFC"


def compare_conversations(trained: Path, made: Path, exported: object) -> tuple[list[Finding], int]:
    """What tells the export's conversations from those that the adapter was trained with, and how many checks held.

    Args:
        trained: the folder of the tokenizer and the template in training.
        made: the export's tokenizer: its folder, or its GGUF file.
        exported: the export in its engine, whose own template is compared too where it has one.
    """
    reference = load_tokenizer(str(trained))
    if not reference.template:
        return [], 0
    first = _TemplatePath("the tuned model", reference)
    ways: list[Way] = [first, _TemplatePath("the export's tokenizer", load_tokenizer(str(made)))]
    if isinstance(exported, PromptModel):
        ways.append(EnginePath("the export", exported, cast(Any, exported).identity.engine))
    control = frozenset(token.id for token in reference.added if token.special)
    facts = Facts(reference.spelling, reference.bos_id, frozenset(), control)
    findings = list(check_ways(ways, facts, _composed() if composes(reference) else CONVERSATIONS))
    # What is so with the tuned model too (a template that changes earlier turns) is no fault of the export.
    as_before = {(one.check, one.conversation) for one in findings if one.path == first.name and not one.good}
    compared = [one for one in findings if one.path != first.name]
    bad = [one for one in compared if not one.good and (one.check, one.conversation) not in as_before]
    return bad, len(compared) - len(bad)


def _composed() -> list[tuple[str, Messages]]:
    return [
        (name, [{**message, "content": normalize("NFC", str(message["content"]))} for message in messages])
        for name, messages in CONVERSATIONS
    ]
