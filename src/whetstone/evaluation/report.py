"""Reports: several runs on the same frozen items, compared in pairs, with a verdict. As JSON, and as CSV per answer."""

from __future__ import annotations

import csv
import io
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from importlib.metadata import version
from typing import Any, Self

from whetstone.evaluation.comparison import Pair, compare
from whetstone.evaluation.excerpt import without_surrogates
from whetstone.evaluation.judged import judge
from whetstone.evaluation.metrics import Scores, score
from whetstone.evaluation.sureness import Spread, Sureness, sureness
from whetstone.evaluation.technique import Training, Way
from whetstone.evaluation.verdict import Entry, Verdict, verdict
from whetstone.types import INTERVAL_LEVELS, Prediction, Problem, Usage

MIXED = "MIXED: "  # begins a note that says what sets the items of some runs apart


@dataclass(frozen=True)
class RunResult:
    """One run as a line of a report.

    Attributes:
        label: how it is called in tables: its technique, and its model where several are compared.
        technique: its technique's name.
        model: spec of the language model it asked, or None.
        predictions: its answers, in the order of the test cases.
        scores: every metric with its interval.
        seconds: answering time of all items together; items that were answered side by side count each.
        build_seconds: time to fit it.
        usage: tokens of all items together.
        cost: US dollars of all items together; 0 where nothing is charged, None where a price is not known.
        run_id: the stored run it comes from, "" for none.
        notes: what a reader must know of it: "cross-fitted, 5 folds".
        identity: JSON-ready values that settle its answers: model revision, prompt version, options.
        sureness: how its distributions did, where its answers have some.
        ways: by which ways it answers; () where that is not known.
        training: what tuning its model took; None where none was tuned.
    """

    label: str
    technique: str
    model: str | None
    predictions: tuple[Prediction, ...]
    scores: Scores
    seconds: float
    build_seconds: float
    usage: Usage
    cost: float | None
    run_id: str = ""
    notes: tuple[str, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    sureness: Sureness | None = None
    ways: tuple[Way, ...] = ()
    training: Training | None = None

    @classmethod
    def build(
        cls,
        problem: Problem,
        predictions: Sequence[Prediction],
        *,
        label: str,
        technique: str,
        model: str | None = None,
        run_id: str = "",
        build_seconds: float = 0.0,
        notes: Sequence[str] = (),
        identity: Mapping[str, Any] | None = None,
        ways: Sequence[Way] = (),
        training: Training | None = None,
        seed: int = 42,
    ) -> Self:
        """Score answers to the test cases of a problem, and add up what they took.

        Raises:
            DataError: an answer to something that is no test case of the problem, or two to the same.
        """
        order = {case.id: position for position, case in enumerate(problem.test)}
        return cls(
            label=label,
            technique=technique,
            model=model,
            predictions=tuple(sorted(predictions, key=lambda p: order.get(p.case_id, -1))),
            scores=score(problem, predictions, seed=seed),
            seconds=sum(p.seconds for p in predictions),
            build_seconds=build_seconds,
            usage=reduce(Usage.__add__, (p.usage for p in predictions), Usage()),
            cost=_total_cost(predictions),
            run_id=run_id,
            notes=tuple(notes),
            identity=dict(identity or {}),
            sureness=sureness(judge(problem, predictions)) if problem.kind == "number" else None,
            ways=tuple(ways),
            training=training,
        )

    @property
    def seconds_per_item(self) -> float:
        """Answering time per item."""
        return self.seconds / max(1, self.scores.n)

    @property
    def cost_per_thousand(self) -> float | None:
        """US dollars per 1,000 items."""
        return None if self.cost is None else 1e3 * self.cost / max(1, self.scores.n)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "technique": self.technique,
            "model": self.model,
            "label": self.label,
            "run": self.run_id,
            "n": self.scores.n,
            "n_readable": self.scores.n_readable,
            "metrics": {name: asdict(interval) for name, interval in self.scores.metrics.items()},
            "seconds": self.seconds,
            "build_seconds": self.build_seconds,
            "tokens": self.usage.prompt_tokens + self.usage.completion_tokens,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "cost": self.cost,
            "notes": list(self.notes),
            "identity": dict(self.identity),
            "sureness": None if self.sureness is None else _sureness_json(self.sureness),
            "ways": list(self.ways),
            "training": None if self.training is None else asdict(self.training),
        }


def _sureness_json(known: Sureness) -> dict[str, Any]:
    """How distributions did, by the name of the level."""
    levels = [f"{level:g}" for level in INTERVAL_LEVELS]

    def spread(one: Spread) -> dict[str, Any]:
        return {
            "crps": one.crps,
            "coverage": dict(zip(levels, one.coverage, strict=True)),
            "median_width": dict(zip(levels, one.widths, strict=True)),
        }

    own = known.uncorrected
    return {"n": known.n, **spread(known.answered), "uncorrected": None if own is None else spread(own)}


def _total_cost(predictions: Sequence[Prediction]) -> float | None:
    """The sum over all answers, unless the price of one is not known; items on which the model failed cost nothing."""
    asked = [p.cost for p in predictions if p.reading.status != "error"]
    known = [cost for cost in asked if cost is not None]
    return sum(known) if len(known) == len(asked) else None


