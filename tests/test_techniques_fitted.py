"""The techniques without a language model: each wins where it should, and says when it cannot work."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whetstone.errors import UnknownNameError, UsageError
from whetstone.evaluation.cross_fit import CrossFitted
from whetstone.evaluation.metrics import score
from whetstone.evaluation.technique import Technique, TechniqueContext
from whetstone.evaluation.techniques import TECHNIQUES, build_technique, default_techniques
from whetstone.evaluation.techniques.aim import aim_of, centre
from whetstone.evaluation.techniques.columns import CategoryCodes, FieldColumns
from whetstone.models.scripted import ScriptedModel
from whetstone.types import Case, Prediction, Problem, TargetKind

TRAINED = ["constant", "linear", "tfidf", "knn:3", "lightgbm"]


def context(seed: int = 42, **options: Any) -> TechniqueContext:
    return TechniqueContext(seed=seed, load_model=lambda spec: ScriptedModel(["$1"]), options=options)


def problem(
    train: Sequence[Case],
    test: Sequence[Case],
    *,
    kind: TargetKind = "number",
    metric: str = "mae",
    validation: Sequence[Case] = (),
) -> Problem:
    labels = tuple(sorted({str(case.expected) for case in train})) if kind == "label" else ()
    return Problem(
        name="toy", kind=kind, target="price", metric=metric, train=train, validation=validation, test=test,
        fingerprint="f1", unit="$" if kind == "number" else "", labels=labels,
    )  # fmt: skip


def answers(technique: Technique, on: Problem) -> list[Any]:
    technique.fit(on)
    return [prediction.reading.value for prediction in technique.predict(on.test)]


def error(spec: str, on: Problem) -> float:
    technique = build_technique(spec, context())
    technique.fit(on)
    value = score(on, list(technique.predict(on.test))).metrics[on.metric].value
    assert value is not None
    return value


MATERIALS = {"gold": 300.0, "silver": 120.0, "tin": 10.0}


def priced_by_fields(count: int, seed: int = 0) -> list[Case]:
    """price = 5 x weight + what the material costs; the text says nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        weight, material = float(rng.uniform(1, 40)), str(rng.choice(list(MATERIALS)))
        fields = {
            "weight": weight if index % 17 else None,
            "material": material,
            "sku": f"sku-{seed}-{index}",
            "maker": "one and the same",
        }
        made.append(Case(f"{seed}-{index}", "a thing", 5 * weight + MATERIALS[material], fields))
    return made


def priced_by_words(count: int, seed: int = 0) -> list[Case]:
    """Each word of the text has its price."""
    rng = np.random.default_rng(seed)
    words = ["drill", "saw", "lamp", "rope", "tent", "cup", "desk", "sofa"]
    prices = {word: float(10 * (index + 1)) for index, word in enumerate(words)}
    made = []
    for index in range(count):
        pair = rng.choice(words, size=2, replace=False)
        made.append(Case(f"{seed}-{index}", f"{pair[0]} and {pair[1]}", sum(prices[word] for word in pair)))
    return made


def test_constants_are_the_mean_the_median_the_mode_and_what_the_metric_rewards() -> None:
    train = [Case(str(index), "x", value) for index, value in enumerate([1.0, 1.0, 2.0, 3.0, 93.0])]
    test = [Case("t", "x", 5.0)]
    assert [answers(build_technique(f"constant:{which}", context()), problem(train, test)) for which in
            ("mean", "median", "mode")] == [[20.0], [2.0], [1.0]]  # fmt: skip
    assert answers(build_technique("constant", context()), problem(train, test, metric="rmse")) == [20.0]
    assert answers(build_technique("constant", context()), problem(train, test, metric="hit_rate")) == [2.0]
    best = math.expm1(np.mean(np.log1p([1, 1, 2, 3, 93])))
    assert answers(build_technique("constant", context()), problem(train, test, metric="rmsle")) == [
        pytest.approx(best)
    ]


def test_the_constant_of_labels_is_the_most_frequent_one() -> None:
    train = [Case(str(index), "x", label) for index, label in enumerate("bacab")]
    assert answers(build_technique("constant", context()), problem(train, train[:1], kind="label")) == ["a"]
    with pytest.raises(UsageError, match="labels have no mean"):
        build_technique("constant:mean", context()).fit(problem(train, train, kind="label"))


