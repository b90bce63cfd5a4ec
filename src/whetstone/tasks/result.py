"""What a task gives back, with everything that led to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

from whetstone.tasks.asking import TaskStep
from whetstone.tasks.entities import Entity
from whetstone.types import Usage

if TYPE_CHECKING:
    from whetstone.tools.contained import Ran
    from whetstone.tools.contained_sql import SqlRan


@dataclass(frozen=True)
class Outcome:
    """What a plan ends with.

    Attributes:
        output: a text, a label, code, or entities.
        raw: the last reply as it came.
        notes: what a reader of the output must know.
        ran: how the code ran; None where none was run.
    """

    output: str | tuple[Entity, ...]
    raw: str
    notes: tuple[str, ...] = ()
    ran: Ran | SqlRan | None = None


@dataclass(frozen=True)
class TaskResult:
    """The result of one task.

    Attributes:
        card: the card's name.
        model: the model's spec.
        output: a text, a label or code; or entities, by where they stand in the text.
        raw: the reply that the output was taken from, as it came.
        notes: what a reader of the output must know, in sentences: that the text was read in parts, that the answer was
            cut off, what was dropped.
        steps: every request and its reply, in order.
        ran: how the code ran; None where none was run.
    """

    card: str
    model: str
    output: str | tuple[Entity, ...]
    raw: str
    notes: tuple[str, ...] = ()
    steps: tuple[TaskStep, ...] = field(default=(), repr=False)
    ran: Ran | SqlRan | None = None

    @property
    def text(self) -> str:
        """The output as text; of entities, a line each: type, text, place."""
        if isinstance(self.output, str):
            return self.output
        return "\n".join(f"{one.type}\t{one.text}\t{one.start}-{one.end}" for one in self.output)

    @property
    def usage(self) -> Usage:
        """Tokens of all steps; those of an earlier, interrupted run count as well."""
        return reduce(Usage.__add__, (step.usage for step in self.steps), Usage())

    @property
    def seconds(self) -> float:
        """Of waiting for the model."""
        return sum(step.seconds for step in self.steps)

    @property
    def cost(self) -> float | None:
        """US dollars; None where the price of a step is not known."""
        costs = [step.cost for step in self.steps]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def to_json(self, *, trace: bool = False) -> dict[str, Any]:
        """As JSON-ready values.

        Args:
            trace: with every prompt and reply.
        """
        output = self.output if isinstance(self.output, str) else [asdict(entity) for entity in self.output]
        return {
            "card": self.card,
            "model": self.model,
            "output": output,
            "notes": list(self.notes),
            "raw": self.raw,
            **({"ran": asdict(self.ran)} if self.ran is not None else {}),
            "usage": asdict(self.usage),
            "seconds": self.seconds,
            "cost": self.cost,
            "requests": len(self.steps),
            **({"steps": [asdict(step) for step in self.steps]} if trace else {}),
        }
