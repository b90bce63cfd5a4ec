"""A value that a model gave in a form of its schema, how it was come by, and how often that works."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from whetstone.errors import MisfitError, ModelError
from whetstone.types import Message, Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request for a value, and what came of it.

    Attributes:
        messages: what was asked.
        raw: the reply's text; "" where there was none.
        constrained: whether the engine was told to obey the schema.
        error: what is wrong with the reply; "" where it fits.
        usage, seconds: of this request.
    """

    messages: tuple[Message, ...]
    raw: str
    constrained: bool
    error: str
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Structured(Generic[T]):
    """A value that fits its schema.

    Attributes:
        value: of the pydantic class, or plain JSON values.
        tries: every request, in order; the last one gave the value.
        cut_off: whether its lists end where the reply was cut off; only where that was allowed.
    """

    value: T
    tries: tuple[Attempt, ...]
    cut_off: bool = False

    @property
    def raw(self) -> str:
        """The text of the reply that the value was read from."""
        return self.tries[-1].raw

    @property
    def constrained(self) -> bool:
        """Whether the engine was told to obey the schema while it wrote that reply."""
        return self.tries[-1].constrained

    @property
    def attempts(self) -> int:
        """Requests that it took; 1 where the first reply fit."""
        return len(self.tries)

    @property
    def errors(self) -> tuple[str, ...]:
        """What was wrong with the replies before the last."""
        return tuple(tried.error for tried in self.tries[:-1])

    @property
    def usage(self) -> Usage:
        """Tokens of all requests."""
        return sum((tried.usage for tried in self.tries), Usage())

    @property
    def seconds(self) -> float:
        """Wall time of all requests."""
        return sum(tried.seconds for tried in self.tries)


@dataclass
class StructuredRates:
    """How often a value came at once, after repairs, or not at all.

    Attributes:
        constrained: the first reply fit, and the engine was told to obey the schema.
        in_words: the first reply fit, and the schema was asked for in words.
        repaired: a later reply fit.
        failed: none did.
    """

    constrained: int = 0
    in_words: int = 0
    repaired: int = 0
    failed: int = 0

    def count(self, outcome: Structured[Any] | ModelError) -> None:
        """Take in one outcome. Errors that say nothing of the schema (no connection, too long) are not counted."""
        if isinstance(outcome, MisfitError):
            self.failed += 1
        elif isinstance(outcome, Structured):
            if outcome.attempts > 1:
                self.repaired += 1
            elif outcome.constrained:
                self.constrained += 1
            else:
                self.in_words += 1

    @property
    def asked(self) -> int:
        """All outcomes."""
        return self.constrained + self.in_words + self.repaired + self.failed

    def to_json(self) -> dict[str, int]:
        """As JSON-ready values."""
        return {"asked": self.asked, **asdict(self)}

    def __str__(self) -> str:
        """In words: "40 asked: 38 constrained (95 %), 2 repaired (5 %)"."""
        named = {"constrained": self.constrained, "in words": self.in_words, "repaired": self.repaired}
        named["failed"] = self.failed
        told = [f"{count:,} {name} ({100 * count / self.asked:.3g} %)" for name, count in named.items() if count]
        return f"{self.asked:,} asked" + (f": {', '.join(told)}" if told else "")
