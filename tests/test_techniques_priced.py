"""Numbers read off a model's probabilities, as techniques that compete: on tiny models with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_hf
from whetstone.errors import UsageError
from whetstone.evaluation.cross_fit import CrossFitted
from whetstone.evaluation.harness import evaluate
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.evaluation.techniques.number_question import number_grid, number_prompt
from whetstone.evaluation.techniques.priced import Priced
from whetstone.models import load_model
from whetstone.models.scripted import ScriptedModel
from whetstone.numeric.decoding import DECODERS
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.prompting.price import PricePrompt
from whetstone.types import Case, Prediction, Problem
from whetstone.workflows.compare import compare

COARSE = {"grid": "0..990:10"}  # a correction over few candidates is learnt quickly
THINGS = ["lamp", "table", "chair", "drill", "sofa", "cup", "rope", "tent"]


def cases(count: int, seed: int, most: float = 900) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        Case(f"{seed}-{n}", f"A {rng.choice(THINGS)} number {n} of {rng.integers(9)}", float(rng.integers(1, most)))
        for n in range(count)
    ]


def problem(**changes: Any) -> Problem:
    made = Problem(
        "toy", "number", "price", "mae", cases(12, 1), cases(30, 2), cases(6, 3), "f", unit="$", valid_range=(0, 1e6)
    )
    return replace(made, **changes)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    loaded = load_model(f"hf:{tiny_hf.llama(tmp_path_factory.mktemp('m') / 'tiny')}")
    yield loaded
    loaded.close()


def fitted(spec: str, model: Any, on: Problem, **options: Any) -> Any:
    technique = build_technique(spec, TechniqueContext(42, lambda _: model, "hf:tiny", options))
    technique.fit(on)
    return technique


def answers(spec: str, model: Any, on: Problem, **options: Any) -> list[Prediction]:
    technique = fitted(spec, model, on, **options)
    keys = technique.keys(on.test)
    found = {one.case_id: one for one in technique.predict(on.test)}
    assert [found[case.id].key for case in on.test] == keys
    return [found[case.id] for case in on.test]


@pytest.mark.parametrize("estimate", ["mode", "median", "mean", "log_mean"])
def test_estimates_are_those_of_the_exact_distribution_behind_the_courses_prompt(model: Any, estimate: Any) -> None:
    on = problem()
    found = answers(f"price:{estimate}", model, on)
    trie = number_trie(model, number_grid(on), "Price is $")
    prompts = [PricePrompt().ids(model, case.text).ids for case in on.test]
    exact = dict(read_numbers(model, prompts, trie))
    for index, one in enumerate(found):
        assert one.prompt == PricePrompt().text(on.test[index].text)
        assert one.reading.value == pytest.approx(exact[index].estimate(estimate), rel=1e-3)
        assert one.distribution is not None
        assert one.distribution.median == exact[index].median
        assert one.usage.prompt_tokens == len(prompts[index])


def test_auto_is_the_estimate_that_the_metric_rewards(model: Any) -> None:
    for metric, estimate in (("mae", "median"), ("rmse", "mean"), ("rmsle", "log_mean")):
        on = problem(metric=metric)
        auto, named = answers("price", model, on), answers(f"price:{estimate}", model, on)
        assert [one.reading for one in auto] == [one.reading for one in named]


def test_every_decoder_answers_every_case(model: Any) -> None:
    for decoder in DECODERS:
        found = answers(f"price:{decoder}", model, problem())
        assert len(found) == 6
        assert all(one.reading.note for one in found)
        assert all((one.distribution is None) == (decoder in ("generate", "course", "top_k")) for one in found)


def test_estimates_share_one_reading_and_replies_share_one_key(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on = problem()
    answers("price:median", model, on)

    class Unasked:
        """The model's tokens without its weights: whoever needs those fails."""

        identity, vocabulary = model.identity, model.vocabulary

        def next_token(self, *_: Any) -> Any:
            raise AssertionError("asked again")

        encode = decode = tree_logprobs = next_token

    assert len(answers("price:mean", Unasked(), on)) == 6
    generate, course = (fitted(f"price:{name}", model, on) for name in ("generate", "course"))
    assert generate.keys(on.test) == course.keys(on.test) != fitted("price:mode", model, on).keys(on.test)


