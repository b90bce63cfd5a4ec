"""The verdict over prompting, retrieval and fine-tuning: each by its best technique, alone and together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

import fake_reports
from whetstone.cli.report_view import print_report
from whetstone.evaluation.html import render_html
from whetstone.evaluation.report import Report
from whetstone.evaluation.technique import Training, Way
from whetstone.evaluation.ways import WayRow

MINUTES_26 = Training(26 * 60.0, 0.43, "shop")


def report(runs: Sequence[tuple[str, float, tuple[Way, ...], Training | None]], n: int = 200, **more: Any) -> Report:
    """Runs of these names, off by so much, of these ways."""
    problem = fake_reports.number_problem(n)
    return Report.build(
        problem,
        [
            fake_reports.result(
                problem,
                fake_reports.answers(problem, fake_reports.off_by(spread, seed)),
                name,
                model="hf:m",
                ways=ways,
                training=training,
                **more,
            )
            for seed, (name, spread, ways, training) in enumerate(runs, start=10)
        ],
    )


@pytest.fixture(scope="module")
def three() -> Report:
    return report(
        [
            ("ask", 2.0, ("prompting",), None),
            ("price:median", 0.9, ("prompting",), None),
            ("few-shot:nearest:3", 0.5, ("retrieval",), None),
            ("tuned:shop", 0.2, ("tuning",), MINUTES_26),
            ("tuned:shop:nearest:3", 0.03, ("retrieval", "tuning"), MINUTES_26),
            ("tfidf", 0.4, ("fitting",), None),
        ]
    )


def row(report: Report, *ways: Way) -> WayRow:
    return next(row for row in report.verdict.ways if row.ways == ways)


def test_each_way_is_stood_for_by_its_best_technique(three: Report) -> None:
    assert [(row.title, row.best) for row in three.verdict.ways] == [
        ("prompting", "price:median"),
        ("retrieval", "few-shot:nearest:3"),
        ("fine-tuning", "tuned:shop"),
        ("fitted models", "tfidf"),
        ("retrieval + fine-tuning", "tuned:shop:nearest:3"),
    ]


def test_tuning_counts_among_the_cost_to_build(three: Report) -> None:
    tuned, asked = row(three, "tuning"), row(three, "prompting")
    assert tuned.build_seconds == pytest.approx(26 * 60)
    assert tuned.build_cost == 0.43
    assert (asked.build_seconds, asked.build_cost) == (0.0, 0.0)
    assert any("after 26 min 0 s of tuning" in reason for reason in report_of_tie().verdict.reasons)


def report_of_tie() -> Report:
    return report([("ask", 0.4, ("prompting",), None), ("tuned:shop", 0.41, ("tuning",), MINUTES_26)])


def test_it_says_how_each_way_keeps_up_when_facts_change(three: Report) -> None:
    assert row(three, "prompting").keeps_up.startswith("at once")
    assert "sync" in row(three, "retrieval").keeps_up
    assert "a new run (26 min 0 s)" in row(three, "tuning").keeps_up
    both = row(three, "retrieval", "tuning").keeps_up
    assert "sync" in both
    assert "new run" in both


def test_ways_are_compared_alone_and_together(three: Report) -> None:
    told = " ".join(three.verdict.reasons)
    assert "Fine-tuning (tuned:shop) is $" in told
    assert "better than prompting (price:median), beyond chance" in told
    assert "Retrieval + fine-tuning (tuned:shop:nearest:3) is $" in told
    assert "better than fine-tuning (tuned:shop), beyond chance" in told
    assert any(
        reason == "Fine-tuning (tuned:shop) cannot be told apart from prompting (ask)."
        for reason in report_of_tie().verdict.reasons
    )


def test_one_way_alone_is_not_put_side_by_side() -> None:
    found = report([("ask", 0.4, ("prompting",), None), ("constant", 0.9, ("fitting",), None)], n=60)
    assert found.verdict.ways == ()
    unknown = report([("ask", 0.4, (), None), ("tuned", 0.9, (), None)], n=60)
    assert unknown.verdict.ways == ()


def test_what_is_not_known_is_not_made_up() -> None:
    found = report([("ask", 0.4, ("prompting",), None), ("tuned:x", 0.3, ("tuning",), Training())], n=60)
    tuned = row(found, "tuning")
    assert (tuned.build_seconds, tuned.build_cost) == (None, None)
    assert tuned.keeps_up.endswith("after a new run")
    assert "unknown" in printed(found)


def printed(found: Report) -> str:
    console = Console(file=StringIO(), width=140, color_system=None)
    print_report(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_terminal_page_and_json_show_all_ways(three: Report) -> None:
    shown, page, plain = printed(three), render_html(three), json.loads(json.dumps(three.to_json()))
    for text in (shown, page):
        assert "retrieval + fine-tuning" in text
        assert "26 min 0 s, $0.43" in text
        assert "a new run (26 min 0 s)" in text
    assert [row["best"] for row in plain["ways"]] == [row.best for row in three.verdict.ways]
    assert plain["runs"][3]["training"] == {"seconds": 1560.0, "cost": 0.43, "source": "shop"}
    assert plain["runs"][3]["ways"] == ["tuning"]
