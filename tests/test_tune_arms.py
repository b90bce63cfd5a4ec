"""Tuned models as arms of a comparison: which revision, asked how, and never about what they know by heart."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_hf
import tuning_runs
from whetstone.errors import UnknownNameError, UsageError
from whetstone.evaluation.report import Report
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.evaluation.techniques.tuned_model import Asked, keep_asked, tuned_model
from whetstone.models import ChatModel, load_model
from whetstone.numeric.grid import parse_grid
from whetstone.prompting.price import PricePrompt
from whetstone.types import Case, Prediction, Problem
from whetstone.workflows.compare import compare
from whetstone.workflows.price import Pricer

THINGS = ["lamp", "table", "chair", "drill", "sofa", "cup", "rope", "tent"]
GRID = "0..900:100"
OWN = PricePrompt("plain", "What would a shop ask for this?", "Price is $")


def cases(count: int, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [
        Case(f"{seed}-{n}", f"A {rng.choice(THINGS)} number {n} of {rng.integers(9)}", float(rng.integers(1, 900)))
        for n in range(count)
    ]


PROBLEM = Problem(
    "toy", "number", "price", "mae", cases(30, 1), cases(24, 2), cases(5, 3), "f", unit="$", valid_range=(0, 1e6)
)
LABELS = Problem(
    "mood",
    "label",
    "mood",
    "accuracy",
    [Case(str(n), f"text {n}", "good") for n in range(30)],
    (),
    [Case(f"t{n}", f"test {n}", "good") for n in range(4)],
    "g",
    labels=("bad", "good"),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models this small only wait for a second thread."""
    monkeypatch.setenv("WHETSTONE_THREADS", "1")


@pytest.fixture
def run(base: Path) -> Path:
    return tuning_runs.run(base, asked=Asked("number", OWN, OWN.question, (1.0, 400.0, 899.0)), cases=PROBLEM.train)


# Adapters are the same in every test, so that their models are loaded once.
loaded = functools.cache(load_model)


def technique(spec: str, model: str = "hf:none", **options: Any) -> Any:
    return build_technique(spec, TechniqueContext(42, loaded, model, {"grid": GRID, **options}))


def answers(spec: str, model: str = "hf:none", on: Problem = PROBLEM, **options: Any) -> list[Prediction]:
    made = technique(spec, model, **options)
    made.fit(on)
    found = {one.case_id: one for one in made.predict(on.test)}
    return [found[case.id] for case in on.test]


def values(found: list[Prediction]) -> list[Any]:
    return [one.reading.value for one in found]


def test_a_tuned_arm_is_the_best_revision_asked_as_it_was_tuned(run: Path, base: Path) -> None:
    best = answers("tuned:shop")
    assert values(best) == values(answers("tuned:shop@20:median")) == values(answers("tuned:shop@best:median"))
    assert values(best) != values(answers("tuned:shop@last:median"))
    assert values(best) != values(answers("price:median", f"hf:{base}"))
    assert best[0].prompt == OWN.text(PROBLEM.test[0].text)
    made = technique("tuned:shop@10")
    assert made.model == f"hf:{base}?adapter=shop@10"


def test_an_adapter_in_the_models_spec_does_the_same(run: Path, base: Path) -> None:
    spec = f"hf:{base}?adapter=shop@best"
    for how in ("mean", "generate", "top_k"):
        assert values(answers(f"tuned:shop:{how}")) == values(answers(f"price:{how}", spec))
    assert answers("price", spec)[0].prompt == OWN.text(PROBLEM.test[0].text)
    neighbours = answers("tuned:shop:nearest:2")
    assert neighbours[0].prompt.count(OWN.question) == 3
    assert values(neighbours) == values(answers("price:auto:nearest:2", spec))