def test_answers_come_in_order_with_the_keys_that_were_announced() -> None:
    test = [Case(str(index), f"text {index}", 1.0, {"a": 1}) for index in range(2_500)]
    technique = build_technique("constant", context())
    technique.fit(problem([Case("x", "x", 1.0)], test))
    keys = technique.keys(test)
    predictions = list(technique.predict(test))
    assert [prediction.key for prediction in predictions] == keys
    assert [prediction.case_id for prediction in predictions] == [case.id for case in test]
    assert len(set(keys)) == len(test)


def test_linear_regression_wins_where_the_price_is_linear_in_the_fields() -> None:
    on = problem(priced_by_fields(300), priced_by_fields(60, seed=1))
    errors = {spec: error(spec, on) for spec in ("constant", "linear", "lightgbm")}
    known = replace(on, test=[case for case in on.test if case.fields["weight"] is not None])
    assert error("linear", known) < 2
    assert errors["linear"] < errors["lightgbm"] < errors["constant"] / 3


def test_linear_regression_takes_what_it_never_saw() -> None:
    on = problem(priced_by_fields(100), [Case("t", "x", 1.0, {"weight": "heavy", "material": "unobtainium"}),
                                         Case("u", "x", 1.0, {})])  # fmt: skip
    low, high = min(case.expected for case in on.train), max(case.expected for case in on.train)
    assert all(low <= value <= high for value in answers(build_technique("linear", context()), on))


def test_trees_win_where_the_price_is_not_linear() -> None:
    def stepped(count: int, seed: int) -> list[Case]:
        sizes = np.random.default_rng(seed).uniform(0, 10, count)
        return [
            Case(f"{seed}-{i}", "x", 100.0 * (int(size) % 2) + 1, {"size": float(size)}) for i, size in enumerate(sizes)
        ]

    on = problem(stepped(600, 0), stepped(100, 1), validation=stepped(100, 2))
    assert error("lightgbm", on) < error("linear", on) / 3


@pytest.mark.parametrize("validation", [0, 60])
def test_words_win_where_the_price_is_in_the_text(validation: int) -> None:
    on = problem(priced_by_words(300), priced_by_words(60, seed=1), validation=priced_by_words(validation, seed=2))
    assert error("tfidf", on) < 3
    assert error("tfidf", on) < error("constant", on) / 5
    assert error("lightgbm", on) < error("constant", on) / 2


def test_trees_look_at_the_text_only_where_it_helps() -> None:
    by_words = [replace(case, fields={"shelf": index % 5}) for index, case in enumerate(priced_by_words(400))]
    on = problem(by_words[:300], by_words[300:])
    assert error("lightgbm", on) < error("constant", on) / 2


def test_neighbours_win_where_similar_texts_cost_alike() -> None:
    kinds = {"a red apple": 1.0, "a bottle of wine": 20.0, "a laptop computer": 900.0}
    train = [Case(f"{i}", f"{text}, item {i}", price + i % 3) for i in range(10) for text, price in kinds.items()]
    train = [replace(case, id=str(index)) for index, case in enumerate(train)]
    test = [Case("t1", "an apple which is red", 1.0), Case("t2", "notebook PC", 900.0)]
    apple, laptop = answers(build_technique("knn:5", context()), problem(train, test))
    assert apple == pytest.approx(2, abs=1)
    assert laptop == pytest.approx(901, abs=1)


@pytest.mark.parametrize("spec", ["linear", "tfidf", "knn:3", "lightgbm"])
def test_labels_are_learned(spec: str) -> None:
    def reviews(count: int, seed: int) -> list[Case]:
        rng = np.random.default_rng(seed)
        made = []
        for index in range(count):
            good = bool(rng.integers(2))
            stars = float(rng.integers(4, 6) if good else rng.integers(1, 3))
            text = f"{'wonderful and great' if good else 'terrible and broken'} thing {index}"
            made.append(Case(f"{seed}-{index}", text, "good" if good else "bad", {"stars": stars}))
        return made

    for metric in ("accuracy", "macro_f1"):
        on = problem(reviews(80, 0), reviews(20, 1), kind="label", metric=metric)
        assert error(spec, on) == 1.0


def test_korean_words_are_words() -> None:
    prices = {"드릴": 10.0, "소파": 500.0}
    train = [Case(str(i), f"{word} 상품 번호{i}", price) for i, (word, price) in enumerate(list(prices.items()) * 20)]
    sofa, drill = answers(
        build_technique("tfidf", context()), problem(train, [Case("a", "소파 상품", 0.0), Case("b", "드릴 상품", 0.0)])
    )
    assert sofa > 400
    assert drill < 100


