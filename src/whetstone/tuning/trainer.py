"""TRL's and transformers' trainers with our order of rows, loss, validation and checkpoints.

One item of the data loader is a whole effective batch, whose micro-batches are computed within `training_step`: as many
as its rows need, and not as many as a setting says. Of the trainers remain: optimizer, schedule, clipping, precision
and placement through accelerate, callbacks, and the integrations that log elsewhere.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTTrainer

from whetstone.errors import ModelError
from whetstone.models.hf_load import memory_errors
from whetstone.storage.revision_files import rotate, write_revision
from whetstone.storage.revisions import Revision, revision_folder
from whetstone.tuning.batches import BatchOrder
from whetstone.tuning.checkpoints import (
    RESUME,
    copy_tokenizer,
    load_adapter,
    load_optimizer,
    save_adapter,
    save_optimizer,
)
from whetstone.tuning.gradients import check_connected, check_gradients, trained
from whetstone.tuning.job import Job, Worth, step_seed
from whetstone.tuning.objective import totals
from whetstone.tuning.processes import (
    agreed,
    any_of_us,
    begin_alike,
    process_count,
    process_number,
    sum_tensors,
)
from whetstone.tuning.rhythm import Rhythm
from whetstone.tuning.steps import Place, StepLoader


class Replica(torch.nn.Module):  # type: ignore[misc]
    """The model in one of several processes; the sum over them is made in `training_step`."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module


