"""Passages as a technique: what stands above a case's question, and that no item of the test split ever does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kb_small import synced, write
from whetstone.errors import UnknownNameError, UsageError
from whetstone.evaluation.held_out import HeldOut
from whetstone.evaluation.technique import FoundPassage, TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.models.scripted import ScriptedModel
from whetstone.types import Case, Message, Problem, text_of
from whetstone.workflows.case_passages import OpenPassages
from whetstone.workflows.compare import compare

TEST = [
    Case("q1", "A cordless drill with two batteries, a charger and a case, made by Bosk.", 129.0),
    Case("q2", "A three-seat sofa in grey fabric with wooden legs, by Lindqvist.", 899.0),
]
TRAIN = [Case("t1", "A cordless screwdriver with one battery, made by Bosk.", 39.0)]
CATALOGUE = {
    "tools.md": (
        "# Tools\n\n## Guide\n\nCordless drills of Bosk cost from 100 to 150 dollars, by their batteries.\n\n"
        "## Entry 17\n\nA CORDLESS drill with two batteries,  a charger and a case, made by Bosk. \n\n"
        "The price of this very one is 129 dollars, says the entry.\n"
    ),
    "sofas.md": "# Sofas\n\nSofas of Lindqvist with three seats cost about 900 dollars, in leather 1,500.\n",
}


def problem(test: Sequence[Case] = TEST, train: Sequence[Case] = TRAIN) -> Problem:
    return Problem(
        name="toy", kind="number", target="price", metric="mae", train=train, validation=(), test=test,
        fingerprint="f", unit="$", valid_range=(0, 1e5),
    )  # fmt: skip


@pytest.fixture
def catalogue(tmp_path: Path) -> None:
    synced(write(tmp_path / "docs", CATALOGUE), "catalogue")


def asked(spec: str, on: Problem, **context_length: int) -> list[list[Message]]:
    model = ScriptedModel(lambda messages: "$1", **context_length)
    passages = OpenPassages()
    context = TechniqueContext(seed=1, load_model=lambda _: model, open_passages=passages)
    try:
        technique = build_technique(spec, context)
        technique.fit(on)
        assert [p.case_id for p in technique.predict(on.test)] == [case.id for case in on.test]
    finally:
        passages.close()
    return [list(request.messages) for request in model.asked]


@pytest.mark.usefixtures("catalogue")
def test_passages_stand_above_the_case_and_are_marked_as_data() -> None:
    drill, sofa = (text_of(messages[-1]) for messages in asked("retrieved:catalogue:2", problem()))
    assert "> Sofas of Lindqvist with three seats cost about 900 dollars" in sofa
    assert drill.index("==== ") < drill.index("> ") < drill.index(TEST[0].text) < drill.index("What is the price")


@pytest.mark.usefixtures("catalogue")
def test_no_test_item_and_nothing_beside_one_is_ever_shown() -> None:
    for messages in asked("retrieved:catalogue:10", problem()):
        told = text_of(messages[-1])
        quotes = [line for line in told.splitlines() if line.startswith("> ")]
        assert not any("two batteries,  a charger" in line or "this very one" in line for line in quotes)
        assert "129" not in told
    # What is no test item is shown: the same entry for another problem.
    other = problem(test=[Case("q3", "A drill by Bosk with batteries and a charger for a workshop", 120.0)])
    (messages,) = asked("retrieved:catalogue:10", other)
    assert "129 dollars" in text_of(messages[-1])


@pytest.mark.usefixtures("catalogue")
def test_what_does_not_fit_is_left_out() -> None:
    (plain, _) = asked("ask", problem())
    (small, _) = asked("retrieved:catalogue:2", problem(), context_length=90)
    assert small == plain
    (some, _) = asked("retrieved:catalogue:2", problem(), context_length=4000)
    assert len(text_of(some[-1])) > len(text_of(plain[-1]))


@pytest.mark.usefixtures("catalogue")
def test_it_competes_in_a_comparison_and_another_state_is_another_run(tmp_path: Path) -> None:
    def run() -> str:
        report = compare(
            problem(), ["constant:mean", "retrieved:catalogue:1"], load=lambda _: ScriptedModel(lambda messages: "$100")
        )
        return str(report.results[1].run_id)

    first = run()
    assert run() == first
    write(tmp_path / "docs", {"sofas.md": "# Sofas\n\nNone any more.\n"})
    synced(tmp_path / "docs", "catalogue")
    assert run() != first


def test_arguments_and_names_are_checked() -> None:
    for spec in ("retrieved", "retrieved:x:0", "retrieved:x:many"):
        with pytest.raises(UsageError, match="retrieved takes a knowledge base"):
            asked(spec, problem())
    with pytest.raises(UnknownNameError):
        asked("retrieved:nothing", problem())


def test_a_training_case_that_is_a_test_item_is_no_example_and_no_neighbour() -> None:
    copy = Case("t2", f"  {TEST[0].text.upper()}", 129.0)
    for spec in ("few-shot:nearest:2", "few-shot:fixed:2", "few-shot:random:2"):
        for messages in asked(spec, problem(train=[*TRAIN, copy])):
            assert copy.text not in [text_of(message).split("\n")[0] for message in messages[:-1]]
            assert sum("SCREWDRIVER" in text_of(message).upper() for message in messages) == 1
    knn = build_technique("knn:1", TechniqueContext(seed=1, load_model=lambda _: ScriptedModel()))
    knn.fit(problem(train=[*TRAIN, copy]))
    assert {prediction.reading.value for prediction in knn.predict(TEST)} == {39.0}


ITEM = "The quick brown fox jumps over the lazy dog near the river bank at dawn"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Before it. {ITEM.upper()}. And after it.", True),
        (f"{ITEM[:35]}\n{ITEM[35:]}", True),
        (ITEM.replace("at dawn", "at dusk"), True),  # nearly the same
        ("jumps over the lazy dog near the river", True),  # a piece of it
        ("The quick brown fox lives in a zoo, and nobody jumps over a lazy dog near it any more.", False),
        ("A red fox", False),
        ("", False),
        ("colour: | Red | of the shirt", True),
        ("A shirt in Red, and in blue.", False),
        ("안내: 서울에서 부산까지 기차로 두 시간 반이 걸린다고 합니다.", True),
        ("서울과 부산은 한국의 도시이다.", False),
    ],
)
def test_a_text_shows_an_item_or_does_not(text: str, shown: bool) -> None:
    items = [
        Case("a", ITEM, 1.0),
        Case("b", "red", 1.0),
        Case("c", "서울에서 부산까지 기차로 두 시간 반이 걸린다", 1.0),
    ]
    assert HeldOut(items).shows(text) == shown


def test_passages_touch_where_nothing_is_between_them() -> None:
    one = FoundPassage("a.md", 10, 20, "")
    assert one.touches(FoundPassage("a.md", 22, 30, ""))
    assert one.touches(FoundPassage("a.md", 0, 8, ""))
    assert not one.touches(FoundPassage("a.md", 23, 30, ""))
    assert not one.touches(FoundPassage("b.md", 10, 20, ""))
