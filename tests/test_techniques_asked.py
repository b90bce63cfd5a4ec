"""The language-model techniques: what exactly is asked, how answers are read, what a key depends on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import DataError, ModelError, UsageError
from whetstone.evaluation.cross_fit import CrossFitted
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.evaluation.techniques.read_answer import read_answer
from whetstone.models.scripted import ScriptedModel, last_user_message
from whetstone.types import Case, Message, Prediction, Problem, TargetKind, Usage, assistant, system, user

SYSTEM = "You estimate the price. Answer with one number in dollars and nothing else."

TRAIN = [
    Case("t1", "Cordless drill with one battery", 90.0),
    Case("t2", "A poem about the sea", 5.5),
    Case("t3", "Electric drill with a cable", 70.0),
    Case("t4", "Leather sofa", 1299.99),
]
TEST = [Case("q1", "Cordless drill with two batteries", 100.0), Case("q2", "Fabric sofa", 800.0)]


def problem(test: Sequence[Case] = TEST, train: Sequence[Case] = TRAIN, kind: TargetKind = "number") -> Problem:
    return Problem(
        name="toy", kind=kind, target="price" if kind == "number" else "topic",
        metric={"number": "mae", "label": "accuracy", "text": "rouge_l"}[kind], train=train, validation=(),
        test=test, fingerprint="f", unit="$" if kind == "number" else "",
        labels=("home", "tools") if kind == "label" else (), valid_range=(0, 1e5) if kind == "number" else None,
    )  # fmt: skip


def context(model: ScriptedModel, seed: int = 42, **options: Any) -> TechniqueContext:
    return TechniqueContext(seed=seed, load_model=lambda spec: model, model="scripted:python", options=options)


def run(spec: str, on: Problem, model: ScriptedModel, **options: Any) -> dict[str, Prediction]:
    technique = build_technique(spec, context(model, **options))
    technique.fit(on)
    keys = technique.keys(on.test)
    found = {prediction.case_id: prediction for prediction in technique.predict(on.test)}
    assert [found[case.id].key for case in on.test] == keys
    return found


def asked(spec: str, on: Problem, **options: Any) -> dict[str, list[Message]]:
    """The messages of each test case, by its text."""
    model = ScriptedModel(lambda messages: "$1")
    run(spec, on, model, **options)
    return {
        next(case.text for case in on.test if case.text in last_user_message(request.messages)): list(request.messages)
        for request in model.asked
    }


def plain(text: str) -> Message:
    return user(f"{text}\n\nWhat is the price in dollars?")


def test_asking_plainly_sends_the_template_and_nothing_else() -> None:
    messages = asked("ask", problem())
    assert messages[TEST[0].text] == [system(SYSTEM), plain(TEST[0].text)]


def test_the_question_can_be_the_users_own() -> None:
    messages = asked("ask", problem(), question="How much does this cost to the nearest dollar?")
    assert messages[TEST[0].text][-1] == user(f"{TEST[0].text}\n\nHow much does this cost to the nearest dollar?")


def test_the_template_can_be_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "haggle.md"
    path.write_text(
        "---\nname: haggle\nversion: 1\nkind: number\nvariables: [text, unit, target]\n---\n"
        "Haggle over the {{ target }} ({{ unit }}) of {{ text }}!\n"
    )
    messages = asked("ask", problem(), template=str(path))
    assert messages[TEST[1].text] == [user("Haggle over the price ($) of Fabric sofa!")]
    technique = build_technique("ask", context(ScriptedModel(), template=str(path)))
    with pytest.raises(UsageError, match="is for a number"):
        technique.fit(problem(kind="text"))
    with pytest.raises(DataError, match=r"none\.md"):
        build_technique("ask", context(ScriptedModel(), template=str(tmp_path / "none.md")))


def test_nearest_examples_come_as_earlier_turns_with_the_most_similar_last() -> None:
    messages = asked("few-shot:nearest:2", problem())
    assert messages[TEST[0].text] == [
        system(SYSTEM),
        plain("Electric drill with a cable"), assistant("$70"),
        plain("Cordless drill with one battery"), assistant("$90"),
        plain(TEST[0].text),
    ]  # fmt: skip


def test_fixed_examples_are_the_same_for_every_case() -> None:
    messages = asked("few-shot:fixed:2", problem())
    first, second = (messages[case.text] for case in TEST)
    assert first[:-1] == second[:-1]
    assert [message["content"] for message in first if message["role"] == "assistant"] in (
        ["$70", "$1300"], ["$1300", "$70"]
    )  # fmt: skip


def test_labels_and_texts_have_examples_as_they_are() -> None:
    labelled = [replace(case, expected="home" if "sofa" in case.text else "tools") for case in TRAIN]
    answered = [m["content"] for m in asked("few-shot:fixed:2", problem(train=labelled, kind="label"))[TEST[0].text]]
    assert {"home", "tools"} < set(answered)
    assert answered[0] == "You classify texts. Answer with one of these and nothing else: home, tools."
    written = [replace(case, expected=f"About {case.text}") for case in TRAIN]
    messages = asked("few-shot:nearest:1", problem(train=written, kind="text"))[TEST[0].text]
    assert messages[-2] == assistant("About Cordless drill with one battery")


@pytest.mark.parametrize("spec", ["few-shot:fixed:3", "few-shot:random:3", "few-shot:nearest:3"])
def test_examples_are_training_cases_and_never_test_cases(spec: str) -> None:
    train = [Case(f"t{i}", f"item {i}", float(i)) for i in range(30)]
    test = [Case(f"q{i}", f"secret {i}", float(i)) for i in range(10)]
    validation = [Case(f"v{i}", f"hidden {i}", float(i)) for i in range(10)]
    for text, messages in asked(spec, replace(problem(test, train), validation=validation)).items():
        earlier = json.dumps(messages[:-1])
        assert "secret" not in earlier
        assert "hidden" not in earlier
        assert earlier.count("item ") == 3
        assert text in str(messages[-1]["content"])


@pytest.mark.parametrize("method", ["fixed", "random", "nearest"])
def test_cross_fitted_examples_never_hold_the_case_itself(method: str) -> None:
    rows = [Case(str(i), f"thing <{i}>", float(i)) for i in range(20)]
    on = replace(problem(rows, []), cross_fit=4)
    model = ScriptedModel(lambda messages: "$1")
    technique = CrossFitted(lambda: build_technique(f"few-shot:{method}:3", context(model)))
    technique.fit(on)
    assert len(list(technique.predict(rows))) == 20
    for request in model.asked:
        own = last_user_message(request.messages)
        assert [message["content"] for message in request.messages].count(own) == 1


def test_random_examples_do_not_depend_on_the_order_of_the_cases() -> None:
    on = problem()
    assert asked("few-shot:random:2", on) == asked("few-shot:random:2", replace(on, test=TEST[::-1]))


def test_answers_are_read_with_their_evidence() -> None:
    replies = {"drill": "About $120, I think.", "sofa": "I cannot say."}
    model = ScriptedModel(lambda messages: next(r for k, r in replies.items() if k in last_user_message(messages)))
    found = run("ask", problem(), model)
    drill, sofa = found["q1"], found["q2"]
    assert (drill.reading.status, drill.reading.value, drill.raw) == ("value", 120.0, "About $120, I think.")
    assert (sofa.reading.status, sofa.reading.value) == ("refused", None)
    assert drill.prompt == model.render([system(SYSTEM), plain(TEST[0].text)])
    assert drill.usage.completion_tokens == 4
    assert drill.usage != Usage()
    assert (drill.cost, drill.finish_reason) == (0.0, "stop")
    assert model.asked[0].options.temperature == 0


def test_an_error_that_concerns_one_item_is_noted_and_the_others_are_asked() -> None:
    model = ScriptedModel(["$1", "$2"], faults={0: "context_too_long"})
    found = run("ask", problem(), model)
    assert sorted(p.reading.status for p in found.values()) == ["error", "value"]
    broken = next(p for p in found.values() if p.reading.status == "error")
    assert broken.reading.note
    assert broken.prompt


def test_an_error_that_concerns_everything_stops_after_what_had_arrived() -> None:
    model = ScriptedModel(["$1", "$2"], faults={1: "login"})
    technique = build_technique("ask", context(model))
    technique.fit(problem())
    answers = technique.predict(TEST)
    assert next(answers).reading.value == 1.0
    with pytest.raises(ModelError):
        next(answers)


def test_answers_arrive_one_by_one() -> None:
    model = ScriptedModel(lambda messages: "$1")
    technique = build_technique("ask", context(model))
    many = [Case(f"q{i}", f"item {i}", 1.0) for i in range(50)]
    technique.fit(problem(many))
    next(iter(technique.predict(many)))
    assert len(model.asked) < 50


@pytest.mark.parametrize(
    ("text", "value"),
    [("$1,2", None), ("It costs $45. Or perhaps 1", 45.0), ("The price is 12.", None), ("It is $45, which is", 45.0)],
)
def test_a_number_cut_off_by_the_token_limit_is_not_read(text: str, value: float | None) -> None:
    reading = read_answer(text, problem(), cut_off=True)
    assert (reading.value, reading.status) == (value, "unparsable" if value is None else "value")
    assert read_answer(text, problem()).ok


def test_an_empty_text_is_no_answer() -> None:
    assert read_answer(" \n", problem(kind="text")).status == "unparsable"
    assert read_answer(" a summary\n", problem(kind="text")).value == "a summary"


def keys(
    spec: str, on: Problem | None = None, model: ScriptedModel | None = None, seed: int = 42, **options: Any
) -> list[str]:
    on = on or problem()
    technique = build_technique(spec, context(model or ScriptedModel(["$1"]), seed, **options))
    technique.fit(on)
    return technique.keys(on.test)


def test_equal_prompts_have_equal_keys_and_nothing_else_does() -> None:
    usual = keys("ask")
    changes: dict[str, Callable[[], list[str]]] = {
        "question": lambda: keys("ask", question="How much?"),
        "target": lambda: keys("ask", replace(problem(), target="cost")),
        "unit": lambda: keys("ask", replace(problem(), unit="€")),
        "model": lambda: keys("ask", model=ScriptedModel(["$2"])),
        "text": lambda: keys("ask", problem([replace(case, text=case.text + "!") for case in TEST])),
        "examples": lambda: keys("few-shot:fixed:1"),
    }
    for what, changed in changes.items():
        assert not set(usual) & set(changed()), what
    assert keys("ask") == usual
    assert keys("ask", seed=7) == usual
    assert keys("ask", replace(problem(), fingerprint="other", name="other")) == usual
    assert keys("ask", problem([*TEST, Case("q3", "more", 1.0)]))[:2] == usual
    # The same words asked twice are the same question, whatever the case is called.
    one, two = keys("ask", problem([TEST[0], replace(TEST[0], id="copy")]))
    assert one == two


def test_examples_are_part_of_the_key() -> None:
    dearer = [replace(case, expected=float(case.expected) * 2) for case in TRAIN]
    assert keys("few-shot:nearest:2") == keys("few-shot:nearest:2")
    assert not set(keys("few-shot:nearest:2")) & set(keys("few-shot:nearest:2", problem(train=dearer)))
    assert keys("few-shot:random:2") != keys("few-shot:random:2", seed=7)


def test_the_identity_is_known_before_fitting_and_names_what_decides() -> None:
    first = build_technique("few-shot:random", context(ScriptedModel(["$1"])))
    assert first.name == "few-shot:random:3"
    assert json.loads(json.dumps(first.identity))["model"]["engine"] == "scripted"
    for other in (
        build_technique("few-shot:random:2", context(ScriptedModel(["$1"]))),
        build_technique("few-shot:random:3", context(ScriptedModel(["$2"]))),
        build_technique("few-shot:random:3", context(ScriptedModel(["$1"]), question="How much?")),
        build_technique("few-shot:random:3", context(ScriptedModel(["$1"]), seed=7)),
    ):
        assert other.identity != first.identity


def test_building_a_technique_loads_no_model() -> None:
    def load(spec: str) -> ScriptedModel:
        raise AssertionError("loaded")

    for spec in ("ask", "few-shot:fixed:1"):
        build_technique(spec, TechniqueContext(seed=1, load_model=load)).fit(problem())


def test_a_draw_of_examples_can_be_named() -> None:
    seventh = build_technique("few-shot:shared:2:7", context(ScriptedModel(["$1"])))
    assert seventh.name == "few-shot:shared:2:7"
    assert seventh.identity["seed"] == 7
    assert keys("few-shot:shared:2:7") == keys("few-shot:shared:2", seed=7) != keys("few-shot:shared:2:1")
    for wrong in ("few-shot:fixed:2:7", "few-shot:shared:2:x", "few-shot:shared:2:"):
        with pytest.raises(UsageError, match="the seed by which"):
            build_technique(wrong, context(ScriptedModel(["$1"])))


def test_examples_need_training_cases() -> None:
    with pytest.raises(UsageError, match="has none: use ask"):
        build_technique("few-shot", context(ScriptedModel())).fit(problem(train=[]))
