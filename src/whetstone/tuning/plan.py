"""What a run will take, said before it begins; and afterwards how far off that was."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whetstone.errors import StorageError, UsageError
from whetstone.storage.files import write_atomically
from whetstone.storage.journal import read_journal
from whetstone.storage.revisions import history
from whetstone.tuning.batches import BatchOrder
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.estimate import (
    Speed,
    base_shapes,
    keep_speed,
    known_speed,
    memory_bytes,
    reading_work,
    training_work,
)
from whetstone.tuning.processes import process_count
from whetstone.tuning.rows import PackedRows, TuneData

if TYPE_CHECKING:
    from whetstone.tuning.load import Base

PLAN = "plan.json"
_PROBE_TOKENS = 6_000  # that a probe reads and writes, about; of what is read, a fourth is told, as in the metric
_METRIC_NODES = 110  # tokens behind each prompt whose probabilities the task's own error takes
# What a step and a validation take besides their products of matrices, for guesses: measured speeds have it in them.
_STEP_SECONDS, _EVALUATION_SECONDS = 0.05, 1.0
_SAMPLED_STEPS = 200


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        run, base, method: of the configuration.
        device: "cpu", or the GPU's name; with how many processes, where there are several.
        dtype: precision of the base's weights.
        parameters: numbers of the base.
        working: of these, the ones of the layers.
        trained: numbers of the adapter.
        data: what the rows come from.
        layout: what they were recognised as.
        rows, validation_rows: how many there are.
        rejected: rows that are not trained on.
        cut: rows whose text was cut.
        tokens: in all training rows, without padding.
        learned: of these, the ones that are learned.
        padding: padding beside them, as a share of what is computed.
        longest: tokens of the longest row.
        epochs: passes over the rows.
        steps: optimizer steps.
        computed: tokens that the whole run computes, padding included.
        memory: bytes at most, roughly.
        free: bytes that are free now.
        checkpointing: whether activations are computed twice to save memory.
        minutes: that training and validation take.
        minutes_from: what that estimate rests on, in words.
        cost: what that costs at `price_per_hour`; None where no price is configured.
        work: floating-point operations of the training.
    """

    run: str
    base: str
    method: str
    device: str
    dtype: str
    parameters: int
    working: int
    trained: int
    data: str
    layout: str
    rows: int
    validation_rows: int
    rejected: int
    cut: int
    tokens: int
    learned: int
    padding: float
    longest: int
    epochs: float
    steps: int
    computed: int
    memory: float
    free: float
    checkpointing: bool
    minutes: float
    minutes_from: str
    cost: float | None
    work: float

    @property
    def warnings(self) -> list[str]:
        """What should give pause."""
        found = []
        if self.memory > self.free:
            found.append(
                f"about {self.memory / 1e9:.1f} GB are needed, and {self.free / 1e9:.1f} GB are free: lower "
                "micro_batch_tokens or max_length, take a smaller base, or method: qlora"
            )
        if self.steps < 10:
            found.append(f"the run has {self.steps} steps only: lower batch_size, or give it more epochs")
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {**asdict(self), "warnings": self.warnings}


