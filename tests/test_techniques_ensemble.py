"""Ensembles, ridges on hidden states, trees on sentence vectors: what they learn from, and that they learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tiny_hf
from whetstone.errors import RequestRefusedError, UsageError
from whetstone.evaluation.cross_fit import CrossFitted
from whetstone.evaluation.metrics import score
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import TECHNIQUES, build_technique
from whetstone.models import load_model
from whetstone.models.base import HiddenStateModel
from whetstone.models.scripted import ScriptedModel
from whetstone.types import Case, Prediction, Problem, Reading

WORDS = {"drill": 40.0, "saw": 90.0, "lamp": 15.0, "rope": 5.0, "tent": 120.0, "cup": 3.0, "desk": 200.0, "sofa": 400.0}


def cases(count: int, seed: int) -> list[Case]:
    """Each word has its price, and so has the weight, which the text does not tell."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        word, weight = str(rng.choice(list(WORDS))), float(rng.uniform(0, 50))
        made.append(Case(f"{seed}-{n}", f"One {word}, number {n}", WORDS[word] + 4 * weight, {"weight": weight}))
    return made


def problem(**changes: Any) -> Problem:
    made = Problem("toy", "number", "price", "mae", cases(160, 1), cases(60, 2), cases(60, 3), "f", unit="$")
    return replace(made, **changes)


def context(model: Any = None, **options: Any) -> TechniqueContext:
    return TechniqueContext(42, lambda _: model or ScriptedModel(["$100"]), "hf:tiny", options)


def error(spec: str, on: Problem, model: Any = None) -> float:
    technique = build_technique(spec, context(model))
    technique.fit(on)
    value = score(on, list(technique.predict(on.test))).metrics[on.metric].value
    assert value is not None
    return value


@pytest.mark.parametrize("metric", ["mae", "rmse", "rmsle"])
def test_an_ensemble_beats_members_that_know_different_things(metric: str) -> None:
    on = problem(metric=metric)
    together = error("ensemble:linear+tfidf+constant", on)
    assert together < (0.95 if metric == "rmsle" else 0.8) * min(error("linear", on), error("tfidf", on))


def test_weights_are_told_and_follow_who_is_right() -> None:
    technique = build_technique("ensemble:linear+tfidf+constant:mean", context())
    technique.fit(problem())
    assert technique.name == "ensemble:linear+tfidf+constant:mean"
    (said, *_) = technique.remarks  # type: ignore[attr-defined]
    assert said.startswith("weights ")
    assert "learnt from 60 answers" in said
    shares = [float(part.split()[0]) for part in said.removeprefix("weights ").split(", learnt")[0].split(", ")]
    assert shares[0] > 0.5 < shares[1]
    assert shares[2] < 0.1


class Noted:
    """A technique that notes what it is fitted to and asked, and knows every answer that it was fitted to by heart."""

    needs_training = True
    model = None

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        self.name, self.identity = f"noted:{arguments}", {"technique": "noted", "arguments": arguments}
        self._known: dict[str, float] = {}
        self.log: list[tuple[int, str, set[str]]] = context.options["log"]

    def fit(self, problem: Problem) -> None:
        learnt = [*problem.train, *problem.validation]
        self._known = {case.id: float(case.expected) for case in learnt}
        self.log.append((id(self), "fit", set(self._known)))

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return [f"{self.name} {case.id}" for case in cases]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        self.log.append((id(self), "asked", {case.id for case in cases}))
        for case, key in zip(cases, self.keys(cases), strict=True):
            yield Prediction(case.id, key, Reading("value", self._known.get(case.id, 7.0)))


@pytest.mark.parametrize("validation", [60, 0])
def test_weights_are_learnt_where_no_member_has_learnt_and_never_from_test_cases(
    validation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TECHNIQUES._builtin, "noted", f"{__name__}:Noted")
    log: list[tuple[int, str, set[str]]] = []
    on = problem(validation=cases(validation, 2))
    technique = build_technique("ensemble:noted:a+tfidf", context(log=log))
    technique.fit(on)
    learnt: dict[int, set[str]] = {}
    tests = {case.id for case in on.test}
    for who, what, ids in log:
        assert not ids & tests
        if what == "fit":
            learnt[who] = ids
        else:
            assert not ids & learnt[who]
    assert {what for _, what, _ in log} == {"fit", "asked"}
    assert "learnt from" in technique.remarks[0]  # type: ignore[attr-defined]
    # One that knows by heart what it was fitted to has no weight: it was judged by what it did not know.
    assert "0.00 noted:a" in technique.remarks[0] or "median" in technique.remarks[0]  # type: ignore[attr-defined]


