"""How sure a run was: coverage, CRPS and doubt are computed rightly, and shown only where there are distributions."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import fake_reports as fake
from whetstone.cli.report_view import print_report
from whetstone.evaluation.figures.answers import truth_against_guess
from whetstone.evaluation.html import render_html
from whetstone.evaluation.judged import judge
from whetstone.evaluation.report import Report
from whetstone.evaluation.sections import build_section
from whetstone.evaluation.sureness import Sureness, sureness
from whetstone.numeric.distribution import Distribution
from whetstone.numeric.summary import summarise
from whetstone.types import Case, Prediction, Problem, Reading


def known(spread: float, corrected: float | None = None, true_spread: float = 0.5, n: int = 400) -> Sureness:
    problem = fake.number_problem(n)
    given = fake.unsure(problem, fake.answers(problem, fake.off_by(true_spread)), spread, corrected)
    found = sureness(judge(problem, given))
    assert found is not None
    return found


def test_intervals_of_a_run_that_knows_itself_hold_what_they_promise() -> None:
    assert known(0.5).answered.coverage == pytest.approx((0.5, 0.8, 0.95), abs=0.06)
    assert known(0.5).answered.below == pytest.approx(np.arange(1, 80) / 80, abs=0.07)
    assert known(0.5).uncorrected is None


def test_a_run_that_is_too_sure_is_seen_and_its_correction_too() -> None:
    found = known(0.1, corrected=0.5)
    assert found.uncorrected is not None
    assert all(share < 0.4 for share in found.uncorrected.coverage)
    assert found.answered.coverage == pytest.approx((0.5, 0.8, 0.95), abs=0.06)
    assert found.answered.crps < found.uncorrected.crps
    assert all(after > before for after, before in zip(found.answered.widths, found.uncorrected.widths, strict=True))


def test_the_score_is_that_of_the_distributions() -> None:
    values = np.arange(100.0)
    rng = np.random.default_rng(1)
    found = [Distribution(values, row / row.sum()) for row in rng.random((8, 100)) ** 4]
    cases = [Case(str(n), "x", float(rng.integers(100))) for n in range(8)]
    problem = Problem("toy", "number", "price", "mae", (), (), cases, "f")
    given = [
        Prediction(case.id, "k", Reading("value", one.median), distribution=summarise(one))
        for case, one in zip(cases, found, strict=True)
    ]
    exact = np.mean([one.crps(float(case.expected)) for one, case in zip(found, cases, strict=True)])
    result = sureness(judge(problem, given))
    assert result is not None
    assert result.answered.crps == pytest.approx(exact, rel=0.01)


def test_doubt_orders_answers_by_the_width_of_their_intervals() -> None:
    found = known(0.5)  # intervals are wider where prices are higher, and so are errors
    shares, errors = zip(*found.selective, strict=True)
    assert shares[-1] == 1
    assert list(shares) == sorted(shares)
    assert errors[len(errors) // 4] < errors[len(errors) // 2] < errors[-1]


def test_answers_without_a_distribution_are_left_out_and_a_run_without_any_has_nothing() -> None:
    problem = fake.number_problem(40)
    plain = fake.answers(problem, fake.off_by(0.5))
    assert sureness(judge(problem, plain)) is None
    some = [*fake.unsure(problem, plain, 0.5)[:30], *plain[30:]]
    found = sureness(judge(problem, some))
    assert found is not None
    assert found.n == 30


def report(n: int = 60) -> Report:
    problem = fake.number_problem(n)
    plain = fake.answers(problem, fake.off_by(0.5, unreadable=0.1))
    return Report.build(
        problem,
        [
            fake.result(problem, fake.unsure(problem, plain, 0.1), "price:median", model="hf:x"),
            fake.result(problem, fake.unsure(problem, plain, 0.1, 0.5), "calibrated:median", model="hf:x"),
            fake.result(problem, plain, "tfidf"),
        ],
    )


def test_the_page_shows_the_panel_where_there_are_distributions_and_only_there() -> None:
    made = report()
    price, calibrated, tfidf = (build_section(made.problem, result) for result in made.results)
    assert [len(one.sure) for one in (price, calibrated, tfidf)] == [1, 2, 0]
    assert [len(one.sure_figures) for one in (price, calibrated, tfidf)] == [3, 3, 0]
    page = render_html(made)
    assert page.count("How sure it was") == 2
    assert "Do the intervals hold?" in page
    without = Report.build(made.problem, [made.results[2]])
    assert "How sure" not in render_html(without)


def test_plotly_accepts_the_panel_and_readers_who_do_not_see_it_are_told() -> None:
    import plotly.graph_objects as go

    made = report()
    for result in made.results[:2]:
        section = build_section(made.problem, result)
        for figure in (*section.sure_figures, *section.figures):
            go.Figure(data=figure.data, layout=figure.layout)
            json.dumps([figure.data, figure.layout], allow_nan=False)
            assert figure.alternative
            assert "&#36;" not in figure.alternative + figure.caption  # the page escapes them


def test_bars_are_the_intervals_within_the_frame() -> None:
    made = report()
    items = judge(made.problem, made.results[1].predictions)
    figure = truth_against_guess(made.problem, items, [])
    assert "Bars are 80 % intervals." in figure.caption
    low, high = figure.data[0]["x"]
    bars = 0
    for trace in figure.data[1:]:
        bars += len(trace["x"])
        for y, up, down in zip(trace["y"], trace["error_y"]["array"], trace["error_y"]["arrayminus"], strict=True):
            assert low <= y - down * (1 - 1e-5)
            assert y + up <= high * (1 + 1e-5)
    assert bars == sum(item.error is not None for item in items)
    assert any("80 % interval &#36;" in text for trace in figure.data[1:] for text in trace["text"])
    crowded = fake.number_problem(500)
    many = fake.unsure(crowded, fake.answers(crowded, fake.off_by(0.5)), 0.5)
    assert all("error_y" not in trace for trace in truth_against_guess(crowded, judge(crowded, many), []).data)


def test_json_and_csv_hold_coverage_and_intervals() -> None:
    made = report()
    runs = json.loads(json.dumps(made.to_json(), allow_nan=False))["runs"]
    assert runs[0]["sureness"]["uncorrected"] is None
    assert runs[1]["sureness"]["uncorrected"]["coverage"]["0.8"] < runs[1]["sureness"]["coverage"]["0.8"]
    assert runs[1]["sureness"]["n"] < 60
    assert runs[2]["sureness"] is None
    rows = list(csv.DictReader(io.StringIO(made.to_csv())))
    place, known = next((n, one.distribution) for n, one in enumerate(made.results[0].predictions) if one.distribution)
    assert known is not None
    assert (float(rows[place]["low_80"]), float(rows[place]["high_80"])) == pytest.approx(known.interval(0.8))
    assert rows[-1]["low_80"] == ""


def test_the_terminal_has_columns_for_it() -> None:
    console = Console(record=True, width=160, file=io.StringIO())
    print_report(report(), console)
    text = console.export_text()
    assert "within 50 / 80 / 95 % uncorrected" in text
    assert "CRPS" in text
    bare = Console(record=True, width=160, file=io.StringIO())
    print_report(replace(report(), results=report().results[2:]), bare)
    assert "CRPS" not in bare.export_text()
