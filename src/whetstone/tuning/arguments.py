"""A configuration as the arguments of TRL's and transformers' trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whetstone import settings
from whetstone.errors import UsageError
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.processes import process_count


def make_arguments(config: TuneConfig, folder: Path, *, encoder_decoder: bool) -> Any:
    """The trainer's arguments; with several processes, this is where they meet.

    Args:
        folder: the run's, where TensorBoard's files go as well.

    Raises:
        UsageError: the device is not there.
    """
    import torch
    from transformers import TrainingArguments
    from trl import SFTConfig

    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device: cuda: PyTorch sees no CUDA GPU here; write device: cpu or device: auto")
    on_cpu = config.device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    if on_cpu:
        torch.set_num_threads(max(1, settings.threads() // process_count()))
    common: dict[str, Any] = {
        "output_dir": str(folder),
        "run_name": config.run,
        "report_to": list(config.report_to),
        "use_cpu": on_cpu,
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": config.warmup_ratio,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": "adamw_torch_fused" if torch.cuda.is_available() and not on_cpu else "adamw_torch",
        # An item of our loader is a whole effective batch.
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": 1,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        # The base's weights have the precision that is computed in; nothing is cast on the way.
        "bf16": False,
        "activation_checkpointing": False,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "eval_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "log_level": "error",
        "log_level_replica": "error",
    }
    if encoder_decoder:
        arguments = TrainingArguments(**common)
    else:
        arguments = SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, max_length=None, **common)
    # `accelerate launch` may have its own idea, from its questionnaire.
    arguments.mixed_precision = "no"
    return arguments


def train_for(arguments: Any, steps: int, *, checkpointing: bool) -> None:
    """Put in what is known only when rows and weights are in memory."""
    arguments.max_steps = steps
    arguments.activation_checkpointing = arguments.gradient_checkpointing = checkpointing
    # More GPUs than one without a launcher: transformers would copy the model to each at every step.
    if arguments.device.type == "cuda":
        arguments._n_gpu = 1
