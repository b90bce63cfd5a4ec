"""The search for a prompt: what it tries, what it spends, how it resumes, and that it never sees a test item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import LoginError, UnknownNameError, UsageError
from whetstone.models.scripted import ScriptedModel
from whetstone.prompting.library import PromptLibrary
from whetstone.types import Case, Message, Problem, text_of
from whetstone.workflows.prompt_search import SearchLimits, search_prompts
from whetstone.workflows.search_result import SearchResult
from whetstone.workflows.search_space import Choice, SearchSpace, instruction_of, with_questions

pytest.importorskip("optuna", reason="needs the package optuna")

LABELS = ("home", "tools")


def problem(validation: int = 40, test: int = 24, train: int = 12) -> Problem:
    def cases(name: str, count: int) -> list[Case]:
        return [Case(f"{name}{i}", f"{name} thing number {i}", LABELS[i % 2]) for i in range(count)]

    return Problem(
        name="toy", kind="label", target="topic", metric="accuracy", train=cases("known", train),
        validation=cases("tried", validation), test=cases("secret", test), fingerprint="f" * 64, labels=LABELS,
    )  # fmt: skip


def number_of(messages: Sequence[Message]) -> int:
    return int(text_of(messages[-1]).split("number ")[1].split()[0])


def obeys(messages: Sequence[Message]) -> str:
    """Right when it is asked well, right in three of four with examples, and half the time otherwise."""
    number = number_of(messages)
    well = "Think of the room" in text_of(messages[-1])
    shown = any(message["role"] == "assistant" for message in messages)
    return LABELS[number % 2] if well or (shown and number % 4) else "home"


@pytest.fixture
def instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.chdir(tmp_path)
    prompt = PromptLibrary().find("label")
    questions = ["Which one?", "Say the topic.", "Think of the room it is in.", "Well?"]
    return [instruction_of(prompt), *with_questions(prompt, questions)]


def search(space: SearchSpace, model: ScriptedModel, on: Problem | None = None, **more: Any) -> SearchResult:
    return search_prompts(on or problem(), space, model="scripted:python", load=lambda spec: model, **more)


def test_the_best_question_wins_and_is_proven_on_the_test_items(instructions: list[Any]) -> None:
    found = search(SearchSpace(tuple(instructions)), ScriptedModel(obeys))
    assert found.winner.choice.instruction.question == "Think of the room it is in."
    assert (found.start.value, found.winner.value) == (0.5, 1.0)
    assert found.stopped == "all 5 choices were tried"
    assert [result.scores.metrics["accuracy"].value for result in found.report.results] == [0.5, 1.0]
    assert found.report.pairs[0].distinguishable
    assert "which the search never saw" in found.sentence
    assert "--question 'Think of the room it is in.'" in found.command("things.csv")
    assert "--prompt label@1" in found.command("things.csv")
    again = ScriptedModel(obeys)
    assert search(SearchSpace(tuple(instructions)), again).winner.choice == found.winner.choice
    assert again.asked == []


def test_no_test_item_is_looked_at_before_the_winner_is_chosen(instructions: list[Any]) -> None:
    model = ScriptedModel(obeys)
    found = search(SearchSpace(tuple(instructions), shots=(0, 2)), model, limits=SearchLimits(trials=12))
    asked = [" ".join(text_of(message) for message in request.messages) for request in model.asked]
    first = next(index for index, text in enumerate(asked) if "secret" in text)
    assert first == found.calls
    assert all("secret" in text for text in asked[first:])
    assert not any("tried" in text for text in asked[first:])
    assert len(asked) == found.calls + 48


def test_a_choice_that_has_lost_is_given_up(instructions: list[Any]) -> None:
    good_first = [instructions[3], *instructions[:3], instructions[4]]
    found = search(SearchSpace(tuple(good_first)), ScriptedModel(obeys))
    assert found.winner is found.start
    assert {trial.state for trial in found.trials[1:]} == {"lost"}
    assert {trial.items for trial in found.trials[1:]} == {20}
    assert found.calls == 40 + 4 * 20
    assert found.report.pairs == ()
    assert "keep it" in found.sentence


def test_the_budget_of_calls_is_kept(instructions: list[Any]) -> None:
    model = ScriptedModel(obeys)
    found = search(SearchSpace(tuple(instructions)), model, limits=SearchLimits(calls=65))
    assert found.calls <= 65
    assert found.stopped == "the 65 calls are spent"
    assert found.trials[-1].state == "out of calls"
    with pytest.raises(UsageError, match="5 calls are too few"):
        search(
            SearchSpace(tuple(instructions)), ScriptedModel(obeys), problem(validation=30), limits=SearchLimits(calls=5)
        )


def test_a_space_that_is_too_large_is_sampled_with_a_seed(instructions: list[Any]) -> None:
    space = SearchSpace(tuple(instructions), shots=(0, 1, 3), methods=("shared", "fixed"), draws=5)
    assert len(space.choices()) == 5 * (1 + 2 * 6)

    def tried(seed: int) -> list[Choice]:
        found = search(space, ScriptedModel(obeys), limits=SearchLimits(trials=8), seed=seed)
        assert "8 of 65 choices" in found.stopped
        assert found.start.choice == space.start
        return [trial.choice for trial in found.trials]

    first = tried(1)
    assert len(set(first)) == 8
    assert first == tried(1)
    assert first != tried(2)


def test_a_search_that_was_stopped_goes_on_and_ends_as_it_would_have(
    instructions: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SearchSpace(tuple(instructions), shots=(0, 2), draws=3)
    limits = SearchLimits(trials=9, items=30)
    whole = search(space, ScriptedModel(obeys), limits=limits)
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "other"))
    asked = 0
    for stop in (17, 50, 31):
        broken = ScriptedModel(obeys, faults={stop: "login"})
        with pytest.raises(LoginError):
            search(space, broken, limits=limits)
        asked += stop
    last = ScriptedModel(obeys)
    resumed = search(space, last, limits=limits)
    assert [trial.to_json() | {"calls": 0} for trial in resumed.trials] == [
        trial.to_json() | {"calls": 0} for trial in whole.trials
    ]
    assert (resumed.calls, resumed.usage, resumed.winner.choice) == (whole.calls, whole.usage, whole.winner.choice)
    assert asked + len(last.asked) == whole.calls + sum(len(result.predictions) for result in whole.report.results)


def test_numbers_that_cannot_be_read_do_not_make_a_prompt_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prompt = PromptLibrary().find("number")

    def cases(name: str, count: int) -> list[Case]:
        return [Case(f"{name}{i}", f"{name} thing number {i}", float(10 + i)) for i in range(count)]

    on = Problem(
        name="prices", kind="number", target="price", metric="mae", train=cases("known", 10),
        validation=cases("tried", 30), test=cases("asked", 30), fingerprint="e" * 64, valid_range=(0, 1e6),
    )  # fmt: skip

    def shy(messages: Sequence[Message]) -> str:
        number = number_of(messages)
        if "if you are sure" in text_of(messages[-1]):  # answers the easy items only
            return str(10 + number) if number < 2 else "I cannot say."
        return str(12 + number)

    space = SearchSpace((instruction_of(prompt), instruction_of(prompt, "What is it, if you are sure?")))
    found = search(space, ScriptedModel(shy), on)
    assert found.winner is found.start
    lost = found.trials[1]
    assert (lost.value, lost.readable) == (0.0, 2)


def test_a_model_proposes_questions_that_are_kept(instructions: list[Any]) -> None:
    replies = ["Well?", '"Think of the room\nit is in."', "", "Well?", "x" * 400]

    def answers(messages: Sequence[Message]) -> str:
        if "Write another question" not in text_of(messages[-1]):
            return obeys(messages)
        assert "secret" not in text_of(messages[-1])
        assert "tried" not in text_of(messages[-1])
        return replies[len(model.asked) % len(replies)]

    model = ScriptedModel(answers)
    found = search(SearchSpace((instructions[0],)), model, propose=2)
    assert found.winner.choice.instruction.proposed
    assert found.winner.choice.instruction.question == "Think of the room it is in."
    proposals = sum("Write another" in text_of(request.messages[-1]) for request in model.asked)
    assert 2 <= proposals <= 6
    assert found.calls == proposals + sum(trial.calls for trial in found.trials)
    before = len(model.asked)
    again = search(SearchSpace((instructions[0],)), model, propose=2)
    assert len(model.asked) == before
    assert again.calls == found.calls


def test_what_cannot_be_searched_is_told_before_anything_is_asked(instructions: list[Any], tmp_path: Path) -> None:
    model = ScriptedModel(obeys)
    space = SearchSpace(tuple(instructions))
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("no validation items", lambda: search(space, model, replace(problem(), validation=()))),
        ("has 12 training cases", lambda: search(SearchSpace(tuple(instructions), shots=(0, 13)), model)),
        ("at least one of its trials", lambda: search(space, model, limits=SearchLimits(trials=0))),
        ("no training cases to show", lambda: search(space, model, replace(problem(), train=()), propose=2)),
        ("is for a number", lambda: search(SearchSpace((instruction_of(PromptLibrary().find("number")),)), model)),
        ("at least one instruction", lambda: SearchSpace(())),
    ]
    for complaint, search_it in wrong:
        with pytest.raises(UsageError, match=complaint):
            search_it()
    with pytest.raises(UnknownNameError, match="Did you mean shared"):
        SearchSpace(tuple(instructions), methods=("sharred",))
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "own.md").write_text(
        "---\nname: own\nversion: 1\nkind: label\nvariables: [text]\n---\n{{ text }}"
    )
    with pytest.raises(UsageError, match="no variable 'question'"):
        instruction_of(PromptLibrary().find("own"), "Which?")
    assert model.asked == []