def test_texts_are_cut_to_the_length_that_it_was_tuned_with(base: Path) -> None:
    model, text = loaded(f"hf:{base}"), PROBLEM.test[0].text
    longest = len(OWN.ids(model, text).ids) - 2
    tuning_runs.run(base, asked=Asked("number", OWN, OWN.question, longest=longest), cases=PROBLEM.train)
    cut = OWN.ids(model, text, longest).cut
    assert cut > 0
    asked = OWN.text(text[:-cut])
    (first, *_) = answers("tuned:shop")
    assert first.prompt == asked
    assert f"the last {cut} characters of the text were cut" in first.reading.note
    assert answers("tuned:shop:nearest:1")[0].prompt.endswith(asked)
    assert "were cut" not in answers("price", f"hf:{base}")[0].reading.note


def test_a_price_is_asked_for_as_in_training(base: Path) -> None:
    asked = Asked("number", OWN, OWN.question, longest=60)
    tuning_runs.run(base, asked=asked, cases=PROBLEM.train)
    pricer = Pricer(loaded(f"hf:{base}?adapter=shop@best"), grid=parse_grid(GRID))
    assert (pricer.prompt, pricer.limit) == (OWN, 60)
    other = PricePrompt("plain")
    assert Pricer(loaded(f"hf:{base}?adapter=shop@best"), grid=parse_grid(GRID), prompt=other).prompt == other
    assert Pricer(loaded(f"hf:{base}"), grid=parse_grid(GRID)).prompt == PricePrompt()


def test_a_tuned_chat_is_asked_in_a_chat(base: Path) -> None:
    tuning_runs.run(base, asked=Asked("number", replace(OWN, form="chat"), OWN.question), cases=PROBLEM.train)
    assert "<|im_start|>user" in answers("tuned:shop")[0].prompt


def test_calibrated_hidden_and_ensemble_take_it_too(run: Path) -> None:
    made = technique("tuned:shop:calibrated:median")
    made.fit(PROBLEM)
    assert any("corrected on 24 validation cases" in remark for remark in made.remarks)
    assert technique("tuned:shop:hidden-ridge").ways == ("tuning", "fitting")
    ensemble = technique("ensemble:tfidf+tuned:shop:mean")
    ensemble.fit(replace(PROBLEM, validation=cases(50, 4)))
    assert ensemble.ways == ("tuning", "fitting")
    assert ensemble.training.source == "shop"


def test_a_correction_is_not_learnt_from_rows_that_the_model_has_learned(run: Path) -> None:
    with pytest.raises(UsageError, match="learns from 20 validation cases or more, and toy has 5"):
        answers("tuned:shop:calibrated", on=replace(PROBLEM, validation=PROBLEM.validation[:5]))


def test_validation_items_that_it_was_tuned_on_correct_nothing(run: Path) -> None:
    on = replace(PROBLEM, validation=[replace(case, id=f"v{case.id}") for case in PROBLEM.train])
    with pytest.raises(UsageError, match="30 of the 30 validation items are among the rows that shop"):
        answers("tuned:shop:calibrated", on=on)


def test_it_says_which_revision_it_is_and_what_it_took(base: Path) -> None:
    tuning_runs.run(base, asked=Asked("number", OWN), cases=PROBLEM.train, seconds=1200, price_per_hour=2.0)
    made = technique("tuned:shop")
    made.fit(PROBLEM)
    assert made.remarks[0] == "asks shop@20"
    assert made.ways == ("tuning",)
    assert made.training.seconds == pytest.approx(3600)
    assert made.training.cost == pytest.approx(2.0)
    assert technique("tuned:shop:nearest:2").ways == ("retrieval", "tuning")


def test_test_items_that_it_was_tuned_on_are_refused(run: Path) -> None:
    spoiled = replace(
        PROBLEM,
        test=[*PROBLEM.test[:4], replace(PROBLEM.train[3], id="again", text="  " + PROBLEM.train[3].text.upper())],
    )
    with pytest.raises(UsageError, match="1 of the 5 items that it is asked about are among the rows that shop@20"):
        technique("tuned:shop").fit(spoiled)
    many = [Case(f"m{n}", f"Another thing, {n}", 5.0) for n in range(200)]
    made = technique("tuned:shop")
    made.fit(replace(PROBLEM, test=[*many, PROBLEM.train[3]]))
    assert "it was tuned on 1 of the test items" in made.remarks


