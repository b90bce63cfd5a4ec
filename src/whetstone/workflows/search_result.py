"""What a prompt search found, and how it is told."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import Report
from whetstone.evaluation.wording import dollars, metric_value
from whetstone.types import Problem, Usage
from whetstone.workflows.search_race import Trial

FEWEST_ITEMS = 20  # validation items below which the best of several is mostly chance


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        folder: where it is kept.
        trials: every choice, in the order of trying; the first one is the start.
        winner: the best of those that answered all validation items.
        of: choices that there were.
        calls, usage, cost: of the search, without the test items; a cost of None is not known.
        report: start and winner on the test items; the start alone where nothing was better.
        stopped: why the search ended, in words.
        sentence: what came of it, in words.
        notes: what a reader must know.
    """

    folder: Path
    trials: tuple[Trial, ...]
    winner: Trial
    of: int
    calls: int
    usage: Usage
    cost: float | None
    report: Report
    stopped: str
    sentence: str
    notes: tuple[str, ...] = ()

    @property
    def start(self) -> Trial:
        """Where the search began."""
        return self.trials[0]

    def command(self, source: str) -> str:
        """The `whet compare` that runs the winner."""
        choice = self.winner.choice
        parts = ["whet", "compare", source, "-t", choice.technique, "--prompt", choice.instruction.name]
        if choice.instruction.question:
            parts += ["--question", choice.instruction.question]
        return shlex.join(parts)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "start": self.start.to_json(),
            "winner": self.winner.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "choices": self.of,
            "calls": self.calls,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "cost": self.cost,
            "stopped": self.stopped,
            "sentence": self.sentence,
            "notes": list(self.notes),
            "report": self.report.to_json(),
        }


def in_words(
    problem: Problem,
    trials: Sequence[Trial],
    winner: Trial,
    report: Report,
    calls: int,
    usage: Usage,
    cost: float | None,
) -> str:
    metric, unit = METRICS[problem.metric], problem.unit
    tokens = usage.prompt_tokens + usage.completion_tokens
    took = f"The search took {calls:,} calls, {tokens:,} tokens and {dollars(cost)} in money."
    if winner is trials[0]:
        return f"Nothing that was tried did better than the start on the validation items: keep it. {took}"
    before, after = (metric_value(metric, trial.value, unit) for trial in (trials[0], winner))
    (pair,) = report.pairs
    return (
        f"On the validation items the winner's {metric.title} is {after}, the start's {before}. On the test items, "
        f"which the search never saw: {pair.sentence} {took}"
    )


def remarks(on: Problem, winner: Trial, trials: Sequence[Trial]) -> tuple[str, ...]:
    notes = []
    if len(on.test) < FEWEST_ITEMS:
        notes.append(
            f"{len(on.test):,} validation items are few: the best of {len(trials):,} choices is mostly chance on them"
        )
    if winner.number > 1:
        notes.append(
            f"the winner is the best of {len(trials):,} on the validation items, so that its value on these is too "
            "good; the test items tell"
        )
    return tuple(notes)
