"""The training run: from rows of tokens to revisions on the disk, killed at any instant and resumed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from whetstone.errors import ModelError, UsageError
from whetstone.models.hf_adapter import weights_mark
from whetstone.models.hf_load import quiet
from whetstone.specs import ModelSpec
from whetstone.storage.revisions import history, revisions, run_folder
from whetstone.tuning.arguments import make_arguments, train_for
from whetstone.tuning.batches import OVERHEAD_TOKENS, OVERHEAD_TOKENS_GPU, BatchOrder
from whetstone.tuning.checkpoints import RESUME
from whetstone.tuning.collator import Collator
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.job import Job, Metric, Worth, steps_between_validations, steps_in_all, validation_rows
from whetstone.tuning.load import (
    Base,
    add_adapter,
    check_launch,
    find_base,
    keep_float32,
    load_base,
    require_tuning,
    wants_checkpointing,
)
from whetstone.tuning.objective import check_rows, make_objective
from whetstone.tuning.probing import Probing
from whetstone.tuning.processes import process_count, process_number
from whetstone.tuning.reporting import require_reporters
from whetstone.tuning.rows import TuneData
from whetstone.tuning.run_log import Interrupts, RunLog, Watcher
from whetstone.tuning.run_state import TuneOutcome, finished, open_run, outcome

__all__ = ["Metric", "TuneOutcome", "Watcher", "tune"]


def tune(
    config: TuneConfig,
    data: TuneData,
    *,
    metric: Metric | None = None,
    watch: Watcher | None = None,
    resume: bool = True,
    overwrite: bool = False,
) -> TuneOutcome:
    """Tune an adapter.

    A run of the same name, configuration and rows goes on behind its last revision, as if it had not been stopped; one
    that is over is left as it is. Under `accelerate launch` or `torchrun` every process calls this alike.

    Args:
        config: what to do.
        data: what to learn from.
        metric: the task's own error, measured at every validation; revisions are then chosen by it.
        watch: told every line of the run's journal, and asked at each step whether to stop.
        resume: whether a run that exists may go on.
        overwrite: start afresh, and remove what a run of this name has.

    Raises:
        UsageError: what is asked for cannot be done, or a run of this name is another one.
        DataError: a row has nothing to learn; the sentence names it.
        ModelError: the model cannot be tuned so: an adapter's weight gets no gradient, a loss is not finite, memory is
            too small.
        StorageError: the disk is full; revisions that were written are whole.
        MissingPackageError: a package is needed that is not installed.
    """
    require_tuning()
    require_reporters(config.report_to)
    check_launch()
    check_rows(data.train, raft=config.loss == "raft")
    base = find_base(config.base)
    folder = run_folder(config.run)
    arguments = make_arguments(config, folder, encoder_decoder=base.encoder_decoder)
    if process_number() == 0:
        open_run(config, data, resume=resume, overwrite=overwrite)
    arguments.distributed_state.wait_for_everyone()
    if (before := finished(config, folder)) is not None:
        return before
    log = RunLog(folder, watch)
    interrupts = Interrupts(log.stop_heard)
    try:
        with interrupts.caught(), quiet():
            job, trainer = _prepare(config, data, base, folder, arguments, metric, log, interrupts)
            return _train(job, trainer)
    finally:
        log.close()


def _prepare(
    config: TuneConfig,
    data: TuneData,
    base: Base,
    folder: Path,
    arguments: Any,
    metric: Metric | None,
    log: RunLog,
    interrupts: Interrupts,
) -> tuple[Job, Any]:
    """Everything in memory, ready for the first step."""
    from whetstone.tuning.trainer import CausalTrainer, TuningTrainer

    device = arguments.device
    pad_id = base.config.pad_token_id if isinstance(base.config.pad_token_id, int) else 0
    model = add_adapter(load_base(base, config, device), config)
    objective = make_objective(config, data, model, encoder_decoder=base.encoder_decoder, pad_id=pad_id)
    packed = _packed(config, encoder_decoder=base.encoder_decoder)
    lengths = objective.lengths(data.train)
    order = BatchOrder(
        lengths,
        seed=config.seed,
        batch_size=config.batch_size,
        micro_batch_tokens=config.micro_batch_tokens,
        processes=process_count(),
        overhead=OVERHEAD_TOKENS.get(device.type, OVERHEAD_TOKENS_GPU),
        packed=packed,
    )
    total = steps_in_all(config, order.steps_per_epoch)
    eval_every = steps_between_validations(config, total)
    longest = int(lengths.reshape(len(lengths), -1).sum(axis=1).max())
    train_for(arguments, total, checkpointing=wants_checkpointing(config, base.config, longest, device))
    job = Job(
        config=config,
        base=base,
        base_spec=_base_spec(config, base),
        base_weights=weights_mark(base.source.folder),
        folder=folder,
        rows=data.train,
        validation=validation_rows(data.validation, eval_every, config.batch_size, config.seed),
        order=order,
        collator=Collator(pad_id, packed),
        objective=objective,
        log=log,
        interrupts=interrupts,
        metric=metric if config.validation_metric == "auto" else None,
        probe=Probing(data.train, base.source.folder, folder) if config.probe and process_number() == 0 else None,
        eval_every=eval_every,
        total_steps=total,
    )
    if base.encoder_decoder:
        return job, TuningTrainer(job=job, model=model, args=arguments, data_collator=job.collator)
    from datasets import Dataset
    from transformers import AutoTokenizer

    trainer = CausalTrainer(
        job=job,
        model=model,
        args=arguments,
        data_collator=job.collator,
        # TRL looks at one row, and loads a tokenizer where none is given; both are used for nothing else.
        train_dataset=Dataset.from_dict({"input_ids": [data.train[0].ids], "labels": [data.train[0].ids]}),
        processing_class=AutoTokenizer.from_pretrained(base.source.folder, local_files_only=True),
    )
    # With one, the Trainer would write its idea of the control tokens into the model's configuration.
    trainer.processing_class = None
    keep_float32(model)
    return job, trainer


def _train(job: Job, trainer: Any) -> TuneOutcome:
    """Run to the end, or to where it is stopped."""
    found = revisions(job.folder)
    last = found[-1] if found else None
    if last is not None:
        for line in history(job.folder):
            if line["kind"] == "validation" and line["step"] <= last.step:
                job.worths[line["step"]] = Worth(line["step"], line.get("loss"), line.get("metric"))
        job.log.tell("note", last.step, text=f"Going on behind step {last.step}", resumed=True)
        if last.step >= job.total_steps:
            job.ended = "done"
        elif job.is_good_enough():
            job.ended = "early"
    else:
        # What an earlier session did without leaving a revision is done again.
        trainer.args.eval_on_start = bool(len(job.validation)) or job.metric is not None  # of the base
        job.log.tell("note", 0, text=_beginning(trainer, job), resumed=True)
        trainer.probe()
    began = time.perf_counter()
    step = last.step if last is not None else 0
    if job.ended is None:
        trainer.train(resume_from_checkpoint=str(last.folder / RESUME) if last is not None else None)
        step = trainer.state.global_step
    if job.ended is None:
        raise ModelError(f"{job.config.run}: the run ended at step {step} for no reason we know")
    memory = _peak_memory(trainer.args.device)
    job.log.tell(
        "end",
        step,
        ended=job.ended,
        total_steps=job.total_steps,
        seconds=time.perf_counter() - began,
        memory=memory,
    )
    return outcome(job.config, job.folder, job.ended, job.total_steps, memory)


def _beginning(trainer: Any, job: Job) -> str:
    trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    targets = ", ".join(sorted(trainer.model.peft_config["default"].target_modules))
    checkpointing = ", activations computed twice to save memory" if trainer.args.activation_checkpointing else ""
    return (
        f"{job.total_steps} steps of {job.config.batch_size} rows; an adapter of {trained:,} weights on {targets}"
        f"{checkpointing}"
    )


def _packed(config: TuneConfig, *, encoder_decoder: bool) -> bool:
    """Whether rows follow one another in one line.

    Not by default: rows of like length side by side leave little padding, and attention over a packed line takes a mask
    of the line's length squared.
    """
    if config.packing is True and (encoder_decoder or config.loss == "raft"):
        what = "an encoder-decoder" if encoder_decoder else "loss: raft"
        raise UsageError(f"packing: true does not go with {what}; write packing: false")
    return config.packing is True


def _base_spec(config: TuneConfig, base: Base) -> str:
    source = base.source
    options = {"quantize": "nf4"} if config.method == "qlora" else {}
    name, _, revision = source.spec.partition(":")[2].partition("?")[0].partition("@")
    return str(ModelSpec("hf", name, revision, options))


def _peak_memory(device: Any) -> int:
    """Most bytes in use at a time: on the GPU, or of the process; 0 where it is not known."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return 0  # Windows does not tell
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
