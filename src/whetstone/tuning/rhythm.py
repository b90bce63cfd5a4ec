"""When a run validates, when it saves, and when it stops."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from whetstone.tuning.job import Job
from whetstone.tuning.processes import agreed

# However far validations are apart, no more than this is lost when the machine fails.
_CHECKPOINT_SECONDS = 900.0


class Rhythm(TrainerCallback):  # type: ignore[misc]
    """A Trainer's callback: every process decides alike."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._saved = time.monotonic()
        self._began = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        self._job.interrupts.at_work = True
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        job = self._job
        job.step_seconds = time.perf_counter() - self._began
        stopped, interrupted, overdue = agreed(
            [job.log.stop_asked(), job.interrupts.asked, time.monotonic() - self._saved > _CHECKPOINT_SECONDS],
            args.device,
        )
        if state.global_step >= job.total_steps or state.global_step % job.eval_every == 0:
            control.should_evaluate = bool(len(job.validation)) or job.metric is not None
            control.should_save = True
        elif stopped or interrupted or overdue:
            control.should_save = True
        if state.global_step >= job.total_steps:
            job.ended = "done"
        elif stopped or interrupted:
            job.ended = "interrupted" if interrupted else "stopped"
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        self._saved = time.monotonic()
