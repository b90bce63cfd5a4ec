"""What a technique answered to one case, with the evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from whetstone.types.chat import Usage

ReadingStatus = Literal["value", "refused", "unparsable", "out_of_range", "error"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A reply read as an answer: the value, or the reason there is none. An unreadable answer is never a zero.

    Attributes:
        status: "value"; "refused" (the model declined); "unparsable" (no answer in it, or several that disagree);
            "out_of_range" (a number that cannot be meant; `value` holds it, and it does not count); "error" (the model
            failed on this item).
        value: the answer; None unless status is "value" or "out_of_range".
        note: what was matched and how, or why there is no value.
    """

    status: ReadingStatus
    value: float | str | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a value that counts."""
        return self.status == "value"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One technique's answer to one case.

    Attributes:
        case_id: the case's id.
        key: digest of what was really asked (prompt, model, revision, options); equal keys need not be asked twice.
        reading: the answer, read.
        raw: the reply's text as it came.
        prompt: what was sent, rendered where the engine can render; "" for techniques without a prompt.
        usage: tokens.
        seconds: wall time of this item (its share, in a batch).
        cost: US dollars; None where no price is known.
        finish_reason: why the reply ended.
    """

    case_id: str
    key: str
    reading: Reading
    raw: str = ""
    prompt: str = ""
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost: float | None = None
    finish_reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**data, "reading": Reading(**data["reading"]), "usage": Usage(**data["usage"])})
