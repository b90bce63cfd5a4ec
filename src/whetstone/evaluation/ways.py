"""Prompting, retrieval and fine-tuning side by side: what each gives, what it takes, and how it keeps up with facts.

Every way, and every combination of ways that was tried, is stood for by its best technique.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whetstone.evaluation.comparison import MIN_ITEMS, Pair
from whetstone.evaluation.intervals import Interval
from whetstone.evaluation.metrics import METRICS, Metric, Scores
from whetstone.evaluation.technique import Training, Way
from whetstone.evaluation.wording import metric_difference, seconds_in_words
from whetstone.types import Problem

_NAMES: Mapping[Way, str] = {
    "prompting": "prompting",
    "retrieval": "retrieval",
    "tuning": "fine-tuning",
    "fitting": "fitted models",
}
_OF_MODELS: tuple[Way, ...] = ("prompting", "retrieval", "tuning")


@dataclass(frozen=True)
class Entry:
    """One technique's line in a comparison.

    Attributes:
        name: as in the pairs.
        scores: how it did.
        cost: US dollars for all its answers; 0 where nothing is charged, None where the price is not known.
        seconds: answering time of all its answers together.
        build_seconds: time to fit it.
        uses_model: whether a language model answers.
        ways: how it comes to know more than its model does; () where that is not known.
        training: what tuning its model took, besides; None where none was tuned.
    """

    name: str
    scores: Scores
    cost: float | None = None
    seconds: float = 0.0
    build_seconds: float = 0.0
    uses_model: bool = False
    ways: tuple[Way, ...] = ()
    training: Training | None = None

    @property
    def seconds_per_item(self) -> float:
        """Answering time per item."""
        return self.seconds / max(1, self.scores.n)

    @property
    def cost_per_item(self) -> float | None:
        """US dollars per item."""
        return None if self.cost is None else self.cost / max(1, self.scores.n)

    @property
    def seconds_to_build(self) -> float | None:
        """Seconds of fitting, and of tuning where a model was tuned; None where those are not known."""
        if self.training is None:
            return self.build_seconds
        return None if self.training.seconds is None else self.build_seconds + self.training.seconds


@dataclass(frozen=True)
class WayRow:
    """A way to answer, or several together.

    Attributes:
        ways: which.
        title: in words: "retrieval + fine-tuning".
        best: the technique that does best in that way.
        value: its deciding metric.
        build_seconds: to build it, tuning included; None where that is not known.
        build_cost: US dollars to build it; 0 where nothing is charged, None where the price is not known.
        per_thousand: US dollars per 1,000 answers; 0 where nothing is charged, None where the price is not known.
        seconds_per_item: answering time.
        keeps_up: what has to be done when facts change.
    """

    ways: tuple[Way, ...]
    title: str
    best: str
    value: Interval
    build_seconds: float | None
    build_cost: float | None
    per_thousand: float | None
    seconds_per_item: float
    keeps_up: str

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "ways": list(self.ways),
            "title": self.title,
            "best": self.best,
            "value": self.value.value,
            "low": self.value.low,
            "high": self.value.high,
            "build_seconds": self.build_seconds,
            "build_cost": self.build_cost,
            "cost_per_thousand": self.per_thousand,
            "seconds_per_item": self.seconds_per_item,
            "when_facts_change": self.keeps_up,
        }


def way_rows(problem: Problem, entries: Sequence[Entry]) -> tuple[WayRow, ...]:
    """The ways that were tried, each with its best technique, those of fewer ways first.

    () where only one of prompting, retrieval and fine-tuning was tried: there is nothing to put side by side.

    Args:
        entries: the techniques that can be judged.
    """
    metric = METRICS[problem.metric]
    sign = 1 if metric.higher_is_better else -1
    groups: dict[tuple[Way, ...], list[Entry]] = {}
    for entry in entries:
        if entry.ways:
            groups.setdefault(entry.ways, []).append(entry)
    if len({way for ways in groups for way in ways} & set(_OF_MODELS)) < 2:
        return ()
    order = list(_NAMES)
    rows = []
    for ways in sorted(groups, key=lambda one: (len(one), [order.index(way) for way in one])):
        best = max(groups[ways], key=lambda entry: sign * (entry.scores.metrics[metric.name].value or 0.0))
        per_item = best.cost_per_item
        rows.append(
            WayRow(
                ways=ways,
                title=_title(ways),
                best=best.name,
                value=best.scores.metrics[metric.name],
                build_seconds=best.seconds_to_build,
                build_cost=0.0 if best.training is None else best.training.cost,
                per_thousand=None if per_item is None else 1e3 * per_item,
                seconds_per_item=best.seconds_per_item,
                keeps_up=_keeps_up(best),
            )
        )
    return tuple(rows)


def way_sentences(problem: Problem, rows: Sequence[WayRow], pairs: Mapping[frozenset[str], Pair]) -> list[str]:
    """What one way is worth against another, and several together against the best of them alone.

    Args:
        rows: as `way_rows` gave them.
        pairs: by the two names.
    """
    metric = METRICS[problem.metric]
    by_ways = {row.ways: row for row in rows}
    alone = [row for way in _OF_MODELS if (row := by_ways.get((way,))) is not None]
    said = [_against(problem, metric, b, a, pairs) for n, a in enumerate(alone) for b in alone[n + 1 :]]
    for row in rows:
        parts = [other for other in rows if set(other.ways) < set(row.ways)]
        if parts:
            sign = 1 if metric.higher_is_better else -1
            best = max(parts, key=lambda part: sign * (part.value.value or 0.0))
            said.append(_against(problem, metric, row, best, pairs))
    return [sentence for sentence in said if sentence]


def _against(problem: Problem, metric: Metric, row: WayRow, other: WayRow, pairs: Mapping[frozenset[str], Pair]) -> str:
    pair = pairs.get(frozenset((row.best, other.best)))
    if pair is None or pair.difference is None or pair.n < MIN_ITEMS:
        return ""
    names = f"{row.title[:1].upper()}{row.title[1:]} ({row.best})"
    if not pair.distinguishable:
        return f"{names} cannot be told apart from {other.title} ({other.best})."
    gain = pair.difference * (1 if pair.a == row.best else -1) * (1 if metric.higher_is_better else -1)
    size = metric_difference(metric, abs(pair.difference), problem.unit)
    word = "better" if gain > 0 else "worse"
    return f"{names} is {size} {word} than {other.title} ({other.best}), beyond chance."


def _title(ways: Sequence[Way]) -> str:
    return " + ".join(_NAMES[way] for way in ways)


def _keeps_up(entry: Entry) -> str:
    """What has to be done when facts change."""
    seconds = entry.training.seconds if entry.training is not None else None
    run = f"a new run ({seconds_in_words(seconds)})" if seconds else "a new run"
    needs: dict[Way, str] = {
        "prompting": "at once: the prompt is changed",
        "retrieval": "what is looked up: after a sync of what changed, nothing is trained",
        "tuning": f"what the model learned: after {run}",
        "fitting": "what was fitted: after a new fit"
        + (f" ({seconds_in_words(entry.build_seconds)})" if entry.build_seconds >= 1 else ""),
    }
    return "; ".join(needs[way] for way in entry.ways)
