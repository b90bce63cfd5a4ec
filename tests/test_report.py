"""A report as JSON, as CSV and as one HTML file."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import fake_reports as fake
from whetstone.evaluation.bands import FAR, GOOD, NEAR, number_band
from whetstone.evaluation.classes import MOST_LABELS, NOTHING, OTHER, confusion, label_scores
from whetstone.evaluation.excerpt import head, visible
from whetstone.evaluation.figures.answers import MOST_POINTS, running_mean, truth_against_guess
from whetstone.evaluation.figures.ranges import truth_ranges
from whetstone.evaluation.figures.runs import forest, price_against_metric
from whetstone.evaluation.html import render_html
from whetstone.evaluation.judged import judge
from whetstone.evaluation.report import MIXED, Report
from whetstone.evaluation.sections import MOST_UNREADABLE, MOST_WORST, build_section
from whetstone.evaluation.tables import best_first, difference_cells, interval_cell, seconds_in_words, telling_pairs
from whetstone.types import Case, Prediction, Problem, Reading


@pytest.fixture(scope="module")
def numbers() -> Report:
    return fake.number_report()


@pytest.fixture(scope="module")
def labels() -> Report:
    return fake.label_report()


@pytest.fixture(scope="module")
def texts() -> Report:
    return fake.text_report()


# --- JSON


def test_json_has_the_agreed_form(numbers: Report) -> None:
    data = numbers.to_json()
    assert data["problem"] == "prices"
    assert data["fingerprint"] == "ab12" * 16
    assert data["verdict"] == numbers.verdict.sentence
    run = data["runs"][0]
    assert {"technique", "model", "n", "metrics", "seconds", "tokens", "cost"} <= set(run)
    assert run["model"] == "smollm2"
    assert run["n"] == 60
    wanted = {"mae", "median_ae", "rmse", "r2", "rmsle", "smape", "hit_rate", "parse_rate"}
    assert wanted <= set(run["metrics"])
    assert all(set(interval) == {"value", "low", "high"} for interval in run["metrics"].values())
    assert (run["tokens"], run["prompt_tokens"], run["completion_tokens"]) == (60 * 45, 60 * 40, 60 * 5)
    assert run["seconds"] == pytest.approx(0.6)
    assert [(pair["a"], pair["b"]) for pair in data["pairs"]] == [(pair.a, pair.b) for pair in numbers.pairs]


def test_json_never_holds_nan_or_infinity_or_what_a_file_cannot() -> None:
    problem = fake.number_problem(8)
    nothing = fake.answers(problem, lambda _: Reading("refused"))
    infinite = fake.answers(problem, lambda _: Reading("value", float("inf")))
    report = Report.build(
        replace(problem, name="odd \ud800 name", source={"mean": float("nan"), "odd": {1: float("inf")}}),
        [fake.result(problem, nothing, "nothing"), fake.result(problem, infinite, "infinite")],
    )
    text = json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False)
    data = json.loads(text.encode("utf-8"))
    assert data["runs"][0]["metrics"]["mae"] == {"value": None, "low": None, "high": None}
    assert data["runs"][0]["metrics"]["parse_rate"]["value"] == 0
    assert data["source"] == {"mean": None, "odd": {"1": None}}


def test_mixed_fingerprints_stay_visible_in_every_form(numbers: Report) -> None:
    report = replace(numbers, notes=(f"{MIXED}a and b differ: 3 of 5 items are shared", "a plain note"))
    assert report.mixed == ("a and b differ: 3 of 5 items are shared",)
    assert report.to_json()["mixed"] is True
    page = render_html(report)
    assert "These runs are not on the same frozen items" in page
    assert "a and b differ: 3 of 5 items are shared" in page
    assert "These runs are not" not in render_html(numbers)


# --- what a run took


@pytest.mark.parametrize(
    ("technique", "model", "costs", "expected"),
    [
        ("tfidf", None, [0.0, 0.0], 0.0),
        ("guesses:human.csv", None, [None, None], None),
        ("ask", "smollm2", [0.0, 0.0], 0.0),
        ("ask", "openai:x", [0.25, 0.5], 0.75),
        ("ask", "openai:x", [0.25, None], None),
        ("ask", "openai:x", [None, None], None),
    ],
)
def test_a_cost_is_known_only_when_every_answer_has_its_price(
    technique: str, model: str | None, costs: list[float | None], expected: float | None
) -> None:
    problem = fake.number_problem(2)
    predictions = [
        replace(prediction, cost=cost)
        for prediction, cost in zip(fake.answers(problem, fake.off_by(0.1)), costs, strict=True)
    ]
    assert fake.result(problem, predictions, technique, model=model).cost == expected


def test_an_item_on_which_the_model_failed_does_not_hide_the_cost_of_the_others() -> None:
    problem = fake.number_problem(2)
    first, second = fake.answers(problem, fake.off_by(0.1), cost=0.5)
    failed = replace(second, reading=Reading("error", note="too long"), cost=None)
    assert fake.result(problem, [first, failed], "ask", model="openai:x").cost == 0.5


def test_runs_of_one_label_are_numbered_and_a_run_given_twice_stands_once() -> None:
    problem = fake.number_problem(25)
    one = fake.result(problem, fake.answers(problem, fake.off_by(0.1)), "ask", run_id="run-1")
    other = fake.result(problem, fake.answers(problem, fake.off_by(0.3)), "ask", run_id="run-2")
    report = Report.build(problem, [one, other, one])
    assert [result.label for result in report.results] == ["ask", "ask (2)"]


# --- CSV


def test_csv_has_a_row_per_answer_with_its_evidence(numbers: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(numbers.to_csv())))
    assert len(rows) == 3 * 60
    first = rows[0]
    case, prediction = numbers.problem.test[0], numbers.results[0].predictions[0]
    assert first["case_id"] == "row-1"
    assert float(first["expected"]) == case.expected
    assert float(first["value"]) == prediction.reading.value
    assert float(first["error"]) == pytest.approx(abs(float(prediction.reading.value or 0) - float(case.expected)))
    assert first["prompt_tokens"] == "40"
    unread = [row for row in rows if row["status"] != "value"]
    assert unread
    assert all(row["error"] == "" and row["raw"].startswith("</script>") for row in unread)
    numbers.to_csv().encode("utf-8")  # a lone surrogate in a title does not stop it


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1", "\t=1", "\r\n=1", "＝1+1", "\ufeff=1", "-"]
)
def test_csv_defuses_what_a_spreadsheet_would_run(text: str) -> None:
    assert csv_cell_of_raw(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["-5", "+12.50", "-1e3", "1 = 1", "a@b.example", "", "예, 맞아요", 'say "hi",\nplease']
)
def test_csv_leaves_numbers_and_other_text_as_they_are(text: str) -> None:
    assert csv_cell_of_raw(text) == text


def csv_cell_of_raw(text: str) -> str:
    problem = fake.number_problem(1)
    report = Report.build(
        problem, [fake.result(problem, fake.answers(problem, fake.off_by(0.1), lambda *_: text), "a")]
    )
    (row,) = csv.DictReader(io.StringIO(report.to_csv(), newline=""))
    return row["raw"]


# --- grades


def test_the_grades_are_the_testers_rule() -> None:
    assert number_band(139.99, 100) is GOOD  # under 40
    assert number_band(140, 100) is NEAR
    assert number_band(1_190, 1_000) is GOOD  # under 20 %
    assert number_band(1_399, 1_000) is NEAR
    assert number_band(1_400, 1_000) is FAR
    assert number_band(180, 100) is FAR
    assert number_band(20, 100) is FAR
    assert number_band(-35, 0) is GOOD


def test_green_answers_are_the_hits_of_the_hit_rate(numbers: Report) -> None:
    for result in numbers.results:
        items = judge(numbers.problem, result.predictions)
        good = sum(item.band is GOOD for item in items)
        assert good / result.scores.n_readable == pytest.approx(result.scores.metrics["hit_rate"].value)


# --- figures


def test_plotly_accepts_every_figure(numbers: Report, labels: Report, texts: Report) -> None:
    import plotly.graph_objects as go

    seen = 0
    for report in (numbers, labels, texts):
        order = best_first(report)
        figures = [forest(report, order), price_against_metric(report, order, "seconds")]
        for result in order:
            figures += build_section(report.problem, result).figures
        for figure in figures:
            assert figure is not None
            go.Figure(data=figure.data, layout=figure.layout)
            json.dumps([figure.data, figure.layout], allow_nan=False)
            assert figure.alternative
            seen += 1
    assert seen == 6 + 3 * 3 + 2 * 1 + 2 * 2


def test_hover_texts_are_no_html_and_no_formula(numbers: Report) -> None:
    items = judge(numbers.problem, numbers.results[0].predictions)
    figure = truth_against_guess(numbers.problem, items, [])
    hovers = [text for trace in figure.data for text in trace.get("text", [])]
    assert len(hovers) == 60
    hostile = [text for text in hovers if "alert" in text]
    assert hostile
    for text in hovers:
        assert set(re.findall(r"<[^>]*>", text)) <= {"<b>", "</b>", "<br>"}
        assert "$" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_the_line_y_equals_x_and_markers_that_differ_in_shape(numbers: Report) -> None:
    items = judge(numbers.problem, numbers.results[0].predictions)
    line, *points = truth_against_guess(numbers.problem, items, []).data
    assert line["x"] == line["y"]
    assert len({trace["marker"]["symbol"] for trace in points}) == 3
    assert len({trace["marker"]["color"] for trace in points}) == 3
    assert sum(len(trace["x"]) for trace in points) == 60


def test_an_absurd_guess_sits_at_the_edge_and_keeps_its_value() -> None:
    problem = fake.number_problem(40)
    guess = fake.off_by(0.1)
    wild = fake.answers(problem, lambda case: Reading("value", 9e9) if case.id == "row-7" else guess(case))
    figure = truth_against_guess(problem, judge(problem, wild), [])
    top = max(float(case.expected) for case in problem.test)
    assert figure.layout["yaxis"]["range"][1] < 3 * top
    far = figure.data[3]
    place = next(i for i, text in enumerate(far["text"]) if "<b>7</b>" in text)
    assert far["y"][place] <= figure.layout["yaxis"]["range"][1]
    assert "9,000,000,000" in far["text"][place]
    assert "1 guess beyond the frame" in figure.caption


def test_a_large_plot_draws_a_sample_and_the_worst_and_says_so() -> None:
    problem = fake.number_problem(5_000)
    items = judge(problem, fake.answers(problem, fake.off_by(0.4)))
    worst = sorted(items, key=lambda item: -(item.error or 0))[:20]
    figure = truth_against_guess(problem, items, worst)
    drawn = sum(len(trace["x"]) for trace in figure.data[1:])
    assert MOST_POINTS <= drawn <= MOST_POINTS + 20
    shown = "".join(text for trace in figure.data[1:] for text in trace["text"])
    assert all(f"<b>{item.number:,}</b>" in shown for item in worst)
    assert f"Drawn: {drawn:,} of 5,000 answers" in figure.caption
    assert len(running_mean(problem, items).data[1]["x"]) <= 300


def test_the_running_mean_ends_at_the_metric(numbers: Report, labels: Report, texts: Report) -> None:
    for report, factor in ((numbers, 1), (labels, 100), (texts, 1)):
        for result in report.results:
            band, line = running_mean(report.problem, judge(report.problem, result.predictions)).data
            value = result.scores.metrics[report.problem.metric].value
            assert line["y"][-1] == pytest.approx(factor * (value or 0), rel=1e-4)
            low, high = line["customdata"][-1]
            assert low <= line["y"][-1] <= high
            assert len(band["x"]) == 2 * len(line["x"])


def test_ranges_of_the_truth_hold_every_item_once_and_keep_ties_together() -> None:
    truths = [*[10.0] * 50, *np.linspace(20, 500, 70).tolist()]
    cases = [Case(f"{i}", "x", truth) for i, truth in enumerate(truths)]
    problem = replace(fake.number_problem(1), test=cases)
    ranges = truth_ranges(judge(problem, fake.answers(problem, fake.off_by(0.3, unreadable=0.1))))
    assert sum(one.n for one in ranges) == 120
    assert ranges[0].low == ranges[0].high == 10
    assert ranges[0].n == 50
    assert all(left.high < right.low for left, right in itertools.pairwise(ranges))
    for one in ranges:
        assert one.error is not None
        assert one.error_low is not None
        assert one.error_high is not None
        assert one.error_low <= one.error <= one.error_high


def test_too_few_items_or_one_truth_make_no_ranges() -> None:
    few = fake.number_problem(20)
    assert truth_ranges(judge(few, fake.answers(few, fake.off_by(0.3)))) == []
    alike = replace(few, test=[Case(f"{i}", "x", 5.0) for i in range(100)])
    assert truth_ranges(judge(alike, fake.answers(alike, fake.off_by(0.3)))) == []


# --- labels


def test_the_confusion_matrix_counts_every_answer_and_unreadable_ones_apart(labels: Report) -> None:
    items = judge(labels.problem, labels.results[1].predictions)
    matrix = confusion(items)
    assert sum(map(sum, matrix.counts)) == 60
    assert matrix.answers == (*matrix.labels, NOTHING)
    assert sum(row[-1] for row in matrix.counts) == sum(item.error is None for item in items)
    right = sum(row[i] for i, row in enumerate(matrix.counts))
    assert right / 60 == labels.results[1].scores.metrics["accuracy"].value


def test_label_scores_agree_with_macro_f1(labels: Report) -> None:
    for result in labels.results:
        scores = label_scores(judge(labels.problem, result.predictions))
        assert np.mean([one.f1 for one in scores]) == pytest.approx(result.scores.metrics["macro_f1"].value)


def test_rare_labels_are_put_together_where_there_are_many() -> None:
    cases = [Case(f"{i}", "x", f"label {i % 40 if i < 400 else 1}") for i in range(500)]
    problem = Problem("many", "label", "x", "accuracy", (), (), cases, "f" * 64)
    matrix = confusion(judge(problem, fake.answers(problem, lambda case: Reading("value", case.expected))))
    assert len(matrix.labels) == MOST_LABELS
    assert matrix.labels[-1] == OTHER
    assert sum(map(sum, matrix.counts)) == 500
    assert "label 1" in matrix.labels


# --- the page


class Page(HTMLParser):
    """A parse of a page: its elements, the text of its scripts, and all other text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._raw = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self._raw:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def pages(numbers: Report, labels: Report, texts: Report) -> list[tuple[Report, str]]:
    return [(report, render_html(report)) for report in (numbers, labels, texts)]