class TuningTrainer(Trainer):  # type: ignore[misc]
    """Tunes an encoder-decoder; and, put before TRL's trainer, what we do differently in it.

    Args:
        job: the run.
        others: as the trainer takes them.
    """

    control: Any

    def __init__(self, *, job: Job, **others: Any) -> None:
        self.job = job
        self._learns = False
        super().__init__(**others)
        for shown in (PrinterCallback, ProgressCallback):
            self.remove_callback(shown)
        self.add_callback(Rhythm(job))

    def _send_telemetry(self) -> None:
        """TRL reports each start of a trainer to its makers; we report nothing to anybody."""

    def get_train_dataloader(self) -> StepLoader:
        return StepLoader(self.job.order)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # counted from the inputs' tensors, which are made later here

    def _wrap_model(self, model: Any, training: bool = True, dataloader: Any = None) -> Any:
        if process_count() == 1 or not training:
            return model
        begin_alike([parameter for _, parameter in trained(model)])
        return Replica(model)

    # ---- one step

    def training_step(self, model: Any, inputs: Place, num_items_in_batch: Any = None) -> Any:
        """Compute an effective batch: its loss, and its gradient summed over all processes."""
        job, step = self.job, self.state.global_step
        numbers = job.order.rows(*inputs)
        rows = [job.rows[int(number)] for number in numbers]
        self.model.train()
        while True:
            torch.manual_seed(step_seed(job.config.seed, step, process_number()))
            loss = self._accumulated(numbers, totals(rows))
            if not any_of_us(loss is None, self.args.device):
                break
            self._make_room(step)
        if not self._learns:
            check_connected(self.model)
        sum_tensors([*(parameter.grad for _, parameter in trained(self.model)), loss])
        if not bool(torch.isfinite(loss)):
            names = ", ".join(row.where or str(int(number) + 1) for row, number in zip(rows, numbers, strict=True))
            raise ModelError(
                f"step {step + 1}: the loss is {float(loss)}, in one of the rows {names}; try a lower learning_rate, "
                "or dtype: float32; the revisions before it are whole"
            )
        if not self._learns:
            self._learns = check_gradients(self.model, step)
        job.step_tokens = sum(row.tokens for row in rows)
        return loss

    def _accumulated(self, numbers: Any, shares: tuple[float, float]) -> Any:
        """The loss of this process's share, with gradients; None where memory was too small for it."""
        job = self.job
        loss = torch.zeros((), device=self.args.device)
        try:
            for micro in job.order.shared_out(numbers)[process_number()]:
                batch = self._prepare_inputs(job.collator(job.rows, micro))
                part = job.objective(self.model, batch, shares)
                self.accelerator.backward(part)
                loss += part.detach()
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _is_memory(error):
                raise
        else:
            return loss
        return None

    def _make_room(self, step: int) -> None:
        job = self.job
        now = job.order.micro_batch_tokens
        if not job.config.auto_batch:
            raise ModelError(
                f"step {step + 1}: the memory is full with micro_batch_tokens: {now}; set {now // 2}, or "
                "gradient_checkpointing: true, a lower max_length, or method: qlora; the same command then goes on "
                "from the last revision. auto_batch: true lowers it by itself"
            )
        self.model.zero_grad()
        if self.args.device.type == "cuda":
            torch.cuda.empty_cache()
        if job.halve():
            what = f"micro_batch_tokens is {job.order.micro_batch_tokens}"
        elif job.config.gradient_checkpointing == "auto" and not self.args.activation_checkpointing:
            self.args.activation_checkpointing = self.args.gradient_checkpointing = True
            self.model.activation_checkpointing_enable(self.args.activation_checkpointing_kwargs)
            what = "activations are computed twice"
        else:
            raise ModelError(
                f"step {step + 1}: the memory is too small for a single row; set a lower max_length, or method: qlora"
                + ("" if self.args.activation_checkpointing else ", or gradient_checkpointing: true")
            )
        job.log.tell("note", step, text=f"The memory was full: from here on {what}")

    # ---- validation

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Validate, and decide whether the run has got as good as it will."""
        job, step = self.job, self.state.global_step
        began = time.perf_counter()
        self.model.eval()
        loss = self._validation_loss() if len(job.validation) else None
        found = dict(job.metric(self.model)) if job.metric is not None and process_number() == 0 else {}
        nothing = float("nan")
        metric, low, high = agreed([found.get(name, nothing) for name in ("metric", "low", "high")], self.args.device)
        worth = Worth(step, loss, None if metric != metric else metric)
        job.worths[step] = worth
        seconds = time.perf_counter() - began
        job.log.tell(
            "validation",
            step,
            epoch=self.state.epoch,
            loss=loss,
            metric=worth.metric,
            metric_name=job.metric.name if job.metric is not None and worth.metric is not None else None,
            low=None if low != low else low,
            high=None if high != high else high,
            answers=found.get("answers"),
            seconds=seconds,
        )
        if job.ended is None and job.is_good_enough():
            job.ended = "early"
            self.control.should_training_stop = True
        named = {"loss": loss, "metric": worth.metric}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in named.items() if value is not None}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _validation_loss(self) -> float:
        """Of each token that is learned, on average."""
        job = self.job
        # A validation pass keeps no activations, so that four times as many rows take no more memory.
        order = BatchOrder(
            job.objective.lengths(job.validation),
            seed=0,
            batch_size=len(job.validation),
            micro_batch_tokens=4 * job.order.micro_batch_tokens,
            processes=job.order.processes,
            overhead=job.order.overhead,
            packed=job.order.packed,
        )
        objective, shares = replace(job.objective, kl_weight=0.0), totals(job.validation)
        loss = torch.zeros((), device=self.args.device)
        with torch.no_grad(), memory_errors(job.base.source.spec):
            for micro in order.shared_out(range(len(job.validation)))[process_number()]:
                batch = self._prepare_inputs(job.collator(job.validation, micro))
                loss += objective(self.model, batch, shares)
        sum_tensors([loss])
        return float(loss)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        self.state.log_history.clear()  # the journal has it; in memory it would grow with every step
        if "loss" in logs:
            self.job.log.tell(
                "step",
                self.state.global_step,
                epoch=self.state.epoch,
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                grad_norm=logs.get("grad_norm"),
                tokens=self.job.step_tokens,
                seconds=self.job.step_seconds,
            )

    # ---- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Leave a revision."""
        job, step = self.job, self.state.global_step
        if process_number() == 0:
            if job.probe_is_due(step):
                self.probe()
            worth = job.worths.get(step, Worth(step, None, None))
            revision = Revision(
                run=job.config.run,
                step=step,
                folder=revision_folder(job.folder, step),
                epoch=float(self.state.epoch or 0),
                validation_loss=worth.loss,
                metric=worth.metric,
                metric_name=job.metric.name if job.metric is not None and worth.metric is not None else None,
                base=job.base_spec,
                base_weights=job.base_weights,
            )
            write_revision(revision, self._fill)
            rotate(job.folder, job.config.save_total_limit)
            job.log.tell("revision", step, folder=revision.folder.name)
        self.accelerator.wait_for_everyone()

    def probe(self) -> None:
        """Measure what the model has forgotten."""
        job, began = self.job, time.monotonic()
        if job.probe is not None:
            job.log.tell("probe", self.state.global_step, **job.probe(self.model))
            job.probed = time.monotonic()
            job.probe_seconds = job.probed - began

    def _fill(self, folder: Path) -> None:
        source = self.job.base.source
        save_adapter(self.model, folder, source.name, source.revision)
        copy_tokenizer(source.folder, folder)
        resume = folder / RESUME
        resume.mkdir()
        save_optimizer(self.optimizer, self.lr_scheduler, resume)
        self.state.save_to_json(str(resume / "trainer_state.json"))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter(self.model, Path(resume_from_checkpoint).parent)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_optimizer(self.optimizer, self.lr_scheduler, Path(checkpoint))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing to load: every step sets its own seed."""


class CausalTrainer(TuningTrainer, SFTTrainer):  # type: ignore[misc]
    """Tunes a decoder."""


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
