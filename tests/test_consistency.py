"""Self-consistency: how answers vote, and the technique that asks several times."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import ModelConnectionError, UsageError
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.models.base import ReplyStream
from whetstone.models.scripted import ScriptedModel
from whetstone.prompting.consistency import majority, median, sampling
from whetstone.types import Case, Message, Options, Prediction, Problem, TargetKind


class Seeded(ScriptedModel):
    """Says what is planned for the seed of each request: the first seed met says the first reply, and so on."""

    def __init__(self, replies: Sequence[str], **more: Any) -> None:
        self._seeds: dict[int | None, int] = {}
        self._now = threading.local()
        super().__init__(lambda _: replies[self._seeds[self._now.seed] % len(replies)], **more)

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
        self._seeds.setdefault(options.seed, len(self._seeds))
        self._now.seed = options.seed
        return super().stream(messages, options)


def problem(kind: TargetKind = "number", train: Sequence[Case] = ()) -> Problem:
    test = [Case("q1", "a drill", 10.0 if kind == "number" else "tool"), Case("q2", "a pear", 1.0 if kind == "number" else "food")]  # fmt: skip  # noqa: E501
    return Problem(
        name="toy", kind=kind, target="price", metric="mae", train=train, validation=(), test=test, fingerprint="f",
        labels=("food", "tool") if kind == "label" else (), valid_range=(0, 100) if kind == "number" else None,
    )  # fmt: skip


def run(spec: str, model: ScriptedModel, on: Problem, seed: int = 42, **options: Any) -> list[Prediction]:
    technique = build_technique(spec, TechniqueContext(seed, lambda _: model, "scripted:python", options))
    technique.fit(on)
    found = sorted(technique.predict(on.test), key=lambda one: one.case_id)
    assert [one.key for one in found] == technique.keys(on.test)
    return found


def test_texts_vote_by_what_they_say_not_by_how_they_are_written() -> None:
    result = majority(["Seoul.", " seoul", "Busan", None, "SEOUL!"])
    assert (result.value, result.agreement, result.samples, result.readable) == ("Seoul.", 0.6, 5, 4)
    assert result.counts == (("Seoul.", 3), ("Busan", 1))
    assert str(result) == "3 of 5 samples agree, 1 could not be read"
    assert majority([{"a": 1, "b": [2]}, {"b": [2], "a": 1}, {"a": 2}]).agreement == pytest.approx(2 / 3)


def test_of_equals_the_first_wins_and_nothing_readable_is_no_answer() -> None:
    assert majority(["b", "a", "a", "b"]).value == "b"
    assert majority([None, None]).value is None
    assert median([None]).value is None
    assert str(majority([None, None])) == "0 of 2 samples agree, 2 could not be read"
    assert majority(["...", "!"]).counts == (("...", 1), ("!", 1))


def test_numbers_give_their_median_and_near_ones_agree() -> None:
    result = median([10, 10.2, 50, None, 9.8])
    assert result.value == pytest.approx(10.1)
    assert (result.readable, result.agreement) == (4, 0.6)
    assert median([0, 0, 5]).agreement == pytest.approx(2 / 3)


def test_samples_differ_in_their_seed_and_a_temperature_is_kept() -> None:
    made = [sampling(Options(temperature=0), 42, number) for number in range(20)]
    assert len({one.seed for one in made}) == 20
    assert {one.temperature for one in made} == {0.7}
    assert sampling(Options(temperature=1.2), 42, 0).temperature == 1.2
    assert made == [sampling(Options(), 42, number) for number in range(20)]
    assert sampling(Options(), 42, 0, "step").seed != made[0].seed


def test_the_technique_takes_the_median_and_keeps_every_sample() -> None:
    model = Seeded(["$10", "I cannot say", "$12", "$90", "$11"])
    drill, pear = run("vote:5", model, problem())
    assert (drill.reading.value, pear.reading.value) == (11.5, 11.5)
    assert drill.reading.note == "2 of 5 samples agree, 1 could not be read"
    assert [one["reply"] for one in json.loads(drill.raw)] == ["$10", "I cannot say", "$12", "$90", "$11"]
    assert len(model.asked) == 10
    assert drill.usage.completion_tokens == 1 + 3 + 1 + 1 + 1
    assert drill.cost == 0.0
    assert len({request.options.seed for request in model.asked}) == 5


def test_labels_vote_by_majority() -> None:
    model = Seeded(["food", "It is a tool.", "tool"], concurrency=4)
    assert [one.reading.value for one in run("vote:3", model, problem("label"))] == ["tool", "tool"]


def test_what_no_sample_answers_is_no_answer() -> None:
    (first, _) = run("vote:3", ScriptedModel(lambda _: "I cannot say"), problem())
    assert (first.reading.status, first.reading.value) == ("refused", None)
    (first, _) = run("vote:2", ScriptedModel(lambda _: "$1000"), problem())
    assert first.reading.status == "unparsable"
    (first, _) = run("vote:2", ScriptedModel(lambda _: "$1", context_length=3), problem())
    assert first.reading.status == "error"


def test_examples_stand_before_the_question() -> None:
    train = [Case(f"t{n}", f"thing {n}", float(n)) for n in range(9)]
    model = ScriptedModel(lambda _: "$5")
    run("vote:2:few-shot:fixed:3", model, problem(train=train))
    assert all(len(request.messages) == 1 + 6 + 1 for request in model.asked)
    with pytest.raises(UsageError, match="use vote:2"):
        run("vote:2:few-shot", model, problem())


def test_the_identity_and_the_keys_say_what_was_asked() -> None:
    def keys(spec: str, seed: int = 42, **options: Any) -> list[str]:
        technique = build_technique(spec, TechniqueContext(seed, lambda _: ScriptedModel(["$1"]), options=options))
        technique.fit(problem())
        json.dumps(technique.identity)
        return technique.keys(problem().test)

    usual = keys("vote:3")
    assert usual == keys("vote:3")
    for other in (keys("vote:5"), keys("vote:3", seed=7), keys("ask"), keys("vote:3", question="How much?")):
        assert not set(usual) & set(other)


def test_earlier_samples_are_read_again_for_another_range() -> None:
    technique = build_technique("vote:3", TechniqueContext(1, lambda _: ScriptedModel(lambda _: "$500")))
    technique.fit(problem())
    (first, *_) = technique.predict(problem().test)
    assert first.reading.status == "unparsable"
    wider = replace(problem(), valid_range=(0, 1000))
    technique.fit(wider)
    assert technique.reread(first).reading.value == 500  # type: ignore[attr-defined]


def test_what_was_sampled_before_a_failure_is_not_asked_for_again() -> None:
    def technique(model: ScriptedModel) -> Any:
        made = build_technique("vote:4", TechniqueContext(1, lambda _: model))
        made.fit(problem())
        return made

    broken = ScriptedModel(lambda _: "$10", faults={6: "connection"})  # in the third sample of the second case
    answers = technique(broken).predict(problem().test)
    assert next(answers).reading.value == 10
    with pytest.raises(ModelConnectionError):
        next(answers)
    samples = Path(os.environ["WHETSTONE_HOME"]) / "samples"
    (kept,) = samples.iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])  # as a kill in the middle of a line leaves it
    whole = ScriptedModel(lambda _: "$20")
    found = technique(whole).predict(problem().test[1:])
    last = next(found)
    assert [one["reply"] for one in json.loads(last.raw)] == ["$10", "$20", "$20", "$20"]
    assert len(whole.asked) == 3
    assert next(found, None) is None
    assert not list(samples.iterdir())


def test_five_samples_are_usual() -> None:
    assert build_technique("vote", TechniqueContext(1, lambda _: ScriptedModel())).name == "vote:5"


@pytest.mark.parametrize("spec", ["vote:1", "vote:x", "vote:51", "vote:3:ask", "vote:3:few-shot:nearst:2"])
def test_wrong_arguments_are_told(spec: str) -> None:
    with pytest.raises(UsageError, match="vote:"):
        build_technique(spec, TechniqueContext(1, lambda _: ScriptedModel()))
