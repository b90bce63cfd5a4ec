"""What a label technique takes for what: the confusion matrix and the scores of each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from whetstone.evaluation.judged import Judged

MOST_LABELS = 24  # of a matrix that can still be read
OTHER = "(other labels)"
NOTHING = "(unreadable)"


@dataclass(frozen=True)
class Confusion:
    """How often each true label (rows) was answered with each label (columns).

    Attributes:
        labels: of the rows; the rarest are put together as OTHER where there are more than MOST_LABELS.
        answers: of the columns: `labels`, then NOTHING.
        counts: a row per label, in the order of `answers`.
    """

    labels: tuple[str, ...]
    answers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LabelScores:
    """How well one label is told from the others; None where a ratio has nothing below its line."""

    label: str
    support: int
    answered: int
    precision: float | None
    recall: float | None
    f1: float | None


def confusion(items: Sequence[Judged]) -> Confusion:
    """The confusion matrix of one run."""
    pairs = Counter((str(item.case.expected), _answer(item)) for item in items)
    truths = Counter(str(item.case.expected) for item in items)
    guesses = Counter(answer for item in items if (answer := _answer(item)) is not None)
    names = sorted({*truths, *guesses}, key=lambda name: (-truths[name], -guesses[name], name))
    kept = names if len(names) <= MOST_LABELS else names[: MOST_LABELS - 1]
    rest = [] if len(kept) == len(names) else [OTHER]
    labels = (*sorted(kept), *rest)
    place = {name: name if name in kept else OTHER for name in names}
    merged: Counter[tuple[str, str]] = Counter()
    for (truth, answer), count in pairs.items():
        merged[place[truth], NOTHING if answer is None else place[answer]] += count
    answers = (*labels, NOTHING)
    return Confusion(labels, answers, tuple(tuple(merged[row, column] for column in answers) for row in labels))


def label_scores(items: Sequence[Judged]) -> list[LabelScores]:
    """Precision, recall and F1 of each label that occurs, the most frequent first."""
    support = Counter(str(item.case.expected) for item in items)
    answered = Counter(answer for item in items if (answer := _answer(item)) is not None)
    right = Counter(str(item.case.expected) for item in items if item.error == 0)
    return [
        LabelScores(
            name,
            support[name],
            answered[name],
            right[name] / answered[name] if answered[name] else None,
            right[name] / support[name] if support[name] else None,
            2 * right[name] / (support[name] + answered[name]),
        )
        for name in sorted({*support, *answered}, key=lambda name: (-support[name], name))
    ]


def _answer(item: Judged) -> str | None:
    return None if item.error is None else str(item.prediction.reading.value)
