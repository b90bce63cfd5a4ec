"""Runs plans: asks a model for what all of them want at once, and gives each its answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from whetstone.errors import ModelError, WhetstoneError
from whetstone.models import ChatModel, replies
from whetstone.models.catalogue import cost
from whetstone.prompting.structured_value import Structured
from whetstone.prompting.structurer import Structurer
from whetstone.tasks.asking import Answer, Asking, Plan, TaskStep
from whetstone.tasks.kept import KeptReplies
from whetstone.types import Options, Reply
from whetstone.types.chat import FinishReason

T = TypeVar("T")
Progress = Callable[[str, int, int], None]


@dataclass
class Finished(Generic[T]):
    """A plan that has come to its end.

    Attributes:
        outcome: what it ended with.
        steps: what was asked for it, in order.
    """

    outcome: T
    steps: list[TaskStep]


@dataclass
class _Running(Generic[T]):
    """A plan, what it waits for, and what it was given before."""

    plan: Plan[T]
    askings: Sequence[Asking] = ()
    answers: list[Answer | None] = field(default_factory=list)
    steps: list[TaskStep | None] = field(default_factory=list)  # of what it waits for
    before: list[TaskStep] = field(default_factory=list)
    kept: list[Asking] = field(default_factory=list)
    begun: bool = False

    def go_on(self, error: ModelError | None = None) -> Finished[T] | None:
        """Give it its answers, or the error of one of them; what it ended with, or None when it asks for more.

        Raises:
            WhetstoneError: the plan failed.
        """
        self.before += [step for step in self.steps if step is not None]
        try:
            if error is not None:
                self.askings = self.plan.throw(error)
            elif self.begun:
                self.askings = self.plan.send([answer for answer in self.answers if answer is not None])
            else:
                self.begun = True
                self.askings = next(self.plan)
        except StopIteration as stop:
            return Finished(stop.value, self.before)
        self.answers = [None] * len(self.askings)
        self.steps = [None] * len(self.askings)
        self.kept += [asking for asking in self.askings if asking.keep]
        return None

    def waits_for(self, place: int, asking: Asking) -> bool:
        """Whether this request is still of use: the plan may have asked for something else after an error."""
        return place < len(self.askings) and self.askings[place] is asking

    @property
    def answered(self) -> bool:
        """Whether it has everything that it asked for."""
        return None not in self.answers


class Driver:
    """Runs plans on one model.

    Args:
        model: who is asked.
        kept: replies of an earlier run that was interrupted.
        progress: told what was answered, how many replies there are, and how many are asked for so far.
    """

    def __init__(self, model: ChatModel, kept: KeptReplies, progress: Progress | None = None) -> None:
        self._model = model
        self._kept = kept
        self._progress = progress
        self._structurers: dict[str, Structurer[Any]] = {}
        self._done = 0
        self._asked = 0

    def run(self, plans: Sequence[Plan[T]]) -> Iterator[tuple[int, Finished[T] | WhetstoneError]]:
        """`(index, what it ended with)` of each plan, as soon as it is known.

        An error that concerns one task takes its place. Any other is raised; replies that are kept stay kept.
        """
        running: dict[int, _Running[T]] = {}
        try:
            for index, plan in enumerate(plans):
                running[index] = _Running(plan)
                yield from self._move(running, index)
            while running:
                waiting = [
                    (index, place, asking)
                    for index, task in running.items()
                    for place, asking in enumerate(task.askings)
                    if task.answers[place] is None
                ]
                for group in _alike(waiting):
                    yield from self._ask(running, group)
        finally:
            for task in running.values():
                task.plan.close()

    def _ask(
        self, running: dict[int, _Running[T]], group: Sequence[tuple[int, int, Asking]]
    ) -> Iterator[tuple[int, Finished[T] | WhetstoneError]]:
        """Ask for requests that are asked alike, and let those plans go on that have all their answers."""
        fresh: list[tuple[int, int, Asking]] = []
        for index, place, asking in group:
            if not _of_use(running, index, place, asking):
                continue
            found = self._kept.find(asking) if asking.keep else None
            if found is None:
                fresh.append((index, place, asking))
            else:
                yield from self._take(
                    running, index, place, self._step(asking, found, kept=True), _value(asking, found)
                )
        if not fresh:
            return
        with contextlib.closing(self._outcomes([asking for _, _, asking in fresh])) as outcomes:
            for position, outcome in outcomes:
                index, place, asking = fresh[position]
                if not _of_use(running, index, place, asking):
                    continue
                if isinstance(outcome, ModelError):
                    yield from self._move(running, index, outcome)
                    continue
                if asking.keep:
                    self._kept.keep(asking, _as_reply(outcome))
                yield from self._take(running, index, place, self._step(asking, outcome), _value(asking, outcome))

    def _outcomes(self, askings: Sequence[Asking]) -> Any:
        """`(position, reply)` of requests with the same options and the same schema."""
        conversations = [asking.messages for asking in askings]
        options, schema = askings[0].options, askings[0].schema
        if schema is None:
            return replies(self._model, conversations, options)
        key = json.dumps([schema, options.model_dump(mode="json")], sort_keys=True)
        if key not in self._structurers:
            self._structurers[key] = Structurer(self._model, schema, options=options, open_lists=True)
        return self._structurers[key].ask_many(conversations)

    def _take(
        self,
        running: dict[int, _Running[T]],
        index: int,
        place: int,
        step: TaskStep,
        value: Any,
    ) -> Iterator[tuple[int, Finished[T] | WhetstoneError]]:
        task = running[index]
        task.answers[place] = Answer(step.reply, value, step.finish_reason == "length")
        task.steps[place] = step
        self._done += 1
        if self._progress is not None:
            self._progress(step.name, self._done, self._asked)
        if task.answered:
            yield from self._move(running, index)

    def _move(
        self, running: dict[int, _Running[T]], index: int, error: ModelError | None = None
    ) -> Iterator[tuple[int, Finished[T] | WhetstoneError]]:
        """Let a plan go on, and forget it when it has ended."""
        task = running[index]
        try:
            finished = task.go_on(error)
        except WhetstoneError as failure:
            del running[index]
            yield index, failure
            return
        if finished is None:
            self._asked += len(task.askings)
            if not task.askings:  # it asked for nothing, and has all its answers
                yield from self._move(running, index)
            return
        del running[index]
        self._kept.forget(task.kept)
        yield index, finished

    def _step(self, asking: Asking, outcome: Reply | Structured[Any], *, kept: bool = False) -> TaskStep:
        constrained = outcome.constrained if isinstance(outcome, Structured) else None
        attempts = outcome.attempts if isinstance(outcome, Structured) else 1
        return TaskStep(
            name=asking.name,
            messages=asking.messages,
            reply=outcome.raw if isinstance(outcome, Structured) else outcome.text,
            usage=outcome.usage,
            seconds=outcome.seconds,
            cost=cost(self._model.identity, outcome.usage),
            finish_reason=_end(outcome),
            attempts=attempts,
            constrained=constrained,
            kept=kept,
        )


def _of_use(running: Mapping[int, _Running[T]], index: int, place: int, asking: Asking) -> bool:
    """Whether anybody waits for the answer to a request: another one of the same task may have failed meanwhile."""
    return index in running and running[index].waits_for(place, asking)


def _value(asking: Asking, outcome: Reply | Structured[Any]) -> Any:
    """The JSON value of an answer to a request with a schema; None of one in words."""
    if isinstance(outcome, Structured):
        return outcome.value
    return None if asking.schema is None else json.loads(outcome.text)


def _end(outcome: Reply | Structured[Any]) -> FinishReason | None:
    """Why an answer ended, as far as that is known."""
    if isinstance(outcome, Reply):
        return outcome.finish_reason
    return "length" if outcome.cut_off else None


def _as_reply(outcome: Reply | Structured[Any]) -> Reply:
    """What is kept of an answer: of one with a schema, its value, which needs no repair any more."""
    if isinstance(outcome, Reply):
        return outcome
    value = json.dumps(outcome.value, ensure_ascii=False)
    return Reply(value, finish_reason=_end(outcome), usage=outcome.usage, seconds=outcome.seconds)


def _alike(waiting: Sequence[tuple[int, int, Asking]]) -> list[list[tuple[int, int, Asking]]]:
    """Requests by options and schema: what can go to a model in one batch."""
    groups: dict[tuple[Options, str], list[tuple[int, int, Asking]]] = {}
    for one in waiting:
        key = (one[2].options, json.dumps(one[2].schema, sort_keys=True))
        groups.setdefault(key, []).append(one)
    return list(groups.values())
