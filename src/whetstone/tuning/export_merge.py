"""Base and adapter as one model, a weight at a time: never the whole model in memory.

A merged folder is written in shards of at most 4 GB, each of which is in memory while it is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError
from whetstone.tokens.tokenizer_folder import read_object
from whetstone.tuning.export_adapter import Lora

SHARD_BYTES = 4 * 10**9
_INDEX = "model.safetensors.index.json"
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_TORCH = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a weight of the base is, and what.

    Attributes:
        file: the safetensors file.
        shape: rows first.
        dtype: as safetensors names it: F32, BF16, …
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str


class MergedWeights:
    """The weights of a base with an adapter added.

    Args:
        folder: the base's folder of safetensors.
        lora: the adapter; None for the base alone.

    Raises:
        ModelFileError: the base is damaged or quantised, or the adapter does not fit it.
    """

    def __init__(self, folder: Path, lora: Lora | None) -> None:
        self.folder = folder
        self.config = read_object(folder / "config.json")
        if self.config.get("quantization_config"):
            raise ModelFileError(
                f"{folder}: the base is stored quantised, so that nothing can be added to its weights; name the base "
                "that it was made of with --base"
            )
        self._lora = lora
        self.stored = dict(sorted(_stored(folder).items()))
        self._adapted = {f"{module}.weight": module for module in (lora.modules if lora else ())}
        self._check_fit()

    def read(self, name: str) -> Any:
        """A weight, in the base's precision; in float32 where the adapter was added to it."""
        import torch
        from safetensors import safe_open

        with safe_open(self.stored[name].file, framework="pt") as file:
            weight = file.get_tensor(name)
        module = self._adapted.get(name)
        if module is None or self._lora is None:
            return weight
        return weight.to(torch.float32) + self._lora.delta(module)

    def _check_fit(self) -> None:
        for name, module in self._adapted.items():
            assert self._lora is not None
            stored = self.stored.get(name)
            a, b = self._lora.pair(module)
            shape = (b.shape[0], a.shape[1])
            if stored is None or stored.shape != shape:
                found = f"has the shape {stored.shape}" if stored else "is not there"
                raise ModelFileError(
                    f"{self._lora.folder}: the adapter does not fit {self.folder}: it changes {name} of the shape "
                    f"{shape}, which {found} in the base"
                )
            if self.config.get("tie_word_embeddings") and module.endswith(("lm_head", "embed_tokens", "shared")):
                raise ModelFileError(
                    f"{self._lora.folder}: the adapter changes {module}, whose weight the base uses in two places; "
                    "merging would change both. Export it with --to peft"
                )


def _stored(folder: Path) -> dict[str, Stored]:
    from safetensors import SafetensorError, safe_open

    index = read_object(folder / _INDEX).get("weight_map")
    names = sorted(set(index.values())) if isinstance(index, dict) else sorted(p.name for p in folder.glob("*.safete*"))
    found: dict[str, Stored] = {}
    for name in names:
        path = folder / str(name)
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118
                    part = file.get_slice(key)
                    found[key] = Stored(path, tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, OSError) as error:
            raise ModelFileError(f"{path} cannot be read: {error}") from None
    return found


def write_merged(
    weights: MergedWeights, target: Path, precision: str | None = None, shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """Write a merged model's weights and configuration into a folder.

    Args:
        weights: what to write.
        target: a folder that exists.
        precision: f32, f16 or bf16; that of each of the base's weights when None.
        shard_bytes: most bytes of one file; a larger single weight has one of its own.

    Returns:
        The files.

    Raises:
        OSError: the disk is full.
    """
    import torch
    from safetensors.torch import save_file

    shards = list(_shards(weights, precision, shard_bytes))
    written: list[Path] = []
    where: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {}
        for name in names:
            wanted = getattr(torch, _dtype(weights.stored[name].dtype, precision))
            tensors[name] = _checked(weights.read(name).to(wanted), name).contiguous()
        save_file(tensors, target / file, metadata={"format": "pt"})
        where |= dict.fromkeys(names, file)
        written.append(target / file)
    if len(shards) > 1:
        total = sum(_size(stored, precision) for stored in weights.stored.values())
        index = {"metadata": {"total_size": total}, "weight_map": where}
        written.append(target / _INDEX)
        written[-1].write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    config = dict(weights.config)
    if precision is not None:
        config.pop("torch_dtype", None)
        config["dtype"] = _TORCH[precision]
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return [*written, target / "config.json"]


def _shards(weights: MergedWeights, precision: str | None, most: int) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, stored in weights.stored.items():
        if names and size + _size(stored, precision) > most:
            yield names
            names, size = [], 0
        names.append(name)
        size += _size(stored, precision)
    yield names


def _size(stored: Stored, precision: str | None) -> int:
    changed = precision is not None and stored.dtype in ("F64", "F32", "F16", "BF16")
    return math.prod(stored.shape) * ((4 if precision == "f32" else 2) if changed else _BYTES.get(stored.dtype, 1))


_SAFETENSORS: dict[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def _dtype(stored: str, precision: str | None) -> str:
    """The name of the torch type that a weight is written in; only numbers with a fraction are converted."""
    if precision is None or stored not in ("F64", "F32", "F16", "BF16"):
        if stored not in _SAFETENSORS:
            raise ModelFileError(f"the base holds weights of the type {stored}, which cannot be merged here")
        return _SAFETENSORS[stored]
    return _TORCH[precision]


def _checked(weight: Any, name: str) -> Any:
    if weight.is_floating_point() and not weight.isfinite().all():
        raise ModelFileError(f"{name} holds numbers too large for {weight.dtype}, or none; write it as bf16 or f32")
    return weight
