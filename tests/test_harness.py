"""The harness with a technique of the test's own: what is asked, what is kept, what a second call asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from whetstone.errors import ModelConnectionError, StorageError, UsageError
from whetstone.evaluation.cross_fit import CrossFitted, assign_folds
from whetstone.evaluation.harness import Unwatched, evaluate
from whetstone.evaluation.run import RunStore
from whetstone.types import Case, Prediction, Problem, Reading


def problem(n: int = 10, **changes: Any) -> Problem:
    cases = [Case(str(i), f"item {i}", float(i)) for i in range(1, n + 1)]
    return replace(Problem("toy", "number", "price", "mae", cases[:3], (), cases, fingerprint="f" * 64), **changes)


class Doubling:
    """Answers twice the item's number, and notes what it was asked."""

    name = "doubling"
    model: str | None = None
    needs_training = False

    def __init__(self, version: int = 1, fail_at: str = "", prompt: str = "") -> None:
        self.version, self.fail_at, self.prompt = version, fail_at, prompt
        self.asked: list[str] = []
        self.trained_on: list[str] = []

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"technique": self.name, "version": self.version}

    def fit(self, problem: Problem) -> None:
        self.trained_on = [case.id for case in problem.train]

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return [f"{self.prompt}{case.text}" for case in cases]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        for case, key in zip(cases, self.keys(cases), strict=True):
            if case.id == self.fail_at:
                raise ModelConnectionError("the endpoint is gone")
            self.asked.append(case.id)
            status = "error" if case.id == "4" else "value"
            yield Prediction(case.id, key, Reading(status, None if status == "error" else float(case.expected) * 2))


def test_every_case_is_asked_once_and_kept() -> None:
    store, technique = RunStore(), Doubling()
    record = evaluate(problem(), technique, store)
    assert technique.asked == [str(i) for i in range(1, 11)]
    assert record.complete
    assert [p.reading.value for p in record.predictions(problem())] == [2, 4, 6, None, 10, 12, 14, 16, 18, 20]
    again = store.find(record.id)
    assert again.answers == record.answers
    assert again.build_seconds == record.build_seconds


def test_after_a_failure_only_the_rest_is_asked() -> None:
    store = RunStore()
    with pytest.raises(ModelConnectionError):
        evaluate(problem(), Doubling(fail_at="7"), store)
    second = Doubling()
    record = evaluate(problem(), second, store)
    assert second.asked == ["7", "8", "9", "10"]
    assert record.complete


def test_errors_are_asked_again_only_on_request() -> None:
    store = RunStore()
    evaluate(problem(), Doubling(), store)
    second, third = Doubling(), Doubling()
    evaluate(problem(), second, store)
    evaluate(problem(), third, store, retry_errors=True)
    assert second.asked == []
    assert third.asked == ["4"]


def test_a_changed_question_is_asked_again_and_a_changed_identity_is_another_run() -> None:
    store = RunStore()
    first = evaluate(problem(), Doubling(), store)
    other_prompt, other_version = Doubling(prompt="please, "), Doubling(version=2)
    assert evaluate(problem(), other_prompt, store).id == first.id
    assert evaluate(problem(), other_version, store).id != first.id
    assert len(other_prompt.asked) == len(other_version.asked) == 10
    assert evaluate(problem(fingerprint="e" * 64), Doubling(), store).id != first.id


def test_a_reply_of_the_same_model_to_the_same_question_is_taken_over_from_another_run() -> None:
    class Rereading(Doubling):
        model = "scripted:echo"

        def reread(self, prediction: Prediction) -> Prediction:
            return replace(prediction, reading=Reading("value", -1.0))

    store = RunStore()
    evaluate(problem(6), Rereading(), store)
    larger = Rereading()
    record = evaluate(problem(8, fingerprint="e" * 64), larger, store)
    assert larger.asked == ["4", "7", "8"]  # the answer to 4 was an error, which is no reply
    assert record.answers["1"].reading.value == -1.0
    other_model = Rereading()
    other_model.model = "scripted:number"
    evaluate(problem(fingerprint="d" * 64), other_model, store)
    assert len(other_model.asked) == 10


def test_cases_with_the_same_text_each_keep_an_answer() -> None:
    cases = [Case("a", "same", 1.0), Case("b", "same", 1.0)]
    record = evaluate(problem(test=cases), Doubling(), RunStore())
    assert set(record.answers) == {"a", "b"}


def test_one_run_has_one_writer() -> None:
    store = RunStore()
    with store.open(problem(), Doubling()), pytest.raises(StorageError, match="another process"):
        evaluate(problem(), Doubling(), store)


def test_a_watcher_is_told_of_every_new_answer_and_of_the_end() -> None:
    told: list[object] = []

    class Watcher(Unwatched):
        def start(self, label: str, total: int, already: int) -> None:
            told.append((label, total, already))

        def item(self, case: Case, prediction: Prediction) -> None:
            told.append(case.id)

        def finish(self) -> None:
            told.append("end")

    store = RunStore()
    with pytest.raises(ModelConnectionError):
        evaluate(problem(), Doubling(fail_at="3"), store, Watcher())
    evaluate(problem(3), Doubling(), store, Watcher(), label="twice")
    assert told == [("doubling", 10, 0), "1", "2", "end", ("twice", 3, 2), "3", "end"]


def test_runs_are_found_by_the_beginning_of_their_id() -> None:
    store = RunStore()
    with pytest.raises(UsageError, match="no runs"):
        store.find("toy")
    first = evaluate(problem(), Doubling(), store)
    assert store.find("toy-doubl").id == first.id
    evaluate(problem(), Doubling(version=2), store)
    with pytest.raises(UsageError, match="could be any of"):
        store.find("toy")
    with pytest.raises(UsageError, match="no run named 'nonsense'"):
        store.find("nonsense")
    assert [record.header["technique"] for record in store] == ["doubling", "doubling"]


def test_cross_fitting_never_trains_on_the_fold_that_is_answered() -> None:
    made: list[Doubling] = []

    def make() -> Doubling:
        made.append(Doubling())
        return made[-1]

    groups = ["g1", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g8"]
    task = problem(train=(), cross_fit=4, groups=groups)
    record = evaluate(task, CrossFitted(make), RunStore())
    assert record.complete
    assert len(made) == 4
    assert sorted(case_id for technique in made for case_id in technique.asked) == sorted(case.id for case in task.test)
    group_of = {case.id: group for case, group in zip(task.test, groups, strict=True)}
    for technique in made:
        assert len(technique.asked) + len(technique.trained_on) == 10
        assert {group_of[i] for i in technique.asked} & {group_of[i] for i in technique.trained_on} == set()


def test_folds_are_balanced_and_do_not_depend_on_the_order_of_rows() -> None:
    groups = [f"group {i}" for i in range(100)]
    folds = assign_folds(groups, 5)
    assert sorted(folds.count(fold) for fold in range(5)) == [20] * 5
    assert assign_folds(groups[::-1], 5) == folds[::-1]


def test_cross_fitting_duplicates_only_is_refused() -> None:
    with pytest.raises(UsageError, match="duplicates"):
        evaluate(problem(train=(), cross_fit=5, groups=["g"] * 10), CrossFitted(Doubling), RunStore())
