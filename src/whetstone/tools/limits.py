"""What a model may spend with its tools."""

from __future__ import annotations

from dataclasses import dataclass, fields

from whetstone.errors import UsageError


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Limits of one answer that may call tools.

    Attributes:
        rounds: replies that may call tools. After so many, the model is asked once more, and has to answer in words.
        seconds: of the whole answer, without the time that a person takes to consent. What the model is saying then is
            cut off, and a call that runs is abandoned.
        call_seconds: of one call. One that takes longer is abandoned, and the model is told.
        cost: in US dollars, None for no limit. It is looked at after each reply, so the last reply may exceed it.
        result_characters: of one result as the model is told it; the rest is cut off, and the model is told. A result
            gets less where the model's context has no room for it.

    Raises:
        UsageError: one of them is not above 0.
    """

    rounds: int = 8
    seconds: float = 300.0
    call_seconds: float = 30.0
    cost: float | None = None
    result_characters: int = 8_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise UsageError(f"the limit of {field.name.replace('_', ' ')} is {value}, and must be above 0")
