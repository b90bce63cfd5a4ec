"""A model that answers with tools: asked, its calls made, asked again with the results, until it answers in words."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence

from whetstone.errors import UsageError
from whetstone.models import ChatModel, ContextModel
from whetstone.models.base import close_stream
from whetstone.models.catalogue import cost
from whetstone.tools.call_ids import with_own_ids
from whetstone.tools.calling import Caller, Consent, Running, as_wire
from whetstone.tools.events import Asked, Called, Ended, Reason, Returned, Said, ToolEvent
from whetstone.tools.limits import ToolLimits
from whetstone.tools.marking import told as told_result
from whetstone.tools.tool import ToolResult
from whetstone.tools.tool_box import ToolBox
from whetstone.types import Chunk, Message, Options, ToolCall, Usage

Ask = Callable[[Sequence[Message], Options], Iterator[Chunk]]
"""How a reply is asked for: from the model alone, or from something that also keeps it. Its calls have unique ids, see
`call_ids`."""

_RESERVED_REPLY = 512  # tokens of the context that results leave to the reply; a quarter of a small context


class ToolRun(Iterator[ToolEvent]):
    """The events of an answer with tools. See `run_tools`."""

    def __init__(
        self,
        model: ChatModel,
        messages: Sequence[Message],
        box: ToolBox,
        options: Options,
        limits: ToolLimits,
        caller: Caller,
        ask: Ask,
    ) -> None:
        self._model = model
        self._told = list(messages)
        self._box = box
        self._options = options
        self._limits = limits
        self._caller = caller
        self._ask = ask
        self._usages: list[Usage] = []  # of each reply: a price may depend on how long one prompt is
        self._text = ""
        self._rounds = 0
        self._started = time.monotonic()
        self._consenting = 0.0  # seconds that a person took
        self._stopping = threading.Event()
        self._stream: Iterator[Chunk] | None = None
        self._events = self._answer()

    def __next__(self) -> ToolEvent:
        return next(self._events)

    def close(self) -> None:
        """Stop, from any thread: the reply ends where it is, and no call is waited for. Closing twice is harmless."""
        self._stopping.set()
        self._caller.stop()
        close_stream(self._stream)
        with contextlib.suppress(ValueError):  # another thread is inside it, wakes up now, and ends by itself
            self._events.close()

    def _answer(self) -> Generator[ToolEvent]:
        before: set[tuple[str, str]] = set()  # the calls of the reply before
        repeated = False
        for number in itertools.count(1):
            self._rounds = number
            last = repeated or number > self._limits.rounds
            options = self._options_for(number, last)
            yield Asked(number, tuple(self._told), options)
            calls = yield from self._reply(options)
            if self._stopping.is_set():
                yield self._ended("stopped")
                return
            if self._left() <= 0:
                yield from self._without(calls, "the time for this answer is over")
                yield self._ended("seconds")
                return
            if last or not calls:
                yield self._ended("rounds" if last and not repeated else "answered")
                return
            if self._limits.cost is not None and (self._cost() or 0.0) >= self._limits.cost:
                yield from self._without(calls, f"the ${self._limits.cost:g} for this answer are spent")
                yield self._ended("cost")
                return
            asked = {(call.name, call.arguments) for call in calls}
            repeated = asked <= before
            if repeated:  # small models go on like this for ever
                yield from self._without(calls, "you made this very call just before; its result stands above")
            else:
                yield from self._make(calls)
            before = asked
            if self._stopping.is_set():
                yield self._ended("stopped")
                return

    def _options_for(self, number: int, last: bool) -> Options:
        # A call that was demanded is demanded once: the model has to be able to answer.
        choice = "none" if last else self._options.tool_choice if number == 1 else None
        tools = self._box.schemas()
        return self._options.model_copy(update={"tools": tools, "tool_choice": choice if tools else None})

    def _reply(self, options: Options) -> Generator[ToolEvent, None, list[ToolCall]]:
        """One reply, which joins the conversation; the calls that it asks for."""
        text: list[str] = []
        reasoning: list[str] = []
        calls: list[ToolCall] = []
        self._usages.append(Usage())
        self._stream = self._ask(tuple(self._told), options)
        timer = threading.Timer(max(0.0, self._left()), close_stream, [self._stream])
        timer.daemon = True
        timer.start()
        try:
            for chunk in self._stream:
                if self._stopping.is_set() or self._left() <= 0:
                    break
                text.append(chunk.text)
                reasoning.append(chunk.reasoning)
                calls.extend(chunk.tool_calls)
                self._usages[-1] = chunk.usage or self._usages[-1]
                yield Said(chunk)
        finally:
            timer.cancel()
            close_stream(self._stream)
        self._text = "".join(text)
        if options.tool_choice == "none":  # and made all the same
            calls = []
        message: Message = {"role": "assistant", "content": self._text}
        if calls:
            message = {"role": "assistant", "content": self._text or None, "tool_calls": list(map(as_wire, calls))}
        if getattr(self._model, "sends_reasoning_back", False) and any(reasoning):
            message["reasoning_content"] = "".join(reasoning)
        self._told.append(message)
        return calls

    def _make(self, calls: list[ToolCall]) -> Generator[ToolEvent]:
        for call in calls:
            yield Called(call)
        waiting = time.monotonic()
        prepared = self._caller.prepare(calls)
        self._consenting += time.monotonic() - waiting
        tokens = self._room(calls)
        for done in self._caller.run(prepared, min(self._limits.call_seconds, max(0.0, self._left()))):
            yield self._returned(done, tokens)

    def _without(self, calls: Sequence[ToolCall], why: str) -> Iterator[ToolEvent]:
        """Calls that are not made, each with its answer, without which the conversation could not go on later."""
        for call in calls:
            yield Called(call)
        for call in calls:
            yield self._returned(Running(call, "not_called", ToolResult(f"not called: {why}", failed=True)), None)

    def _returned(self, done: Running, tokens: int | None) -> Returned:
        assert done.outcome is not None
        result = done.result
        shown, message = told_result(self._model, done.call.name, result.text, self._limits.result_characters, tokens)
        if done.outcome in ("refused", "abandoned", "not_called"):  # our own words
            message = shown
        returned = Returned(
            call=done.call,
            outcome=done.outcome,
            result=ToolResult(shown, result.failed, result.note),
            told=f"Error: {message}" if result.failed else message,
            characters=len(result.text),
            seconds=done.seconds,
        )
        self._told.append(returned.message)
        return returned

    def _room(self, calls: Sequence[ToolCall]) -> int | None:
        """Tokens that each result may take; None where nobody knows how much the model can read."""
        model = self._model
        if not isinstance(model, ContextModel):
            return None
        empty: list[Message] = [{"role": "tool", "tool_call_id": call.id, "content": ""} for call in calls]
        used = model.count_tokens([*self._told, *empty], self._options_for(self._rounds + 1, False))
        reserved = self._options.max_tokens or min(_RESERVED_REPLY, model.context_length // 4)
        return max(1, (model.context_length - used - reserved) // len(calls))

    def _left(self) -> float:
        return self._started + self._limits.seconds + self._consenting - time.monotonic()

    def _cost(self) -> float | None:
        costs = [cost(self._model.identity, usage) for usage in self._usages]
        known = [one for one in costs if one is not None]
        return sum(known) if len(known) == len(costs) else None

    def _ended(self, reason: Reason) -> Ended:
        seconds = time.monotonic() - self._started - self._consenting
        usage = sum(self._usages, Usage())
        return Ended(reason, self._text, tuple(self._told), self._rounds, usage, self._cost(), seconds)


def run_tools(
    model: ChatModel,
    messages: Sequence[Message],
    box: ToolBox,
    *,
    options: Options = Options(),  # noqa: B008
    limits: ToolLimits = ToolLimits(),  # noqa: B008
    consent: Consent | None = None,
    allowed: Collection[str] = (),
    ask: Ask | None = None,
) -> ToolRun:
    """Have a model answer, and make the calls that it asks for on the way.

    The calls of one reply are made at the same time, on threads, and answered in their order. Nothing that a tool does
    ends the answer: a call of an unknown tool or with arguments that cannot be read, one that raises, hangs or brings
    too much, is told to the model. Results are marked as data (see `marking`). A reply that makes the very calls of the
    reply before is not obeyed: the model then has to answer in words.

    Args:
        model: who answers. One whose chat template knows no tools gets them in another form, see `models.tool_form`.
        messages: the conversation, up to what is to be answered.
        box: the tools.
        options: sampling options. `tool_choice` concerns the first reply.
        limits: what it may spend.
        consent: asked for each call of a tool that is not allowed by name, on the thread that reads the events; None
            refuses those calls.
        allowed: names of tools that may be called without asking.
        ask: how a reply is asked for, instead of from the model itself.

    Returns:
        The events, of which the last one is `Ended`. Closing it stops the answer, from any thread.

    Raises:
        UsageError: the options hold tools, a limit of cost cannot be kept because the model's price is not known, or
            `allowed` names a tool that is not there.
        ModelError: from the iterator: the model failed.
    """
    if options.tools:
        raise UsageError("the options hold tools: put them into the tool box, where they can be called")
    if limits.cost is not None and cost(model.identity, Usage(1, 1)) is None:
        raise UsageError(
            f"the price of {model.identity.spec} is not known, so a limit of cost cannot be kept: leave it out"
        )
    for name in allowed:
        box.get(name)

    def stream(told: Sequence[Message], chosen: Options) -> Iterator[Chunk]:
        return with_own_ids(model.stream(told, chosen), told)

    return ToolRun(model, messages, box, options, limits, Caller(box, consent, allowed), ask or stream)
