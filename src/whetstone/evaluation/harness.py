"""The harness: one technique answers the test cases of a problem; every answer is kept before the next is looked at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from whetstone.evaluation.run import Run, RunRecord, RunStore
from whetstone.evaluation.technique import Remarking, Rereading, Technique
from whetstone.types import Case, Prediction, Problem


class Watcher(Protocol):
    """Somebody who follows an evaluation: the terminal, the workbench."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """A technique is being built, and has come so far: texts embedded, say."""
        ...

    def start(self, label: str, total: int, already: int) -> None:
        """A technique begins: it has `total` cases, of which `already` have answers from an earlier run."""
        ...

    def item(self, case: Case, prediction: Prediction) -> None:
        """A new answer."""
        ...

    def finish(self) -> None:
        """The technique is through."""
        ...


@runtime_checkable
class Following(Protocol):
    """A watcher that follows a whole comparison, and shows what earlier runs had answered."""

    def planned(self, labels: Sequence[str]) -> None:
        """These techniques will answer, in this order."""
        ...

    def opened(self, run: str, answers: Sequence[Prediction]) -> None:
        """The run of the technique that starts next, by its id, holds these answers already."""
        ...


class Unwatched:
    """Nobody follows."""

    def preparing(self, what: str, done: int, total: int) -> None:
        pass

    def start(self, label: str, total: int, already: int) -> None:
        pass

    def item(self, case: Case, prediction: Prediction) -> None:
        pass

    def finish(self) -> None:
        pass


def evaluate(
    problem: Problem,
    technique: Technique,
    store: RunStore,
    watcher: Watcher | None = None,
    *,
    label: str = "",
    retry_errors: bool = False,
) -> RunRecord:
    """Let a technique answer every test case that its run has no answer for yet.

    A reply to the very same question (prompt, model, revision, options) is taken over from another run.

    Killed at any instant, the run keeps every answer that had arrived; called again, it asks only for the rest.

    Args:
        label: how the technique is announced to the watcher; its name by default.
        retry_errors: ask again for answers that are errors.

    Raises:
        UsageError: the technique cannot work on this problem.
        ModelError: the model cannot answer at all; answers that had arrived are kept.
        StorageError: an answer cannot be written; nothing more is asked for.
    """
    watcher = watcher or Unwatched()
    cases = {case.id: case for case in problem.test}
    started = time.perf_counter()
    technique.fit(problem)  # before the run is opened: what cannot work on this problem leaves no run behind
    build_seconds = time.perf_counter() - started
    with store.open(problem, technique) as run:
        if retry_errors:
            run.forget_errors()
        run.record_fit(build_seconds)
        keys = technique.keys(list(cases.values()))
        run.record_remarks(technique.remarks if isinstance(technique, Remarking) else ())
        asked = list(zip(cases.values(), keys, strict=True))
        _take_over(technique, run, store, [(case, key) for case, key in asked if not run.has_answer(case.id, key)])
        missing = [case for case, key in asked if not run.has_answer(case.id, key)]
        if isinstance(watcher, Following):
            unanswered = {case.id for case in missing}
            watcher.opened(run.id, [run.answers[name] for name in cases if name not in unanswered])
        watcher.start(label or technique.name, len(cases), len(cases) - len(missing))
        try:
            for prediction in technique.predict(missing) if missing else ():
                run.record(prediction)
                watcher.item(cases[prediction.case_id], prediction)
        finally:
            watcher.finish()
        return RunRecord(run.id, run.header, run.answers, run.build_seconds or 0.0, run.remarks)


def _take_over(technique: Technique, run: Run, store: RunStore, unanswered: list[tuple[Case, str]]) -> None:
    """Take replies to the very same questions over from other runs of the same model, instead of paying again."""
    if technique.model is None or not isinstance(technique, Rereading) or not unanswered:
        return
    known = store.replies_of(technique.model, {key for _, key in unanswered}, besides=run.id)
    for case, key in unanswered:
        if key in known:
            run.record(technique.reread(replace(known[key], case_id=case.id)))
