"""The work of structured output: how a value is asked for, what a refusal changes, and how a misfit is repaired."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from whetstone.errors import BadReplyError, MisfitError, ModelError, RequestRefusedError, UsageError
from whetstone.models import ChatModel, parse_spec, replies, reply
from whetstone.models.catalogue import runs_here
from whetstone.prompting.reply_schema import ReplySchema, UnfitError
from whetstone.prompting.schema_bounded import Room
from whetstone.prompting.structured_value import Attempt, Structured, StructuredRates
from whetstone.types import Message, Options, Reply, assistant, text_of, user

T = TypeVar("T")
Form = Literal["constrained", "strict", "words"]

REPAIRS = 2
# A grammar keeps some models from ever coming to an end. Endpoints end by themselves, and may think long before.
LOCAL_TOKENS = 2048
_ROOMS = (None, Room(), Room(items=3, characters=60))
_CONSTRAINING = {"llama.cpp", "transformers"}  # engines that are known to obey schemas
_SHOWN_CHARACTERS = 4_000  # of a reply that did not fit, when it is held up to the model

_IN_WORDS = "Answer with JSON only, without any other words. It must fit this JSON Schema:\n{schema}"
_AGAIN = "That answer cannot be used: {problem}. Answer again, with the corrected JSON only."


class Structurer(Generic[T]):
    """Asks one model for values of one schema, and remembers what its engine refuses.

    Args:
        schema, options, repairs: see `structured`.
        open_lists: a reply that is cut off at its limit counts, its lists ending behind their last whole entry.

    Attributes:
        rates: of everything asked so far.
        refusal: what the engine said when it was told to obey the schema; "" where it obeys.
    """

    def __init__(
        self,
        model: ChatModel,
        schema: Mapping[str, Any] | type[T],
        *,
        options: Options = Options(),  # noqa: B008
        repairs: int = REPAIRS,
        open_lists: bool = False,
    ) -> None:
        if options.json_schema is not None or options.tools:
            raise UsageError(
                "structured output takes its schema as an argument, and no tools: leave both out of options"
            )
        if repairs < 0:
            raise UsageError(f"repairs is a number from 0 up, not {repairs}")
        self._model = model
        self._schema: ReplySchema[T] = ReplySchema(schema)
        self._repairs = repairs
        self._open_lists = open_lists
        if options.max_tokens is None and runs_here(model.identity):
            options = options.model_copy(update={"max_tokens": LOCAL_TOKENS})
        self._options = options
        self.rates = StructuredRates()
        self.refusal = ""
        self._forms: tuple[Form, ...] = ("constrained", "strict", "words")
        if "json_schema" in parse_spec(model.identity.spec).options.get("omit", "").split(","):
            self._forms, self.refusal = ("words",), "the model's spec says omit=json_schema"
        elif self._schema.for_engine() is None:
            self._forms, self.refusal = ("words",), "the schema is too large for an engine to obey"
        elif self._schema.for_engine() == self._schema.for_engine(strict=True):
            self._forms = ("constrained", "words")
        # Whether the first of the forms is known to be taken by the engine.
        self._settled = len(self._forms) == 1 or model.identity.engine in _CONSTRAINING

    def ask(self, messages: Sequence[Message]) -> Structured[T]:
        """One value; see `structured`."""
        asking = _Asking(messages, self._forms[0])
        while True:
            sent, options = self._request(asking)
            try:
                outcome: Reply | ModelError = reply(self._model, sent, options)
            except ModelError as error:
                if not error.concerns_one_item:
                    raise
                outcome = error
            except UsageError as error:  # of an endpoint that is known not to constrain
                if asking.form == "words":
                    raise
                outcome = RequestRefusedError(str(error))
            finished = self._take(asking, sent, outcome)
            if isinstance(finished, ModelError):
                raise finished
            if finished is not None:
                return finished

    def ask_many(self, conversations: Sequence[Sequence[Message]]) -> Iterator[tuple[int, Structured[T] | ModelError]]:
        """`(index, value)` for many; see `structured_many`."""
        waiting = {index: _Asking(messages, self._forms[0]) for index, messages in enumerate(conversations)}
        while waiting:
            # Requests with equal options go together. What an engine refuses is found out with one of them.
            together: dict[tuple[Form, int], list[int]] = {}
            for index, asking in itertools.islice(waiting.items(), None if self._settled else 1):
                self._keep_to_forms(asking)
                together.setdefault((asking.form, asking.room), []).append(index)
            for indices in together.values():
                yield from self._ask_alike(waiting, indices)

    def _ask_alike(
        self, waiting: dict[int, _Asking], indices: Sequence[int]
    ) -> Iterator[tuple[int, Structured[T] | ModelError]]:
        form = waiting[indices[0]].form
        requests = [self._request(waiting[index]) for index in indices]
        unanswered = set(range(len(indices)))
        try:
            for position, outcome in replies(self._model, [sent for sent, _ in requests], requests[0][1]):
                unanswered.discard(position)
                finished = self._take(waiting[indices[position]], requests[position][0], outcome)
                if finished is not None:
                    del waiting[indices[position]]
                    yield indices[position], finished
        except (RequestRefusedError, UsageError) as error:  # an engine that refuses a batch does so before any work
            if form == "words":
                raise
            for position in unanswered:
                self._take(waiting[indices[position]], requests[position][0], RequestRefusedError(str(error)))

    def _keep_to_forms(self, asking: _Asking) -> None:
        """Another conversation may have met a refusal."""
        if asking.form not in self._forms:
            asking.form = self._forms[0]

    def _request(self, asking: _Asking) -> tuple[list[Message], Options]:
        """What is asked now."""
        self._keep_to_forms(asking)
        if asking.form == "words":
            return asking.messages(_IN_WORDS.format(schema=self._schema.in_words)), self._options
        form = self._schema.for_engine(room=_ROOMS[asking.room], strict=asking.form == "strict")
        return asking.messages(), self._options.model_copy(update={"json_schema": form})

    def _take(
        self, asking: _Asking, sent: Sequence[Message], outcome: Reply | ModelError
    ) -> Structured[T] | ModelError | None:
        """What an outcome makes of a conversation; None where it is to be asked again."""
        constrained = asking.form != "words"
        if isinstance(outcome, RequestRefusedError) and constrained:
            asking.refusal = asking.refusal or str(outcome)
            asking.form = self._forms[self._forms.index(asking.form) + 1]
            return None
        if isinstance(outcome, ModelError) and not isinstance(outcome, BadReplyError):
            return self._failed(asking, f", and asking again failed: {outcome}") if asking.tries else outcome
        self._settle(asking)
        if isinstance(outcome, ModelError):
            asking.tries.append(Attempt(tuple(sent), "", constrained, str(outcome)))
            asking.form = "words"  # it was told to obey, and did not
        else:
            try:
                (value, cut_off), problem = self._read(outcome), ""
            except UnfitError as error:
                problem = _problem(str(error), outcome, self._options)
            raw = outcome.text
            asking.tries.append(Attempt(tuple(sent), raw, constrained, problem, outcome.usage, outcome.seconds))
            if not problem:
                found = Structured(value, tuple(asking.tries), cut_off)
                self.rates.count(found)
                return found
            if outcome.finish_reason == "length":
                asking.room = min(asking.room + 1, len(_ROOMS) - 1)
        if len(asking.tries) > self._repairs:
            return self._failed(asking)
        return None

    def _read(self, outcome: Reply) -> tuple[T, bool]:
        """The value of a reply, and whether its lists end where it was cut off.

        Raises:
            UnfitError: it gives none.
        """
        try:
            return self._schema.read(outcome.text), False
        except UnfitError:
            if not self._open_lists or outcome.finish_reason != "length":
                raise
            return self._schema.read_beginning(outcome.text), True

    def _settle(self, asking: _Asking) -> None:
        """An engine has replied in this form: the ones before it were refused for the schema's sake."""
        if asking.form in self._forms:
            if asking.refusal:
                self.refusal = asking.refusal
            self._forms = self._forms[self._forms.index(asking.form) :]
            self._settled = True

    def _failed(self, asking: _Asking, besides: str = "") -> MisfitError:
        count = len(asking.tries)
        told = (
            "the reply does not fit the schema" if count == 1 else f"none of {count} replies fits the schema; the last"
        )
        raw = next((tried.raw for tried in reversed(asking.tries) if tried.raw), "")
        errors = tuple(tried.error for tried in asking.tries)
        error = MisfitError(f"{self._model.identity.spec}: {told}: {errors[-1]}{besides}", raw, errors)
        self.rates.count(error)
        return error