@dataclass(frozen=True)
class Report:
    """Runs on the same frozen items, compared.

    Attributes:
        problem: what was asked.
        results: the runs, in the order in which they were asked for; labels differ.
        pairs: every pair of them, by the problem's deciding metric.
        verdict: what to take, and why.
        created: when, ISO 8601 in UTC.
        seed: seed of the intervals.
        notes: what a reader must know; those that begin with `MIXED` tell that runs on different items were mixed.
    """

    problem: Problem
    results: tuple[RunResult, ...]
    pairs: tuple[Pair, ...]
    verdict: Verdict
    created: str
    seed: int
    notes: tuple[str, ...] = ()

    @classmethod
    def build(
        cls, problem: Problem, results: Sequence[RunResult], *, seed: int = 42, notes: Sequence[str] = ()
    ) -> Self:
        """Compare runs in pairs and give the verdict.

        Raises:
            UsageError: no runs, or the problem's metric cannot decide a comparison.
        """
        named = _distinct(results)
        pairs = compare(problem, {result.label: result.predictions for result in named}, seed=seed)
        entries = [
            Entry(
                name=result.label,
                scores=result.scores,
                cost=result.cost,
                seconds=result.seconds,
                build_seconds=result.build_seconds,
                uses_model=result.model is not None,
                ways=result.ways,
                training=result.training,
            )
            for result in named
        ]
        return cls(
            problem=problem,
            results=named,
            pairs=tuple(pairs),
            verdict=verdict(problem, entries, pairs),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seed=seed,
            notes=tuple(notes),
        )

    @property
    def mixed(self) -> tuple[str, ...]:
        """How the items of the runs differ, where runs on different items were mixed on request."""
        return tuple(note.removeprefix(MIXED) for note in self.notes if note.startswith(MIXED))

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values. What is not defined is null; there is no NaN and no infinity."""
        problem = self.problem
        plain: dict[str, Any] = _plain(
            {
                "problem": problem.name,
                "fingerprint": problem.fingerprint,
                "kind": problem.kind,
                "target": problem.target,
                "metric": problem.metric,
                "unit": problem.unit,
                "n": len(problem.test),
                "split": split_sizes(problem),
                "source": dict(problem.source),
                "created": self.created,
                "seed": self.seed,
                "versions": versions(),
                "notes": list(self.notes),
                "mixed": bool(self.mixed),
                "runs": [result.to_json() for result in self.results],
                "pairs": [asdict(pair) for pair in self.pairs],
                "verdict": self.verdict.sentence,
                "verdict_reasons": list(self.verdict.reasons),
                "ways": [row.to_json() for row in self.verdict.ways],
                "winner": self.verdict.winner,
                "best": self.verdict.best,
            }
        )
        return plain

    def to_csv(self) -> str:
        """A row per answer. A text that a spreadsheet would take for a formula has an apostrophe before it."""
        rows = io.StringIO()
        writer = csv.writer(rows, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for result in self.results:
            for item in judge(self.problem, result.predictions):
                answer = item.prediction
                cells = (
                    result.label,
                    result.model,
                    item.case.id,
                    item.case.text,
                    item.case.expected,
                    answer.reading.value,
                    answer.reading.status,
                    None if item.error is None else float(f"{item.error:.9g}"),  # a difference's rounding is noise
                    answer.raw,
                    answer.reading.note,
                    answer.usage.prompt_tokens,
                    answer.usage.completion_tokens,
                    answer.seconds,
                    answer.cost,
                    answer.finish_reason,
                    answer.key,
                    result.run_id,
                    *(answer.distribution.interval(0.8) if answer.distribution is not None else (None, None)),
                )
                writer.writerow([_cell(cell) for cell in cells])
        return rows.getvalue()


_COLUMNS = (
    "run", "model", "case_id", "text", "expected", "value", "status", "error", "raw", "note", "prompt_tokens",
    "completion_tokens", "seconds", "cost", "finish_reason", "key", "run_id", "low_80", "high_80",
)  # fmt: skip


def split_sizes(problem: Problem) -> dict[str, int]:
    """How many cases each split has; a problem read back from its freeze holds its test cases only, and remembers."""
    if (remembered := problem.source.get("split")) is not None:
        return {**remembered, "test": len(problem.test)}
    return {"train": len(problem.train), "validation": len(problem.validation), "test": len(problem.test)}


def versions() -> dict[str, str]:
    """What computed a report."""
    return {"whetstone": version("whetstone-llm"), "python": platform.python_version()}


def _distinct(results: Sequence[RunResult]) -> tuple[RunResult, ...]:
    """The runs without repetitions; where two different ones have the same label, the later one is numbered."""
    named: dict[str, RunResult] = {}
    for result in results:
        if result.run_id and any(result.run_id == other.run_id for other in named.values()):
            continue
        label, number = result.label, 1
        while label in named:
            number += 1
            label = f"{result.label} ({number})"
        named[label] = replace(result, label=label)
    return tuple(named.values())


def _plain(value: Any) -> Any:
    """JSON values that every reader accepts."""
    if isinstance(value, Mapping):
        return {without_surrogates(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else without_surrogates(str(value))


def _cell(value: float | str | None) -> str | float | None:
    """A CSV cell that a spreadsheet shows and does not run.

    Spreadsheets take text that begins with = + - @ (their full-width forms too, and after blanks or control characters)
    for a formula. A mere number is left as it is.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str):
        return value
    text = without_surrogates(value)
    begins = text.lstrip("".join(map(chr, range(33))) + "\u00a0\ufeff\u200b")[:1]
    if begins in tuple("=+-@＝＋－＠") and not _is_number(text):
        return f"'{text}"
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
