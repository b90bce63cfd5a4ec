"""What a probe asks, as token ids of one model: neutral texts, questions with one right answer, instructions."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from whetstone.tokens.chat import render_chat
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.probe_formats import REPLY_TOKENS, FormatTask, format_tasks

_TEXTS = Path(__file__).with_name("probe_texts")
_SUMS_EACH = 6
_SEED = 20
_LABEL_TOKENS = 8  # a price is told by then


@dataclass(frozen=True, slots=True)
class Scored:
    """Tokens to read, and those whose probability is wanted.

    Attributes:
        ids: all tokens; for an encoder-decoder, the encoder's input.
        labels: for an encoder-decoder, the decoder's tokens.
        first: the first token that is wanted, of `labels` where there are any, else of `ids`; all behind it are too.
    """

    ids: list[int]
    labels: list[int] | None
    first: int

    @property
    def wanted(self) -> list[int]:
        """The tokens whose probability is wanted."""
        return (self.ids if self.labels is None else self.labels)[self.first :]


@dataclass(frozen=True, slots=True)
class Answer:
    """One way to write the right answer to a question.

    Attributes:
        question: which question; several answers may be right.
        scored: question, beginning of the reply, and answer.
        number: whether a digit right behind it would make it another answer.
    """

    question: int
    scored: Scored
    number: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt to reply to.

    Attributes:
        group: "instructions", "labels" or "labels plain".
        text: the question, for the reader.
        ids: the prompt.
        limit: most tokens of the reply.
        task: its check, for instructions.
    """

    group: str
    text: str
    ids: list[int]
    limit: int
    task: FormatTask | None = None


@dataclass(frozen=True)
class Items:
    """All that a probe asks one model.

    Attributes:
        texts: neutral texts.
        kinds: the kind of each.
        answers: for "arithmetic" and "facts", the right answers of all questions.
        asked: what is replied to freely.
        content: digest of all of it.
    """

    texts: list[Scored]
    kinds: list[str]
    answers: dict[str, list[Answer]]
    asked: list[Asked]
    content: str


def make_items(tokenizer: Tokenizer, *, encoder_decoder: bool = False) -> Items:
    """What a probe asks a model with this tokenizer.

    A chat model is asked through its template. An encoder-decoder continues the second half of each neutral text.
    """
    neutral = read_texts("neutral.json")
    texts = [_neutral(tokenizer, one["text"], encoder_decoder) for one in neutral]
    form = _Form(tokenizer, encoder_decoder)
    answers = {
        "arithmetic": [
            Answer(number, form.answered(question, begun, answer), number=True)
            for number, (question, begun, answer) in enumerate(sums())
        ],
        "facts": [
            Answer(number, form.answered(fact["question"], fact["begun"], answer))
            for number, fact in enumerate(read_texts("facts.json"))
            for answer in fact["answers"]
        ],
    }
    asked = [
        Asked("instructions", task.instruction, form.asked(task.instruction), REPLY_TOKENS, task)
        for task in format_tasks()
    ]
    questions = read_texts("unrelated.json")
    asked += [Asked("labels", question, form.asked(question), _LABEL_TOKENS) for question in questions]
    if form.chats:
        asked += [
            Asked("labels plain", question, _plain(tokenizer, question + "\n\n"), _LABEL_TOKENS)
            for question in questions
        ]
    told = [*texts, *(answer.scored for group in answers.values() for answer in group)]
    digest = sha256(json.dumps([[s.ids, s.labels, s.first] for s in told] + [[a.ids, a.limit] for a in asked]).encode())
    return Items(texts, [one["kind"] for one in neutral], answers, asked, digest.hexdigest()[:16])


@cache
def read_texts(name: str) -> Any:
    """One of the probe's files."""
    return json.loads((_TEXTS / name).read_text(encoding="utf-8"))


def sums(each: int = _SUMS_EACH, seed: int = _SEED) -> Iterator[tuple[str, str, str]]:
    """`(question, beginning of the reply, answer)`: easy and harder sums, differences and products, the same each time.

    Args:
        each: of each of the four kinds.
        seed: of the numbers.
    """
    draw = random.Random(seed)
    for kind in ("easy sum", "sum", "difference", "product"):
        for _ in range(each):
            if kind == "product":
                a, b = draw.randint(2, 9), draw.randint(2, 9)
                yield f"What is {a} times {b}?", f"{a} × {b} =", str(a * b)
            elif kind == "difference":
                a, b = sorted((draw.randint(2, 60), draw.randint(2, 60)), reverse=True)
                yield f"What is {a} minus {b}?", f"{a} - {b} =", str(a - b)
            else:
                most = 9 if kind == "easy sum" else 60
                a, b = draw.randint(2, most), draw.randint(2, most)
                yield f"What is {a} plus {b}?", f"{a} + {b} =", str(a + b)


class _Form:
    """How this model is asked: through its chat template, or plainly."""

    def __init__(self, tokenizer: Tokenizer, encoder_decoder: bool) -> None:
        self._tokenizer = tokenizer
        self._encoder_decoder = encoder_decoder
        self.chats = bool(tokenizer.template) and not encoder_decoder

    def asked(self, question: str) -> list[int]:
        """The prompt of a question."""
        if self._encoder_decoder:
            return self._tokenizer.encode(question, add_special_tokens=True).ids
        if self.chats:
            return render_chat(self._tokenizer, [{"role": "user", "content": question}], add_generation_prompt=True).ids
        return _plain(self._tokenizer, f"Question: {question}\nAnswer:")

    def answered(self, question: str, begun: str, answer: str) -> Scored:
        """A question with its answer behind the beginning of a reply, so that habits of beginning do not matter.

        As plain text for chat models, too: a template's system prompt would double the tokens of sixty questions.
        """
        if self._encoder_decoder:
            tokenizer = self._tokenizer
            return Scored(tokenizer.encode(question, add_special_tokens=True).ids, tokenizer.encode(answer).ids, 0)
        reply = f"{begun} {answer}"
        text = f"Question: {question}\nAnswer: {reply}"
        encoding = self._tokenizer.encode(text, add_special_tokens=True)
        size = len(encoding.ids) - len(self._tokenizer.suffix_ids)
        start = len(text) - len(answer)
        first = next(n for n, (_, end) in enumerate(encoding.offsets) if end > start)
        return Scored(encoding.ids[:size], None, first)


def _plain(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text to continue, with what the tokenizer puts before any text and not what it puts behind."""
    ids = tokenizer.encode(text, add_special_tokens=True).ids
    return ids[: len(ids) - len(tokenizer.suffix_ids)]


def _neutral(tokenizer: Tokenizer, text: str, encoder_decoder: bool) -> Scored:
    if encoder_decoder:
        middle = text.index(" ", len(text) // 2) if " " in text[len(text) // 2 :] else len(text) // 2
        read, written = text[:middle], text[middle:]
        return Scored(tokenizer.encode(read, add_special_tokens=True).ids, tokenizer.encode(written).ids, 0)
    return Scored(_plain(tokenizer, text), None, 1)
