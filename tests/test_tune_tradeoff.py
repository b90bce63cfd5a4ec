"""The trade-off of a run: its points, which of them are beaten, and what is said about them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whetstone.tuning.probe_result import Estimate, ProbeResult, Reading, Share
from whetstone.tuning.tradeoff import SINGLE_PURPOSE, Tradeoff, tradeoff
from whetstone.workflows.tradeoff_figure import tradeoff_figure


def probe(step: int, drift: float, lost: int = 0, labelled: int = 0) -> dict[str, Any]:
    reading = Reading(Estimate(drift, drift * 0.9, drift * 1.1), 20 * (1 + drift), 20.0, 1000)
    shares = {
        "facts": Share(30, 20 - lost, 0.5, 0.8, 20, lost, 0, Estimate(-drift, -1.0, 0.0)),
        "labels": Share(20, labelled, 0.0, 1.0, 0, 0, labelled),
    }
    result = ProbeResult(reading, {"English": reading}, shares, 1.0, "x", (("Why?", "Because."),))
    return json.loads(json.dumps({"kind": "probe", "step": step, **result.to_json()}))


def validation(step: int, metric: float | None, loss: float = 1.0) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": "validation", "step": step, "loss": loss}
    if metric is not None:
        told |= {"metric": metric, "metric_name": "mean absolute error", "low": metric - 5, "high": metric + 5}
    return told


JOURNAL = [
    {"kind": "step", "step": 1, "loss": 3.0},
    validation(0, 130.0),
    validation(10, 100.0),
    probe(10, 0.05, lost=1),
    validation(20, 98.0),
    probe(20, 0.5, lost=6, labelled=12),
    validation(30, 104.0),
    probe(30, 0.9, lost=9, labelled=20),
]


@pytest.fixture
def found() -> Tradeoff:
    return tradeoff(JOURNAL)


def test_points_join_probe_and_validation_of_a_step(found: Tradeoff) -> None:
    assert [(p.step, p.task.value if p.task else None, p.drift.value) for p in found.points] == [
        (0, 130.0, 0.0),
        (10, 100.0, 0.05),
        (20, 98.0, 0.5),
        (30, 104.0, 0.9),
    ]
    assert found.task_name == "mean absolute error"
    assert found.points[2].lost == 6
    assert found.points[2].known == 20


def test_the_frontier_is_what_no_other_beats(found: Tradeoff) -> None:
    assert [p.step for p in found.points if p.on_frontier] == [0, 10, 20]


def test_a_revision_that_is_as_good_and_nearer_is_named(found: Tradeoff) -> None:
    said = " ".join(found.sentences())
    assert "Step 20 has the lowest mean absolute error; step 10 is within its interval" in said
    assert "10% as far" in said


def test_it_is_said_that_forgetting_may_not_matter(found: Tradeoff) -> None:
    assert SINGLE_PURPOSE in found.sentences()


def test_answers_in_the_training_form_are_told(found: Tradeoff) -> None:
    assert any(line.startswith("20 of 20 unrelated questions") for line in found.sentences())


def test_a_repeated_step_counts_once_with_its_last_line() -> None:
    assert tradeoff([*JOURNAL, probe(30, 0.1)]).points[-1].drift.value == 0.1


def test_the_loss_stands_in_where_there_is_no_metric() -> None:
    found = tradeoff([validation(10, None, 2.5), probe(10, 0.1)])
    assert found.task_name == "validation loss"
    assert found.points[0].task == Estimate(2.5, 2.5, 2.5)


def test_training_that_bought_nothing_is_said_to() -> None:
    found = tradeoff([validation(0, 90.0), probe(0, 0.0), validation(10, 95.0), probe(10, 0.3)])
    assert any("training bought nothing" in line for line in found.sentences())


def test_a_run_without_probes_says_so() -> None:
    assert tradeoff([validation(10, 95.0)]).sentences() == ["There are no probes of this run."]


def test_the_table_has_a_row_for_each_state(found: Tradeoff) -> None:
    rows = found.rows()
    assert [row[0] for row in rows] == ["step", "base", "10", "20", "30"]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert "0.5 (0.45 to 0.55)" in rows[3]


def test_the_figure_draws_every_state_with_its_interval(found: Tradeoff) -> None:
    figure = tradeoff_figure(found)
    assert figure is not None
    (marks,) = figure.data
    assert marks["x"] == [0.0, 0.05, 0.5, 0.9]
    assert marks["y"] == [130.0, 100.0, 98.0, 104.0]
    assert marks["error_y"]["array"] == [5.0, 5.0, 5.0, 5.0]
    assert "step 20" in figure.alternative
    json.dumps({"data": figure.data, "layout": figure.layout}, allow_nan=False)


def test_one_state_is_no_figure() -> None:
    assert tradeoff_figure(tradeoff([validation(0, 90.0), probe(0, 0.0)])) is None


def test_it_is_ready_for_json(found: Tradeoff) -> None:
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["points"][1]["drift"]["value"] == 0.05
    assert told["sentences"]
