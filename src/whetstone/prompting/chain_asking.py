"""The requests of one step of a chain: asked, read, kept, and asked again where they cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whetstone.errors import BadReplyError, MisfitError, ModelError, UsageError
from whetstone.models import ChatModel, replies
from whetstone.models.catalogue import cost
from whetstone.prompting.chain_file import Answer
from whetstone.prompting.chain_plan import PlannedStep
from whetstone.prompting.chain_record import Place, Request
from whetstone.prompting.chain_trace import ChainTrace, digest
from whetstone.prompting.structured import Structured, Structurer
from whetstone.types import Message, Options, Reading, Reply, assistant, text_of, user

Read = Callable[[str, Answer, bool], Reading]
Progress = Callable[[str, int, int], None]

_AGAIN = "That answer cannot be used: {problem}. Answer again with {wanted} and nothing else."


def no_progress(step: str, done: int, total: int) -> None:
    """Tell nobody."""


def plain(value: Any) -> Any:
    """A whole number without a decimal point, as prompts are to show it."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


@dataclass
class Running:
    """A run of a chain: what its steps need to ask.

    Attributes:
        trace: where requests are kept, and found again.
        open_model: gives the model of a spec; the same spec gives the same object.
        model: spec for the steps that name none.
        read: reads a number or a label out of a reply; told the reply, what is wanted, and whether it was cut off.
        seed: of every random choice.
        most: requests at most.
        progress: told the step, and how many of its requests are answered.
        asked: requests made so far.
    """

    trace: ChainTrace
    open_model: Callable[[str], ChatModel]
    model: str
    read: Read
    seed: int
    most: int
    progress: Progress = no_progress
    asked: int = 0

    def count(self, requests: int) -> None:
        """Take note of requests that are about to be made.

        Raises:
            UsageError: they are more than the chain allows.
        """
        self.asked += requests
        if self.asked > self.most:
            raise UsageError(
                f"the run would make more than {self.most:,} requests; raise `requests:` in the chain if that is meant"
            )


class Asking:
    """One step's requests with the same options."""

    def __init__(self, running: Running, step: PlannedStep, options: Options, number: int, sample: int = 0) -> None:
        self._running = running
        self._step = step
        self._options = options
        self._round = number
        self._sample = sample
        self._model = running.open_model(step.step.model or running.model)

    def named(self, index: int) -> str:
        """Which request this is, in words."""
        return f"step {self._step.name}, item {index + 1}" if self._step.for_each else f"step {self._step.name}"

    def all(self, conversations: Sequence[Sequence[Message]], *, repairs: int) -> list[Request]:
        """The requests for these conversations, those that cannot be read asked again so often.

        Raises:
            ModelError: one could not be answered; the others were answered first.
        """
        found: dict[int, Request] = {}
        waiting = {index: list(messages) for index, messages in enumerate(conversations)}
        attempt = 0
        while waiting:
            answered = self._answered(waiting, attempt, repairs)
            found |= answered
            again = {i: one for i, one in answered.items() if one.failed} if attempt < repairs else {}
            if self._step.schema is not None:  # repaired already
                again = {}
            waiting = {index: self._held_up(one) for index, one in again.items()}
            attempt += 1
        return [found[index] for index in range(len(conversations))]

    def _answered(self, waiting: Mapping[int, list[Message]], attempt: int, repairs: int) -> dict[int, Request]:
        found: dict[int, Request] = {}
        fresh: dict[int, tuple[Place, str]] = {}
        for index, messages in waiting.items():
            place = (self._step.name, index, self._round, self._sample, attempt)
            key = self._key(messages)
            kept = self._running.trace.kept(place, key)
            if kept is not None:
                found[index] = kept
            else:
                fresh[index] = (place, key)
        self._running.count(len(fresh))
        failed: tuple[int, ModelError] | None = None
        indices = list(fresh)
        total = len(waiting)
        self._running.progress(self._step.name, len(found), total)
        for position, outcome in self._outcomes([waiting[index] for index in indices], repairs):
            index = indices[position]
            if isinstance(outcome, ModelError) and (repairs or not isinstance(outcome, BadReplyError)):
                failed = failed or (index, outcome)
                continue
            place, key = fresh[index]
            found[index] = self._request(place, key, waiting[index], outcome)
            self._running.trace.keep(found[index])
            self._running.progress(self._step.name, len(found), total)
        if failed is not None:
            raise type(failed[1])(f"{self.named(failed[0])}: {failed[1]}")
        return found

    def _outcomes(
        self, conversations: Sequence[Sequence[Message]], repairs: int
    ) -> Iterator[tuple[int, Reply | Structured[Any] | ModelError]]:
        if self._step.schema is None or not conversations:
            yield from replies(self._model, conversations, self._options)
            return
        asker: Structurer[Any] = Structurer(
            self._model, self._step.schema.schema, options=self._options, repairs=repairs
        )
        yield from asker.ask_many(conversations)

    def _key(self, messages: Sequence[Message]) -> str:
        options = self._options.model_dump(exclude_defaults=True)
        wanted = self._step.step.output.model_dump()
        return digest(asdict(self._model.identity), list(messages), options, wanted)

    def _request(
        self, place: Place, key: str, messages: Sequence[Message], outcome: Reply | Structured[Any] | ModelError
    ) -> Request:
        identity = self._model.identity
        asked = Request(
            *place,
            key=key,
            model=identity.spec,
            revision=identity.revision,
            messages=[dict(message) for message in messages],
            options=self._options.model_dump(exclude_defaults=True, mode="json"),
        )
        if isinstance(outcome, ModelError):  # a sample that does not fit: it has no vote
            raw = outcome.raw if isinstance(outcome, MisfitError) else ""
            return replace(asked, raw=raw, note=str(outcome), cost=cost(identity, asked.usage))
        spent: dict[str, Any] = {
            "usage": outcome.usage,
            "seconds": outcome.seconds,
            "cost": cost(identity, outcome.usage),
        }
        if isinstance(outcome, Structured):
            tries = [{"raw": t.raw, "error": t.error, "constrained": t.constrained} for t in outcome.tries]
            return replace(asked, raw=outcome.raw, value=outcome.value, tries=tries, **spent)
        reading = self._read(outcome)
        return replace(
            asked,
            raw=outcome.text,
            value=plain(reading.value) if reading.ok else None,
            note=reading.note,
            finish_reason=outcome.finish_reason,
            **spent,
        )

    def _read(self, reply: Reply) -> Reading:
        cut_off = reply.finish_reason == "length"
        answer = self._step.step.output
        if answer.kind != "text":
            return self._running.read(reply.text, answer, cut_off)
        text = reply.text.strip()
        if not text:
            return Reading("unparsable", note="the reply is empty")
        limit = self._options.max_tokens
        return Reading("value", text, f"the reply was cut off at its limit of {limit:,} tokens" if cut_off else "")

    def _held_up(self, request: Request) -> list[Message]:
        """The conversation that asks again."""
        answer = self._step.step.output
        wanted = {"number": "one number", "label": f"one of {', '.join(answer.labels)}"}.get(answer.kind, "a text")
        again = _AGAIN.format(problem=request.note, wanted=wanted)
        said: list[Message] = [dict(message) for message in request.messages]  # type: ignore[misc]
        if request.raw.strip():
            return [*said, assistant(request.raw), user(again)]
        return [*said[:-1], user(f"{text_of(said[-1])}\n\n{again}")]
