"""What the rules did, counted so that the counts of chunks add up to those of the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

EXAMPLES = 3
SHOWN = 160

# Prices in eight steps a decade from a cent to a million, with one bin for what lies outside at either end.
PRICE_EDGES = tuple(float(f"{10 ** (step / 8):.4g}") for step in range(-16, 49))
LENGTH_EDGES = tuple(range(0, 6001, 100))
TOKEN_STEPS = 24
Histogram = list[int]


def histogram(values: pl.Series | npt.NDArray[Any], edges: Iterable[float]) -> Histogram:
    """Counts between edges, the first and last for what is below and above: one more than the edges."""
    numbers = np.asarray(values.drop_nulls().to_numpy() if isinstance(values, pl.Series) else values, dtype=float)
    bins = np.searchsorted(np.asarray(list(edges), dtype=float), numbers, side="right")
    return [int(count) for count in np.bincount(bins, minlength=len(list(edges)) + 1)]


@dataclass
class Tally:
    """Counts of a chunk or of a source.

    Attributes:
        rows: data rows that were read, readable or not.
        lines: lines that they span.
        rejected: rule -> rows refused.
        reasons: rule -> kind of reason (without the value) -> rows.
        changed: rule -> rows changed.
        examples: rule -> a few cases: `row`, `file` and `before`/`after` or `reason`.
        prices, characters: histograms of every row that has one, before any rule but those that read it.
        categories: category -> rows before any rule.
    """

    rows: int = 0
    lines: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    prices: Histogram = field(default_factory=lambda: [0] * (len(PRICE_EDGES) + 1))
    characters: Histogram = field(default_factory=lambda: [0] * (len(LENGTH_EDGES) + 1))
    categories: Counter[str] = field(default_factory=Counter)

    def refuse(self, rule: str, reasons: pl.Series) -> None:
        """Count rows that a rule refused."""
        self.rejected[rule] += len(reasons)
        kinds = self.reasons.setdefault(rule, Counter())
        kinds.update(reasons.str.split_exact(":", 1).struct.field("field_0").to_list())

    def show(self, rule: str, example: Mapping[str, Any]) -> None:
        """Keep an example, unless there are enough."""
        kept = self.examples.setdefault(rule, [])
        if len(kept) < EXAMPLES:
            kept.append(dict(example))

    def wants_examples(self, rule: str) -> bool:
        """Whether there are too few examples."""
        return len(self.examples.get(rule, ())) < EXAMPLES

    def add(self, other: Tally) -> None:
        """Count another chunk's too."""
        self.rows += other.rows
        self.lines += other.lines
        self.rejected.update(other.rejected)
        for rule, kinds in other.reasons.items():
            self.reasons.setdefault(rule, Counter()).update(kinds)
        self.changed.update(other.changed)
        for rule, examples in other.examples.items():
            for example in examples:
                self.show(rule, example)
        self.prices = [a + b for a, b in zip(self.prices, other.prices, strict=True)]
        self.characters = [a + b for a, b in zip(self.characters, other.characters, strict=True)]
        self.categories.update(other.categories)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "rows": self.rows,
            "lines": self.lines,
            "rejected": dict(self.rejected),
            "reasons": {rule: dict(kinds) for rule, kinds in self.reasons.items()},
            "changed": dict(self.changed),
            "examples": self.examples,
            "prices": self.prices,
            "characters": self.characters,
            "categories": dict(self.categories),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Tally:
        """What `to_json` wrote."""
        return Tally(
            value["rows"],
            value["lines"],
            Counter(value["rejected"]),
            {rule: Counter(kinds) for rule, kinds in value["reasons"].items()},
            Counter(value["changed"]),
            dict(value["examples"]),
            value["prices"],
            value["characters"],
            Counter(value["categories"]),
        )


def difference(before: str | None, after: str | None) -> tuple[str, str]:
    """The part of two texts where they first differ, with a little of what stands before."""
    old, new = before or "", after or ""
    at = next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    begin = max(0, at - SHOWN // 4)
    lead = "…" if begin else ""
    return lead + old[begin : begin + SHOWN], lead + new[begin : begin + SHOWN]
