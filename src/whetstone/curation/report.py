"""The report of a curation: what every rule did, what was kept, and how prices and lengths are spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from whetstone.curation.tally import LENGTH_EDGES, PRICE_EDGES, Histogram


@dataclass(frozen=True)
class RuleReport:
    """What one rule did.

    Attributes:
        name, sentence: of the rule.
        rejected: rows that it refused; every refused row is counted at one rule.
        reasons: kind of reason -> rows.
        changed: rows whose text or fields it changed.
        examples: a few, each with `file`, `row`, and `before`, `after` or `reason`.
    """

    name: str
    sentence: str
    rejected: int
    reasons: Mapping[str, int]
    changed: int
    examples: list[dict[str, Any]]


@dataclass(frozen=True)
class CategoryReport:
    """One category.

    Attributes:
        name: "" for rows without one.
        rows: before any rule.
        kept: after all.
        median_price: of the kept ones, dollars; None where there is none.
        mean_weight: of the kept training rows; None where there is none.
    """

    name: str
    rows: int
    kept: int
    median_price: float | None
    mean_weight: float | None


@dataclass(frozen=True)
class Histograms:
    """Spreads before and after, each with one count more than there are edges, for what lies outside."""

    prices_before: Histogram
    prices_after: Histogram
    characters_before: Histogram
    characters_after: Histogram
    tokens_after: Histogram
    price_edges: tuple[float, ...] = PRICE_EDGES
    character_edges: tuple[int, ...] = LENGTH_EDGES
    token_edges: tuple[int, ...] = ()


@dataclass(frozen=True)
class LookAlike:
    """A training text that is near a test text by embedding."""

    train: str
    test: str
    similarity: float


@dataclass(frozen=True)
class LeakReport:
    """Training rows against test rows.

    Attributes:
        alike_pairs: pairs of kept rows that are alike by text.
        straddling: those of them with one row in training and one in test or validation.
        stated_prices: kept texts that still state their own price.
        compared: training rows that were compared with the test rows by embedding; 0 where that was not asked for.
        look_alikes: the nearest of them, at a cosine of 0.95 or more.
    """

    alike_pairs: int
    straddling: int
    stated_prices: int
    compared: int = 0
    look_alikes: tuple[LookAlike, ...] = ()


@dataclass(frozen=True)
class CurationReport:
    """Everything that a curation did.

    Attributes:
        source: as the user named it.
        files: with their rows.
        options: the choices.
        fingerprint: of the kept rows and their splits.
        rows: data rows read; the sum of `kept` and of every rule's `rejected`.
        kept: rows of the data set.
        splits: split -> rows.
        groups: product groups among the kept rows.
        rules: in the order in which they were applied.
        categories: the most frequent ones first.
        histograms: before and after.
        leaks: training against test.
        notes: remarks for the user.
    """

    source: str
    files: list[dict[str, Any]]
    options: Mapping[str, Any]
    fingerprint: str
    rows: int
    kept: int
    splits: Mapping[str, int]
    groups: int
    rules: list[RuleReport]
    categories: list[CategoryReport]
    histograms: Histograms
    leaks: LeakReport
    notes: list[str] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """Rows that some rule refused."""
        return sum(rule.rejected for rule in self.rules)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {**asdict(self), "rejected": self.rejected}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> CurationReport:
        """What `to_json` wrote."""
        found = {name: each for name, each in value.items() if name != "rejected"}
        leaks = dict(found["leaks"])
        leaks["look_alikes"] = tuple(LookAlike(**each) for each in leaks["look_alikes"])
        histograms: dict[str, Any] = {
            name: tuple(each) if name.endswith("edges") else each for name, each in found["histograms"].items()
        }
        return CurationReport(
            **{
                **found,
                "rules": [RuleReport(**each) for each in found["rules"]],
                "categories": [CategoryReport(**each) for each in found["categories"]],
                "histograms": Histograms(**histograms),
                "leaks": LeakReport(**leaks),
            }
        )
