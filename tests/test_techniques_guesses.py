"""Replaying guesses from files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import DataError, UnknownNameError, UsageError
from whetstone.evaluation.metrics import score
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.evaluation.techniques.guesses import Guesses
from whetstone.models.scripted import ScriptedModel
from whetstone.types import Case, Prediction, Problem, TargetKind


def problem(ids: Sequence[str] = ("1", "2", "3"), kind: TargetKind = "number", unit: str = "$", **rest: Any) -> Problem:
    expected: list[float | str] = [float(index) if kind == "number" else "cat" for index in range(len(ids))]
    test = [Case(identifier, f"text {identifier}", truth) for identifier, truth in zip(ids, expected, strict=True)]
    return Problem(
        name="toy", kind=kind, target="price", metric="mae", train=(), validation=(), test=test, fingerprint="f",
        unit=unit, labels=("cat", "dog") if kind == "label" else (), **rest,
    )  # fmt: skip


def guesses(argument: str) -> Guesses:
    technique = build_technique(
        f"guesses:{argument}", TechniqueContext(seed=1, load_model=lambda spec: ScriptedModel([]))
    )
    assert isinstance(technique, Guesses)
    return technique


def replay(path: Path, content: str, on: Problem, column: str = "") -> dict[str, Prediction]:
    path.write_text(content, encoding="utf-8")
    technique = guesses(f"{path}{column}")
    technique.fit(on)
    found = list(technique.predict(on.test))
    assert [prediction.key for prediction in found] == technique.keys(on.test)
    return {prediction.case_id: prediction for prediction in found}


def values(found: dict[str, Prediction]) -> dict[str, Any]:
    return {case_id: prediction.reading.value for case_id, prediction in found.items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bare.csv", "10\n20.5\n$30\n"),
        ("bare.txt", "10\r\n20.5\r\n$30\r\n\r\n"),
        ("bom.csv", "\ufeffguess\n10\n20.5\n$30\n"),
        ("header.csv", "Guess\n10\n20.5\n$30\n"),
        ("other.csv", "note,prediction\na,10\nb,20.5\nc,$30\n"),
        ("quoted.csv", 'title,human_guess\n"a, b",10\nb,20.5\nc,"$30"\n'),
        ("semicolon.csv", "item;guess\n3;$30\n1;10\n2;20.5\n"),
        ("tab.tsv", "id\tguess\n2\t20.5\n3\t$30\n1\t10\n9\t99\n"),
        ("pairs.csv", "2,20.5\n1,10\n3,$30\n"),
        ("lines.jsonl", '10\n20.5\n"$30"\n'),
        ("objects.jsonl", '{"id": 3, "answer": "$30"}\n{"id": 1, "answer": 10}\n\n{"id": 2, "answer": 20.5}\n'),
    ],
)
def test_guesses_are_found_in_files_of_many_forms(tmp_path: Path, name: str, content: str) -> None:
    assert values(replay(tmp_path / name, content, problem())) == {"1": 10.0, "2": 20.5, "3": 30.0}


def test_rows_follow_the_order_of_the_source_even_where_the_test_cases_do_not(tmp_path: Path) -> None:
    found = replay(tmp_path / "g.csv", "10\n20\n30\n", problem(ids=("11", "2", "7")))
    assert values(found) == {"2": 10.0, "7": 20.0, "11": 30.0}
    named = replay(tmp_path / "g.csv", "10\n20\n30\n", problem(ids=("x", "b", "c")))
    assert values(named) == {"x": 10.0, "b": 20.0, "c": 30.0}


def test_one_guess_per_row_of_the_source_passes_over_rows_that_are_no_test_cases(tmp_path: Path) -> None:
    found = replay(tmp_path / "g.csv", "10\n20\n30\n40\n", problem(ids=("2", "4"), source={"rows": 4}))
    assert values(found) == {"2": 20.0, "4": 40.0}


def test_an_unreadable_guess_is_unparsable_and_never_zero(tmp_path: Path) -> None:
    found = replay(tmp_path / "g.csv", "guess\n10\n\na lot\n", problem(valid_range=(0, 100)))
    assert [prediction.reading.status for prediction in found.values()] == ["value", "unparsable", "unparsable"]
    assert found["3"].raw == "a lot"
    beyond = replay(tmp_path / "g.jsonl", "10\n-5\n1e9\n", problem(valid_range=(0, 100)))
    assert [prediction.reading.status for prediction in beyond.values()] == ["value", "out_of_range", "out_of_range"]


def test_a_json_number_is_read_as_json_whatever_the_unit(tmp_path: Path) -> None:
    assert values(replay(tmp_path / "g.jsonl", '147.905\n"1.299 €"\n2\n', problem(unit="€"))) == {
        "1": 147.905, "2": 1299.0, "3": 2.0
    }  # fmt: skip


def test_labels_and_texts_are_guessed_too(tmp_path: Path) -> None:
    assert values(replay(tmp_path / "g.csv", "guess\nDog\ncat\nfish\n", problem(kind="label"))) == {
        "1": "dog", "2": "cat", "3": None
    }  # fmt: skip
    assert values(replay(tmp_path / "g.csv", "answer\none\ntwo\nthree\n", problem(kind="text"))) == {
        "1": "one", "2": "two", "3": "three"
    }  # fmt: skip


def test_the_column_can_be_named(tmp_path: Path) -> None:
    content = "first,second\n1,10\n2,20\n3,30\n"
    assert values(replay(tmp_path / "g.csv", content, problem(), "#second")) == {"1": 10.0, "2": 20.0, "3": 30.0}
    with pytest.raises(UsageError, match="not clear which column"):
        guesses(str(tmp_path / "g.csv"))
    with pytest.raises(UnknownNameError, match="second"):
        guesses(f"{tmp_path / 'g.csv'}#secnd")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("few.csv", "10\n20\n", "2 guesses for 3 test cases"),
        ("header.csv", "price\n10\n20\n30\n", "if the first line is a header"),
        ("missing.csv", "id,guess\n1,10\n3,30\n", "no guess for 1 of 3 test cases, the first with the id '2'"),
        ("strange.csv", "id,guess\na,10\nb,20\nc,30\n", "none of its ids"),
        ("twice.csv", "id,guess\n1,10\n2,20\n1,30\n", "'1' occurs twice"),
        ("ragged.csv", "guess\n10\n1,299\n30\n", "line 3: 2 columns"),
        ("empty.csv", "", "holds no guesses"),
        ("only-header.csv", "guess\n", "holds no guesses"),
        ("broken.jsonl", '{"guess": 1}\n{"guess": 2\n', "line 2: not JSON"),
        ("partial.jsonl", '{"guess": 1}\n{"gess": 2}\n{"guess": 3}\n', "line 2: there is no 'guess'"),
        ("wide.csv", "1,2,3\n4,5,6\n", "add a header"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_place_and_the_reason(
    tmp_path: Path, name: str, content: str, complaint: str
) -> None:
    with pytest.raises((DataError, UsageError), match=complaint) as caught:
        replay(tmp_path / name, content, problem())
    assert name in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: the guesses cannot be read"):
        guesses(str(tmp_path / "none.csv"))
    (tmp_path / "latin.csv").write_bytes(b"guess\n10\n20 \xa3\n")
    with pytest.raises(DataError, match="line 3: not UTF-8"):
        guesses(str(tmp_path / "latin.csv"))


def test_the_identity_is_the_content_of_the_file(tmp_path: Path) -> None:
    for name, content in (("a.csv", "1\n2\n3\n"), ("b.csv", "1\n2\n3\n"), ("c.csv", "1\n2\n4\n")):
        (tmp_path / name).write_text(content)
    a, b, c = (guesses(str(tmp_path / name)) for name in ("a.csv", "b.csv", "c.csv"))
    assert a.identity == b.identity != c.identity
    keys = []
    for technique in (a, c):
        technique.fit(problem())
        keys.append(technique.keys(problem().test))
    assert [one == other for one, other in zip(*keys, strict=True)] == [True, True, False]


def test_the_published_human_score_is_reproduced(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "price_is_right" / "items_250.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    test = [Case(str(index), row["text"], row["price"]) for index, row in enumerate(rows, start=1)]
    on = Problem("pir", "number", "price", "mae", (), (), test, "f", "$", valid_range=(0, 1e6))
    bare = "\n".join(str(row["human_guess"]) for row in rows)
    metrics = score(on, list(replay(tmp_path / "human_input.csv", bare, on).values())).metrics
    assert metrics["mae"].value == pytest.approx(126.55, abs=0.005)
    assert metrics["rmsle"].value == pytest.approx(1.00, abs=0.005)
    assert metrics["hit_rate"].value == 0.32
