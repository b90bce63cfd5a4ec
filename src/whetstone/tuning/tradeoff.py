"""Task gain against drift, per revision: what each step of training bought, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whetstone.tuning.probe_result import Estimate, ProbeResult, Share

SINGLE_PURPOSE = (
    "If this model will only ever do the task that it was tuned on, forgetting may not matter: judge it by the task's "
    "error alone."
)


@dataclass(frozen=True)
class TradeoffPoint:
    """One state of a run.

    Attributes:
        step: optimizer steps behind it; 0 is the base.
        task: the task's error, lower is better: the validation metric, or the validation loss where there is no metric;
            None where it was not measured.
        drift: next-token KL(base || tuned) over neutral texts, in nats per token.
        perplexity_ratio: perplexity on neutral texts over the base's.
        lost, gained: items of instructions, arithmetic and facts that only the base, or only this state, gets right.
        known: items that the base gets right.
        labelled: unrelated questions that are answered as in training; of several ways to ask, the worst.
        on_frontier: no other state has both a lower error and less drift.
    """

    step: int
    task: Estimate | None
    drift: Estimate
    perplexity_ratio: float
    lost: int
    gained: int
    known: int
    labelled: Share | None = None
    on_frontier: bool = False


@dataclass(frozen=True)
class Tradeoff:
    """The points of a run.

    Attributes:
        points: by step.
        task_name: what `task` is: "mean absolute error", "validation loss".
    """

    points: tuple[TradeoffPoint, ...]
    task_name: str

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {**asdict(self), "sentences": self.sentences()}

    def sentences(self) -> list[str]:
        """What the points say, for a reader who does not look at them."""
        if not self.points:
            return ["There are no probes of this run."]
        last = self.points[-1]
        told = [
            f"At step {last.step:,} the model has drifted {last.drift.value:.3f} nats per token from its base (95 % "
            f"interval {last.drift.low:.3f} to {last.drift.high:.3f}) and finds neutral text "
            f"{_times(last.perplexity_ratio)}. Of {last.known} things that the base could do it lost {last.lost}, and "
            f"it gained {last.gained}."
        ]
        if last.labelled is not None:
            told.append(
                f"{last.labelled.right} of {last.labelled.n} unrelated questions get a reply that is written like a "
                f"training answer (95 % interval {last.labelled.low:.0%} to {last.labelled.high:.0%}; the base: "
                f"{last.labelled.base_right})."
            )
        measured = [point for point in self.points if point.task is not None]
        if len(measured) > 1:
            best = min(measured, key=lambda point: (_value(point), point.step))
            nearer = [
                point
                for point in measured
                if point.task is not None
                and best.task is not None
                and point.task.value <= best.task.high
                and point.step
                and point.drift.value < 0.8 * best.drift.value
            ]
            if best.step == 0:
                told.append(f"No revision has a lower {self.task_name} than the base: training bought nothing.")
            elif nearer:
                other = min(nearer, key=lambda point: point.drift.value)
                told.append(
                    f"Step {best.step:,} has the lowest {self.task_name}; step {other.step:,} is within its interval "
                    f"and has drifted {other.drift.value / best.drift.value:.0%} as far."
                )
            else:
                told.append(
                    f"Step {best.step:,} has the lowest {self.task_name}, and no revision that is as good drifted "
                    "clearly less."
                )
        told.append(SINGLE_PURPOSE)
        return told

    def rows(self) -> list[list[str]]:
        """A table of text, headings first."""
        heading = [
            "step",
            self.task_name,
            "drift (nats/token)",
            "perplexity / base",
            "lost",
            "gained",
            "like training",
            "",
        ]
        return [heading, *(self._row(point) for point in self.points)]

    def _row(self, point: TradeoffPoint) -> list[str]:
        return [
            "base" if point.step == 0 else f"{point.step:,}",
            "" if point.task is None else _with_ends(point.task, 4),
            _with_ends(point.drift, 3),
            f"{point.perplexity_ratio:.3f}",
            f"{point.lost} of {point.known}",
            str(point.gained),
            "" if point.labelled is None else f"{point.labelled.right} of {point.labelled.n}",
            "frontier" if point.on_frontier else "",
        ]


def tradeoff(journal: Iterable[Mapping[str, Any]]) -> Tradeoff:
    """The trade-off of a run, from its journal.

    Of a step that is there twice (a run that was killed and went on from an earlier revision), the later line counts.
    The base is step 0: it needs no probe of its own, since every probe compares with it.

    Args:
        journal: lines of kind "probe" and "validation"; others are passed over.
    """
    probes: dict[int, ProbeResult] = {}
    validations: dict[int, Mapping[str, Any]] = {}
    for line in journal:
        if line.get("kind") == "probe":
            probes[int(line["step"])] = ProbeResult.from_json(line)
        elif line.get("kind") == "validation":
            validations[int(line["step"])] = line
    if probes and 0 in validations and 0 not in probes:
        probes[0] = _unchanged(next(iter(probes.values())))
    named = next(
        (str(v.get("metric_name") or "error") for v in validations.values() if v.get("metric") is not None), None
    )
    points = [
        make_point(step, probe, _task(validations.get(step), named is not None))
        for step, probe in sorted(probes.items())
    ]
    return Tradeoff(tuple(with_frontier(points)), named or "validation loss")


def _unchanged(probe: ProbeResult) -> ProbeResult:
    """The base, as a probe of a revision saw it: no drift, and all that it could do."""
    reading = replace(probe.texts, drift=Estimate(0.0, 0.0, 0.0), perplexity=probe.base_perplexity)
    shares = {name: replace(share, right=share.base_right, lost=0, gained=0) for name, share in probe.shares.items()}
    return replace(probe, texts=reading, shares=shares)


def make_point(step: int, probe: ProbeResult, task: Estimate | None) -> TradeoffPoint:
    """The point of one state."""
    asked = [share for name, share in probe.shares.items() if name.startswith("labels")]
    able = [share for name, share in probe.shares.items() if not name.startswith("labels")]
    return TradeoffPoint(
        step=step,
        task=task,
        drift=probe.drift,
        perplexity_ratio=probe.perplexity / probe.base_perplexity,
        lost=sum(share.lost for share in able),
        gained=sum(share.gained for share in able),
        known=sum(share.base_right for share in able),
        labelled=max(asked, key=lambda share: share.share, default=None),
    )


def with_frontier(points: Sequence[TradeoffPoint]) -> list[TradeoffPoint]:
    """The points, those marked that no other beats in both task error and drift."""
    return [
        replace(point, on_frontier=point.task is not None and not any(_beats(other, point) for other in points))
        for point in points
    ]


def _beats(other: TradeoffPoint, point: TradeoffPoint) -> bool:
    if other.task is None or point.task is None:
        return False
    mine, others = (point.task.value, point.drift.value), (other.task.value, other.drift.value)
    return others != mine and others[0] <= mine[0] and others[1] <= mine[1]


def _task(validation: Mapping[str, Any] | None, by_metric: bool) -> Estimate | None:
    key = "metric" if by_metric else "loss"
    value = None if validation is None else validation.get(key)
    if validation is None or value is None:
        return None
    low, high = (validation.get("low"), validation.get("high")) if by_metric else (None, None)
    return Estimate(float(value), float(value if low is None else low), float(value if high is None else high))


def _value(point: TradeoffPoint) -> float:
    return float("inf") if point.task is None else point.task.value


def _with_ends(estimate: Estimate, digits: int) -> str:
    text = f"{estimate.value:.{digits}g}"
    if estimate.low == estimate.high:
        return text
    return f"{text} ({estimate.low:.{digits}g} to {estimate.high:.{digits}g})"


def _times(ratio: float) -> str:
    if abs(ratio - 1) < 0.005:
        return "as predictable as the base does"
    return f"{abs(ratio - 1):.1%} {'less' if ratio > 1 else 'more'} predictable (perplexity)"
