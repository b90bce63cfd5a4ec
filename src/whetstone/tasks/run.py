"""Task cards, run: one text, or many in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from whetstone.errors import UsageError, WhetstoneError
from whetstone.models import ChatModel
from whetstone.tasks.asking import Plan
from whetstone.tasks.card import Card, OutputKind
from whetstone.tasks.cases import TaskCase
from whetstone.tasks.code_plan import code_plan
from whetstone.tasks.driver import Driver, Finished, Progress
from whetstone.tasks.entity_plan import entity_plan
from whetstone.tasks.kept import KeptReplies
from whetstone.tasks.label_plan import label_plan
from whetstone.tasks.result import Outcome, TaskResult
from whetstone.tasks.task import Settings, Task
from whetstone.tasks.text_plan import text_plan
from whetstone.types import Options

_PLANS: Mapping[OutputKind, Callable[[Task], Plan[Outcome]]] = {
    "text": text_plan,
    "label": label_plan,
    "entities": entity_plan,
    "code": code_plan,
}


def run_card(
    card: Card,
    model: ChatModel,
    inputs: Mapping[str, Any],
    *,
    shots: Sequence[TaskCase] = (),
    options: Options = Options(),  # noqa: B008
    part_tokens: int = 0,
    run: bool = False,
    repairs: int = 2,
    progress: Progress | None = None,
) -> TaskResult:
    """Do one task.

    Args:
        inputs: values by the names of the card's inputs.
        shots: cases whose answers are shown as examples.
        options: how the model is asked; what they leave open is the card's.
        part_tokens: a longer text is read in parts of at most so many tokens; 0 reads it at once where it fits.
        run: run the code of a card that writes code, contained, and repair it from its errors.
        repairs: how often code is repaired at most.
        progress: told what was answered, how many replies there are, and how many are asked for so far.

    Raises:
        UsageError: an input is wrong, or the card does not suit the model.
        ContextTooLongError: the text does not fit, and the card reads none in parts.
        BadReplyError: the model gave no answer of the kind that was asked for.
        ContainmentError: code was to be run, and this machine has no guards for it.
        ModelError: the model failed.
    """
    found = run_card_many(
        card,
        model,
        [inputs],
        shots=shots,
        options=options,
        part_tokens=part_tokens,
        run=run,
        repairs=repairs,
        progress=progress,
    )
    for _, outcome in found:
        if isinstance(outcome, WhetstoneError):
            raise outcome
        return outcome
    raise AssertionError("unreachable: a task ends with a result or an error")


def run_card_many(
    card: Card,
    model: ChatModel,
    inputs: Sequence[Mapping[str, Any]],
    *,
    shots: Sequence[TaskCase] | Sequence[Sequence[TaskCase]] = (),
    options: Options = Options(),  # noqa: B008
    part_tokens: int = 0,
    run: bool = False,
    repairs: int = 2,
    progress: Progress | None = None,
) -> Iterator[tuple[int, TaskResult | WhetstoneError]]:
    """`(index, result)` of many tasks in one batch, each as soon as it is known.

    An error that concerns one task takes its place; any other is raised.

    Args:
        shots: examples for all tasks, or for each task its own.
    """
    each = [_settings(one, options, part_tokens, run, repairs) for one in _shots_of_each(shots, len(inputs))]
    tasks: list[Task] = []
    places: list[int] = []
    for index, given in enumerate(inputs):
        try:
            tasks.append(Task(card, model, given, each[index]))
            places.append(index)
        except UsageError as error:
            yield index, error
    driver = Driver(model, KeptReplies(model.identity), progress)
    for place, finished in driver.run([_PLANS[card.output](task) for task in tasks]):
        if isinstance(finished, Finished):
            yield places[place], _result(tasks[place], finished)
        else:
            yield places[place], finished


def _settings(shots: Sequence[TaskCase], options: Options, part_tokens: int, run: bool, repairs: int) -> Settings:
    if part_tokens < 0 or repairs < 0:
        raise UsageError("part_tokens and repairs are numbers from 0 up")
    if options.json_schema is not None or options.tools:
        raise UsageError("a card says itself what form its answer has, and offers no tools: leave both out of options")
    return Settings(options=options, shots=tuple(shots), part_tokens=part_tokens, run=run, repairs=repairs)


def _shots_of_each(shots: Sequence[Any], count: int) -> list[Sequence[TaskCase]]:
    if all(isinstance(shot, TaskCase) for shot in shots):
        return [shots] * count
    if len(shots) != count:
        raise UsageError(f"{len(shots)} lists of examples were given for {count} tasks")
    return list(shots)


def _result(task: Task, finished: Finished[Outcome]) -> TaskResult:
    outcome = finished.outcome
    return TaskResult(
        card=task.card.name,
        model=task.model.identity.spec,
        output=outcome.output,
        raw=outcome.raw,
        notes=(*task.passed_over, *outcome.notes),
        steps=tuple(finished.steps),
        ran=outcome.ran,
    )