def test_a_reply_of_another_run_is_read_anew(model: Any) -> None:
    on, store = problem(), RunStore()
    first = evaluate(on, fitted("price:generate", model, on), store)

    class Silent:
        identity, vocabulary = model.identity, model.vocabulary

        def complete(self, *_: Any) -> Any:
            raise AssertionError("asked again")

    second = evaluate(on, fitted("price:course", Silent(), on), store)
    assert {one.raw for one in second.answers.values()} == {one.raw for one in first.answers.values()}
    assert [one.reading for one in second.predictions(on)] == [
        one.reading for one in answers("price:course", model, on)
    ]


@pytest.mark.parametrize("chat", ["", ":chat"])
def test_examples_are_neighbours_from_the_training_split(model: Any, chat: str) -> None:
    on = problem()
    trained = {case.text for case in on.train}
    for one, case in zip(answers(f"price:median:nearest:2{chat}", model, on), on.test, strict=True):
        shown = [line for line in one.prompt.splitlines() if line.removesuffix("<|im_end|>") in trained]
        assert len(shown) == 2
        assert one.prompt.count("Price is $") == 3
        assert one.prompt.index(shown[0]) < one.prompt.index(case.text)
        assert one.prompt.endswith("Price is $")


def test_a_long_text_is_cut_and_the_answer_and_the_report_say_so(model: Any) -> None:
    long = Case("long", " ".join(["A wooden table with four legs."] * 200), 10.0)
    on = problem(test=[*cases(2, 3), long])
    technique = fitted("price:median", model, on)
    technique.keys(on.test)
    assert technique.remarks == ["1 texts were too long for the model, and were cut at their end"]
    found = {one.case_id: one for one in technique.predict(on.test)}
    assert "characters of the text were cut" in found["long"].reading.note
    assert found["long"].usage.prompt_tokens <= 512
    assert found["long"].prompt.endswith("\n\nPrice is $")
    crowded = answers("price:median:fixed:2", model, problem(train=[replace(long, id="t"), *cases(2, 1)]))
    assert all("examples were left out" in one.reading.note for one in crowded)


def test_top_k_on_single_digits_says_that_it_is_wrong(model: Any) -> None:
    from whetstone.tokens.sources import load_tokenizer

    class Digits:
        """The tiny model under a tokenizer that cuts numbers into digits."""

        identity, context_length = model.identity, 512
        vocabulary = load_tokenizer("smollm2")
        complete, next_token = model.complete, model.next_token
        encode, decode = vocabulary.encode, vocabulary.decode

    assert "wrong here by orders of magnitude" in fitted("price:top_k", Digits(), problem()).remarks[0]


def test_a_correction_is_learnt_on_validation_cases_and_moves_answers(model: Any) -> None:
    # A random model knows nothing; all that can be learnt is how dear things are.
    on = problem(validation=[replace(case, expected=500 + float(case.expected) / 4) for case in cases(60, 2)])
    technique = fitted("calibrated:median", model, on, **COARSE)
    found = list(technique.predict(on.test))
    plain = answers("price:median", model, on)
    assert "corrected on 60 validation cases: kept" in technique.remarks[0]
    assert np.mean([one.reading.value for one in found]) > 400
    assert np.mean([one.reading.value for one in plain]) < 200
    for one in found:
        assert one.distribution is not None
        assert one.distribution.uncorrected
        low, high = one.distribution.interval(0.8)
        assert low <= one.reading.value <= high


def test_no_test_truth_has_a_part_in_a_correction(model: Any) -> None:
    on = problem()
    other = replace(on, test=[replace(case, expected=1.0) for case in on.test])
    first, second = answers("calibrated", model, on, **COARSE), answers("calibrated", model, other, **COARSE)
    assert [one.reading for one in first] == [one.reading for one in second]


def test_in_cross_fitting_the_other_folds_correct(model: Any) -> None:
    every = cases(60, 5)
    on = problem(train=(), validation=(), test=every, cross_fit=2, groups=[case.id for case in every])
    context = TechniqueContext(42, lambda _: model, "hf:tiny", COARSE)
    technique = CrossFitted(lambda: build_technique("calibrated", context))
    technique.fit(on)
    assert len(list(technique.predict(on.test))) == 60
    assert technique.remarks[0].startswith("fold 1: corrected on 30 training cases")


