"""What a run will take: floating-point operations, memory and time, from the shapes of the base's weights.

Time is work divided by speed. Every run leaves the speed that it had; a machine that has not yet tuned anything gets a
guess, from how fast it multiplies two matrices or from what is written about its GPU.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whetstone import settings
from whetstone.models.hf_load import quiet
from whetstone.storage.files import write_atomically

if TYPE_CHECKING:
    from whetstone.tuning.load import Base

# Bytes of a weight in 4 bits: the number, and its share of two levels of scales (Dettmers et al. 2023).
_NF4_BYTES = 0.516
_ADAPTER_BYTES = 16  # weight, gradient and AdamW's two moments, in float32
_LOGIT_BYTES = 10  # in the base's precision, and in float32 with their gradient
_LIBRARIES = 0.9e9  # bytes that Python, PyTorch and their libraries take
# Operations per second that a GPU is said to do in bfloat16, dense; the first name that fits.
_GPUS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10": 125e12,
    "T4": 65e12,
    "4090": 165e12,
    "3090": 71e12,
}
_OTHER_GPU = 60e12
_GPU_SHARE = 0.3  # of what it is said to do, in training small batches
_CPU_SHARE = 0.6  # of a product of two matrices in the same precision
_SIZE, _TRIES = 512, 8
_LONGEST_GUESS = 0.3  # seconds
_ALIKE = 4  # how many times as large or small a model may be whose speed is taken for another's


@dataclass(frozen=True)
class BaseShapes:
    """How large a base and its adapter are.

    Attributes:
        parameters: numbers in all weights.
        working: of them, those by which each token is multiplied in the layers.
        output: those by which a token is multiplied to tell the next one: vocabulary times width.
        vocabulary: tokens that the model can tell.
        adapter: numbers that the adapter adds, which are trained.
    """

    parameters: int
    working: int
    output: int
    vocabulary: int
    adapter: int


def base_shapes(base: Base, targets: str | Sequence[str], rank: int) -> BaseShapes:
    """The shapes of a base, seen from a model that has the right layers and no weights.

    Args:
        targets: which layers get an adapter, see `find_targets`.
        rank: of the adapter.

    Raises:
        UsageError: no layer of the model has the wanted name.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from whetstone.tuning.targets import find_targets, linear_layers

    with quiet(), torch.device("meta"):
        model: Any = (AutoModelForSeq2SeqLM if base.encoder_decoder else AutoModelForCausalLM).from_config(base.config)
    matrices = {name: model.get_submodule(name).weight for name in linear_layers(model)}
    endings = find_targets(model, targets)
    chosen = [name for name in matrices if any(name == each or name.endswith(f".{each}") for each in endings)]
    output = model.get_output_embeddings().weight
    return BaseShapes(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        working=sum(matrix.numel() for matrix in matrices.values()),
        output=output.numel(),
        vocabulary=output.shape[0],
        adapter=sum(rank * sum(matrices[name].shape) for name in chosen),
    )


def training_work(shapes: BaseShapes, tokens: float, learned: float, *, twice: bool = False) -> float:
    """Floating-point operations of training an adapter: through the layers forwards, and backwards for the activations.

    Args:
        tokens: that are computed, padding included.
        learned: of them, the ones whose next token is told.
        twice: whether activations are computed twice (gradient checkpointing).
    """
    return tokens * shapes.working * (6 if twice else 4) + learned * shapes.output * 4


def reading_work(shapes: BaseShapes, tokens: float, learned: float) -> float:
    """Floating-point operations of reading tokens, as in validation."""
    return 2 * (tokens * shapes.working + learned * shapes.output)


def memory_bytes(shapes: BaseShapes, *, width: int, quantized: bool, activations: float, learned: int) -> float:
    """Most memory of a run, roughly.

    Args:
        width: bytes of a number of the base's weights.
        quantized: whether the layers are kept in 4 bits.
        activations: bytes of a micro-batch's activations.
        learned: most tokens that a micro-batch learns.
    """
    layers = shapes.working * (_NF4_BYTES if quantized else width)
    rest = (shapes.parameters - shapes.working) * width
    logits = learned * shapes.vocabulary * _LOGIT_BYTES
    return layers + rest + shapes.adapter * _ADAPTER_BYTES + activations + logits + _LIBRARIES


@dataclass(frozen=True)
class Speed:
    """How fast a machine trains.

    Attributes:
        base: spec of the model; "" for a guess.
        device: "cpu", or the GPU's name; with how many processes, where there are several.
        dtype: precision.
        operations: floating-point operations per second, as `training_work` counts them.
        size: weights of the model's layers.
        beside: seconds that a validation with all that belongs to it took; None where that is not known.
        run: the run in which that was measured; "" for a guess.
    """

    base: str
    device: str
    dtype: str
    operations: float
    size: int = 0
    beside: float | None = None
    run: str = ""


def known_speed(base: str, device: str, dtype: str, size: int) -> Speed:
    """The speed of the latest run with this model, device and precision; or with one of like size; or a guess.

    A model that is much smaller says nothing: it spends its time on other things than products of matrices.

    Args:
        size: weights of the model's layers.
    """
    kept = [speed for speed in _read() if (speed.device, speed.dtype) == (device, dtype)]
    with_base = [speed for speed in kept if speed.base == base]
    alike = [speed for speed in kept if size / _ALIKE <= speed.size <= size * _ALIKE]
    if with_base or alike:
        return (with_base or alike)[-1]
    return Speed("", device, dtype, _guess(device, dtype), size)


def keep_speed(speed: Speed) -> None:
    """Keep what was measured; what was known of the same model, device and precision gives way.

    Raises:
        StorageError: the disk refuses.
    """
    others = [
        each for each in _read() if (each.base, each.device, each.dtype) != (speed.base, speed.device, speed.dtype)
    ]
    lines = [asdict(each) for each in [*others, speed]]
    write_atomically(_path(), json.dumps(lines, indent=1) + "\n")


def _path() -> Path:
    return settings.home() / "tuning-speed.json"


def _read() -> list[Speed]:
    try:
        return [Speed(**entry) for entry in json.loads(_path().read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []  # it is but a measurement, which the next run makes again


def _guess(device: str, dtype: str) -> float:
    if not device.endswith("cpu"):
        said = next((speed for name, speed in _GPUS.items() if name in device), _OTHER_GPU)
        return said * _GPU_SHARE
    import torch

    left = torch.ones(_SIZE, _SIZE, dtype=getattr(torch, dtype))
    took: list[float] = []
    # The best one counts: the first starts threads, and others may want the processor, too.
    while len(took) < _TRIES and sum(took) < _LONGEST_GUESS:
        began = time.perf_counter()
        left @ left
        took.append(time.perf_counter() - began)
    return 2 * _SIZE**3 / min(took) * _CPU_SHARE
