"""Task cards in comparisons: their cases are sound, and models that do them are judged through the one harness."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from apart_model import EncoderDecoder
from whetstone import settings
from whetstone.cli.compare_card import card_source
from whetstone.errors import DataError, ModelConnectionError, UnknownNameError, UsageError
from whetstone.evaluation.metrics import METRICS, score
from whetstone.evaluation.technique import TechniqueContext
from whetstone.models.scripted import ScriptedModel
from whetstone.tasks import Card, cards, load_card
from whetstone.types import Case, Message, Prediction, Problem, Reading, text_of
from whetstone.workflows.compare import compare
from whetstone.workflows.frozen import load_problem
from whetstone.workflows.task_compare import card_named, compare_card
from whetstone.workflows.task_problem import card_problem, inputs_of
from whetstone.workflows.task_technique import TaskTechnique

CARDS = {card.name: card for card in cards()}


def perfect(problem: Problem) -> list[Prediction]:
    return [Prediction(case.id, "k", Reading("value", str(case.expected))) for case in problem.test]


def best(metric: str) -> float:
    return METRICS[metric].bounds[1]


@pytest.mark.parametrize("name", CARDS)
def test_the_expected_answers_of_a_card_are_right_by_its_own_metric(name: str) -> None:
    """References pass their own tests, essays make their own points, every name stands in its text."""
    problem = card_problem(CARDS[name])
    assert 20 <= len(problem.train) + len(problem.test) <= 50
    assert len(problem.train) >= 5
    assert len(problem.test) >= 20  # fewer, and no verdict could be given
    found = score(problem, perfect(problem), resamples=99).metrics
    assert found[problem.metric].value == pytest.approx(best(problem.metric))
    # The training cases are shown as examples, so theirs have to be right as well.
    examples = replace(problem, test=problem.train)
    assert score(examples, perfect(examples), resamples=99).metrics[problem.metric].value == pytest.approx(
        best(problem.metric)
    )


@pytest.mark.parametrize("name", CARDS)
def test_no_example_shows_a_test_item(name: str) -> None:
    problem = card_problem(CARDS[name])
    main = CARDS[name].file.main
    shown = {inputs_of(case)[main] for case in problem.train}
    assert not shown & {inputs_of(case)[main] for case in problem.test}


@pytest.mark.parametrize("name", ["summarize", "dialogue"])
def test_expected_summaries_keep_to_the_length_that_is_asked_for_and_are_no_copies(name: str) -> None:
    card = CARDS[name]
    for case in card.cases():
        words = case.expected.replace("- ", "").split()
        assert len(words) <= case.inputs["words"], case.id
        assert len(words) < len(case.inputs["text"].split()) / 1.5, case.id
    problem = card_problem(card)
    assert (score(problem, perfect(problem), resamples=99).metrics["copied"].value or 0) < 0.1


def small_card(folder: Path, cases: Sequence[dict[str, object]]) -> Card:
    """A card of the user's own, which classifies."""
    folder.mkdir()
    (folder / "card.yaml").write_text(
        "title: Colours\ndescription: The colour of a thing.\nmain: text\noutput: label\nmetric: accuracy\n"
        "inputs:\n  - {name: text, type: text, required: true, description: a thing}\n"
        "  - {name: labels, type: list, required: true, least: 2, description: colours}\n"
    )
    (folder / "prompt.md").write_text(
        "---\nname: colours\nversion: 1\nvariables: [text, labels]\n---\n{{ text }}: {{ labels | join(', ') }}?\n"
    )
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    card = card_named(str(folder))
    assert card is not None
    return card


THINGS = [
    ("snow", "white"),
    ("grass", "green"),
    ("milk", "white"),
    ("leaf", "green"),
    ("salt", "white"),
    ("moss", "green"),
]


def things() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for index in range(27):
        thing, colour = THINGS[index % len(THINGS)]
        inputs = {"text": f"{thing} {index}", "labels": ["white", "green"]}
        found.append(
            {"id": f"t{index}", "split": "train" if index < 5 else "test", "inputs": inputs, "expected": colour}
        )
    return found


def says_white(messages: Sequence[Message]) -> str:
    return '{"label": "white"}'


