"""A problem: frozen cases in three splits, the kind of answer, and a fingerprint that pins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

TargetKind = Literal["number", "label", "text"]


@dataclass(frozen=True, slots=True)
class Case:
    """One item of a problem.

    Attributes:
        id: unique in its problem.
        text: what a technique is given to answer from.
        expected: the true answer: a float, a label or a text, by the problem's kind.
        fields: other columns of the row, which techniques on tabular data may use; never the target.
    """

    id: str
    text: str
    expected: float | str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Frozen train, validation and test cases, and how answers to them are judged.

    `train`, `validation` and `test` are sequences of cases; a large one may build its cases on access.

    Attributes:
        name: short, for tables and file names.
        kind: what an answer is.
        target: what is asked for, in words: "price", "sentiment".
        metric: the metric that decides, by name in `whetstone.evaluation.metrics`.
        fingerprint: hex digest over every item, the split, the kind and the metric.
        unit: the unit written before or after numbers ("$"), or "".
        labels: for a label problem, every label, sorted.
        valid_range: for a number problem, the range outside which an answer is "out of range".
        source: where the rows came from, and what was done to them, for the report.
        cross_fit: number of folds when every row is a test case: trained techniques answer each fold after training on
            the others. 0 otherwise.
        pinned: fields that belong to an item as its text does: they are part of the fingerprint and frozen with it,
            because the metric looks at them (the tests of a program) or the question does not make sense without them.
        groups: for cross-fitting, the group of each test case: cases of one group share a fold.
    """

    name: str
    kind: TargetKind
    target: str
    metric: str
    train: Sequence[Case]
    validation: Sequence[Case]
    test: Sequence[Case]
    fingerprint: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    valid_range: tuple[float, float] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    cross_fit: int = 0
    groups: Sequence[str] = ()
    pinned: tuple[str, ...] = ()
