"""Planted faults are found, each by its own check, and a sound run has none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whetstone.tuning.findings import Evidence, RowFacts, diagnose, kolmogorov_smirnov, row_facts, shape
from whetstone.tuning.rows import TuneRow

END = frozenset({2})


def row(prompt: int, answer: Sequence[int] = (11, 12, 2), **more: Any) -> TuneRow:
    ids = [*range(100, 100 + prompt), *answer]
    return TuneRow(ids, [False] * prompt + [True] * len(answer), **more)


def journal(training: Sequence[float], validation: Sequence[float]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"kind": "step", "step": n + 1, "loss": loss} for n, loss in enumerate(training)]
    every = max(1, len(training) // max(1, len(validation)))
    lines += [{"kind": "validation", "step": (n + 1) * every, "loss": loss} for n, loss in enumerate(validation)]
    return lines


PROMPTS = [f"How much?\n\n{item}\n\nPrice is $" for item in ("A lamp", "Two chairs", "A red rug", "Desk", "An oven")]
PRICES = np.random.default_rng(0).lognormal(4, 1, 500).tolist()
SOUND = Evidence(
    journal=journal(list(np.linspace(3, 1, 100)), [2.0, 1.8, 1.7, 1.69, 1.7]),
    facts=row_facts([row(20) for _ in range(500)], END),
    completions=["129.00", "5.00", "17.00"] * 20,
    replies=["12.00", "1,299.00"] * 20,
    train_prompts=PROMPTS,
    test_prompts=[prompt.replace("red", "blue") for prompt in PROMPTS],
    train_targets=PRICES[:250],
    test_targets=PRICES[250:],
)


def names(evidence: Evidence) -> list[str]:
    return [finding.name for finding in diagnose(evidence)]


def test_a_sound_run_has_no_finding() -> None:
    assert names(SOUND) == []


def test_nothing_known_is_nothing_found() -> None:
    assert names(Evidence()) == []


@pytest.mark.parametrize(
    ("rows", "name", "key"),
    [
        ([TuneRow([5, 6, 7], [False] * 3)] * 3 + [row(20)] * 400, "mask", "nothing_learned"),
        ([TuneRow([5, 6, 7, 2], [True] * 4)] * 400, "mask", "prompt_learned"),
        ([row(20, (11, 12, 13))] * 400, "truncated", "no_end"),
        ([row(20, cut=300)] * 200 + [row(20)] * 200, "truncated", "cut"),
        ([row(20)] * 40, "few rows", "rows"),
    ],
)
def test_planted_faults_of_rows_are_found(rows: list[TuneRow], name: str, key: str) -> None:
    (finding,) = diagnose(replace(SOUND, facts=row_facts(rows, END)))
    assert finding.name == name
    assert finding.evidence[key] > 0
    assert finding.advice


def test_replayed_rows_are_not_the_tasks() -> None:
    facts = row_facts([row(20)] * 5 + [row(20, replay=True)] * 500, END)
    assert facts.rows == 5


def test_an_encoder_decoder_has_no_mask_to_be_wrong() -> None:
    facts = row_facts([TuneRow([5, 6, 7], [False] * 3, labels=[8, 2])] * 300, END)
    assert facts == RowFacts(300, 0.4, 0, 0, 0, 0, 0.0, encoder_decoder=True)
    assert names(replace(SOUND, facts=facts)) == []


def test_over_training_names_the_best_revision() -> None:
    lines = journal(list(np.linspace(3, 0.2, 100)), [2.0, 1.7, 1.9, 2.3, 2.8])
    (finding,) = diagnose(replace(SOUND, journal=lines))
    assert finding.name == "over-training"
    assert finding.evidence["best_step"] == 40
    assert "by heart" in finding.sentence
    assert finding.evidence["training_loss_last"] < finding.evidence["training_loss_then"]


def test_the_tasks_own_error_decides_where_there_is_one() -> None:
    lines = journal(list(np.linspace(3, 1, 100)), [2.0, 1.8, 1.6, 1.5, 1.4])
    errors = iter([120.0, 100.0, 105.0, 110.0, 118.0])
    told = [{**line, "metric": next(errors)} if line["kind"] == "validation" else line for line in lines]
    (finding,) = diagnose(replace(SOUND, journal=told))
    assert finding.name == "over-training"
    assert finding.evidence["best"] == 100.0


def test_where_the_base_was_best_no_revision_is_advised() -> None:
    lines = [
        {"kind": "validation", "step": 0, "loss": 1.5},
        *journal(list(np.linspace(3, 0.2, 100)), [2.0, 2.1, 2.2, 2.3, 2.8]),
    ]
    (finding,) = diagnose(replace(SOUND, journal=lines))
    assert finding.evidence["best_step"] == 0
    assert "Use the base" in finding.advice


def test_a_loss_that_stays_is_found() -> None:
    assert names(replace(SOUND, journal=journal([2.5, 2.6] * 50, []))) == ["not trained"]


def test_other_numbers_than_those_trained_on_are_found() -> None:
    (finding,) = diagnose(replace(SOUND, test_targets=[8 * price for price in PRICES]))
    assert finding.name == "range shift"
    assert finding.evidence["distance"] > 0.35
    assert "balance" in finding.advice


def test_another_prompt_than_the_trainings_is_found() -> None:
    without_label = [prompt.removesuffix("Price is $") for prompt in PROMPTS]
    (finding,) = diagnose(replace(SOUND, test_prompts=without_label))
    assert finding.name == "prompt"
    assert "Price is $" in finding.sentence
    chat = [f"<|im_start|>user\n{prompt}" for prompt in PROMPTS]
    assert names(replace(SOUND, test_prompts=chat)) == ["prompt"]


def test_replies_in_another_form_than_the_labels_are_found() -> None:
    (finding,) = diagnose(replace(SOUND, replies=["The lamp costs about 12 dollars"] * 10 + ["12.00"] * 10))
    assert finding.name == "label format"
    assert finding.evidence["not_in_form"] == 10


def test_free_texts_have_no_form_to_miss() -> None:
    texts = [f"{'very ' * n}good, {'!' * n} {n}" for n in range(40)]
    assert names(replace(SOUND, completions=texts, replies=["Something else: 3!"] * 20)) == []


def test_findings_are_ready_for_json() -> None:
    found = diagnose(replace(SOUND, facts=row_facts([row(20)] * 40, END)))
    assert json.loads(json.dumps([finding.to_json() for finding in found], allow_nan=False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("129.00", "9.9"), (" 1,299.00 ", "9.9"), ("Price: $5", "A: $9"), ("very positive", "A"), ("", "")],
)
def test_shapes_keep_the_form_and_drop_the_content(text: str, expected: str) -> None:
    assert shape(text) == expected


def test_the_distance_of_two_samples() -> None:
    assert kolmogorov_smirnov(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0
    assert kolmogorov_smirnov(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert kolmogorov_smirnov(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0])) == 0.5
