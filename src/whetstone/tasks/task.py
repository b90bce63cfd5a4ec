"""One task about to be done: a card, a model, values for its inputs; and what fits into the model's context."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from whetstone.errors import ContextTooLongError, UsageError
from whetstone.models import ChatModel, ContextModel, TokenizingModel
from whetstone.models.base import answers_apart
from whetstone.prompting.families import family_of
from whetstone.tasks.asking import Asking
from whetstone.tasks.card import Card
from whetstone.tasks.cases import TaskCase
from whetstone.tasks.splitting import Part, split_text
from whetstone.types import Message, Options, text_of

APART_CONTEXT = 1024  # tokens that a T5 is shown at once: no end is built in, but it was trained on 512 to 2048
_TAKES_STRINGS = ("llama.cpp", "transformers")  # engines that constrain a reply to a bare JSON string
_ASSUMED_PART = 3000  # tokens of a part for a model that does not tell how much it holds
_BYTES_PER_TOKEN = 3  # of a tokenizer that cannot be asked: English has 4, Korean 2 to 3; too many parts do less harm
_TOKENS_PER_WORD = 4  # of a reply: English takes 1.4, others more; a model stops by itself, unless it runs away
_REPLY_PER_BYTE = 1  # of a text that is put into other words: 4 per token of English, as Korean may take
_REPLY_RESERVE = 1.5  # how much of the context is kept free for that, in tokens per token
_LEAST_REPLY = 64
_PART_REPLY = 512  # tokens of the summary of a part, which is asked for in some 100 words
_AROUND = 128  # more tokens than a template writes around a message, a system prompt of its own included
_SLACK = 16  # tokens that a text may take more inside of a prompt than alone


@dataclass(frozen=True)
class Settings:
    """How a task is done, besides what it is about.

    Attributes:
        options: of the user's own; what they leave open is the card's.
        shots: cases whose answers are shown as examples.
        part_tokens: a longer text is read in parts of at most so many tokens; 0 reads it at once where it fits.
        run: whether code is run, contained, and repaired from its errors.
        repairs: how often code is repaired at most.
    """

    options: Options = field(default_factory=Options)
    shots: tuple[TaskCase, ...] = ()
    part_tokens: int = 0
    run: bool = False
    repairs: int = 2


class Task:
    """One task about to be done.

    Attributes:
        card, model, settings: with what and how.
        values: of the card's inputs, checked.
        apart: whether the model is an encoder-decoder.

    Raises:
        UsageError: the inputs are wrong, or the card does not suit the model; the sentence says why.
    """

    def __init__(self, card: Card, model: ChatModel, given: Mapping[str, Any], settings: Settings) -> None:
        self.card = card
        self.model = model
        self.settings = settings
        self.values = card.check(given)
        self._given = [name for name, value in given.items() if value not in (None, "")]
        self.apart = answers_apart(model)
        if self.apart and card.file.not_encoder_decoder:
            raise UsageError(
                f"{model.identity.name} cannot do {card.name}: {card.file.not_encoder_decoder}; use a chat model"
            )
        if settings.run and card.output != "code":
            raise UsageError(f"there is nothing to run: {card.name} writes no code")
        self._shots = [(card.check(shot.inputs), shot) for shot in settings.shots]

    @cached_property
    def family(self) -> str:
        """Of the model, for prompts of its own."""
        return family_of(self.model) or ""

    @property
    def text(self) -> str:
        """The main input."""
        return str(self.values[self.card.file.main])

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Notes on inputs that were given, and that the prompt for the model's family has no place for."""
        general, own = self.card.prompt(), self.card.prompt(family=self.family)
        lost = [name for name in self._given if name in general.variables and name not in (*own.variables, "types")]
        if not lost:
            return ()
        names = " and ".join(filter(None, (", ".join(lost[:-1]), lost[-1])))
        what = "which was passed over" if len(lost) == 1 else "which were passed over"
        return (f"the prompt for {self.family} models has no place for {names}, {what}",)

    @property
    def in_object(self) -> bool:
        """Whether a constrained label stands in an object: endpoints in strict mode take nothing else.

        llama.cpp and transformers take a bare JSON string, which small models do better with: of four reviews
        SmolLM2-135M got three right, and two when it had to write an object.
        """
        return self.model.identity.engine not in _TAKES_STRINGS

    @cached_property
    def limit(self) -> int | None:
        """Tokens that the model holds: prompt and reply together, of an encoder-decoder each; None if unknown."""
        if not isinstance(self.model, ContextModel):
            return None
        length = self.model.context_length
        return APART_CONTEXT if length == sys.maxsize else length

    def asking(
        self,
        name: str,
        values: Mapping[str, Any],
        *,
        prompt: str = "prompt",
        schema: dict[str, Any] | None = None,
        keep: bool = False,
    ) -> Asking:
        """A request made of one of the card's prompts.

        Args:
            name: what it is for.
            values: besides the inputs, or instead of them.
            prompt: which one; examples are shown with the main one only.
            schema: that the answer must satisfy.
            keep: see `Asking`.
        """
        filled = {**self.values, **values}
        template = self.card.prompt(prompt, self.family)
        kind = {"type": values["type"]} if "type" in values else {}
        shots = [({**shot, **kind}, self._written(case, **kind)) for shot, case in self._shots]
        messages = template.messages(filled, shots if prompt == "prompt" else [])
        options = self._options(prompt, filled, messages)
        return Asking(name, tuple(messages), options, schema, keep)

    def fits(self, asking: Asking) -> bool:
        """Whether the whole text is asked about at once: nobody wants it in parts, and it fits as far as is known."""
        most = self.settings.part_tokens
        return not (most and self.size(self.text) > most) and self.holds(asking)

    def holds(self, asking: Asking) -> bool:
        """Whether the context holds a request and the reply that is to be expected, as far as is known."""
        if self.limit is None:
            return True
        if _most_tokens(asking.messages) + self._reserve(len(self.text.encode())) <= self.limit:
            return True  # most texts are far shorter than the context, and need not be counted by the engine
        return self._count(asking.messages) + self._reserve(self.size(self.text)) <= self.limit

    def parts(self, prompt: str) -> list[Part]:
        """The main input in parts, each of which fits into the context with one of the card's prompts.

        Raises:
            ContextTooLongError: the context holds little more than the question.
        """
        return split_text(self.text, self.size, self._room(prompt))

    def _room(self, prompt: str) -> int:
        wished = min(self.settings.part_tokens or sys.maxsize, self.card.file.part_tokens or sys.maxsize)
        if self.limit is None:
            return min(wished, _ASSUMED_PART)
        empty = self.asking("", {self.card.file.main: "", "number": 99, "count": 99, "type": ""}, prompt=prompt)
        free = self.limit - self._count(empty.messages) - _SLACK
        if self.apart:
            return min(wished, free)
        if self.card.file.reply == "text":
            return min(wished, int((free - _LEAST_REPLY) / (1 + _REPLY_RESERVE)))
        return min(wished, free - (_PART_REPLY if prompt == "part" else self._reserve(0)))

    def too_long(self) -> ContextTooLongError:
        """The error for a text that does not fit, on a card that reads none in parts."""
        return ContextTooLongError(
            f"{self.card.file.main} takes {self.size(self.text):,} tokens, and with the question and the answer that "
            f"is more than the {self.limit or 0:,} that {self.model.identity.name} holds; shorten it, or use a model "
            "with more context"
        )

    def in_parts(self, count: int) -> str:
        """The note that the text was read in parts."""
        size = f"{self.card.file.main} takes {'about ' if self._guesses else ''}{self.size(self.text):,} tokens"
        wanted = self.settings.part_tokens
        if wanted and self.size(self.text) > wanted:
            why = f"parts of at most {wanted:,} were asked for"
        elif self.limit is None:
            why = "the model refused so many at once"
        else:
            why = f"{self.model.identity.name} holds {self.limit:,} with the question and the answer"
        return f"{size}, and {why}: it was read in {count} part{'s' if count > 1 else ''}"

    def size(self, text: str) -> int:
        """Tokens of a text; a guess where the model's tokenizer cannot be asked."""
        if isinstance(self.model, TokenizingModel):
            return len(self.model.encode(text))
        return len(text.encode()) // _BYTES_PER_TOKEN

    @property
    def _guesses(self) -> bool:
        return not isinstance(self.model, TokenizingModel)

    def _count(self, messages: Sequence[Message]) -> int:
        if isinstance(self.model, ContextModel):
            return self.model.count_tokens(messages)
        return sum(len(text_of(message).encode()) for message in messages) // _BYTES_PER_TOKEN

    def _reserve(self, text: int) -> int:
        """Tokens of the context that are kept free for the reply about a text of so many tokens."""
        if self.apart:
            return 0
        if self.settings.options.max_tokens:
            return self.settings.options.max_tokens
        match self.card.file.reply:
            case "text":
                return int(_REPLY_RESERVE * text) + _LEAST_REPLY
            case "words":
                return self._words()
            case _:
                return self.card.file.options.max_tokens or _LEAST_REPLY

    def _words(self) -> int:
        return _TOKENS_PER_WORD * int(self.values["words"]) + _LEAST_REPLY

    def _options(self, prompt: str, values: Mapping[str, Any], messages: Sequence[Message]) -> Options:
        own = self.settings.options.model_dump(exclude_unset=True, exclude_none=True)
        options = self.card.file.options.model_copy(update=own)
        if options.max_tokens is not None and prompt != "part":
            return options
        match self.card.file.reply:
            case _ if prompt == "part":
                most = _PART_REPLY
            case "text":
                most = _REPLY_PER_BYTE * len(str(values[self.card.file.main]).encode()) + _LEAST_REPLY
            case "words":
                most = self._words()
            case _:
                return options
        if self.limit is not None and not self.apart and most + _most_tokens(messages) > self.limit:
            most = min(most, max(1, self.limit - self._count(messages)))
        return options.model_copy(update={"max_tokens": _rounded(most, self.limit)})

    def _written(self, case: TaskCase, type: str | None = None) -> str:
        """The expected answer of a case as a model is to write it; of entities, those of one type or all."""
        expected = case.expected
        if self.card.output == "entities":
            named = [{"text": one["text"], "type": one["type"]} for one in expected]
            if type is not None:
                return "; ".join(one["text"] for one in named if one["type"] == type) or "none"
            return json.dumps({"entities": named}, ensure_ascii=False)
        if self.card.output == "code":
            return f"```{self.card.check(case.inputs)['language']}\n{expected['code'].strip()}\n```"
        if self.card.output == "label" and not self.apart:
            return json.dumps({"label": expected} if self.in_object else expected, ensure_ascii=False)
        return str(expected["text"] if isinstance(expected, Mapping) else expected)


def _most_tokens(messages: Sequence[Message]) -> int:
    """More tokens than messages can take: one for each byte, and what a template writes around them."""
    return sum(len(text_of(message).encode()) + _AROUND for message in messages)


def _rounded(tokens: int, limit: int | None) -> int:
    """A limit of tokens that many texts share, so that they can be asked about in one batch: a power of two."""
    rounded = 1 << (max(tokens, 1) - 1).bit_length()
    return rounded if limit is None or rounded <= limit // 2 else tokens


def is_nothing(text: str, nothing: str) -> bool:
    """Whether an answer is the words by which a model says that a text does not hold what is wanted."""
    bare = text.strip(" .\"'“”*_\n").casefold()
    return bool(nothing) and bare == nothing.strip(" .").casefold()