def test_hostile_texts_stay_text(pages: list[tuple[Report, str]]) -> None:
    for report, source in pages:
        page = Page(source)
        executable = [text for attributes, text in page.scripts if "type" not in attributes]
        assert len(executable) == 2
        assert "plotly.js" in executable[0][:200]
        assert all(attributes == {"type": "application/json", "data-figure": attributes["data-figure"]}
                   for attributes, _ in page.scripts if "type" in attributes)  # fmt: skip
        assert page.all("img") == []
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert fake.HOSTILE in page.text
        assert "\x1b" not in source
        assert "\u202e" not in source
        source.encode("utf-8")
        assert report.verdict.sentence in page.text


def test_the_policy_allows_just_the_two_scripts_of_the_page(pages: list[tuple[Report, str]]) -> None:
    for _, source in pages:
        page = Page(source)
        policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None
        allowed = set(re.findall(r"'sha256-([^']+)'", policy))
        scripts = {text for attributes, text in page.scripts if "type" not in attributes}
        assert allowed == {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy


def test_the_page_needs_nothing_from_elsewhere(pages: list[tuple[Report, str]]) -> None:
    for _, source in pages:
        page = Page(source)
        for _, attributes in page.elements:
            assert "src" not in attributes
            assert (attributes.get("href") or "#").startswith("#")
        assert page.all("link") == []
        styles = source[source.index("<style>") : source.index("</style>")]
        assert "url(" not in styles
        assert "@import" not in styles


def test_every_figure_has_a_place_data_and_a_text_alternative(pages: list[tuple[Report, str]]) -> None:
    for _, source in pages:
        page = Page(source)
        identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(identifiers) == len(set(identifiers))
        data = [(a["data-figure"], text) for a, text in page.scripts if "data-figure" in a]
        assert len(data) == len(page.all("figure")) == source.count('class="unseen"') > 0
        for identifier, text in data:
            assert identifier in identifiers
            assert set(json.loads(text)) == {"data", "layout"}
        targets = {(a.get("href") or "")[1:] for a in page.all("a")}
        assert targets <= set(identifiers)


def test_tables_are_captioned_and_their_headings_scoped(pages: list[tuple[Report, str]]) -> None:
    for _, source in pages:
        page = Page(source)
        assert len(page.all("table")) == len(page.all("caption"))
        assert all(heading.get("scope") in ("col", "row") for heading in page.all("th"))
        regions = [a for a in page.all("div") if a.get("role") == "region"]
        assert len(regions) == len(page.all("table"))
        assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
        headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert headings[0] == 1
        assert headings.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(headings))


