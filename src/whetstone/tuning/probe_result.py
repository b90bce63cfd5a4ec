"""What a probe found, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over texts, with the ends of its 95 % interval over other texts of the same kinds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """Items answered rightly by the tuned model, beside the base: what the base cannot do cannot be forgotten.

    Attributes:
        n: items asked.
        right: of them, right.
        low, high: 95 % interval of the share (Wilson).
        base_right: right by the base.
        lost: right by the base, no longer right.
        gained: not right by the base, right now.
        logprob_change: mean change of the log-probability of the right answers, in nats; None where replies were
            written freely.
    """

    n: int
    right: int
    low: float
    high: float
    base_right: int
    lost: int
    gained: int
    logprob_change: Estimate | None = None

    @property
    def share(self) -> float:
        return self.right / self.n

    @property
    def base_share(self) -> float:
        return self.base_right / self.n

    @property
    def retained(self) -> int:
        """What the base could do, and the tuned model still can."""
        return self.base_right - self.lost

    @property
    def certain_loss(self) -> bool:
        """Whether more was lost than gained beyond chance: the exact sign test at 5 % (McNemar 1947)."""
        changed = self.lost + self.gained
        if self.lost <= self.gained:
            return False
        tail = sum(math.comb(changed, k) for k in range(self.lost, changed + 1))
        return 2 * tail <= 0.05 * float(2**changed)


@dataclass(frozen=True)
class Reading:
    """The neutral texts of one kind, or all.

    Attributes:
        drift: next-token KL(base || tuned), in nats per token.
        perplexity: of the tuned model.
        base_perplexity: of the base.
        tokens: predicted tokens.
    """

    drift: Estimate
    perplexity: float
    base_perplexity: float
    tokens: int


@dataclass(frozen=True)
class ProbeResult:
    """What a tuned model still can do, and how far it went from its base.

    Attributes:
        texts: neutral texts, all together.
        kinds: the same by kind: "English", "German", "code", ...
        shares: "instructions", "arithmetic", "facts" (higher is better), and "labels" and "labels plain": replies to
            unrelated questions, asked as a chat and as plain text, that are written like training answers (lower is
            better).
        seconds: what it took, without the base's readings.
        content: digest of texts, questions and token ids: results of different content cannot be compared.
        examples: a reply to an unrelated question for each form, for the reader.
    """

    texts: Reading
    kinds: Mapping[str, Reading]
    shares: Mapping[str, Share]
    seconds: float
    content: str
    examples: Sequence[tuple[str, str]] = field(default=())

    @property
    def drift(self) -> Estimate:
        """Next-token KL(base || tuned) over the neutral texts, in nats per token."""
        return self.texts.drift

    @property
    def perplexity(self) -> float:
        return self.texts.perplexity

    @property
    def base_perplexity(self) -> float:
        return self.texts.base_perplexity

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProbeResult:
        """A result as `to_json` gave it; other keys (a journal's own) are passed over."""
        return cls(
            texts=_reading(values["texts"]),
            kinds={name: _reading(one) for name, one in values["kinds"].items()},
            shares={name: _share(one) for name, one in values["shares"].items()},
            seconds=float(values["seconds"]),
            content=str(values["content"]),
            examples=tuple((str(a), str(b)) for a, b in values["examples"]),
        )


def _reading(values: Mapping[str, Any]) -> Reading:
    return Reading(**{**values, "drift": Estimate(**values["drift"])})


def _share(values: Mapping[str, Any]) -> Share:
    change = values["logprob_change"]
    return Share(**{**values, "logprob_change": None if change is None else Estimate(**change)})


def compare(right: Sequence[bool], base: Sequence[bool], change: Iterable[float] | None = None) -> Share:
    """The same items answered by two models.

    Args:
        right: (n,) by the tuned model.
        base: (n,) by the base.
        change: (n,) change of the right answers' log-probability, in nats.
    """
    pairs = list(zip(right, base, strict=True))
    low, high = wilson(sum(right), len(pairs))
    return Share(
        n=len(pairs),
        right=sum(right),
        low=low,
        high=high,
        base_right=sum(base),
        lost=sum(was and not now for now, was in pairs),
        gained=sum(now and not was for now, was in pairs),
        logprob_change=None if change is None else mean_estimate([(value, 1) for value in change]),
    )


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The score interval of a share at 95 % (Wilson 1927, JASA 22)."""
    z = 1.959963984540054
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def mean_estimate(texts: Sequence[tuple[float, int]]) -> Estimate:
    """The mean per token of texts, with its interval.

    Tokens of one text are alike, so texts are what is sampled: the ratio of two totals over clusters, by its
    linearised variance and Student's t (Cochran 1977, Sampling Techniques, chapter 6).

    Args:
        texts: (total, tokens) of each; one text alone has no interval but its value.
    """
    from scipy.special import stdtrit

    totals = np.array([total for total, _ in texts], dtype=np.float64)
    sizes = np.array([size for _, size in texts], dtype=np.float64)
    value = float(totals.sum() / sizes.sum())
    count = len(totals)
    if count < 2:
        return Estimate(value, value, value)
    spread = float(np.sum((totals - value * sizes) ** 2))
    error = math.sqrt(count / (count - 1) * spread) / float(sizes.sum())
    half = float(stdtrit(count - 1, 0.975)) * error
    return Estimate(value, value - half, value + half)
