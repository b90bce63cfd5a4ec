"""The base into memory, frozen, with a fresh adapter: precision, quantisation, and whether activations fit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whetstone.errors import MissingPackageError, UsageError
from whetstone.models.hf import find_source
from whetstone.models.hf_load import Source, from_folder, load_config, memory_errors, quantization, quiet
from whetstone.models.spec import parse_spec
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.targets import find_targets

INSTALL = "pip install 'whetstone-llm[transformers,tune]'"

# Of the memory that is free when the weights are in it, what activations may take.
_ROOM = 0.7

_MEMORY_FILE = Path("/proc/meminfo")


@dataclass(frozen=True)
class Base:
    """The model that is tuned, before its weights are read.

    Attributes:
        source: where its files are.
        config: its config.json as transformers reads it.
    """

    source: Source
    config: Any

    @property
    def encoder_decoder(self) -> bool:
        return bool(self.config.is_encoder_decoder)


def require_tuning() -> None:
    """Check that what training needs is installed, without importing it.

    Raises:
        MissingPackageError: it is not.
    """
    for package in ("torch", "transformers", "peft", "accelerate", "trl"):
        if find_spec(package) is None:
            raise MissingPackageError(package, "Tuning", INSTALL)


def find_base(spec: str) -> Base:
    """The base that a spec names.

    Raises:
        UsageError, ModelFileError, MissingPackageError: it cannot be used.
    """
    source = find_source(parse_spec(spec))
    return Base(source, load_config(source.folder))


def training_dtype(name: str, device: Any) -> Any:
    """The precision of the base's weights: bfloat16 unless asked otherwise, or the device has no fast way with it.

    A CPU without (AVX2 alone, for instance) multiplies matrices in bfloat16 thirty times slower than in float32.
    """
    import torch

    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def load_base(base: Base, config: TuneConfig, device: Any) -> Any:
    """The base's weights on the device, frozen; in 4 bits for qlora.

    Raises:
        ModelFileError: the files are damaged or incomplete.
        MissingPackageError: bitsandbytes is needed.
        ModelError: it does not fit into memory.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    dtype = training_dtype(config.dtype, device)
    extra: dict[str, Any] = {} if device.type == "cpu" else {"device_map": {"": device}}
    if config.method == "qlora":
        if find_spec("bitsandbytes") is None:
            raise MissingPackageError("bitsandbytes", "method: qlora", INSTALL)
        extra = {"device_map": {"": device}, "quantization_config": quantization("nf4", dtype)}
    with memory_errors(base.source.spec), quiet():
        model_class = AutoModelForSeq2SeqLM if base.encoder_decoder else AutoModelForCausalLM
        model = from_folder(model_class, base.source.folder, config=base.config, dtype=dtype, **extra)
    model.requires_grad_(False)
    return model


def add_adapter(model: Any, config: TuneConfig) -> Any:
    """The base with a fresh adapter, whose weights are float32 whatever the base's are.

    In bfloat16, which has 8 bits of precision, most of AdamW's steps would be rounded away.

    Raises:
        UsageError: no layer of the model has the wanted name.
    """
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    targets = find_targets(model, config.target_modules)
    lora = LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        task_type=TaskType.SEQ_2_SEQ_LM if model.config.is_encoder_decoder else TaskType.CAUSAL_LM,
    )
    torch.manual_seed(config.seed)
    adapted = get_peft_model(model, lora)
    keep_float32(adapted)
    return adapted


def keep_float32(model: Any) -> None:
    """Make the adapter's weights float32 again, in place; TRL rounds those of a quantised base to bfloat16."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def wants_checkpointing(config: TuneConfig, model_config: Any, longest: int, device: Any) -> bool:
    """Whether activations have to be computed twice because they do not fit.

    Args:
        model_config: the base's config.json.
        longest: tokens of the longest row, which runs alone if need be.
        device: where the weights are already.
    """
    if config.gradient_checkpointing != "auto":
        return config.gradient_checkpointing
    tokens = max(longest, config.micro_batch_tokens)
    width = 4 if training_dtype(config.dtype, device).itemsize == 4 else 2
    return activation_bytes(model_config, tokens, width) > _ROOM * free_memory(device)


def activation_bytes(model_config: Any, tokens: int, width: int = 2) -> float:
    """What a forward pass keeps for the backward pass, roughly, without checkpointing.

    Per token and layer: the inputs of the norms and of attention, which the adapters keep once more in float32 (some 18
    vectors of the hidden size), and three of the size of the feed-forward layer.

    Args:
        model_config: a config.json as transformers reads it.
        tokens: of a micro-batch.
        width: bytes of a number.
    """
    text = model_config.get_text_config()
    hidden = getattr(text, "hidden_size", None) or text.d_model
    inner = getattr(text, "intermediate_size", None) or getattr(text, "d_ff", None) or 4 * hidden
    layers = (getattr(text, "num_hidden_layers", None) or text.num_layers) * (2 if text.is_encoder_decoder else 1)
    return float(tokens * layers * (18 * hidden + 3 * inner) * width)


def free_memory(device: Any) -> float:
    """Bytes that are free on a device now; 8 GB where a system does not say."""
    import torch

    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if _MEMORY_FILE.is_file():
        for line in _MEMORY_FILE.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable"):
                return float(line.split()[1]) * 1024
    return 8e9


def check_launch() -> None:
    """Refuse what accelerate may be configured to do and this training does not.

    Raises:
        UsageError: it was launched with FSDP or DeepSpeed.
    """
    for variable, what in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if os.environ.get(variable, "false").lower() in ("1", "true"):
            raise UsageError(
                f"accelerate is configured to use {what}, which splits the model among processes; an adapter is tuned "
                "with the whole base in each: run accelerate launch --multi_gpu"
            )
