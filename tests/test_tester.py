"""The Tester in the terminal: lines as answers come, progress, and the report at the end."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

import fake_reports as fake
from whetstone.cli import tester
from whetstone.evaluation.bands import GOOD, UNREADABLE
from whetstone.evaluation.report import MIXED, Report
from whetstone.evaluation.tally import Tally
from whetstone.types import Prediction, Problem, Reading

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def follow(
    problem: Problem,
    predictions: list[Prediction],
    *,
    terminal: bool = False,
    verbose: bool = True,
    already: int = 0,
    earlier: Sequence[Prediction] = (),
    width: int = 80,
) -> str:
    """What the view writes while these answers come."""
    written = io.StringIO()
    console = Console(
        file=written, force_terminal=terminal, width=width, color_system="truecolor" if terminal else None, _environ={}
    )
    view = tester.TesterView(problem, console, verbose=verbose)
    cases = {case.id: case for case in problem.test}
    view.opened("run", earlier)
    view.start("ask", len(predictions) + already, already)
    for prediction in predictions:
        view.item(cases[prediction.case_id], prediction)
    view.finish()
    return written.getvalue()


def test_a_line_per_answer_without_control_codes_outside_a_terminal() -> None:
    problem = fake.number_problem(40)
    predictions = fake.answers(problem, fake.off_by(0.8, unreadable=0.3))
    written = follow(problem, predictions)
    assert "\x1b" not in written
    assert "\r" not in written
    first, *lines, last = written.splitlines()
    assert first == "ask: 40 items"
    assert len(lines) == 40
    assert {line[0] for line in lines} == {"G", "O", "R", "U"}
    assert [int(line.split()[1]) for line in lines] == list(range(1, 41))
    assert all(cell_len(line) <= 80 for line in lines)
    assert last.startswith("ask: mean error $")


def test_a_line_tells_guess_truth_error_and_text() -> None:
    problem = fake.number_problem(1)
    truth = float(problem.test[0].expected)
    line = follow(problem, fake.answers(problem, lambda _: Reading("value", truth + 12.5))).splitlines()[1]
    assert line.split()[:5] == ["G", "1", f"${truth + 12.5:.2f}", f"${truth:.2f}", "$12.50"]
    assert "Cordless drill" in line


def test_an_unreadable_answer_tells_its_reason() -> None:
    problem = fake.number_problem(1)
    written = follow(
        problem, fake.answers(problem, lambda _: Reading("out_of_range", 1e12, "above 1,000,000")), width=120
    )
    line = written.splitlines()[1]
    assert line.startswith("U 1 out of range")
    assert "[above 1,000,000] Cordless drill" in line
    assert "no readable answer" in written


@pytest.mark.parametrize("terminal", [False, True])
def test_texts_cannot_write_control_codes_or_markup(terminal: bool) -> None:
    problem = fake.number_problem(1)
    hostile = replace(problem.test[0], text="[bold]red[/bold] \x1b[31m\x1b]0;title\x07 \u202etxet \ud83d")
    refused = fake.answers(problem, lambda _: Reading("refused", note="\x1b[2J[red]"))
    written = follow(replace(problem, test=[hostile]), refused, terminal=terminal, width=200)
    for code in ("\x1b[31m", "\x1b]0", "\x07", "\x1b[2J", "\u202e", "\ud83d"):
        assert code not in written
    assert "[\\x1b[2J[red]] [bold]red[/bold] \\x1b[31m\\x1b]0;title\\x07 \\u202etxet \\ud83d" in written


def test_wide_letters_and_emoji_are_cut_to_the_terminal() -> None:
    problem = fake.number_problem(2)
    wide = [replace(case, text=text) for case, text in zip(problem.test, ("무선" * 60, "🖱️" * 60), strict=True)]
    written = follow(replace(problem, test=wide), fake.answers(problem, fake.off_by(0.1)))
    for line in written.splitlines()[1:3]:
        assert cell_len(line) <= 80
        assert line.endswith("…")


def test_colours_and_a_live_line_in_a_terminal() -> None:
    problem = fake.number_problem(30)
    written = follow(problem, fake.answers(problem, fake.off_by(0.8, unreadable=0.3)), terminal=True)
    assert re.search(r"\x1b\[32mG +\d", written)
    assert re.search(r"\x1b\[31mR +\d", written)
    assert "\x1b[?25l" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is back
    assert "0/30" in ESCAPE.sub("", written)


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_shows_no_line_per_answer(terminal: bool) -> None:
    problem = fake.number_problem(20)
    written = ESCAPE.sub("", follow(problem, fake.answers(problem, fake.off_by(0.1)), terminal=terminal, verbose=False))
    assert "Cordless" not in written
    assert "mean error" in written


def test_a_resumed_run_says_what_was_answered_before() -> None:
    problem = fake.number_problem(20)
    predictions = fake.answers(problem, fake.off_by(0.1))
    assert follow(problem, predictions[15:], already=15).startswith("ask: 20 items, 15 answered before\n")
    assert follow(problem, [], already=20) == "ask: 20 items, 20 answered before\n"


def test_the_mean_of_a_resumed_run_is_over_all_its_answers() -> None:
    problem = fake.number_problem(20)
    predictions = fake.answers(problem, fake.off_by(0.5))

    def mean(written: str) -> str:
        return written.splitlines()[-1].split(" · ")[0]

    resumed = follow(problem, predictions[15:], already=15, earlier=predictions[:15])
    assert mean(resumed) == mean(follow(problem, predictions))


def test_labels_and_texts_have_lines_of_their_own() -> None:
    labels, texts = fake.label_report(20), fake.text_report(20)
    lines = follow(labels.problem, list(labels.results[1].predictions)).splitlines()
    assert {line[0] for line in lines[1:-1]} == {"G", "R", "U"}
    assert "accuracy" in lines[-1]
    lines = follow(texts.problem, list(texts.results[1].predictions)).splitlines()
    assert re.search(r" [01]\.\d\d  Cordless", lines[1])
    assert "mean ROUGE-L" in lines[-1]
    assert all(cell_len(line) <= 80 for line in lines[1:-1])


def test_answers_that_came_before_a_failure_are_all_written() -> None:
    problem = fake.number_problem(50)
    written = io.StringIO()
    view = tester.TesterView(problem, Console(file=written, width=80))

    def evaluate() -> None:
        view.start("ask", 50, 0)
        try:
            for case, prediction in zip(problem.test, fake.answers(problem, fake.off_by(0.1)), strict=True):
                if case.id == "row-41":
                    raise RuntimeError("the model broke")
                view.item(case, prediction)
        finally:
            view.finish()

    with pytest.raises(RuntimeError, match="the model broke"):
        evaluate()
    assert len(written.getvalue().splitlines()) == 1 + 40 + 1


def test_ten_thousand_answers_all_arrive_in_order() -> None:
    problem = fake.number_problem(10_000)
    lines = follow(problem, fake.answers(problem, fake.off_by(0.4))).splitlines()
    assert len(lines) == 10_002
    assert [int(line.split()[1].replace(",", "")) for line in lines[1:-1]] == list(range(1, 10_001))


class Gone(io.StringIO):
    """A reader that has gone after the first line."""

    def write(self, text: str) -> int:
        if self.getvalue():
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


def test_the_evaluation_is_told_when_nobody_reads_any_more() -> None:
    problem = fake.number_problem(5)
    view = tester.TesterView(problem, Console(file=Gone(), width=80))
    view.start("ask", 5, 0)

    def evaluate() -> None:
        try:
            for case, prediction in zip(problem.test, fake.answers(problem, fake.off_by(0.1)), strict=True):
                view.item(case, prediction)
        finally:
            view.finish()

    with pytest.raises(BrokenPipeError):  # from `item` if the writer came first, else from `finish`
        evaluate()
    view.finish()  # a second time is harmless


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_old_encoding_loses_letters_but_no_lines(encoding: str) -> None:
    problem = fake.number_problem(10)
    raw = io.BytesIO()
    view = tester.TesterView(problem, Console(file=io.TextIOWrapper(raw, encoding=encoding), width=80))
    view.start("무선", 10, 0)
    for case, prediction in zip(problem.test, fake.answers(problem, fake.off_by(0.1)), strict=True):
        view.item(case, prediction)
    view.finish()
    assert len(raw.getvalue().splitlines()) == 12


def test_the_tally_knows_the_mean_its_interval_and_what_is_left() -> None:
    tally = Tally(fake.number_problem(1), "ask", total=10, already=4, began=0.0, ended=3.0)
    for error in (10.0, 20.0, 30.0):
        tally.add(GOOD, error, 0.05)
    tally.add(UNREADABLE, None, None)
    # sd = 10, so half of the interval is 1.96 * 10 / sqrt(3) = 11.32
    assert tally.describe() == "mean error $20.00 ± 11.32 · G 3 U 1 · 1.3/s · 3.00 s · $0.15"
    labels = Tally(fake.label_report(5).problem, "ask", total=4, already=0, began=0.0, ended=4.0)
    for error in (0.0, 1.0, 0.0, None):
        labels.add(UNREADABLE if error is None else GOOD, error, 0.0)
    assert labels.describe().startswith("accuracy 50.0 % ± ")


# --- the report


def printed(report: Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    tester.print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def numbers() -> Report:
    return fake.number_report()


@pytest.mark.parametrize("width", [60, 80, 120, 240])
def test_the_table_fits_the_terminal_and_leaves_no_metric_out(numbers: Report, width: int) -> None:
    text = printed(numbers, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    joined = " ".join(text.split())
    for result in numbers.results:
        value = result.scores.metrics["mae"].value
        assert f"${value:.2f} [" in joined
    for word in ("RMSLE", "SMAPE", "parse", "tokens", "cost", "free"):
        assert word in joined
    assert "openai:x" not in joined  # the label says what a reader needs


def test_pairs_and_verdict_are_said_in_words(numbers: Report) -> None:
    text = " ".join(printed(numbers, 1000).split())
    for pair in numbers.pairs:
        assert pair.sentence.replace("\n", " ") in text
    assert numbers.verdict.sentence in text
    assert text.index("Verdict") > text.index(numbers.pairs[0].sentence)
    assert "trained on 5,000 rows" in text
    assert "cross-fitted, 5 folds" in text


def test_a_mixed_report_says_so_first(numbers: Report) -> None:
    report = replace(numbers, notes=(f"{MIXED}a and b differ",))
    assert printed(report).strip().startswith("MIXED: a and b differ")


def test_many_pairs_are_cut_to_those_of_the_best() -> None:
    problem = fake.number_problem(40)
    runs = [fake.result(problem, fake.answers(problem, fake.off_by(0.1 + i / 5, i)), f"run {i}") for i in range(6)]
    report = Report.build(problem, runs)
    text = " ".join(printed(report, 400).split())
    assert sum(pair.sentence in text for pair in report.pairs) == 5
    assert "10 other pairs are in the JSON and HTML forms" in text


def test_a_report_on_one_run_without_readable_answers_is_printed() -> None:
    problem = fake.number_problem(10)
    report = Report.build(problem, [fake.result(problem, fake.answers(problem, lambda _: Reading("refused")), "ask")])
    assert "Nothing can be said" in printed(report)