def make_plan(config: TuneConfig, data: TuneData, base: Base) -> Plan:
    """What a run will take. Reads no weights.

    Args:
        base: of the configuration, see `find_base`.

    Raises:
        UsageError: no layer of the base has the name that `target_modules` asks for, or the device is not there.
    """
    from whetstone.tuning.job import items_asked, steps_between_validations, steps_in_all, validation_rows
    from whetstone.tuning.load import activation_bytes, free_memory, training_dtype, wants_checkpointing

    rows = data.train if isinstance(data.train, PackedRows) else PackedRows.of(data.train)
    shapes = base_shapes(base, config.target_modules, config.r)
    device = _device(config.device)
    dtype = training_dtype(config.dtype, device)
    lengths = rows.lengths + rows.label_lengths
    per_epoch = -(-len(rows) // config.batch_size)
    steps = steps_in_all(config, per_epoch)
    epochs = steps / per_epoch
    every = steps_between_validations(config, steps)
    computed_once = _computed(rows, config)
    learned, longest = int(rows.learns.sum()), int(lengths.max())
    twice = wants_checkpointing(config, base.config, longest, device)
    in_memory = max(longest, config.micro_batch_tokens)
    activations = activation_bytes(base.config, in_memory, dtype.itemsize)
    share = 0.5 if base.encoder_decoder else 1.0  # a token goes through one half of it
    work = training_work(shapes, epochs * computed_once * share, epochs * learned, twice=twice)
    speed = known_speed(config.base, _device_name(device), str(dtype).removeprefix("torch."), shapes.working)
    beside = speed.beside if speed.base == config.base else None
    if beside is None:
        validated = len(validation_rows(data.validation, every, config.batch_size, config.seed)) / len(rows)
        read, told = validated * float(lengths.sum()), validated * learned
        probed = float(_PROBE_TOKENS) if config.probe else 0.0
        if data.form is not None and config.validation_metric == "auto":
            probed += min(len(data.validation), items_asked(every, config.batch_size)) * (
                float(lengths.mean()) + _METRIC_NODES
            )
        beside = reading_work(shapes, (read + probed) * share, told + probed / 4) / speed.operations
    if not speed.run:
        beside += _EVALUATION_SECONDS
    seconds = work / speed.operations + beside * -(-steps // every) + (0.0 if speed.run else steps * _STEP_SECONDS)
    return Plan(
        run=config.run,
        base=config.base,
        method=config.method,
        device=speed.device,
        dtype=speed.dtype,
        parameters=shapes.parameters,
        working=shapes.working,
        trained=shapes.adapter,
        data=data.source,
        layout=data.layout,
        rows=len(rows),
        validation_rows=len(data.validation),
        rejected=len(data.rejects),
        cut=int((rows.cut > 0).sum()),
        tokens=int(lengths.sum()),
        learned=learned,
        padding=1 - float(lengths.sum()) / computed_once,
        longest=longest,
        epochs=round(epochs, 3),
        steps=steps,
        computed=round(epochs * computed_once),
        memory=memory_bytes(
            shapes,
            width=dtype.itemsize,
            quantized=config.method == "qlora",
            activations=activations / 8 if twice else activations,
            learned=round(in_memory * learned / lengths.sum()) if config.loss == "cross_entropy" else in_memory,
        ),
        free=free_memory(device),
        checkpointing=twice,
        minutes=seconds / 60,
        minutes_from=_resting_on(speed, config.base),
        cost=None if config.price_per_hour is None else config.price_per_hour * seconds / 3600,
        work=work,
    )


def write_plan(folder: Path, plan: Plan) -> None:
    """Keep the plan in a run's folder.

    Raises:
        StorageError: the disk refuses.
    """
    write_atomically(folder / PLAN, json.dumps(plan.to_json(), indent=1) + "\n")


@dataclass(frozen=True)
class Actual:
    """What a run took, of all its parts if it was stopped and resumed.

    Attributes:
        steps: optimizer steps.
        tokens: that were trained on, without padding.
        minutes: without the time in which it was stopped.
        training_minutes: of these, the ones of the steps.
        tokens_per_second: in the steps.
        memory: bytes at most; None where it was not measured.
        off: how far the estimate of minutes was off: 0.1 for a run that took a tenth longer than planned. None for a
            run that ended early, or is unplanned.
    """

    steps: int
    tokens: int
    minutes: float
    training_minutes: float
    tokens_per_second: float
    memory: float | None
    off: float | None


def settle(folder: Path, plan: Plan) -> Actual | None:
    """Put what a run took, by its journal, beside its plan; and keep the speed for the plans of other runs.

    Args:
        folder: the run's; what was planned when it began counts, and not what was planned when it was resumed.
        plan: of this session.

    Returns:
        None where no step was done.

    Raises:
        StorageError: the disk refuses.
    """
    steps = [line for line in history(folder) if line["kind"] == "step"]
    if not steps:
        return None
    kept = read_plan(folder) or plan.to_json()
    planned = float(kept["minutes"])
    sessions = _sessions(folder)
    training = sum(float(line["seconds"]) for line in steps)
    tokens = sum(int(line["tokens"]) for line in steps)
    beside = [session for session in sessions if session.validations and session.whole is not None]
    each = [(session.whole or 0.0) - session.steps for session in beside]
    minutes = sum(session.steps if session.whole is None else session.whole for session in sessions) / 60
    actual = Actual(
        steps=len(steps),
        tokens=tokens,
        minutes=minutes,
        training_minutes=training / 60,
        tokens_per_second=tokens / training,
        memory=max((session.memory for session in sessions), default=0) or None,
        off=minutes / planned - 1 if len(steps) >= plan.steps and planned > 0 else None,
    )
    write_atomically(folder / PLAN, json.dumps({**kept, "actual": asdict(actual)}, indent=1) + "\n")
    operations = plan.work * len(steps) / plan.steps / training
    took = sum(each) / sum(session.validations for session in beside) if beside else None
    keep_speed(Speed(plan.base, plan.device, plan.dtype, operations, plan.working, took, plan.run))
    return actual


@dataclass
class _Session:
    """From a start or resumption to a stop: seconds of its steps and of the whole, where it came to an end."""

    steps: float = 0.0
    whole: float | None = None
    validations: int = 0
    memory: float = 0.0


def _sessions(folder: Path) -> list[_Session]:
    found = [_Session()]
    for line in read_journal(folder / "journal.jsonl"):
        if line["kind"] == "note" and line.get("resumed"):
            found.append(_Session())
        elif line["kind"] == "step":
            found[-1].steps += float(line["seconds"])
        elif line["kind"] == "validation":
            found[-1].validations += 1
        elif line["kind"] == "end":
            found[-1].whole, found[-1].memory = float(line["seconds"]), float(line.get("memory") or 0)
    return found


def read_plan(folder: Path) -> dict[str, Any]:
    """What `write_plan` and `settle` kept in a run's folder: the plan's values, with "actual" once there is one.

    Raises:
        StorageError: it is damaged.
    """
    path = folder / PLAN
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); delete it") from error
    return found


def _computed(rows: PackedRows, config: TuneConfig) -> int:
    """Tokens that one pass over the rows computes, padding included; of many steps, some are looked at."""
    lengths = rows.lengths if not rows.label_lengths.any() else np.stack([rows.lengths, rows.label_lengths], axis=1)
    order = BatchOrder(
        lengths, config.seed, config.batch_size, config.micro_batch_tokens, packed=config.packing is True
    )
    steps = np.unique(np.linspace(0, order.steps_per_epoch - 1, _SAMPLED_STEPS).astype(int)).tolist()
    looked_at = [micro for step in steps for micro in order.micro_batches(0, step)]
    computed = sum(micro.tokens for micro in looked_at)
    plain = sum(int(lengths[list(micro.rows)].sum()) for micro in looked_at)
    return round(computed / plain * float(lengths.sum()))


def _device(name: str) -> Any:
    import torch

    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UsageError(f"device: {name}: PyTorch sees no CUDA GPU here; write device: cpu or auto")
    return torch.device("cuda:0")


def _device_name(device: Any) -> str:
    import torch

    name = "cpu" if device.type == "cpu" else str(torch.cuda.get_device_name(device))
    return name if process_count() == 1 else f"{process_count()} × {name}"


def _resting_on(speed: Speed, base: str) -> str:
    if not speed.run:
        return "a rough guess: no model of this size was tuned on this machine yet"
    if speed.base != base:
        return f"the speed of the run {speed.run}, with another model of like size"
    return f"the speed of the run {speed.run}"
