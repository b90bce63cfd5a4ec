"""Summaries of parts made one: joined as they are, or over several levels where even they do not fit the context."""

from __future__ import annotations

from collections.abc import Sequence

from whetstone.errors import ContextTooLongError
from whetstone.tasks.asking import Answer, Asking, Plan
from whetstone.tasks.reading import TextRead
from whetstone.tasks.task import Task, is_nothing


def joined(task: Task, read: TextRead) -> Plan[Answer]:
    """The answer about a whole text, from what was said of its parts.

    Parts of which it was said that they hold nothing are passed over.

    Raises:
        ContextTooLongError: two summaries do not fit the context together.
    """
    nothing = task.card.file.nothing
    said = [part.answers[0].text.strip() for part in read.parts]
    summaries = [text for text in said if text and not is_nothing(text, nothing)]
    if not summaries:
        return Answer(nothing)
    level = 1
    while not _fits(task, summaries):
        groups = _groups(task, summaries)
        if len(groups) == len(summaries):
            raise ContextTooLongError(
                f"{task.model.identity.name} holds {task.limit or 0:,} tokens, too few to read two summaries of parts "
                "at once; use a model with more context"
            )
        answers = yield [
            _join(task, group, f"join {number} of {len(groups)}, level {level}", keep=True)
            for number, group in enumerate(groups, start=1)
        ]
        summaries = [answer.text.strip() for answer in answers]
        level += 1
    (answer,) = yield [_join(task, summaries, "join")]
    return answer


def _join(task: Task, summaries: Sequence[str], name: str, *, keep: bool = False) -> Asking:
    return task.asking(name, {"summaries": tuple(summaries)}, prompt="join", keep=keep)


def _fits(task: Task, summaries: Sequence[str]) -> bool:
    return task.holds(_join(task, summaries, "join"))


def _groups(task: Task, summaries: Sequence[str]) -> list[list[str]]:
    """Neighbouring summaries, as many together as fit."""
    groups: list[list[str]] = []
    for summary in summaries:
        if groups and _fits(task, [*groups[-1], summary]):
            groups[-1].append(summary)
        else:
            groups.append([summary])
    return groups