@pytest.mark.parametrize("spec", TRAINED)
def test_the_same_seed_gives_the_same_numbers_whatever_is_asked_together(spec: str) -> None:
    train = [replace(a, text=b.text) for a, b in zip(priced_by_fields(120), priced_by_words(120), strict=True)]
    test = [replace(a, text=b.text) for a, b in zip(priced_by_fields(9, 1), priced_by_words(9, 1), strict=True)]
    on = problem(train, test)
    first, second = build_technique(spec, context()), build_technique(spec, context())
    together = answers(first, on)
    second.fit(on)
    alone = [next(iter(second.predict([case]))) for case in test]
    assert [prediction.reading.value for prediction in alone] == together
    assert [prediction.key for prediction in alone] == first.keys(test)
    assert json.loads(json.dumps(first.identity)) == second.identity


@pytest.mark.parametrize("spec", TRAINED)
def test_a_key_changes_exactly_with_what_decides_the_answer(spec: str) -> None:
    train = [replace(a, text=b.text) for a, b in zip(priced_by_fields(60), priced_by_words(60), strict=True)]
    case = priced_by_fields(1, 9)[0]

    def key(on: Problem, asked: Case, what: str = spec) -> str:
        technique = build_technique(what, context())
        technique.fit(on)
        (found,) = technique.keys([asked])
        return found

    on = problem(train, [case])
    same = key(on, case)
    assert key(replace(on, test=[case, *train[:2]]), case) == same
    others = [
        key(replace(on, fingerprint="f2"), case),
        key(on, replace(case, text="another thing")),
        key(on, replace(case, fields={**case.fields, "weight": 1.0})),
        key(on, case, "constant:mean"),
    ]
    assert same not in others


@pytest.mark.parametrize("spec", ["linear", "lightgbm"])
def test_a_key_knows_the_fields_that_the_fingerprint_leaves_out(spec: str) -> None:
    train, case = priced_by_fields(60), priced_by_fields(1, 9)[0]
    changed = [replace(train[0], fields={**train[0].fields, "weight": 1e6}), *train[1:]]
    keys = []
    for cases in (train, changed):
        technique = build_technique(spec, context())
        technique.fit(problem(cases, [case]))
        keys += technique.keys([case])
    assert keys[0] != keys[1]


def test_cross_fitting_answers_every_row_without_training_on_it() -> None:
    # Every row has a word and a price of its own: whoever trained on it would know.
    rows = [Case(str(i), f"word{i} thing", 1000.0 if i == 7 else 10.0) for i in range(40)]
    on = replace(problem([], rows), cross_fit=5)
    technique = CrossFitted(lambda: build_technique("knn:1", context()))
    technique.fit(on)
    found = {prediction.case_id: prediction for prediction in technique.predict(rows)}
    assert len(found) == 40
    assert found["7"].reading.value == 10.0


def test_fields_are_sorted_into_numbers_and_categories() -> None:
    rows = [
        {
            "n": 1,
            "s": "2.5",
            "flag": True,
            "cat": "a",
            "id": f"x{i}",
            "same": 1,
            "tags": ["t"],
            "half": None if i % 2 else "y",
        }
        for i in range(8)
    ]
    rows[0] = {**rows[0], "n": None, "s": "", "flag": False}
    rows[1] = {**rows[1], "n": 9.0, "s": "3", "cat": "b"}
    cases = [Case(str(i), "x", 1.0, row) for i, row in enumerate(rows)]
    columns = FieldColumns(cases)
    assert (columns.numeric, columns.categorical) == (["n", "s", "flag"], ["cat", "half"])
    assert columns.numbers(cases)[:2].tolist()[1] == [9.0, 3.0, 1.0]
    assert np.isnan(columns.numbers(cases)[0, :2]).all()
    codes = CategoryCodes(columns.categories(cases))(np.array([["a", "y"], ["b", ""], ["new", "y"]], dtype=object))
    assert codes[0].tolist() == [0, 1]
    assert np.isnan(codes[1, 0])  # seen once: as good as unknown
    assert np.isnan(codes[2, 0])


def test_centres_fit_the_metric() -> None:
    values, weights = np.array([[1.0, 2.0, 9.0]]), np.array([[1.0, 1.0, 1.0]])
    assert centre(values, weights, "absolute") == 2
    assert centre(values, weights, "squared") == 4
    assert centre(values, weights, "log") == pytest.approx(math.expm1(np.log1p(values).mean()))
    assert centre(values, np.array([[1.0, 1.0, 5.0]]), "absolute") == 9
    assert centre(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]), "absolute") == 2
    assert aim_of("rmsle", np.array([-1.0])) == "squared"