def test_the_page_says_verdict_table_pairs_and_how_it_was_split(numbers: Report) -> None:
    text = " ".join(Page(render_html(numbers)).text.split())
    assert text.index("Verdict") < text.index("Results") < text.index("Are the differences real?")
    for metric in ("mean absolute error", "parse rate", "RMSLE", "hit rate", "time per item", "tokens", "cost"):
        assert metric in text
    for pair in numbers.pairs:
        assert pair.sentence in text
    assert "60 test" in text
    assert "ab12" * 16 in text
    assert "cross-fitted, 5 folds" in text


def test_the_worst_and_the_unreadable_are_shown_with_their_raw_text_and_bounded() -> None:
    problem = fake.number_problem(300)
    run = fake.result(problem, fake.answers(problem, fake.off_by(1, unreadable=0.4), lambda c, _: f"raw {c.id}."), "a")
    section = build_section(problem, run)
    assert len(section.worst) == MOST_WORST
    assert len(section.unreadable) == MOST_UNREADABLE < section.n_unreadable
    errors = [row.item.error or 0 for row in section.worst]
    assert errors == sorted(errors, reverse=True)
    text = Page(render_html(Report.build(problem, [run]))).text
    for row in [*section.worst, *section.unreadable]:
        assert f"raw {row.item.case.id}." in text
    assert f"the first {MOST_UNREADABLE} of {section.n_unreadable}" in text