class _Asking:
    """One conversation on its way to a value.

    Attributes:
        form: how it is asked now.
        room: which of `_ROOMS` a constrained reply gets.
        refusal: what the engine said when it refused a form.
        tries: the requests that were answered.
    """

    def __init__(self, messages: Sequence[Message], form: Form) -> None:
        if not messages or messages[-1]["role"] == "assistant":
            raise UsageError(
                "structured output answers a message; the last one is the assistant's own, or there is none"
            )
        self._asked = list(messages)
        self.form: Form = form
        self.room = 0
        self.refusal = ""
        self.tries: list[Attempt] = []

    def messages(self, form_in_words: str = "") -> list[Message]:
        """The question, and after a reply that does not fit that reply and what is wrong with it."""
        said = list(self._asked)
        if form_in_words:
            said = _with_text(said, form_in_words)
        if not self.tries:
            return said
        last = self.tries[-1]
        again = _AGAIN.format(problem=last.error)
        if not last.raw.strip():
            return _with_text(said, again)
        shown = last.raw if len(last.raw) <= _SHOWN_CHARACTERS else f"{last.raw[:_SHOWN_CHARACTERS]}…"
        return [*said, assistant(shown), user(again)]


def _with_text(messages: list[Message], text: str) -> list[Message]:
    """The conversation with a text after its last message: in it, where that is the user's."""
    last = messages[-1]
    if last["role"] != "user":
        return [*messages, user(text)]
    if isinstance(last["content"], list):
        return [*messages[:-1], {**last, "content": [*last["content"], {"type": "text", "text": f"\n\n{text}"}]}]
    return [*messages[:-1], {**last, "content": f"{text_of(last)}\n\n{text}"}]


def _problem(unfit: str, outcome: Reply, options: Options) -> str:
    """What is wrong with a reply, in words for the model and for the user."""
    if outcome.finish_reason == "length":
        limit = f" of {options.max_tokens:,} tokens" if options.max_tokens is not None else ""
        return f"it was cut off at its limit{limit} before the JSON was complete; be brief"
    if outcome.finish_reason == "content_filter":
        return "the endpoint's filter took it away"
    return unfit