@pytest.mark.parametrize("spec", TRAINED)
def test_texts_and_missing_training_cases_are_refused_in_a_sentence(spec: str) -> None:
    texts = [Case("1", "x", "a summary")]
    with pytest.raises(UsageError, match="asks for texts"):
        build_technique(spec, context()).fit(problem(texts, texts, kind="text"))
    with pytest.raises(UsageError, match="has none"):
        build_technique(spec, context()).fit(problem([], [Case("1", "x", 1.0)]))


def test_no_usable_fields_is_said() -> None:
    cases = priced_by_words(20)
    with pytest.raises(UsageError, match="columns with numbers or categories"):
        build_technique("linear", context()).fit(problem(cases, cases))


@pytest.mark.parametrize("spec", ["linear", "tfidf", "lightgbm"])
def test_one_label_alone_cannot_be_learned(spec: str) -> None:
    cases = [Case(str(i), f"word{i % 3} thing", "only", {"n": i}) for i in range(20)]
    with pytest.raises(UsageError, match="two labels"):
        build_technique(spec, context()).fit(problem(cases, cases, kind="label"))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("spec", ["constant", "tfidf", "knn:10", "lightgbm"])
def test_very_few_training_cases_are_enough_to_answer(spec: str, count: int) -> None:
    on = problem(priced_by_words(count), priced_by_words(3, seed=1))
    technique = build_technique(spec, context())
    technique.fit(on)
    assert all(isinstance(p, Prediction) and p.reading.ok for p in technique.predict(on.test))


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("constant:average", "mean, median or mode"),
        ("knn:0", "number of neighbours"), ("knn:ten", "number of neighbours"),
        ("tfidf:3", "takes no arguments"), ("linear:x", "takes no arguments"), ("lightgbm:x", "takes embeddings"),
        ("few-shot:closest:3", "balanced, shared or nearest"), ("few-shot:random:0", "from 1 up"),
        ("knn:", "ends in a colon"),
        ("ask:nicely", "takes no arguments"), ("guesses", "takes a file"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_meant_are_refused(spec: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        build_technique(spec, context())


def test_an_unknown_technique_gets_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean lightgbm"):
        build_technique("lightgmb", context())


def test_every_builtin_technique_can_be_built_and_names_itself(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("guess\n1\n")
    arguments = {"guesses": f":{tmp_path / 'g.csv'}", "retrieved": ":handbook", "ensemble": ":tfidf+linear"}
    asked = sorted(set(TECHNIQUES) - {"tuned"})  # which takes the name of a run
    names = {name: build_technique(name + arguments.get(name, ""), context()).name for name in asked}
    assert {name: canonical.partition(":")[0] for name, canonical in names.items()} == {name: name for name in names}
    assert names["knn"] == "knn:10"
    assert names["few-shot"] == "few-shot:nearest:3"


def test_the_default_list_suits_the_problem() -> None:
    rows, words = priced_by_fields(30), priced_by_words(30)
    everything = [
        "constant:mean",
        "constant:median",
        "linear",
        "tfidf",
        "knn:10",
        "lightgbm",
        "ask",
        "few-shot:nearest:3",
    ]
    assert default_techniques(problem(rows, rows[:2])) == everything
    assert "linear" not in default_techniques(problem(words, words[:2]))
    assert default_techniques(replace(problem([], rows), cross_fit=5)) == everything
    assert default_techniques(problem([], rows)) == ["ask"]
    labels = [replace(case, expected="a") for case in rows]
    assert default_techniques(problem(labels, labels, kind="label"))[:2] == ["constant:mode", "linear"]
    assert default_techniques(problem(labels, labels, kind="text")) == ["ask", "few-shot:nearest:3"]


def test_published_baselines_on_the_250_items_are_met(shared_data: Path) -> None:
    def items(name: str, prefix: str) -> list[Case]:
        lines = (shared_data / "price_is_right" / name).read_text().splitlines()
        return [Case(f"{prefix}{i}", row["text"], row["price"]) for i, row in enumerate(map(json.loads, lines), 1)]

    on = problem(items("train_1148.jsonl", "t"), items("items_250.jsonl", ""))
    assert error("constant:mean", on) == pytest.approx(143.01, abs=0.01)
    assert error("tfidf", on) < 119.22