def test_a_long_reply_is_cut_and_the_cut_is_said() -> None:
    problem = fake.number_problem(30)
    run = fake.result(problem, fake.answers(problem, fake.off_by(1), lambda *_: "long " * 10_000), "a")
    page = render_html(Report.build(problem, [run]))
    assert "48,000 more characters" in page
    assert page.count("long ") < 20 * 500


@pytest.mark.parametrize(
    "make",
    [
        lambda problem: [],
        lambda problem: fake.answers(problem, fake.off_by(0.5))[:1],
        lambda problem: fake.answers(problem, lambda _: Reading("refused")),
        lambda problem: fake.answers(problem, lambda case: Reading("value", float(case.expected))),
        lambda problem: fake.answers(problem, lambda _: Reading("value", 0.0)),
        lambda problem: fake.answers(problem, lambda _: Reading("value", float("nan"))),
        lambda problem: fake.answers(problem, lambda _: Reading("value", 1e60)),
    ],
    ids=["no answers", "one answer", "all refused", "all right", "all zero", "all NaN", "absurd"],
)
def test_runs_at_the_edge_still_make_a_page(make: object) -> None:
    problem = fake.number_problem(40)
    predictions: list[Prediction] = make(problem)  # type: ignore[operator]
    other = fake.result(problem, fake.answers(problem, fake.off_by(0.3)), "other")
    for report in (
        Report.build(problem, [fake.result(problem, predictions, "edge"), other]),
        Report.build(problem, [fake.result(problem, predictions, "edge")]),
    ):
        assert "edge" in Page(render_html(report)).text
        json.dumps(report.to_json(), allow_nan=False)
        report.to_csv()