def looks_at_examples(messages: Sequence[Message]) -> str:
    """Right where an example was shown, else always white."""
    thing = text_of(messages[-1]).split()[0]
    colour = dict(THINGS)[thing] if len(messages) > 2 else "white"
    return json.dumps({"label": colour})


def test_models_and_numbers_of_examples_are_compared_on_the_same_cases(tmp_path: Path) -> None:
    card = small_card(tmp_path / "colours", things())
    models = {
        "a": ScriptedModel(says_white, spec="scripted:a", concurrency=4),
        "b": ScriptedModel(looks_at_examples, spec="scripted:b", concurrency=4),
    }
    report = compare_card(card, shots=[3, 0], method="fixed", models=["a", "b"], load=models.__getitem__)
    accuracy = {result.label: result.scores.metrics["accuracy"].value for result in report.results}
    assert accuracy == {
        "few-shot:fixed:3 · scripted:a": 0.5,
        "few-shot:fixed:3 · scripted:b": 1.0,
        "ask · scripted:a": 0.5,
        "ask · scripted:b": 0.5,
    }
    assert report.verdict.best == "few-shot:fixed:3 · scripted:b"
    training = {case["inputs"]["text"] for case in things()[:5]}  # type: ignore[index]
    shown = [text_of(message).partition(":")[0] for asked in models["b"].asked for message in asked.messages[:-2:2]]
    assert shown
    assert set(shown) <= training
    # Asked again, nothing has to be answered twice, and the report is the same.
    before = len(models["a"].asked) + len(models["b"].asked)
    again = compare_card(card, shots=[3, 0], method="fixed", models=["a", "b"], load=models.__getitem__)
    assert len(models["a"].asked) + len(models["b"].asked) == before
    assert [one.scores for one in again.results] == [one.scores for one in report.results]


def test_a_comparison_that_broke_off_asks_only_for_the_rest(tmp_path: Path) -> None:
    card = small_card(tmp_path / "colours", things())
    asked = 0

    def breaks_off(messages: Sequence[Message]) -> str:
        nonlocal asked
        asked += 1
        if asked == 9:
            raise ModelConnectionError("the endpoint is gone")
        return says_white(messages)

    model = ScriptedModel(breaks_off, spec="scripted:a")
    with pytest.raises(ModelConnectionError):
        compare_card(card, models=["a"], load=lambda _: model)
    compare_card(card, models=["a"], load=lambda _: model)
    assert asked == 9 + (22 - 8)


def test_a_changed_prompt_or_example_is_asked_anew(tmp_path: Path) -> None:
    folder = tmp_path / "colours"
    small_card(folder, things())

    def keys(spec: str) -> list[str]:
        card = load_card(str(folder))
        model = ScriptedModel(says_white, spec="scripted:a")
        technique = TaskTechnique(card, spec, TechniqueContext(seed=1, load_model=lambda _: model))
        problem = card_problem(card)
        technique.fit(problem)
        return technique.keys(problem.test)

    plain, shown = keys("ask"), keys("few-shot:fixed:5")
    assert plain != shown
    cases = things()
    cases[0]["expected"] = "green"
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    assert keys("ask") == plain
    assert keys("few-shot:fixed:5") != shown
    prompt = folder / "prompt.md"
    prompt.write_text(prompt.read_text().replace("}}?", "}}, which?"))
    assert keys("ask") != plain


def test_a_reply_without_an_answer_is_unreadable_and_counts_as_wrong(tmp_path: Path) -> None:
    card = small_card(tmp_path / "colours", things())

    def sometimes(messages: Sequence[Message]) -> str:
        about_grass = any("grass" in text_of(message) for message in messages)  # told again what is wrong, too
        return '{"label": ""}' if about_grass else says_white(messages)

    model = ScriptedModel(sometimes, spec="scripted:a")
    (result,) = compare_card(card, models=["a"], load=lambda _: model).results
    assert {p.reading.status for p in result.predictions} == {"value", "unparsable"}
    assert result.scores.metrics["accuracy"].value == pytest.approx(0.5)