def test_what_it_was_tuned_on_may_be_unknown(base: Path) -> None:
    folder = tuning_runs.run(base, asked=Asked("number", OWN), cases=PROBLEM.train)
    keep_asked(folder, Asked(), None)  # started afresh, on rows of no problem
    made = technique("tuned:shop:median")
    made.fit(PROBLEM)
    assert any("nobody has looked for test items" in remark for remark in made.remarks)
    assert made.training is not None


def test_other_numbers_than_it_has_learned_are_told(base: Path) -> None:
    tuning_runs.run(base, asked=Asked("number", OWN, "", (1.0, 20.0, 90.0)), cases=PROBLEM.train)
    made = technique("tuned:shop")
    made.fit(PROBLEM)
    assert any("it learned numbers with a median of $20.00" in remark for remark in made.remarks)


def test_another_question_and_another_kind_are_refused(run: Path) -> None:
    with pytest.raises(UsageError, match="was tuned with another question"):
        technique("tuned:shop", question="And this?").fit(PROBLEM)
    technique("tuned:shop", question=OWN.question).fit(PROBLEM)
    with pytest.raises(UsageError, match="tuned to answer with a number, and mood asks for a label"):
        technique("tuned:shop:ask").fit(LABELS)


def test_labels_are_asked_for_in_a_chat(base: Path) -> None:
    tuning_runs.run(base, "moods", asked=Asked("label", None, "How does this sound?"), cases=LABELS.train)
    found = answers("tuned:moods", on=LABELS)
    assert "How does this sound?" in found[0].prompt
    assert "text" in answers("tuned:moods:random:2", on=LABELS)[0].prompt


@pytest.mark.parametrize("spec", ["tuned", "tuned:", "tuned:@best"])
def test_a_run_has_to_be_named(spec: str, run: Path) -> None:
    with pytest.raises(UsageError):
        technique(spec)


def test_what_does_not_exist_is_named(run: Path, base: Path) -> None:
    with pytest.raises(UnknownNameError, match="shop"):
        technique("tuned:shopp")
    with pytest.raises(UsageError, match="10, 20, 30"):
        technique("tuned:shop@7")
    with pytest.raises(UsageError, match="price takes"):
        technique("tuned:shop:strangely")


def test_a_foreign_adapter_counts_as_tuned(base: Path, tmp_path: Path) -> None:
    tuning_runs.fill(base, tmp_path / "own", 5)
    known = tuned_model(f"hf:{base}?adapter={tmp_path / 'own'}")
    assert known is not None
    assert known.asked is None
    assert known.training.seconds is None
    assert tuned_model(f"hf:{base}") is None


def test_an_export_beside_what_its_run_kept_is_asked_in_the_same_way(run: Path, base: Path, tmp_path: Path) -> None:
    """A merged folder that brings the run's facts along."""
    (tmp_path / "asked.json").write_bytes((run / "asked.json").read_bytes())
    (tmp_path / "texts.npy").write_bytes((run / "texts.npy").read_bytes())
    known = tuned_model(f"hf:{tmp_path}")
    assert known is not None
    assert known.asked is not None
    assert known.asked.prompt == OWN


def test_a_comparison_has_base_and_revisions_side_by_side(run: Path, base: Path) -> None:
    asked: list[str] = []

    def load(spec: str) -> ChatModel:
        asked.append(spec)
        return load_model(spec)

    report: Report = compare(
        replace(PROBLEM, test=cases(25, 5)),
        ["constant", "price", "tuned:shop@each", "tuned:shop@best:mean"],
        models=[f"hf:{base}"],
        grid=GRID,
        load=load,
    )
    assert sorted(asked) == [f"hf:{base}", *(f"hf:{base}?adapter=shop@{which}" for which in (10, 20, 30, "best"))]
    assert [row.title for row in report.verdict.ways] == ["prompting", "fine-tuning", "fitted models"]
    assert [result.ways for result in report.results] == [("fitting",), ("prompting",), *[("tuning",)] * 4]
    assert report.results[2].training is not None
    assert report.results[2].training.seconds == pytest.approx(180)
