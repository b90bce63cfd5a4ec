"""A text read at once where it fits the model's context, and in parts where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whetstone.errors import ContextTooLongError
from whetstone.tasks.asking import Answer, Asking, Plan
from whetstone.tasks.splitting import Part
from whetstone.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Piece:
    """A text to ask about: the whole one, or a part of it.

    Attributes:
        text: of it.
        number, count: of the part, from 1, and how many there are; 0 for the whole text.
    """

    text: str
    number: int = 0
    count: int = 0

    @property
    def name(self) -> str:
        """What a request about it is called."""
        return f"part {self.number} of {self.count}" if self.count else "answer"

    @property
    def is_part(self) -> bool:
        """Whether there are others."""
        return self.count > 0


Ask = Callable[[Piece], Sequence[Asking]]


@dataclass(frozen=True)
class PartRead:
    """A part of a text, and what was said of it: an answer to each request."""

    part: Part
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class TextRead:
    """What was said of a text.

    Attributes:
        parts: in order; one, if the whole text was read at once.
        notes: that it was read in parts, and why.
    """

    parts: tuple[PartRead, ...]
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it was read at once."""
        return not self.notes


def read_text(task: Task, ask: Ask, part_prompt: str) -> Plan[TextRead]:
    """Read a task's main input.

    Args:
        ask: makes the requests about a text.
        part_prompt: the prompt that parts are asked about with, which they must fit.

    Raises:
        ContextTooLongError: it does not fit, and the card reads none in parts.
    """
    beyond = task.card.file.beyond
    whole = ask(Piece(task.text))
    if beyond == "refuse" or task.fits(whole[0]):
        if beyond == "refuse" and not task.fits(whole[0]):
            raise task.too_long()
        try:
            answers = yield whole
        except ContextTooLongError:
            # An endpoint tells how much it holds by refusing more.
            if beyond == "refuse" or task.limit is not None:
                raise
        else:
            return TextRead((PartRead(Part(task.text), tuple(answers)),))
    parts = task.parts(part_prompt)
    asked = [ask(Piece(part.text, number, len(parts))) for number, part in enumerate(parts, start=1)]
    answers = yield [one for askings in asked for one in askings]
    given = iter(answers)
    read = tuple(
        PartRead(part, tuple(next(given) for _ in askings)) for part, askings in zip(parts, asked, strict=True)
    )
    return TextRead(read, (task.in_parts(len(parts)),))