class OneSided:
    """Knows the numbers up to 50 ("cheap") or those above it ("dear"); of the others it knows nothing."""

    needs_training = False
    model = None

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        self._cheap = arguments == "cheap"
        self.name, self.identity = f"one-sided:{arguments}", {"technique": "one-sided", "arguments": arguments}

    def fit(self, problem: Problem) -> None:
        pass

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return [f"{self.name} {case.id}" for case in cases]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        for case, key in zip(cases, self.keys(cases), strict=True):
            truth = float(case.expected)
            known = (truth <= 50) == self._cheap
            unknown = 10.0 + int(truth * 9973) % 40 if self._cheap else 150.0 + int(truth * 9973) % 50
            yield Prediction(case.id, key, Reading("value", truth if known else unknown))


def test_balanced_weights_serve_numbers_that_are_rare_among_those_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TECHNIQUES._builtin, "one-sided", f"{__name__}:OneSided")
    prices = [*np.linspace(1, 45, 190), *np.linspace(150, 600, 10)]
    rare = [Case(f"v{n}", f"thing {n}", price) for n, price in enumerate(prices)]
    dear = [Case(f"t{n}", f"another {n}", price) for n, price in enumerate(np.linspace(150, 600, 60))]
    on = problem(validation=rare, test=dear)
    members = "one-sided:cheap+one-sided:dear"
    assert error(f"ensemble:balanced:{members}", on) < 0.9 * error(f"ensemble:{members}", on)
    technique = build_technique(f"ensemble:balanced:{members}", context())
    technique.fit(on)
    assert technique.name == f"ensemble:balanced:{members}"
    assert "every band of numbers counting the same" in technique.remarks[0]  # type: ignore[attr-defined]


def test_where_nobody_answers_the_ensemble_does_not_either() -> None:
    silent = ScriptedModel(lambda messages: "$50" if "number 1" in str(messages) else "I cannot say.")
    on = problem(validation=[replace(case, text=f"{case.text}, number 1") for case in cases(60, 2)])
    technique = build_technique("ensemble:ask+ask", context(silent))
    technique.fit(on)
    found = list(technique.predict(on.test))
    assert {one.reading.status for one in found} == {"value", "unparsable"}
    one_of_two = build_technique("ensemble:ask+tfidf", context(silent))
    one_of_two.fit(on)
    assert all(one.reading.ok for one in one_of_two.predict(on.test))


def test_an_ensemble_is_cross_fitted_where_every_row_is_a_test_case() -> None:
    every = cases(120, 1)
    on = problem(train=(), validation=(), test=every, cross_fit=3, groups=[case.id for case in every])
    technique = CrossFitted(lambda: build_technique("ensemble:linear+tfidf", context()))
    technique.fit(on)
    keys = dict(zip([case.id for case in every], technique.keys(every), strict=True))
    found = list(technique.predict(every))
    assert len(found) == 120
    assert all(keys[one.case_id] == one.key for one in found)


