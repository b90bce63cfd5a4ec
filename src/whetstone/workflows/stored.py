"""Reports on runs that are already stored: read back, checked to be on the same frozen items, compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whetstone.errors import FingerprintError, UsageError
from whetstone.evaluation.comparison import Pair
from whetstone.evaluation.excerpt import head
from whetstone.evaluation.judged import judge
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import MIXED, Report, RunResult
from whetstone.evaluation.run import RunRecord, RunStore
from whetstone.types import Case, Prediction, Problem
from whetstone.workflows.compare import run_label, run_result
from whetstone.workflows.frozen import load_problem


def report_on_runs(
    references: Sequence[str], *, store: RunStore | None = None, mix: bool = False, seed: int = 42
) -> Report:
    """A report on stored runs, each given by its id or the beginning of it.

    Args:
        mix: compare runs on different frozen items all the same, on the items they share; the report says so.

    Raises:
        UsageError: no such run, or nothing in common to compare.
        FingerprintError: the runs are on different items and `mix` is off; the sentence names the difference.
    """
    store = store or RunStore()
    records = [store.find(reference) for reference in dict.fromkeys(references)]
    problem, notes = _common_problem(store, records, mix)
    models = len({record.header["model"] for record in records if record.header["model"]})
    results: list[RunResult] = []
    for record in records:
        label = run_label(str(record.header["technique"]), record.header["model"], models)
        if any(result.label == label for result in results):
            label = f"{label} ({record.id.rpartition('-')[2]})"
        results.append(run_result(problem, _onto(problem, record, store), label))
    return Report.build(problem, results, seed=seed, notes=tuple(notes))


def _common_problem(store: RunStore, records: Sequence[RunRecord], mix: bool) -> tuple[Problem, list[str]]:
    """The problem that all runs are on; with `mix`, the first one's, cut to the cases that all share."""
    problem = load_problem(store.home, str(records[0].header["fingerprint"]))
    differences = []
    for record in records[1:]:
        if record.header["fingerprint"] == problem.fingerprint:
            continue
        other = load_problem(store.home, str(record.header["fingerprint"]))
        difference = f"{records[0].id} and {record.id} differ: {describe_difference(problem, other)}"
        if not mix:
            raise FingerprintError(
                f"{difference}. Runs on different frozen items do not belong in one table; --mix compares them on the "
                "items they share"
            )
        if other.kind != problem.kind:
            raise UsageError(f"{difference}; answers of different kinds cannot be mixed at all")
        shared = {_content(case) for case in other.test}
        problem = replace(problem, test=[case for case in problem.test if _content(case) in shared])
        differences.append(difference)
    if differences and not len(problem.test):
        raise UsageError(f"{differences[0]}; they have no item in common")
    if differences:
        differences.append(f"compared on the {len(problem.test):,} items that all runs share")
    return problem, [f"{MIXED}{difference}" for difference in differences]


def _content(case: Case) -> tuple[str, float | str]:
    return case.text, case.expected


def _onto(problem: Problem, record: RunRecord, store: RunStore) -> RunRecord:
    """The record with its answers under the case ids of `problem`, which may stem from another freeze."""
    if record.header["fingerprint"] == problem.fingerprint:
        return record
    own = load_problem(store.home, str(record.header["fingerprint"]))
    id_of = {_content(case): case.id for case in own.test}
    answers: dict[str, Prediction] = {}
    for case in problem.test:
        answer = record.answers.get(id_of[_content(case)])
        if answer is not None:
            answers[case.id] = replace(answer, case_id=case.id)
    return replace(record, answers=answers)


def describe_difference(a: Problem, b: Problem) -> str:
    """In words, why two problems have different fingerprints."""
    parts = [
        f"{what} {left!r} against {right!r}"
        for what, left, right in (
            ("kind", a.kind, b.kind),
            ("metric", a.metric, b.metric),
            ("target", a.target, b.target),
        )
        if left != right
    ]
    ours, theirs = {_content(case) for case in a.test}, {_content(case) for case in b.test}
    if ours != theirs:
        parts.append(f"{len(ours & theirs):,} test items are shared of {len(a.test):,} and {len(b.test):,}")
    if not parts:
        parts.append("the test items are the same, but they were trained on different rows or split otherwise")
    return ", ".join(parts)


@dataclass(frozen=True)
class Diff:
    """Two runs, item by item.

    Attributes:
        a, b: ids of the two runs.
        pair: the paired comparison, b against a.
        regression: whether b is worse than a beyond chance.
        changed: lines on the items that changed most for the worse.
    """

    a: str
    b: str
    pair: Pair
    regression: bool
    changed: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return ("REGRESSION: " if self.regression else "") + self.pair.sentence

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "a": self.a,
            "b": self.b,
            "regression": self.regression,
            "pair": asdict(self.pair),
            "changed": list(self.changed),
        }


def diff_runs(a: str, b: str, *, store: RunStore | None = None, mix: bool = False, seed: int = 42) -> Diff:
    """Compare run `b` with run `a`, item by item.

    Raises:
        UsageError: no such run, the same run twice, or nothing in common.
        FingerprintError: the runs are on different items and `mix` is off.
    """
    store = store or RunStore()
    first, second = store.find(a), store.find(b)
    if first.id == second.id:
        raise UsageError(f"{a!r} and {b!r} are the same run, {first.id}")
    report = report_on_runs([first.id, second.id], store=store, mix=mix, seed=seed)
    if not report.pairs:
        raise UsageError(f"{first.id} and {second.id} have too few answered items in common to be compared")
    pair = report.pairs[0]
    higher_is_better = METRICS[pair.metric].higher_is_better
    b_minus_a = (pair.difference or 0.0) * (-1 if pair.a == report.results[0].label else 1)
    worse = b_minus_a < 0 if higher_is_better else b_minus_a > 0
    return Diff(first.id, second.id, pair, pair.distinguishable and worse, tuple(_changes(report)))


def _changes(report: Report, most: int = 5) -> list[str]:
    """The items whose answers got worst; one that can no longer be read comes first."""
    problem = report.problem
    before, after = ({j.case.id: j for j in judge(problem, result.predictions)} for result in report.results)
    moved: list[tuple[float, str]] = []
    for case in problem.test:
        old, new = before.get(case.id), after.get(case.id)
        if old is None or new is None or old.error is None or old.error == new.error:
            continue
        loss = math.inf if new.error is None else new.error - old.error
        if loss > 0:
            answers = f"{_shown(old.prediction)} -> {_shown(new.prediction)}, truth {case.expected}"
            moved.append((loss, f"  {case.id}: {answers}: {head(case.text, 50)}"))
    moved.sort(key=lambda item: -item[0])
    return [line for _, line in moved[:most]]


def _shown(prediction: Prediction) -> str:
    return str(prediction.reading.value) if prediction.reading.ok else prediction.reading.status
