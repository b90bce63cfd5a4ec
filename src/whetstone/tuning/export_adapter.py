"""The matrices of a LoRA adapter, one pair at a time, with the scale that belongs to each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError
from whetstone.tuning.export_source import adapter_settings

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_MATRIX = re.compile(r"(.+)\.lora_([AB])\.weight")
# What goes beyond W + scale * B A: such an adapter can be exported as a PEFT folder only.
_BEYOND = {
    "use_dora": "DoRA",
    "modules_to_save": "whole modules that were trained",
    "trainable_token_indices": "trained tokens",
    "layer_replication": "replicated layers",
    "target_parameters": "adapted parameters",
    "lora_bias": "biases in the adapter",
    "use_qalora": "QA-LoRA",
    "alora_invocation_tokens": "an activated LoRA",
    "fan_in_fan_out": "transposed layers",
}


class Lora:
    """A LoRA adapter: for each module B (out, r), A (r, in) and a scale; W becomes W + scale * B A.

    Args:
        folder: the PEFT folder.

    Raises:
        ModelFileError: the adapter is of another kind, or holds more than such pairs.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.folder = folder
        self.settings = adapter_settings(folder)
        self._check_kind()
        try:
            with safe_open(folder / WEIGHTS, framework="pt") as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelFileError(f"{folder}: {WEIGHTS} cannot be read: {error}") from None
        self.alpha = float(self.settings.get("lora_alpha") or 0)
        self.ranks = self._ranks(shapes)
        self.scales = {module: self._scale(module, rank) for module, rank in self.ranks.items()}

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the adapted modules, as the base calls them."""
        return tuple(self.ranks)

    def pair(self, module: str) -> tuple[Any, Any]:
        """A (r, in) and B (out, r) of a module, float32 tensors without the scale."""
        import torch
        from safetensors import safe_open

        with safe_open(self.folder / WEIGHTS, framework="pt") as file:
            a, b = (file.get_tensor(f"{_PREFIX}{module}.lora_{side}.weight") for side in "AB")
        return a.to(torch.float32), b.to(torch.float32)

    def delta(self, module: str) -> Any:
        """What is added to a module's weight: scale * B A, float32 (out, in)."""
        a, b = self.pair(module)
        return (b @ a) * self.scales[module]

    def _check_kind(self) -> None:
        kind = self.settings.get("peft_type")
        found = [words for key, words in _BEYOND.items() if self.settings.get(key)]
        if self.settings.get("bias", "none") != "none":
            found.append("trained biases")
        if kind != "LORA":
            found = [f"the kind {kind}"]
        if found:
            raise ModelFileError(
                f"{self.folder}: the adapter has {found[0]}, which cannot be merged or written as GGUF here; export it "
                "with --to peft"
            )

    def _ranks(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        sides: dict[str, dict[str, tuple[int, ...]]] = {}
        for name, shape in shapes.items():
            match = _MATRIX.fullmatch(name.removeprefix(_PREFIX))
            if not name.startswith(_PREFIX) or match is None or len(shape) != 2:
                raise ModelFileError(
                    f"{self.folder}: {WEIGHTS} holds {name}, which is no matrix of a LoRA; export it with --to peft"
                )
            sides.setdefault(match[1], {})[match[2]] = shape
        for module, pair in sides.items():
            if set(pair) != {"A", "B"} or pair["A"][0] != pair["B"][1]:
                raise ModelFileError(f"{self.folder}: {module} lacks one of its two matrices, or they do not fit")
        if not sides:
            raise ModelFileError(f"{self.folder}: {WEIGHTS} holds no LoRA at all")
        return {module: pair["A"][0] for module, pair in sorted(sides.items())}

    def _scale(self, module: str, rank: int) -> float:
        alpha = self.alpha
        patterns = self.settings.get("alpha_pattern") or {}
        for pattern, value in patterns.items():  # as PEFT matches them
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = float(value)
                break
        return alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)
