"""From a source to a problem: columns, targets, rejected rows, ids, fingerprints, freezing."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.datasets.build import build_problem
from whetstone.datasets.catalogues import diamonds
from whetstone.datasets.fingerprint import fingerprint
from whetstone.datasets.freeze import freeze, frozen_folder, thaw
from whetstone.datasets.targets import infer_kind, infer_unit, number_and_reason
from whetstone.errors import DataError, MissingPackageError, StorageError, UsageError
from whetstone.types import Case, Problem


def frame_of(n: int = 40, **columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"text": [f"item {i}" for i in range(n)], "price": [float(i + 1) for i in range(n)], **columns})


def judge(cells: list[Any], **limits: float | None) -> list[tuple[float | None, str | None]]:
    frame = pl.DataFrame({"t": cells}, strict=False)
    expected, reason = number_and_reason("t", frame.schema["t"], limits.get("minimum"), limits.get("maximum"))
    return frame.select(value=expected, why=reason).rows()


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("12", 12.0),
        ("12.50", 12.5),
        ("$1,299.99", 1299.99),
        ("$ 5", 5.0),
        ("5 €", 5.0),
        ("\u00a0£3 ", 3.0),
        ("-4.5", -4.5),
        ("-$4.50", -4.5),
        ("$-4.50", -4.5),
        ("+7", 7.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1,234,567", 1234567.0),
        ("-0", 0.0),
    ],
)
def test_a_plain_number_is_read(cell: str, number: float) -> None:
    [(value, reason)] = judge([cell])
    assert reason is None
    assert value == number
    assert math.copysign(1, value) == math.copysign(1, number)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("", "the target is missing"),
        ("  ", "the target is missing"),
        (None, "the target is missing"),
        ("None", "the target is missing (“None”)"),
        ("NaN", "the target is missing (“NaN”)"),
        ("n/a", "the target is missing (“n/a”)"),
        ("inf", "“inf” is not finite"),
        ("-Infinity", "“-Infinity” is not finite"),
        ("from 12.99", "“from 12.99” is not a plain number"),
        ("12.99 - 19.99", "“12.99 - 19.99” is not a plain number"),
        ("1,29", "“1,29” is not a plain number"),
        ("1.299,99", "“1.299,99” is not a plain number"),
        ("--5", "“--5” is not a plain number"),
        ("$", "“$” is not a plain number"),
        (".", "“.” is not a plain number"),
        ("0x10", "“0x10” is not a plain number"),
        ("1_000", "“1_000” is not a plain number"),
        ("٣", "“٣” is not a plain number"),
        ("1e13", "“1e13” is absurd"),
        ("1e999", "“1e999” is absurd"),
        ("-3", "“-3” is below the minimum 0"),
        ("600", "“600” is above the maximum 500"),
    ],
)
def test_anything_else_is_no_number_and_the_reason_quotes_it(cell: str | None, words: str) -> None:
    [(_, reason), (good, fine)] = judge([cell, "1"], minimum=0, maximum=500)
    assert reason is not None
    assert reason.startswith(words)
    assert (good, fine) == (1.0, None)


def test_numeric_columns_are_judged_too() -> None:
    found = judge([1.5, None, math.nan, math.inf, 2e12, -1.0], minimum=0)
    assert [why for _, why in found] == [
        None,
        "the target is missing",
        "the target is missing",
        "inf is not finite",
        "2000000000000.0 is absurd: beyond a million million",
        "-1.0 is below the minimum 0",
    ]
    assert judge([3, -3]) == [(3.0, None), (-3.0, None)]


@given(st.floats(-1e11, 1e11))
def test_every_written_number_is_read_exactly(number: float) -> None:
    [(value, reason)] = judge([repr(number)])
    assert reason is None
    assert value == number


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2, 3], "number"),
        (["$1", "2", "None", "x"], "number"),
        (["pos", "neg"] * 10, "label"),
        ([True, False], "label"),
        (["pos", "neg", "neutral", "odd"], "text"),
        ([f"answer {n}" for n in range(60)] * 10, "text"),
        (["x" * 61, "y" * 61] * 20, "text"),
    ],
)
def test_the_kind_of_target_is_inferred(cells: list[Any], kind: str) -> None:
    assert infer_kind(pl.Series(cells)) == kind


@pytest.mark.parametrize(
    ("name", "cells", "unit"),
    [
        ("price", [1.0], "$"),
        ("salePrice", [1.0], "$"),
        ("unit_cost", ["1"], "$"),
        ("Price (USD)", ["1"], "$"),
        ("temperature", [1.0], ""),
        ("costume", [1.0], ""),
        ("worth", ["$1", "$2", "3"], "$"),
        ("price", ["1 €", "2 €"], "€"),
    ],
)
def test_the_unit_comes_from_the_name_or_the_cells(name: str, cells: list[Any], unit: str) -> None:
    assert infer_unit(name, pl.Series(cells)) == unit


# Columns


def test_several_text_columns_are_joined_and_empty_ones_left_out() -> None:
    frame = pl.DataFrame(
        {"title": ["a", "b", None], "body": ["long a", " ", "only body"], "n": [7, 8, 9], "price": [1, 2, 3]}
    )
    problem = build_problem(frame, text=["title", "body", "n"], target="price", test_all=True).problem
    assert [case.text for case in problem.test] == ["a\nlong a\n7", "b\n8", "only body\n9"]


def test_fields_are_by_default_numbers_truth_values_and_categories() -> None:
    frame = frame_of(
        weight=[f"{n}.5" for n in range(40)],
        count=list(range(40)),
        new=[True, False] * 20,
        brand=["Acme", "Bolt", None, ""] * 10,
        serial=[f"SN-{n}" for n in range(40)],
        story=[f"{'word ' * 20} {n % 2}" for n in range(40)],
        nothing=pl.Series([None] * 40, dtype=pl.String),
        key=list(range(40)),
        maker=["x", "y"] * 20,
    )
    problem = build_problem(frame, text="text", target="price", id="key", group="maker", test_all=True).problem
    assert set(problem.test[0].fields) == {"weight", "count", "new", "brand"}
    assert dict(problem.test[3].fields) == {"weight": 3.5, "count": 3, "new": False, "brand": None}
    chosen = build_problem(frame, text="text", target="price", fields=["serial", "maker"], test_all=True).problem
    assert dict(chosen.test[0].fields) == {"serial": "SN-0", "maker": "x"}
    none = build_problem(frame, text="text", target="price", fields=[], test_all=True).problem
    assert dict(none.test[0].fields) == {}


def test_a_missing_column_is_named_with_near_matches_and_all_columns() -> None:
    with pytest.raises(DataError) as caught:
        build_problem(frame_of(Title=["x"] * 40), text="titel", target="price")
    assert "has no column 'titel'. Did you mean Title" in str(caught.value)
    assert "Its columns: text, price, Title" in str(caught.value)


def test_columns_that_were_not_said_or_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Say which column .* its columns: text, price"):
        build_problem(frame_of())
    with pytest.raises(UsageError, match="the answer would stand in the question"):
        build_problem(frame_of(), text=["text", "price"], target="price")
    with pytest.raises(UsageError, match="cannot be one of the fields"):
        build_problem(frame_of(), text="text", target="price", fields=["price"])


def test_a_field_that_copies_the_target_is_noted() -> None:
    made = build_problem(frame_of(copy=list(range(1, 41))), text="text", target="price")
    assert any("copy equals the target" in note for note in made.notes)


# Rejected rows


def test_good_rows_are_kept_and_bad_ones_written_with_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    bad = {4: "x,from 12.99", 7: "x,-5", 9: ",3", 11: "only one field", 12: "x,"}
    path.write_text("name,price\n" + "".join(f"{bad.get(line, f'item {line},{line}')}\n" for line in range(2, 22)))
    made = build_problem(path, text="name", target="price", test_all=True)
    assert len(made.problem.test) == 15
    assert {case.id for case in made.problem.test} == {str(line - 1) for line in range(2, 22) if line not in bad}
    made.rejects.write(tmp_path / "deep" / "rejects.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "deep" / "rejects.jsonl").read_text().splitlines()]
    assert [(row["line"], row["field"]) for row in rows] == [
        (4, "price"),
        (7, "price"),
        (9, "name"),
        (11, ""),
        (12, "price"),
    ]
    assert rows[0]["reason"] == "“from 12.99” is not a plain number"
    assert rows[0]["content"] == {"name": "x", "price": "from 12.99"}
    assert rows[1]["reason"] == "“-5” is below the minimum 0"
    assert rows[2]["reason"] == "the text is empty"
    assert rows[3]["content"] == {"text": "only one field"}
    assert made.notes[-1] == f"5 rows were set aside; the first: {path}, line 4, field price: {rows[0]['reason']}"
    with pytest.raises(DataError, match=r"items\.csv, line \d+.*; repair that row"):
        build_problem(path, text="name", target="price", test_all=True, strict=True)


def test_more_bad_rows_than_good_ones_stop_with_the_first() -> None:
    frame = pl.DataFrame({"text": list("abcdef"), "price": ["1", "2", "None", "from 3", "x", "y"]})
    with pytest.raises(DataError, match=r"4 of 6 rows cannot be used; the first: the polars frame, row 3, field price"):
        build_problem(frame, text="text", target="price", kind="number", test_all=True)
    half = frame.head(4)
    assert len(build_problem(half, text="text", target="price", kind="number", test_all=True).rejects) == 2


def test_rejected_rows_of_the_rows_to_train_on_are_kept_too() -> None:
    train = pl.DataFrame({"text": list("pqrst"), "price": [1, 2, None, 4, 5]})
    made = build_problem(frame_of(3), text="text", target="price", test_all=True, train_source=train)
    assert len(made.problem.train) == 3
    assert [reject.row for reject in made.rejects] == [3]


def test_a_rejects_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    made = build_problem(frame_of().with_columns(price=pl.Series([None] + [1.0] * 39)), text="text", target="price")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="rejected rows could not be written"):
        made.rejects.write(tmp_path / "file" / "rejects.jsonl")


def test_negative_numbers_are_fine_unless_they_are_money_or_a_minimum_is_asked_for() -> None:
    frame = pl.DataFrame({"text": list("abcd"), "degrees": [-5.0, 3.0, 4.0, 20.0]})
    made = build_problem(frame, text="text", target="degrees", test_all=True)
    assert len(made.problem.test) == 4
    assert made.problem.valid_range == (-20_000.0, 20_000.0)
    limited = build_problem(frame, text="text", target="degrees", minimum=0, maximum=10, test_all=True)
    assert [case.expected for case in limited.problem.test] == [3.0, 4.0]
    assert limited.problem.valid_range == (0.0, 4_000.0)
    money = build_problem(frame.rename({"degrees": "price"}), text="text", target="price", test_all=True)
    assert len(money.problem.test) == 3
    assert money.problem.unit == "$"
    allowed = build_problem(
        frame.rename({"degrees": "price"}), text="text", target="price", minimum=-100, test_all=True
    )
    assert len(allowed.problem.test) == 4


# Ids


def test_ids_are_a_column_or_the_number_of_the_row_rejected_rows_counted() -> None:
    frame = frame_of(4, sku=["a1", "a2", "a3", "a4"]).with_columns(price=pl.Series([1.0, None, 3.0, 4.0]))
    numbered = build_problem(frame, text="text", target="price", test_all=True).problem
    assert [case.id for case in numbered.test] == ["1", "3", "4"]
    named = build_problem(frame, text="text", target="price", id="sku", test_all=True).problem
    assert [case.id for case in named.test] == ["a1", "a3", "a4"]
    assert "sku" not in named.test[0].fields


def test_an_id_that_occurs_twice_is_an_error_and_a_blank_one_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sku,name,price\na,x,1\nb,y,2\na,z,3\n")
    with pytest.raises(DataError, match="lines 2 and 4: the id 'a' in column sku occurs twice"):
        build_problem(path, text="name", target="price", id="sku", test_all=True)
    path.write_text("sku,name,price\na,x,1\n ,y,2\nc,z,3\n")
    made = build_problem(path, text="name", target="price", id="sku", test_all=True)
    assert [(reject.field, reject.reason) for reject in made.rejects] == [("sku", "the id is missing")]


# Kinds


def test_labels_and_texts_become_problems_with_their_own_metric() -> None:
    frame = frame_of(mood=["good", " bad "] * 20, answer=[f"because of {n}" for n in range(40)])
    labels = build_problem(frame, text="text", target="mood").problem
    assert (labels.kind, labels.metric, labels.labels, labels.valid_range) == (
        "label",
        "accuracy",
        ("bad", "good"),
        None,
    )
    texts = build_problem(frame, text="text", target="answer").problem
    assert (texts.kind, texts.metric, texts.labels, texts.unit) == ("text", "rouge_l", (), "")
    assert isinstance(texts.test[0].expected, str)
    forced = build_problem(frame, text="text", target="price", kind="label", metric="macro_f1").problem
    assert forced.metric == "macro_f1"
    assert "1.0" in forced.labels


def test_a_number_with_two_values_is_noted() -> None:
    made = build_problem(frame_of(spam=[0, 1] * 20), text="text", target="spam")
    assert any("for labels say kind label" in note for note in made.notes)


# Fingerprints and freezing

item = st.tuples(st.text(max_size=6), st.text(max_size=6), st.floats(-1e9, 1e9))
splits = st.tuples(st.lists(item, max_size=4), st.lists(item, max_size=4), st.lists(item, min_size=1, max_size=4))


def digest(parts: Any, kind: Any = "number", metric: str = "mae") -> str:
    return fingerprint(kind, metric, *([Case(*values) for values in part] for part in parts))


@given(splits, st.data())
def test_the_fingerprint_changes_with_any_item_split_kind_or_metric_and_with_nothing_else(
    parts: tuple[list[Any], list[Any], list[Any]], data: st.DataObject
) -> None:
    whole = digest(parts)
    shuffled = [data.draw(st.permutations(part)) for part in parts]
    assert digest(shuffled) == whole
    assert fingerprint("number", "mae", *([Case(*v, {"a": 1}) for v in part] for part in parts)) == whole
    assert digest(parts, metric="rmse") != whole
    assert digest(parts, kind="label") != whole
    assert digest((parts[0], parts[1], [*parts[2], ("new", "new", 0.0)])) != whole
    assert digest((parts[0], [*parts[1], parts[2][0]], parts[2][1:])) != whole
    place = data.draw(st.integers(0, 2))
    changed = [list(part) for part in parts]
    name, text, expected = data.draw(item)
    if changed[place]:
        before = changed[place][0]
        changed[place][0] = (name, text, expected)
        assert (digest(changed) == whole) == (before == (name, text, expected))


def test_neighbouring_texts_do_not_run_together_in_the_fingerprint() -> None:
    assert digest([[], [], [("a", "bc", 1.0)]]) != digest([[], [], [("ab", "c", 1.0)]])
    assert digest([[], [], [("a", "b", 0.0)]]) == digest([[], [], [("a", "b", -0.0)]])


def test_the_fingerprint_of_columns_is_that_of_their_cases() -> None:
    problem = build_problem(frame_of(), text="text", target="price").problem
    lists = [list(problem.train), list(problem.validation), list(problem.test)]
    assert fingerprint("number", "mae", *lists) == problem.fingerprint


def frozen_again(problem: Problem) -> Problem:
    return thaw(freeze(problem))


def test_a_frozen_problem_thaws_to_the_same_test_cases() -> None:
    frame = frame_of(text2=['quote " and \u2028 line', "emoji 😀"] * 20)
    made = build_problem(frame, text=["text", "text2"], target="price", fields=[]).problem
    again = frozen_again(made)
    assert list(again.test) == list(made.test)
    assert len(again.train) == 0
    for name in ("name", "kind", "target", "metric", "fingerprint", "unit", "labels", "valid_range", "cross_fit"):
        assert getattr(again, name) == getattr(made, name)
    split = {"train": len(made.train), "validation": len(made.validation), "test": len(made.test)}
    assert dict(again.source) == json.loads(json.dumps({**made.source, "split": split}))
    crossed = build_problem(frame, text="text", target="price", test_all=True).problem
    assert list(frozen_again(crossed).groups) == list(crossed.groups)
    labelled = build_problem(frame_of(mood=["good", "bad"] * 20), text="text", target="mood", fields=[]).problem
    assert list(frozen_again(labelled).test) == list(labelled.test)
    assert frozen_folder(made.fingerprint) == f"problems/{made.fingerprint[:16]}"


def test_a_frozen_problem_that_was_changed_or_damaged_is_refused() -> None:
    files = freeze(build_problem(frame_of(), text="text", target="price").problem)
    assert list(files)[-1] == "problem.json"
    with pytest.raises(DataError, match=r"test\.jsonl was changed"):
        thaw({**files, "test.jsonl": files["test.jsonl"].replace(b"item 1", b"item 2")})
    with pytest.raises(DataError, match=r"lacks test\.jsonl"):
        thaw({"problem.json": files["problem.json"]})
    with pytest.raises(DataError, match=r"problem\.json is damaged"):
        thaw({**files, "problem.json": files["problem.json"][:-30]})
    with pytest.raises(DataError, match="another version"):
        thaw({**files, "problem.json": files["problem.json"].replace(b'"format": 1', b'"format": 2')})


# Catalogues and real data


def test_the_diamonds_are_all_there_with_a_text_made_of_their_facts() -> None:
    frame = diamonds()
    assert frame.height == 53_940
    assert (frame["price"].min(), frame["price"].max()) == (326, 18_823)
    assert frame["text"][0] == (
        "Round diamond, 0.23 carat, ideal cut. Color E (colorless). Clarity SI2 (slightly included, second grade). "
        "Depth 61.5 %, table 55.0 %. Measures 3.95 × 3.98 × 2.43 mm."
    )
    assert frame["text"].null_count() == 0
    assert frame.filter(~pl.col("text").str.contains("Measures")).height == 20


def test_diamonds_is_a_problem_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build_problem("diamonds", train_size=1_000)
    problem = made.problem
    assert (problem.name, problem.kind, problem.unit, problem.target) == ("diamonds", "number", "$", "price")
    assert (len(problem.train), len(problem.validation), len(problem.test)) == (1_000, 250, 250)
    assert set(problem.test[0].fields) == {"carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z"}
    assert "$" not in problem.test[0].text
    monkeypatch.chdir(tmp_path)
    (tmp_path / "diamonds.csv").write_text("a,b\n" + "".join(f"t{n},{n}\n" for n in range(9)))
    assert len(build_problem("diamonds.csv", text="a", target="b", test_all=True).problem.test) == 9


def test_without_its_package_the_catalogue_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whetstone.datasets.catalogues.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install --no-deps plotnine"):
        build_problem("diamonds")


def test_real_dirty_rows_add_up(shared_data: Path) -> None:
    path = shared_data / "products" / "amazon_meta_sample.jsonl.gz"
    made = build_problem(path, text=["title", "description", "features"], target="price", minimum=0.01)
    problem = made.problem
    assert len(problem.train) + len(problem.validation) + len(problem.test) + len(made.rejects) == 12_957
    kinds = Counter(reject.reason.split(" (")[0].split("” ")[-1] for reject in made.rejects)
    assert sum(kinds.values()) == 12_957 - 11_730  # usable prices, by that folder's README
    assert kinds["the target is missing"] == 1_060
    assert kinds["is below the minimum 0.01"] == 165
    assert problem.unit == "$"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        prices = {str(n): json.loads(line)["price"] for n, line in enumerate(file, start=1)}
    for case in [*problem.test, *problem.validation]:
        assert case.expected == float(prices[case.id].replace("$", "").replace(",", ""))


def test_rows_without_any_price_stop_at_once(shared_data: Path) -> None:
    with pytest.raises(DataError, match=r"21,751 of 21,751 rows cannot be used; the first: .* line 1, field price"):
        build_problem(
            shared_data / "products" / "amazon_meta_unpriced.jsonl.gz", text="title", target="price", kind="number"
        )