@pytest.mark.parametrize("truth", [0.0, -50.0, 7.0])
def test_truths_that_are_zero_negative_or_all_alike_make_a_page(truth: float) -> None:
    problem = replace(fake.number_problem(1), test=[Case(f"{i}", "x", truth) for i in range(30)], unit="kg")
    run = fake.result(problem, fake.answers(problem, lambda case: Reading("value", float(case.id))), "a")
    figure = build_section(problem, run).figures[0]
    assert figure.logarithmic == (truth > 0)
    render_html(Report.build(problem, [run]))


# --- tables


def test_pairs_that_the_verdict_rests_on_come_first_where_there_are_many() -> None:
    problem = fake.number_problem(40)
    runs = [fake.result(problem, fake.answers(problem, fake.off_by(0.1 + i / 5, i)), f"run {i}") for i in range(6)]
    report = Report.build(problem, runs)
    first, others = telling_pairs(report)
    assert len(first) + len(others) == 15
    assert others
    assert all(report.verdict.best in (pair.a, pair.b) for pair in first[:5])
    assert not any({report.verdict.best, report.verdict.winner} & {pair.a, pair.b} for pair in others)


def test_cells(numbers: Report) -> None:
    from whetstone.evaluation.intervals import Interval
    from whetstone.evaluation.metrics import METRICS

    assert interval_cell(METRICS["mae"], Interval(126.554, 110.2, 1_470.4), "$") == "$126.55 [110, 1,470]"
    assert interval_cell(METRICS["hit_rate"], Interval(0.32, 0.29, 0.351), "$") == "32.0 % [29.0, 35.1]"
    assert interval_cell(METRICS["mae"], Interval(None, None, None), "$") == "–"
    pair = replace(numbers.pairs[0], difference=-4.2, low=-9.5, high=1.1)
    assert difference_cells(pair, "$") == ("−$4.20", "−$9.50 to +$1.10")
    assert [seconds_in_words(s) for s in (0.0, 0.0032, 0.41, 125, 11_400)] == [
        "0 ms", "3.2 ms", "0.41 s", "2 min 5 s", "3 h 10 min",
    ]  # fmt: skip


def test_control_characters_are_written_out() -> None:
    assert visible("a\x1b[31m\x07\u202e\ud800\r\nb\tc") == "a\\x1b[31m\\x07\\u202e\\ud800\nb\tc"
    assert visible("👩‍💻 무선 é") == "👩‍💻 무선 é"
    assert head("one\n two   three", 9) == "one two…"
