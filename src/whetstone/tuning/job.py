"""What the parts of a run share: what it trains on, where it is kept, and how good it was when last looked at."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from whetstone.tuning.batches import BatchOrder
from whetstone.tuning.collator import Collator
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.load import Base
from whetstone.tuning.objective import Objective
from whetstone.tuning.rows import TuneRow
from whetstone.tuning.run_log import Interrupts, RunLog

Ended = Literal["done", "early", "stopped", "interrupted"]

# Of the time between two validations, what one may take at most: a forward pass costs a third of a training step.
_VALIDATION_SHARE = 0.1
_FEWEST_VALIDATED = 64

_CHEAP_PROBE = 5.0  # seconds
_MOST_ITEMS, _FEWEST_ITEMS = 200, 50
# Of the rows that are trained on between two validations. An item costs about as much as a training row: nothing is
# computed backwards, and a hundred beginnings of numbers are read besides the prompt.
_ASKED_SHARE = 0.2


class Metric(Protocol):
    """The task's own error on some validation items, lower is better."""

    @property
    def name(self) -> str:
        """What it is, in a report's words."""

    def __call__(self, model: Any) -> Mapping[str, Any]:
        """`metric`, and the ends `low` and `high` of its 95 % interval; no `metric` where it cannot be told.

        Where there are `answers`, a number for each item, the journal keeps them.
        """


@dataclass(frozen=True)
class Worth:
    """What a validation found.

    Attributes:
        step: behind which it was.
        loss: per token that is learned.
        metric: the task's own error.
    """

    step: int
    loss: float | None
    metric: float | None

    @property
    def value(self) -> float | None:
        """What revisions are compared by."""
        return self.loss if self.metric is None else self.metric


@dataclass
class Job:
    """A run in progress.

    Attributes:
        config: as asked for.
        base: what is tuned.
        base_spec: its spec as revisions name it, with how it is quantised.
        base_weights: what tells its weights from others.
        folder: the run's.
        rows: to learn from.
        validation: rows that are validated on; no more than that a validation takes a tenth of the time.
        order: of the training rows.
        collator: makes tensors of them.
        objective: what is minimised.
        log: the journal and who watches.
        interrupts: Ctrl-C.
        metric: the task's own error.
        probe: measures what was forgotten: given the model, and whether it is as the base; JSON-ready values.
        eval_every: steps between validations.
        total_steps: of the whole run.
        worths: what validations found so far, by step.
        ended: why the run is over: "done", "early", "stopped", "interrupted"; None while it goes on.
        step_tokens: of the step that was computed last, over all processes, padding not included.
        step_seconds: that it took.
        probed: when the last probe ended, on the monotonic clock.
        probe_seconds: that it took.
    """

    config: TuneConfig
    base: Base
    base_spec: str
    base_weights: str
    folder: Path
    rows: Sequence[TuneRow]
    validation: Sequence[TuneRow]
    order: BatchOrder
    collator: Collator
    objective: Objective
    log: RunLog
    interrupts: Interrupts
    metric: Metric | None
    probe: Callable[[Any], Mapping[str, Any]] | None
    eval_every: int
    total_steps: int
    worths: dict[int, Worth] = field(default_factory=dict)
    ended: Ended | None = None
    step_tokens: int = 0
    step_seconds: float = 0.0
    probed: float = 0.0
    probe_seconds: float = 0.0

    def halve(self) -> bool:
        """Compute half as many tokens at a time, which changes nothing of what is learned.

        Returns:
            Whether there was anything to halve: a single row is computed at once, however long it is.
        """
        longest = int(np.asarray(self.order.lengths).reshape(len(self.rows), -1).sum(axis=1).max())
        if self.order.micro_batch_tokens <= longest:
            return False
        self.order = replace(self.order, micro_batch_tokens=self.order.micro_batch_tokens // 2)
        return True

    def probe_is_due(self, step: int) -> bool:
        """Whether to measure at a revision what was forgotten.

        At each validation, unless that would take more than a fifth of the run's time; always at the end, and never
        where somebody waits for the run to stop.
        """
        if self.probe is None or not (step % self.eval_every == 0 or step >= self.total_steps):
            return False
        passed = time.monotonic() - self.probed
        return step >= self.total_steps or self.probe_seconds < _CHEAP_PROBE or passed > 4 * self.probe_seconds

    def is_good_enough(self) -> bool:
        """Whether as many validations as the configuration has patience for were no better than one before them."""
        found = [worth for worth in self.worths.values() if worth.value is not None]
        patience = self.config.early_stopping_patience
        if patience is None or not found:
            return False
        best = min(found, key=lambda worth: (worth.value, worth.step))
        return sum(worth.step > best.step for worth in found) >= patience


def step_seed(seed: int, step: int, process: int) -> int:
    """The seed of a step's dropout."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def validation_rows(rows: Sequence[TuneRow], eval_every: int, batch_size: int, seed: int) -> Sequence[TuneRow]:
    """The rows that every validation of a run is made on: all, or a fixed sample where they would take too long."""
    most = max(_FEWEST_VALIDATED, int(3 * _VALIDATION_SHARE * eval_every * batch_size))
    if len(rows) <= most:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), most, replace=False)
    return [rows[int(number)] for number in np.sort(chosen)]


def steps_in_all(config: TuneConfig, steps_per_epoch: int) -> int:
    """Steps of a whole run."""
    return config.max_steps or math.ceil(config.num_train_epochs * steps_per_epoch)


def steps_between_validations(config: TuneConfig, total_steps: int) -> int:
    """About ten in a run, where the configuration does not say."""
    return max(1, round(total_steps / 10)) if config.eval_steps == "auto" else config.eval_steps


def items_asked(steps: int, batch_size: int) -> int:
    """How many items the task's own error is measured on at each validation: as many as the run can afford.

    Args:
        steps: between two validations.
        batch_size: rows of a step.
    """
    return min(_MOST_ITEMS, max(_FEWEST_ITEMS, round(_ASKED_SHARE * steps * batch_size)))