def test_programs_are_judged_again_from_the_frozen_cases() -> None:
    card = load_card("code")
    references = {case.inputs["task"]: case.expected["code"] for case in card.cases()}

    def writes(messages: Sequence[Message]) -> str:
        said = text_of(messages[-1])
        code = next(code for task, code in references.items() if task in said)
        return f"Here it is:\n```\n{code}\n```" if "def " in code else f"```sql\n{code}\n```"

    model = ScriptedModel(writes, spec="scripted:a", concurrency=4)
    report = compare_card(card, models=["a"], load=lambda _: model)
    (result,) = report.results
    assert result.scores.metrics["pass_rate"].value == 1.0
    thawed = load_problem(settings.home(), report.problem.fingerprint)
    assert score(thawed, result.predictions, resamples=99).metrics["pass_rate"].value == 1.0


def test_what_does_not_suit_is_refused_before_a_model_is_asked() -> None:
    model = EncoderDecoder(says_white, spec="scripted:t5")
    with pytest.raises(UsageError, match="cannot do code: the vocabulary of T5"):
        compare_card(load_card("code"), models=["t5"], load=lambda _: model)
    with pytest.raises(UsageError, match="has 6 training cases"):
        compare_card(load_card("classify"), shots=[7], models=["t5"], load=lambda _: model)
    with pytest.raises(UnknownNameError, match="technique for a task card"):
        TaskTechnique(load_card("classify"), "tfidf", TechniqueContext(seed=1, load_model=lambda _: model))
    with pytest.raises(UsageError, match="metric for label problems"):
        compare_card(load_card("classify"), metric="chrf", models=["t5"], load=lambda _: model)
    assert not model.asked


def test_a_wrong_case_of_a_card_is_named_with_its_place(tmp_path: Path) -> None:
    wrong = things()
    wrong[7]["expected"] = "blue"
    with pytest.raises(DataError, match=r"cases\.jsonl, case t7: 'blue' is none of its labels"):
        card_problem(small_card(tmp_path / "wrong", wrong))
    with pytest.raises(UsageError, match="has no test cases"):
        card_problem(small_card(tmp_path / "untested", things()[:5]))


def test_a_card_is_named_by_its_name_or_its_folder_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.csv").write_text("text,price\na,1\n")
    small_card(tmp_path / "colours", things())
    assert card_named("items.csv") is None
    assert card_named("diamonds") is None
    assert (card_named("summarize") or load_card("code")).name == "summarize"
    assert (card_named("colours") or load_card("code")).title == "Colours"


def test_whet_compare_takes_a_card_in_place_of_data(tmp_path: Path) -> None:
    small_card(tmp_path / "colours", things())
    asked = ["compare", "colours", "-m", 'scripted:reply?text={"label":"white"}', "--shots", "0,2", "-q", "--json", "-",
             "--html", "out.html"]  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", "from whetstone.cli.main import run; run()", *asked],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert [run["technique"] for run in report["runs"]] == ["ask", "few-shot:balanced:2"]
    assert {run["metrics"]["accuracy"]["value"] for run in report["runs"]} == {0.5}
    assert "few-shot:balanced:2" in (tmp_path / "out.html").read_text("utf-8")


def test_options_about_data_are_refused_beside_a_card() -> None:
    with pytest.raises(UsageError, match=r"leave --target out, or write \./summarize for a file"):
        card_source("summarize", None, {"--text": None, "--strict": False, "--target": "price"})
    assert card_source("items.csv", None, {"--target": "price"}) is None


def test_any_problem_of_texts_can_be_judged_by_the_fields_that_a_metric_reads(tmp_path: Path) -> None:
    """Stored answers are judged again from the frozen cases, so these fields are frozen with them."""
    cases = [Case(str(i), f"question {i}", "ten", {"accepted": '["ten", "10"]', "colour": "red"}) for i in range(25)]
    problem = Problem("numbers", "text", "number", "answer_match", [], [], cases, "cd" * 32)
    model = ScriptedModel(lambda messages: "10.", spec="scripted:a")
    report = compare(problem, ["ask"], models=["a"], load=lambda _: model)
    thawed = load_problem(settings.home(), problem.fingerprint)
    assert dict(thawed.test[0].fields) == {"accepted": '["ten", "10"]'}
    assert score(thawed, report.results[0].predictions, resamples=99).metrics["answer_match"].value == 1.0