def test_too_few_cases_to_correct_by_are_refused(model: Any) -> None:
    with pytest.raises(UsageError, match=r"learns from 20 validation cases or more.*use price:auto"):
        fitted("calibrated", model, problem(validation=cases(5, 2)))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("price:middle", "price takes generate, course"),
        ("calibrated:generate", "calibrated takes mode, median"),
        ("price:median:nearest:0", "number of examples from 1 up"),
        ("price:median:closest:3", "takes fixed, random, balanced, shared or nearest"),
    ],
)
def test_a_spec_that_says_nothing_is_refused(spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build_technique(spec, TechniqueContext(42, lambda _: ScriptedModel(["$1"])))


def test_models_and_problems_that_cannot_be_read_that_way_are_refused(model: Any) -> None:
    with pytest.raises(UsageError, match="take a local model"):
        fitted("price:top_k", ScriptedModel(["$1"]), problem())
    with pytest.raises(UsageError, match="answers with numbers"):
        fitted("price:median", model, problem(kind="label"))


def targets(*values: float, unit: str = "", target: str = "rating") -> Problem:
    return problem(
        train=[Case(str(n), "x", value) for n, value in enumerate(values)], validation=(), unit=unit, target=target
    )


def test_the_candidates_span_what_was_true_in_training() -> None:
    assert number_grid(targets(3, 500.5, unit="$")).name == "0..999"
    assert number_grid(targets(1, 5)).name == "1..5"
    assert number_grid(targets(0.5, 4.2)).name == "0.0..5.0"
    assert number_grid(targets(326, 18_823, unit="$")).name == "log:326..18823:200"
    assert number_grid(targets(1, 5), "1..10").name == "1..10"
    assert number_grid(problem(train=(), validation=())).name == "0..999"
    with pytest.raises(UsageError, match="--grid"):
        number_grid(targets(-5_000, 5_000))
    with pytest.raises(UsageError, match="no training cases"):
        number_grid(problem(train=(), validation=(), unit="kg"))


def test_other_numbers_are_asked_for_by_their_name() -> None:
    on = targets(1, 5, unit="", target="star_rating")
    prompt = number_prompt(on, number_grid(on), "plain")
    assert prompt.text("x") == "What is the star rating?\n\nx\n\nStar rating ="
    assert prompt.completion(4) == "4"
    euros = targets(5, 80, unit="€", target="price")
    assert number_prompt(euros, number_grid(euros), "plain").text("x").startswith("What is the price in euros?")
    assert number_prompt(euros, number_grid(euros), "plain").label == "Price is €"
    own = number_prompt(euros, number_grid(euros), "plain", "What would you pay?")
    assert own.question == "What would you pay?"


@pytest.mark.parametrize("unit", ["", "€", "kg"])
def test_other_numbers_can_be_read_and_shown(model: Any, unit: str) -> None:
    on = targets(*range(1, 6), unit=unit)
    for one in answers("price:mean:fixed:2", model, on):
        assert 1 <= float(one.reading.value or 0) <= 5


def test_nothing_is_loaded_by_building(model: Any) -> None:
    def load(_: str) -> Any:
        raise AssertionError("loaded")

    built = build_technique("price:median:nearest:3:chat", TechniqueContext(42, load))
    assert isinstance(built, Priced)
    assert built.name == "price:median:nearest:3:chat"


def test_a_comparison_reports_what_was_learnt_and_asks_nothing_twice(model: Any, tmp_path: Path) -> None:
    path = tiny_hf.llama(tmp_path / "tiny")
    loaded: list[Any] = []

    def load(_: str) -> Any:
        loaded.append(load_model(f"hf:{path}"))
        return loaded[-1]

    on, specs = problem(), ["price:median", "calibrated:median", "constant"]
    report = compare(on, specs, models=["hf:tiny"], grid="0..990:10", load=load)
    price, calibrated, constant = report.results
    assert any(note.startswith("corrected on 30 validation cases") for note in calibrated.notes)
    assert price.notes == constant.notes == ()
    assert price.sureness is not None
    assert price.sureness.uncorrected is None
    assert calibrated.sureness is not None
    assert calibrated.sureness.uncorrected is not None
    assert calibrated.sureness.uncorrected == price.sureness.answered
    assert constant.sureness is None
    assert all(float(one.reading.value or 0) % 10 == 0 for one in price.predictions)
    again = compare(on, specs, models=["hf:tiny"], grid="0..990:10", load=load)
    assert [one.predictions for one in again.results] == [one.predictions for one in report.results]
    assert again.results[1].notes == calibrated.notes