@pytest.mark.parametrize(
    ("spec", "changes", "says"),
    [
        ("ensemble:tfidf", {}, "takes two techniques or more"),
        ("ensemble:tfidf++knn", {}, "takes two techniques or more"),
        ("ensemble:tfidf+constant", {"kind": "label"}, "puts numbers together"),
        ("ensemble:tfidf+constant", {"train": cases(9, 1), "validation": ()}, "learns from 20 answers or more"),
        ("lightgbm:vectors", {}, "lightgbm takes embeddings"),
        ("hidden-ridge:3", {}, "takes no arguments"),
        ("hidden-ridge", {}, "does not show its hidden states"),
    ],
)
def test_what_cannot_work_is_refused(spec: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build_technique(spec, context()).fit(problem(**changes))


def test_trees_on_sentence_vectors_see_what_is_alike() -> None:
    kinds = {"a red apple": 1.0, "a bottle of wine": 20.0, "a laptop computer": 900.0}
    train = [Case(f"{n}-{t}", f"{t}, item {n}", p + n % 3) for n in range(20) for t, p in kinds.items()]
    on = problem(
        train=train, validation=(), test=[Case("a", "an apple which is red", 1.0), Case("b", "notebook PC", 9.0)]
    )
    technique = build_technique("lightgbm:embeddings", context())
    technique.fit(on)
    apple, laptop = (float(one.reading.value or 0) for one in technique.predict(on.test))
    assert apple < 100
    assert laptop > 500


# --- hidden states


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    from transformers import MambaConfig

    folder = tmp_path_factory.mktemp("models")
    mamba = MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=8)
    paths = {
        "llama": tiny_hf.llama(folder / "llama"),
        "t5": tiny_hf.t5(folder / "t5"),
        "mamba": tiny_hf.save(folder / "mamba", mamba, None),
    }
    loaded = {name: load_model(f"hf:{path}") for name, path in paths.items()}
    yield loaded
    for model in loaded.values():
        model.close()


@pytest.mark.parametrize("kind", ["llama", "t5", "mamba"])
def test_hidden_states_are_those_of_each_prompt_on_its_own(models: dict[str, Any], kind: str) -> None:
    import torch

    model = models[kind]
    assert isinstance(model, HiddenStateModel)
    prompts = [model.encode(text * times) for text, times in zip(tiny_hf.SENTENCES, (1, 3, 1, 2, 9), strict=True)]
    found = dict(model.hidden_states(prompts, [0.0, 0.5, 1.0]))
    reader = model._model.get_encoder() if kind == "t5" else model._model.base_model
    for index, ids in enumerate(prompts):
        with torch.inference_mode():
            layers = reader(torch.tensor([ids]), output_hidden_states=True).hidden_states
        for place, layer in enumerate((0, round(0.5 * (len(layers) - 1)), len(layers) - 1)):
            np.testing.assert_allclose(found[index][place, 0], layers[layer][0, -1], atol=1e-4, rtol=1e-3)
            np.testing.assert_allclose(found[index][place, 1], layers[layer][0].mean(0), atol=1e-4, rtol=1e-3)


def test_a_prompt_without_tokens_is_refused(models: dict[str, Any]) -> None:
    with pytest.raises(RequestRefusedError, match="there is nothing to read"):
        list(models["llama"].hidden_states([[1], []], [1.0]))


@pytest.mark.parametrize("validation", [60, 0])
def test_a_ridge_reads_prices_off_hidden_states(models: dict[str, Any], validation: int) -> None:
    plain = [replace(case, expected=float(case.expected) - 4 * case.fields["weight"]) for case in cases(280, 4)]
    on = problem(train=plain[:160], validation=plain[160 : 160 + validation], test=plain[220:])
    # Random weights still tell words apart, if not which ones are alike.
    assert error("hidden-ridge", on, models["llama"]) < 0.6 * error("constant", on)


def test_the_ridge_says_what_it_rests_on_and_reads_each_text_once(models: dict[str, Any]) -> None:
    on, model = problem(), models["llama"]
    first = build_technique("hidden-ridge", context(model))
    first.fit(on)
    assert "through the layers" in first.remarks[0] or "three layers" in first.remarks[0]  # type: ignore[attr-defined]
    assert first.model == model.identity.spec
    expected = [one.reading for one in first.predict(on.test)]
    asked: list[int] = []

    class Counting:
        identity, vocabulary = model.identity, model.vocabulary
        concurrency = 1

        def hidden_states(self, prompts: Sequence[Any], depths: Sequence[float]) -> Any:
            asked.append(len(prompts))
            return model.hidden_states(prompts, depths)

    second = build_technique("hidden-ridge", context(Counting()))
    second.fit(on)
    assert [one.reading for one in second.predict(on.test)] == expected
    assert asked == [1]  # to see how long its vectors are
