"""Tuning from end to end on a tiny model: what is known before, what is kept, and what is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tiny_hf
from whetstone.errors import UsageError
from whetstone.evaluation.techniques.tuned_model import tuned_model
from whetstone.storage.revisions import history, run_folder
from whetstone.tuning.config import TuneConfig, read_config
from whetstone.tuning.rows import TuneData, TuneRow
from whetstone.types import assistant, user
from whetstone.workflows.compare import compare
from whetstone.workflows.learning_curve import learning_curve
from whetstone.workflows.tune import improved, prepare, run_tuning
from whetstone.workflows.tune_metric import NumberMetric, SameAnswer, task_metric

THINGS = {"lamp": 20.0, "table": 300.0, "sofa": 800.0, "cup": 5.0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models this small only wait for a second thread."""
    monkeypatch.setenv("WHETSTONE_THREADS", "1")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    things = rng.choice(list(THINGS), 260)
    rows = [
        {"id": str(n), "title": f"{thing}, model {n}", "price": round(THINGS[thing] * rng.uniform(0.8, 1.25), 2)}
        for n, thing in enumerate(things)
    ]
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def config(base: Path, data: Path, **changes: Any) -> TuneConfig:
    settings = {
        "base": f"hf:{base}",
        "data": str(data),
        "text": "title",
        "target": "price",
        "test_size": 40,
        "validation_size": 30,
        "run": "shop",
        "learning_rate": 0.02,
        "batch_size": 16,
        "max_steps": 8,
        "eval_steps": 4,
        "probe": False,
        **changes,
    }
    return read_config(None, {key: json.dumps(value) for key, value in settings.items()})


