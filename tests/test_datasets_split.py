"""Splits: groups never straddle, the seed settles them, the order of rows does not."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.datasets.build import BuiltProblem, build_problem
from whetstone.datasets.cases import CaseTable
from whetstone.datasets.duplicates import components, group_keys, normalised, text_keys
from whetstone.datasets.split import Sizes, split_rows
from whetstone.errors import UsageError
from whetstone.types import Case, Problem

# Few different texts in many spellings, so that duplicates are common.
texts = st.sampled_from(
    ["Lamp", "lamp ", "LAMP", "Kettle  2 l", "kettle\t2 L", "ﬁne", "Fine", "STRASSE", "straße", *"abcdefgh"]
)
row = st.tuples(texts, st.integers(1, 5), st.sampled_from(["g", "h", "i", None]))


def frame_of(rows: list[tuple[str, int, str | None]]) -> pl.DataFrame:
    schema = {"text": pl.String, "value": pl.Int64, "group": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def splits_of(problem: Problem) -> dict[str, list[Case]]:
    return {"train": list(problem.train), "validation": list(problem.validation), "test": list(problem.test)}


def built(frame: pl.DataFrame, group: str | None = None, **arguments: object) -> BuiltProblem | None:
    try:
        return build_problem(frame, text="text", target="value", kind="number", group=group, **arguments)  # type: ignore[arg-type]
    except UsageError:
        return None  # too few groups for the sizes


@given(st.lists(row, min_size=3, max_size=60), st.integers(0, 5), st.booleans())
def test_rows_with_the_same_text_or_group_never_straddle(
    rows: list[tuple[str, int, str | None]], seed: int, grouped: bool
) -> None:
    made = built(frame_of(rows), group="group" if grouped else None, seed=seed, test_size=0.3, validation_size=0.2)
    if made is None:
        return
    where: dict[str, str] = {}
    seen = []
    for name, cases in splits_of(made.problem).items():
        for case in cases:
            text, _, group = rows[int(case.id) - 1]
            assert where.setdefault(f"text {normalised(text)}", name) == name
            if grouped and group is not None:
                assert where.setdefault(f"group {group}", name) == name
            seen.append(case.id)
    assert sorted(seen, key=int) == [str(n) for n in range(1, len(rows) + 1)]


@given(st.lists(row, min_size=3, max_size=60), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_same_seed_gives_the_same_split_whatever_the_order_of_rows(
    rows: list[tuple[str, int, str | None]], seed: int, rng: random.Random
) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    one, other = (built(frame_of(order), seed=seed, test_size=0.3, validation_size=0.2) for order in (rows, shuffled))
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    for name, cases in splits_of(one.problem).items():
        again = splits_of(other.problem)[name]
        assert [(case.text, case.expected) for case in cases] == [(case.text, case.expected) for case in again]


def test_the_draw_is_the_same_on_every_platform_and_version() -> None:
    frame = pl.DataFrame({"text": [f"item {n}" for n in range(40)], "value": range(40)})
    problem = build_problem(frame, text="text", target="value", test_size=5, validation_size=3).problem
    assert [case.id for case in problem.test] == ["34", "6", "15", "1", "33"]
    assert [case.id for case in problem.validation] == ["17", "35", "40"]
    assert problem.fingerprint == "bfd6aadfa316b33e0902f6053e9c778447446988469c257e75e5465c359129d8"


def test_another_seed_gives_another_split() -> None:
    frame = pl.DataFrame({"text": [f"item {n}" for n in range(200)], "value": range(200)})
    drawn = {
        tuple(
            sorted(build_problem(frame, text="text", target="value", seed=seed).problem.test, key=lambda c: c.id)[0].id
        )
        for seed in range(5)
    }
    assert len(drawn) > 1


def test_a_random_split_takes_every_part_of_the_file() -> None:
    frame = pl.DataFrame({"text": [f"item {n}" for n in range(10_000)], "value": range(10_000)})
    problem = build_problem(frame, text="text", target="value", test_size=1_000).problem
    quarters = np.bincount([int(case.expected) // 2_500 for case in problem.test], minlength=4)  # type: ignore[arg-type]
    assert quarters.min() > 200


def test_ten_duplicate_rows_stay_together() -> None:
    rows = [(f"item {n}", n, None) for n in range(30)] + [
        ("Same  Lamp" if n % 2 else "same lamp", n, None) for n in range(10)
    ]
    for seed in range(20):
        made = built(frame_of(rows), seed=seed)
        assert made is not None
        holding = [name for name, cases in splits_of(made.problem).items() if any("amp" in c.text for c in cases)]
        assert len(holding) == 1


@pytest.mark.parametrize(
    ("rows", "expected"), [(10, (7, 1, 2)), (100, (70, 10, 20)), (2_000, (1_550, 200, 250)), (5_000, (4_500, 250, 250))]
)
def test_default_sizes(rows: int, expected: tuple[int, int, int]) -> None:
    frame = pl.DataFrame({"text": [f"item {n}" for n in range(rows)], "value": range(rows)})
    problem = build_problem(frame, text="text", target="value").problem
    assert (len(problem.train), len(problem.validation), len(problem.test)) == expected


def test_sizes_are_counts_or_fractions_and_training_can_be_capped() -> None:
    frame = pl.DataFrame({"text": [f"item {n}" for n in range(100)], "value": range(100)})

    def sizes(**arguments: float) -> tuple[int, int, int]:
        problem = build_problem(frame, text="text", target="value", **arguments).problem  # type: ignore[arg-type]
        return len(problem.train), len(problem.validation), len(problem.test)

    assert sizes(test_size=30, validation_size=5) == (65, 5, 30)
    assert sizes(test_size=0.3, validation_size=0.05) == (65, 5, 30)
    assert sizes(test_size=10, validation_size=0, train_size=12) == (12, 0, 10)
    assert sizes(train_size=0.5) == (50, 10, 20)
    with pytest.raises(UsageError, match="neither a number of rows nor a fraction"):
        sizes(test_size=-1)
    with pytest.raises(UsageError, match="neither a number of rows nor a fraction"):
        sizes(test_size=1.5)
    with pytest.raises(UsageError, match="100 usable rows are too few for 95 test and 10 validation rows"):
        sizes(test_size=95)
    with pytest.raises(UsageError, match="too few for 0 test"):
        sizes(test_size=0)


def test_a_cap_on_training_changes_neither_test_nor_validation() -> None:
    frame = pl.DataFrame({"text": [f"item {n}" for n in range(100)], "value": range(100)})
    whole = build_problem(frame, text="text", target="value").problem
    capped = build_problem(frame, text="text", target="value", train_size=20).problem
    assert list(capped.test) == list(whole.test)
    assert list(capped.validation) == list(whole.validation)
    assert list(capped.train) == list(whole.train)[:20]


def test_too_few_rows_or_groups_are_said() -> None:
    with pytest.raises(UsageError, match="2 usable rows are too few"):
        build_problem(pl.DataFrame({"text": ["a", "b"], "value": [1, 2]}), text="text", target="value")
    same = pl.DataFrame({"text": ["a"] * 20, "value": range(20)})
    with pytest.raises(UsageError, match="fall into 1 groups of rows that belong together"):
        build_problem(same, text="text", target="value")


def test_a_group_larger_than_what_is_asked_for_goes_to_training_and_the_shortfall_is_noted() -> None:
    frame = pl.DataFrame({"text": ["big"] * 16 + ["s1", "s2", "s3", "s4"], "value": range(20)})
    made = build_problem(frame, text="text", target="value", test_size=6, validation_size=0)
    assert {case.text for case in made.problem.test} == {"s1", "s2", "s3", "s4"}
    assert any("test: 4 rows instead of 6" in note for note in made.notes)


def test_every_row_a_test_case_keeps_the_order_and_groups_duplicates_for_cross_fitting() -> None:
    frame = pl.DataFrame({"text": ["b", "a", "B ", "c"], "value": [1, 2, 3, 4]})
    problem = build_problem(frame, text="text", target="value", test_all=True).problem
    assert [case.id for case in problem.test] == ["1", "2", "3", "4"]
    assert len(problem.train) == len(problem.validation) == 0
    assert problem.cross_fit == 5
    assert problem.groups[0] == problem.groups[2]
    assert len(set(problem.groups)) == 3


def test_rows_to_train_on_that_belong_with_a_test_row_are_dropped_and_counted() -> None:
    test = pl.DataFrame({"text": ["a", "b"], "value": [1, 2], "maker": ["x", "y"], "shelf": [1, 1]})
    train = pl.DataFrame(
        {"text": ["A ", "c", "d", "e", "f"], "value": [1, 2, 3, 4, 5], "maker": ["q", "y", "z", "z", None]}
    )
    made = build_problem(
        test, text="text", target="value", group="maker", test_all=True, train_source=train, validation_size=1
    )
    problem = made.problem
    assert [case.text for case in problem.test] == ["a", "b"]
    assert {case.text for case in [*problem.train, *problem.validation]} == {"d", "e", "f"}
    assert any("2 rows to train on were dropped" in note for note in made.notes)
    assert any("left out: shelf" in note for note in made.notes)
    assert problem.cross_fit == 0
    assert problem.groups == ()
    ids = [case.id for cases in splits_of(problem).values() for case in cases]
    assert len(set(ids)) == len(ids)
    with pytest.raises(UsageError, match="Every row to train on is also a test row"):
        build_problem(test, text="text", target="value", test_all=True, train_source=test)


def test_options_that_contradict_each_other_are_refused() -> None:
    frame = pl.DataFrame({"text": list("abc"), "value": [1, 2, 3]})
    with pytest.raises(UsageError, match="train_source"):
        build_problem(frame, text="text", target="value", train_source=frame)
    with pytest.raises(UsageError, match="no test size to choose"):
        build_problem(frame, text="text", target="value", test_all=True, test_size=2)


@given(st.lists(st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 8))), min_size=1, max_size=40))
def test_components_are_the_connected_rows(rows: list[tuple[int, int | None]]) -> None:
    keys = text_keys(pl.Series([str(text) for text, _ in rows]))
    groups = pl.Series([None if group is None else str(group) for _, group in rows], dtype=pl.String)
    found = components(keys, group_keys(groups), groups.is_not_null().to_numpy()).tolist()
    # By hand: spread numbers along links until nothing changes.
    numbers = list(range(len(rows)))
    changed = True
    while changed:
        changed = False
        for i, (text, group) in enumerate(rows):
            for j, (other, of) in enumerate(rows):
                if (text == other or (group is not None and group == of)) and numbers[j] > numbers[i]:
                    numbers[j], changed = numbers[i], True
    pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
    assert [found[i] == found[j] for i, j in pairs] == [numbers[i] == numbers[j] for i, j in pairs]
    assert sorted(set(found)) == list(range(len(set(found))))


def test_texts_are_compared_without_case_blanks_or_unicode_form() -> None:
    assert normalised(" Straße\u00a0\n№ 5 ") == normalised("STRASSE no 5")
    assert normalised("é") == normalised("É") == normalised("e\u0301")
    assert normalised("a b") != normalised("ab")


def test_a_split_is_drawn_by_whole_components() -> None:
    component = np.array([0, 1, 1, 2, 3, 3, 3])
    contents = np.arange(7, dtype=np.uint64)
    split = split_rows(component, contents, Sizes(test=3, validation=1), seed=1)
    parts = [set(component[rows].tolist()) for rows in (split.train, split.validation, split.test)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]


rows_of_cases = st.lists(
    st.tuples(
        st.text(max_size=5), st.floats(-1e6, 1e6), st.one_of(st.none(), st.integers(0, 9)), st.sampled_from("xy")
    ),
    max_size=12,
)


@given(rows_of_cases, st.data())
def test_a_case_table_equals_the_list_of_its_cases(
    rows: list[tuple[str, float, int | None, str]], data: st.DataObject
) -> None:
    cases = [Case(str(i), text, value, {"n": n, "x": x}) for i, (text, value, n, x) in enumerate(rows)]
    table = CaseTable(
        pl.Series([case.id for case in cases], dtype=pl.String),
        pl.Series([case.text for case in cases], dtype=pl.String),
        pl.Series([case.expected for case in cases], dtype=pl.Float64),
        pl.DataFrame({"n": [row[2] for row in rows], "x": [row[3] for row in rows]}, {"n": pl.Int64, "x": pl.String}),
    )
    assert list(table) == cases
    assert len(table) == len(cases)
    part = data.draw(st.slices(len(cases)))
    assert isinstance(table[part], CaseTable)
    assert list(table[part]) == cases[part]
    assert table[part].texts() == [case.text for case in cases[part]]
    assert table[part].expected() == [case.expected for case in cases[part]]
    assert table[part].frame.to_dicts() == [dict(case.fields) for case in cases[part]]
    assert (table[part] == table) == (cases[part] == cases)
    if cases:
        index = data.draw(st.integers(-len(cases), len(cases) - 1))
        assert table[index] == cases[index]
        assert list(table.take([index, index])) == [cases[index]] * 2
        assert cases[index] in table
        assert table.index(cases[index]) == cases.index(cases[index])
    with pytest.raises(IndexError):
        table[len(cases)]


def test_a_case_table_without_fields_has_cases_with_none() -> None:
    table = CaseTable(pl.Series(["1", "2"]), pl.Series(["a", "b"]), pl.Series(["x", "y"]), pl.DataFrame())
    assert list(table[1:]) == [Case("2", "b", "y", {})]
    assert table.frame.width == 0
    assert "2 cases" in repr(table)
