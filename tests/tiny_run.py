"""Rows and configurations for tuning runs of a few steps on models with random weights."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whetstone.tuning.config import TuneConfig
from whetstone.tuning.rows import TuneData, TuneRow


def decoder_row(number: int, dice: random.Random) -> TuneRow:
    """Some tokens, and an answer that depends on the first of them."""
    prompt = [dice.randrange(3, 250) for _ in range(dice.randrange(4, 24))]
    answer = [250 + prompt[0] % 3, 260, 2]
    learned = [False] * len(prompt) + [True] * len(answer)
    return TuneRow(prompt + answer, learned, where=f"rows.jsonl:{number}")


def encoder_decoder_row(number: int, dice: random.Random) -> TuneRow:
    prompt = [dice.randrange(3, 250) for _ in range(dice.randrange(4, 24))]
    labels = [250 + prompt[0] % 3, 260, 2]
    return TuneRow(prompt, [False] * len(prompt), labels=labels, where=f"rows.jsonl:{number}")


def rows(count: int = 48, *, encoder_decoder: bool = False) -> TuneData:
    dice = random.Random(7)
    made = encoder_decoder_row if encoder_decoder else decoder_row
    every = [made(number, dice) for number in range(1, count + 9)]
    return TuneData(every[:count], every[count:], fingerprint=f"{count}-{encoder_decoder}", source="rows.jsonl")


def config(model: Path, **changed: Any) -> TuneConfig:
    """A run of 12 steps of 8 rows, with a validation and a revision every 3."""
    values: dict[str, Any] = {
        "base": f"hf:{model}",
        "run": "tiny",
        "r": 4,
        "learning_rate": 0.01,
        "max_steps": 12,
        "batch_size": 8,
        "micro_batch_tokens": 128,
        "eval_steps": 3,
        "dtype": "float32",
        "device": "cpu",
        "probe": False,
    }
    return TuneConfig(**{**values, **changed})


class Heard:
    """A watcher that prints that it heard Ctrl-C."""

    def told(self, event: Mapping[str, Any]) -> None:
        pass

    def stopped(self) -> bool:
        return False

    def stop_heard(self) -> None:
        print("heard", flush=True)


class Seen:
    """A watcher that keeps what it is told, and stops behind a step where it is asked to."""

    def __init__(self, stop_behind: int | None = None) -> None:
        self.events: list[Mapping[str, Any]] = []
        self._stop_behind = stop_behind

    def told(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)

    def stopped(self) -> bool:
        steps = [event["step"] for event in self.events if event["kind"] == "step"]
        # A step is told behind the question whether to stop behind it.
        return self._stop_behind is not None and len(steps) + 1 >= self._stop_behind

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]
