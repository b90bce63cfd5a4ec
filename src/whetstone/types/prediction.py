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


QUANTILE_LEVELS: tuple[float, ...] = tuple(step / 80 for step in range(1, 80))
"""The shares at which a `NumberSummary` keeps quantiles: the ends of 50, 80 and 95 % intervals are among them."""

INTERVAL_LEVELS: tuple[float, ...] = (0.5, 0.8, 0.95)


@dataclass(frozen=True, slots=True)
class NumberSummary:
    """A number as a distribution, in short: what was thought likely besides the one value that was answered.

    Attributes:
        quantiles: at `QUANTILE_LEVELS`, rising.
        mode, mean: of the distribution.
        log_mean: exp(E log(1 + x)) - 1; None where values may be negative.
        deviation: the standard deviation.
        inside: the probability of a number among the candidates at all.
        bound: no probability is off by more than this.
        intervals: (level, low, high) for `INTERVAL_LEVELS`: read off the quantiles, or widened to cover.
        uncorrected: the model's own quantiles, before a correction learnt on other items; () where there was none.
    """

    quantiles: tuple[float, ...]
    mode: float
    mean: float
    log_mean: float | None
    deviation: float
    inside: float
    bound: float = 0.0
    intervals: tuple[tuple[float, float, float], ...] = ()
    uncorrected: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """The middle."""
        return self.quantiles[len(QUANTILE_LEVELS) // 2]

    def interval(self, level: float) -> tuple[float, float]:
        """The ends of one of the intervals.

        Raises:
            KeyError: there is none of that level.
        """
        low, high = {share: (low, high) for share, low, high in self.intervals}[level]
        return low, high

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """From JSON values."""
        intervals = tuple((level, low, high) for level, low, high in data["intervals"])
        quantiles = {name: tuple(data[name]) for name in ("quantiles", "uncorrected")}
        return cls(**{**data, **quantiles, "intervals": intervals})


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
        distribution: what else was thought likely, where the technique knows.
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
    distribution: NumberSummary | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        known = data.get("distribution")  # answers of earlier versions have none
        values = {
            "reading": Reading(**data["reading"]),
            "usage": Usage(**data["usage"]),
            "distribution": None if known is None else NumberSummary.from_json(known),
        }
        return cls(**{**data, **values})