class Watching:
    """Keeps what it is told; wants to stop after a step."""

    def __init__(self, last: int | None = None) -> None:
        self.events: list[Mapping[str, Any]] = []
        self._last = last

    def told(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    def stopped(self) -> bool:
        done = [event["step"] for event in self.events if event["kind"] == "step"]
        return self._last is not None and bool(done) and max(done) >= self._last


def test_a_problem_is_tuned_on_measured_and_compared(base: Path, shop: Path) -> None:
    watcher = Watching()
    settings = config(base, shop)
    prepared = prepare(settings)
    assert prepared.ok
    assert prepared.checks == ()  # plain text, no template
    assert prepared.plan.steps == 8
    report = run_tuning(settings, prepared=prepared, watcher=watcher)
    assert report.outcome.finished
    validations = [event for event in watcher.events if event["kind"] == "validation"]
    assert [event["step"] for event in validations] == [0, 4, 8]
    assert all(event["low"] < event["metric"] < event["high"] for event in validations)
    assert validations[0]["metric_name"] == "mean absolute error"
    assert report.actual is not None
    assert report.actual.steps == 8
    assert all(len(event["answers"]) == 30 for event in history(report.outcome.folder) if event["kind"] == "validation")
    assert f"shop@best is step {report.outcome.best.step} of 8" in report.remarks[0]
    assert "the base has" in report.remarks[0]
    json.dumps(report.to_json(), allow_nan=False)

    known = tuned_model(f"hf:{base}?adapter=shop@best")
    assert known is not None
    assert known.asked is not None
    assert known.asked.prompt == prepared.data.form
    problem = prepared.data.problem
    assert problem is not None
    found = compare(problem, ["price", "tuned:shop@4", "tuned:shop@best"], models=[f"hf:{base}"])
    assert [result.scores.n for result in found.results] == [40, 40, 40]
    assert [row.title for row in found.verdict.ways] == ["prompting", "fine-tuning"]
    again = run_tuning(settings, prepared=prepared)
    assert again.outcome.steps == 8


@pytest.mark.parametrize("cut", [False, True])
def test_the_metric_in_training_is_that_of_the_comparison(cut: bool, base: Path, shop: Path) -> None:
    """The error on the validation items, read off the live model, is what `tuned` gives on the same items."""
    settings = config(base, shop)
    prepared = prepare(settings)
    if cut:
        settings = config(base, shop, max_length=max(row.tokens for row in prepared.data.train) - 4)
        prepared = prepare(settings)
        assert sum(row.cut > 0 for row in prepared.data.validation) > 5
    report = run_tuning(settings, prepared=prepared)
    last = report.outcome.revisions[-1]
    problem = prepared.data.problem
    assert problem is not None
    on_validation = replace(problem, test=problem.validation, validation=(), fingerprint="validation")
    found = compare(on_validation, [f"tuned:shop@{last.step}", f"tuned:shop@{last.step}:whole"])
    as_trained, whole = found.results
    assert as_trained.scores.metrics["mae"].value == pytest.approx(last.metric, rel=2e-3)
    assert any("were cut" in note for note in as_trained.notes) is cut
    assert not any("were cut" in note for note in whole.notes)
    assert (as_trained.scores.metrics["mae"].value == whole.scores.metrics["mae"].value) is not cut


def test_whole_texts_are_a_choice_for_tuned_models_only(base: Path, shop: Path) -> None:
    problem = prepare(config(base, shop)).data.problem
    assert problem is not None
    with pytest.raises(UsageError, match="whole is for tuned models"):
        compare(problem, ["price:mean:whole"], models=[f"hf:{base}"])


def test_a_stopped_run_goes_on(base: Path, shop: Path) -> None:
    settings = config(base, shop)
    first = run_tuning(settings, watcher=Watching(last=3))
    assert first.outcome.ended == "stopped"
    assert 3 <= first.outcome.steps < 8
    second = run_tuning(settings)
    assert second.outcome.finished
    assert second.outcome.steps == 8
    steps = [event["step"] for event in history(second.outcome.folder) if event["kind"] == "step"]
    assert steps == list(range(1, 9))


def test_a_refused_run_leaves_what_is_kept_as_it_was(base: Path, shop: Path) -> None:
    run_tuning(config(base, shop, max_steps=1))
    before = (run_folder("shop") / "asked.json").read_bytes()
    with pytest.raises(UsageError, match="another configuration"):
        run_tuning(config(base, shop, max_steps=1, question="How much?"))
    assert (run_folder("shop") / "asked.json").read_bytes() == before


def test_conversations_are_checked_and_judged_by_their_answers(base: Path, tmp_path: Path) -> None:
    answers = ["no" if n % 2 else "yes" for n in range(60)]
    rows = [{"messages": [user(f"Is {n} even?"), assistant(answer)]} for n, answer in enumerate(answers)]
    path = tmp_path / "even.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = config(base, path, text=None, target=None, test_size=None, validation_size=10, max_steps=2)
    prepared = prepare(settings)
    assert prepared.ok
    assert "the chat template holds" in prepared.checks[0]
    assert isinstance(task_metric(settings, prepared.data), SameAnswer)
    report = run_tuning(settings, prepared=prepared)
    assert report.outcome.best.metric_name == "share of wrong answers"
    assert 0 <= (report.outcome.best.metric or 0) <= 1
    assert "label format" in {finding.name for finding in report.findings}  # two steps teach no words


def test_which_metric_suits_the_rows(base: Path, shop: Path) -> None:
    prepared = prepare(config(base, shop))
    assert isinstance(task_metric(prepared.config, prepared.data), NumberMetric)
    short = replace(prepared.data, validation=[*prepared.data.validation] * 20)  # 600 rows
    assert [_items(config(base, shop, max_steps=n, eval_steps="auto"), short) for n in (10, 400, 9_000)] == [
        50,
        128,
        200,
    ]
    assert task_metric(config(base, shop, validation_metric="loss"), prepared.data) is None
    assert task_metric(config(base, shop, completion_only_loss=False), prepared.data) is None


def _items(settings: TuneConfig, data: TuneData) -> int:
    found = task_metric(settings, data)
    assert isinstance(found, NumberMetric)
    return len(found.items)


@pytest.mark.parametrize(
    ("validations", "better"),
    [
        ([(0, 50.0), (4, 30.0)], True),
        ([(0, 50.0), (4, 49.0)], False),
        ([(0, 50.0)], None),
        ([(4, 30.0)], None),
    ],
)
def test_better_means_beyond_the_bases_interval(validations: list[tuple[int, float]], better: bool | None) -> None:
    events = [
        {"kind": "validation", "step": step, "loss": 1.0, "metric": value, "low": value - 5, "high": value + 5}
        for step, value in validations
    ]
    assert improved(events) is better


def test_small_gains_on_the_same_items_are_found_in_pairs(base: Path, shop: Path) -> None:
    settings = config(base, shop, eval_steps=2000)
    metric = task_metric(settings, prepare(settings).data)
    assert isinstance(metric, NumberMetric)
    true = [float(case.expected) for case in metric.items]
    before = [one + (-1) ** n * (20.0 + 7 * n) for n, one in enumerate(true)]
    nearer = [one + (-1) ** n * (19.0 + 7 * n) for n, one in enumerate(true)]

    def events(now: Sequence[float | None]) -> list[dict[str, Any]]:
        ends = {"low": 100.0, "high": 140.0}
        told = [(0, 121.5, before), (4, 120.5, now)]
        return [
            {"kind": "validation", "step": step, "loss": 1.0, "metric": error, "answers": answers, **ends}
            for step, error, answers in told
        ]

    assert improved(events(nearer)) is False  # within the interval of the base's
    assert improved(events(nearer), metric) is True
    assert improved(events(before), metric) is False
    further = [one + (-1) ** n * (21.0 + 7 * n) for n, one in enumerate(true)]
    assert improved(events(further), metric) is False
    assert improved(events([nearer[0], None, *nearer[2:]]), metric) is True


def test_short_answers_are_compared_in_pairs_too() -> None:
    learned = [False, True]
    metric = SameAnswer("scripted:none", [TuneRow([1, 2], learned, None) for _ in range(30)])
    before = [1.0] * 12 + [0.0] * 18
    assert metric.surely_better([0.0] * 12 + before[12:], before) is True
    assert metric.surely_better([0.0, *before[1:]], before) is False
    assert metric.surely_better([1.0] * 30, before) is False


def test_a_learning_curve_tunes_on_parts_within_parts(base: Path, shop: Path) -> None:
    whole = prepare(config(base, shop, max_steps=None, num_train_epochs=1, eval_steps="auto"))
    runs: list[str] = []

    def watching(part: Any) -> Any:
        runs.append(part.config.run)
        return nullcontext()

    found = learning_curve(whole, shares=[Fraction(1), Fraction(1, 4), Fraction(1, 2)], watching=watching)
    assert found is not None
    assert runs == ["shop-1of4", "shop-1of2", "shop"]
    total = len(whole.data.train)
    assert [point.rows for point in found.points] == [round(total / 4), round(total / 2), total]
    assert found.gain is not None
    assert found.gain.rows == 2 * total
    assert f"{2 * total:,} rows" in found.sentence
    assert [result.label for result in found.report.results] == [
        "price:auto",
        *(f"tuned:{run}@best" for run in runs),
    ]
    json.dumps(found.to_json(), allow_nan=False)


def test_a_learning_curve_needs_items_to_judge_by_and_rows_to_divide(base: Path, shop: Path) -> None:
    whole = prepare(config(base, shop))
    with pytest.raises(UsageError, match="less than one batch of 16"):
        learning_curve(whole, shares=[Fraction(1, 64)])
