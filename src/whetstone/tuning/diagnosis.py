"""Why tuning has made a model worse, or no better: what usually is to blame, looked for in the run itself.

Every sentence names what was found and what to do. None is a proof; all are the first things to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from whetstone.numeric.shift import range_shift
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.rows import TuneData

Event = Mapping[str, Any]

_FEW_ROWS = 200
_FEW_STEPS = 30
_LOOKED_AT = 5_000  # rows
_ROUNDED = 0.1  # of a number: more than this is another number
_OFTEN = 0.05  # share of rows from which on a fault matters
_ROSE = 0.02  # of the lowest validation loss: less is noise


def diagnose(config: TuneConfig, data: TuneData, events: Sequence[Event]) -> list[str]:
    """What may be wrong with a run.

    Args:
        config: of the run.
        data: its rows.
        events: its journal.
    """
    return [
        *_of_the_loss(config, events),
        *_of_overtraining(events),
        *_of_size(config, data, events),
        *_of_the_mask(config, data),
        *_of_the_answers(data),
        *_of_the_range(config, data),
    ]


def improved(events: Sequence[Event]) -> bool | None:
    """Whether the best revision's error lies below the base's, beyond the interval of the latter; None where the base
    was not measured.

    Where there is no error of the task's own, the loss is compared.
    """
    told = _validations(events)
    if not told or told[0].get("step") != 0 or len(told) < 2:
        return None
    base, others = told[0], told[1:]
    if base.get("metric") is not None:
        best = min((one["metric"] for one in others if one.get("metric") is not None), default=None)
        return None if best is None else bool(best < base.get("low", base["metric"]))
    losses = [one["loss"] for one in others if one.get("loss") is not None]
    return None if not losses or base.get("loss") is None else bool(min(losses) < base["loss"])


def _validations(events: Sequence[Event]) -> list[Event]:
    by_step = {int(event["step"]): event for event in events if event.get("kind") == "validation"}
    return [by_step[step] for step in sorted(by_step)]


def _of_the_loss(config: TuneConfig, events: Sequence[Event]) -> Iterator[str]:
    losses = np.array([event["loss"] for event in events if event.get("kind") == "step" and "loss" in event])
    tenth = len(losses) // 10
    if tenth < 3:
        return
    first, last = float(losses[:tenth].mean()), float(losses[-tenth:].mean())
    if not last < first:
        yield (
            f"the training loss did not fall ({first:.3g} at first, {last:.3g} at the end): try a lower learning_rate "
            f"than {config.learning_rate:g}, and look at the mask (whet tune --plan shows it)"
        )


def _of_overtraining(events: Sequence[Event]) -> Iterator[str]:
    told = [one for one in _validations(events) if one.get("loss") is not None and one["step"] > 0]
    if len(told) < 3:
        return
    best = min(told, key=lambda one: one["loss"])
    if best is not told[-1] and told[-1]["loss"] > best["loss"] * (1 + _ROSE):
        yield (
            f"the validation loss was lowest at step {best['step']} ({best['loss']:.4g}) and rose to "
            f"{told[-1]['loss']:.4g}: it learned its rows by heart. The best revision is from before that; fewer "
            "epochs, a lower learning_rate or more rows help, and early_stopping_patience: 2 stops in time"
        )


def _of_size(config: TuneConfig, data: TuneData, events: Sequence[Event]) -> Iterator[str]:
    rows = sum(not row.replay for row in data.train[:_LOOKED_AT])
    if rows < _FEW_ROWS:
        yield f"{rows:,} rows are few: below some hundred, examples in the prompt (neighbours) often do better"
    steps = max((int(event["step"]) for event in events if event.get("kind") == "step"), default=0)
    if 0 < steps < _FEW_STEPS:
        yield f"the run had {steps} steps only: lower batch_size than {config.batch_size}, or give it more epochs"


def _of_the_mask(config: TuneConfig, data: TuneData) -> Iterator[str]:
    rows = [row for row in data.train[:_LOOKED_AT] if not row.replay]
    if not config.completion_only_loss:
        learned, tokens = sum(row.learns for row in rows), sum(row.tokens for row in rows)
        yield (
            f"prompts are learned, too ({learned:,} of {tokens:,} tokens), so most of the loss is not about the "
            "answer: completion_only_loss: true"
        )
    cut = sum(row.cut > 0 for row in rows)
    if rows and cut > _OFTEN * len(rows):
        yield f"{cut / len(rows):.0%} of the texts were cut to fit max_length {config.max_length:,}: raise it"


def _of_the_answers(data: TuneData) -> Iterator[str]:
    """Answers that are written otherwise than they are meant."""
    problem, form = data.problem, data.form
    if problem is None:
        return
    cases = [case for _, case in zip(range(_LOOKED_AT), problem.train, strict=False)]
    if problem.kind == "label":
        spelled: dict[str, set[str]] = {}
        for label in problem.labels:
            spelled.setdefault(" ".join(label.casefold().split()), set()).add(label)
        double = [sorted(names) for names in spelled.values() if len(names) > 1]
        if double:
            yield f"the same label is written in several ways ({', '.join(double[0])}): make them one"
    elif problem.kind == "number" and form is not None and cases:
        numbers = [float(case.expected) for case in cases]
        off = sum(abs(float(form.completion(number)) - number) > _ROUNDED * abs(number) for number in numbers)
        if off > _OFTEN * len(numbers):
            yield (
                f"{off / len(numbers):.0%} of the numbers are rounded by more than a tenth as they are written "
                f"({numbers[0]:g} as {form.completion(numbers[0])}), so small ones cannot be learned"
            )


def _of_the_range(config: TuneConfig, data: TuneData) -> Iterator[str]:
    problem = data.problem
    if problem is None or problem.kind != "number" or config.weights == "balance":
        return
    trained = np.array([float(case.expected) for case in problem.train])
    asked = np.array([float(case.expected) for case in (problem.test or problem.validation)])
    if shift := range_shift(trained, asked, problem.unit if problem.unit == "$" else ""):
        yield shift
