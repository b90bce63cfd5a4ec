"""Examples in the prompt: the curve of the score against their number, and the tokens that they take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from whetstone.errors import UnknownNameError, UsageError
from whetstone.evaluation.figures.shots import shot_figure
from whetstone.evaluation.html import render_html
from whetstone.evaluation.report import Report
from whetstone.evaluation.shots import shot_columns, shot_curves
from whetstone.models.scripted import ScriptedModel
from whetstone.prompting.library import PromptLibrary
from whetstone.types import Case, Message, Problem
from whetstone.workflows.compare import compare
from whetstone.workflows.shot_curve import read_shots, shot_arms

LABELS = ("home", "tools")


def problem(train: int = 12, test: int = 40) -> Problem:
    def cases(name: str, count: int) -> list[Case]:
        return [Case(f"{name}{i}", f"{name} item number {i}", LABELS[i % 2]) for i in range(count)]

    return Problem(
        name="toy", kind="label", target="topic", metric="accuracy", train=cases("known", train), validation=(),
        test=cases("asked", test), fingerprint="f" * 64, labels=LABELS,
    )  # fmt: skip


def learns_from_examples(messages: Sequence[Message]) -> str:
    """Right where it has seen two examples or more; otherwise it always says the same."""
    shown = sum(message["role"] == "assistant" for message in messages)
    number = int(str(messages[-1]["content"]).split("number ")[1].split()[0])
    return LABELS[number % 2] if shown >= 2 else "home"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    model = ScriptedModel(learns_from_examples)
    arms = shot_arms(problem(), [0, 1, 2, 4])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WHETSTONE_HOME", str(tmp_path_factory.mktemp("home")))
        return compare(problem(), ["constant:mode", *arms], models=["scripted:python"], load=lambda spec: model)


def test_the_curve_has_a_point_for_every_number_of_examples(report: Report) -> None:
    (curve,) = shot_curves(report)
    assert curve.name == "scripted:python, balanced"
    assert [point.shots for point in curve.points] == [0, 1, 2, 4]
    assert [point.value.value for point in curve.points] == [0.5, 0.5, 1.0, 1.0]
    tokens = [point.prompt_tokens or 0.0 for point in curve.points]
    assert tokens == sorted(tokens)
    assert curve.tokens_per_shot == pytest.approx((tokens[-1] - tokens[0]) / 4)
    assert curve.tokens_per_shot == pytest.approx(tokens[1] - tokens[0], rel=0.1)


def test_the_fewest_examples_that_do_as_well_are_advised(report: Report) -> None:
    (curve,) = shot_curves(report)
    assert curve.advised == 2
    assert "every smaller number is shown to be worse" in curve.sentence
    assert "An example takes about" in curve.sentence


def test_where_nothing_can_be_told_apart_no_examples_are_advised() -> None:
    model = ScriptedModel(lambda messages: "home")
    few = compare(problem(), shot_arms(problem(), [0, 3]), models=["scripted:python"], load=lambda spec: model)
    (curve,) = shot_curves(few)
    assert curve.advised == 0
    assert "more examples bring nothing" in curve.sentence


def test_runs_with_examples_remark_what_these_take(report: Report) -> None:
    notes = {result.technique: " ".join(result.notes) for result in report.results}
    assert "examples" not in notes["ask"]
    assert "its 2 examples" in notes["few-shot:balanced:2"]
    assert "each)" in notes["few-shot:balanced:2"]
    assert "its 1 example " in notes["few-shot:balanced:1"]


def test_other_methods_and_questions_have_curves_of_their_own() -> None:
    model = ScriptedModel(learns_from_examples)
    arms = ["ask", "few-shot:fixed:2", "few-shot:random:1", "few-shot:random:3"]
    many = compare(problem(), arms, models=["scripted:python"], load=lambda spec: model)
    assert [(c.name.split(", ")[1], [p.shots for p in c.points]) for c in shot_curves(many)] == [
        ("fixed", [0, 2]),
        ("random", [0, 1, 3]),
    ]
    asked = compare(problem(), ["ask"], models=["scripted:python"], question="Which?", load=lambda spec: model)
    other = replace(asked, results=(*asked.results, *many.results[1:2]))
    assert shot_curves(other) == []


def test_the_page_has_the_figure_and_the_table(report: Report) -> None:
    (curve,) = shot_curves(report)
    figure = shot_figure(report, [curve])
    assert figure.data[0]["x"] == [0, 1, 2, 4]
    assert figure.data[0]["y"] == [50.0, 50.0, 100.0, 100.0]
    assert "tokens per prompt" in figure.alternative
    page = render_html(report)
    assert "Examples in the prompt" in page
    assert "Accuracy against examples in the prompt" in page
    titles = [title for title, _ in shot_columns(report, curve)]
    assert titles[:3] == ["examples", "accuracy", "tokens per prompt"]
    without = Report.build(report.problem, report.results[:2])
    assert "Examples in the prompt" not in render_html(without)


def test_prompts_that_do_not_fit_are_counted() -> None:
    model = ScriptedModel(learns_from_examples, context_length=120)
    few = compare(problem(), shot_arms(problem(), [0, 10]), models=["scripted:python"], load=lambda spec: model)
    (curve,) = shot_curves(few)
    assert [point.failed for point in curve.points] == [0, 40]
    assert "40 with 10 examples" in curve.sentence


def test_numbers_of_examples_are_read() -> None:
    assert read_shots("0, 3,1,3") == [0, 1, 3]
    for wrong in ("", "1,-2", "a", "1.5", "1,,2"):
        with pytest.raises(UsageError, match="such as 0,1,3,5"):
            read_shots(wrong)


def test_more_examples_than_there_are_cases_are_refused() -> None:
    assert shot_arms(problem(), [0, 12], "fixed") == ["ask", "few-shot:fixed:12"]
    with pytest.raises(UsageError, match="has 12 training cases"):
        shot_arms(problem(), [0, 13])
    with pytest.raises(UnknownNameError, match="Did you mean nearest"):
        shot_arms(problem(), [1], "neerest")
    folded = replace(problem(train=0, test=10), cross_fit=5)
    assert shot_arms(folded, [8], "fixed") == ["few-shot:fixed:8"]
    with pytest.raises(UsageError, match="has 8 training cases"):
        shot_arms(folded, [9])


def test_prompts_of_the_library_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def source(version: int, ask: str) -> str:
        head = f"---\nname: sort\nversion: {version}\nkind: label\nvariables: [text]\n---\n"
        return head + f"{ask}: {{{{ text }}}}\n"

    library = PromptLibrary()
    library.save("sort", source(1, "Sort"))
    library.save("sort", source(2, "Decide"))
    model = ScriptedModel(lambda messages: "home" if str(messages[-1]["content"]).startswith("Sort") else "tools")
    both = compare(
        problem(), ["constant:mode", "ask"], prompts=["sort@1", "sort@2"], models=["scripted:python"],
        load=lambda spec: model,
    )  # fmt: skip
    assert [result.label for result in both.results] == ["constant:mode", "ask · sort@1", "ask · sort@2"]
    assert [p.reading.value for p in both.results[1].predictions] == ["home"] * 40
    one = compare(problem(), ["ask"], prompts=["sort"], models=["scripted:python"], load=lambda spec: model)
    assert [result.label for result in one.results] == ["ask"]
    assert [p.reading.value for p in one.results[0].predictions] == ["tools"] * 40
    with pytest.raises(UnknownNameError, match="Did you mean sort"):
        compare(problem(), ["ask"], prompts=["sorted"], models=["scripted:python"], load=lambda spec: model)


def test_the_command_draws_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from whetstone.cli.main import app

    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"thing number {i}", "topic": LABELS[i % 2]} for i in range(60)]
    (tmp_path / "things.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["things.jsonl", "--text", "text", "--target", "topic", "-m", "scripted:echo", "-q", "--shots", "0,2"]
    arguments = ["compare", *arguments, "--shot-method", "fixed", "--html", "out.html"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "tokens of every prompt" in " ".join(done.stdout.split())
    assert "Examples (scripted:echo, fixed)" in done.stdout
    assert "Examples in the prompt" in (tmp_path / "out.html").read_text()
