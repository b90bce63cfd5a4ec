"""A transformers model's weights as llama.cpp names, orders and shapes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.errors import ModelFileError
from whetstone.tuning.export_adapter import Lora
from whetstone.tuning.export_merge import MergedWeights
from whetstone.tuning.gguf_architecture import Architecture, head_size, rope_of

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GgufWeight:
    """One weight of a file.

    Attributes:
        name: llama.cpp's.
        shape: rows first.
        read: gives it, in float32.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Array]


class Names:
    """llama.cpp's names for a model's weights, and the order of their rows.

    Args:
        architecture: how the model is written.
        config: its transformers configuration.
    """

    def __init__(self, architecture: Architecture, config: Any) -> None:
        import gguf

        kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
        self._map = gguf.get_tensor_name_map(kinds[architecture.name], config.num_hidden_layers)
        self._architecture = architecture
        self._config = config

    def name(self, weight: str) -> str:
        """llama.cpp's name for a weight.

        Raises:
            ModelFileError: it has none.
        """
        found: str | None = self._map.get_name(weight, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelFileError(f"llama.cpp has no place for {weight} in a {self._config.model_type} model")
        return found

    def ordered(self, weight: str, rows: Array) -> Array:
        """Rows (and biases) of a weight in llama.cpp's order; B of a LoRA pair has the same rows as its weight.

        Within each head, transformers keeps the first numbers of all rotated pairs before the second ones; llama.cpp
        keeps pairs together.
        """
        if not self._architecture.rotated_pairs or not weight.removesuffix(".weight").removesuffix(".bias").endswith(
            ("q_proj", "k_proj")
        ):
            return rows
        query = "q_proj" in weight.rpartition("self_attn")[2]
        heads = self._config.num_attention_heads if query else self._config.num_key_value_heads
        halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))

    def shifted(self, weight: str, values: Array) -> Array:
        """A norm's weights as llama.cpp multiplies by them."""
        return values + np.float32(self._architecture.norm_shift) if weight.endswith("norm.weight") else values


def model_weights(weights: MergedWeights, architecture: Architecture, config: Any, rows: int) -> Iterator[GgufWeight]:
    """All weights of a model's file.

    Args:
        weights: base and adapter.
        architecture: how the model is written.
        config: its transformers configuration.
        rows: tokens of the vocabulary; the embeddings have as many rows.

    Raises:
        ModelFileError: llama.cpp has no place for a weight.
    """
    names = Names(architecture, config)
    for name, stored in weights.stored.items():
        if name.endswith(".rotary_emb.inv_freq"):  # computed; old files hold it
            continue
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        target = names.name(name)
        if target in ("token_embd.weight", "output.weight") and stored.shape[0] != rows:
            raise ModelFileError(f"{name} has {stored.shape[0]} rows for a vocabulary of {rows} tokens")
        yield GgufWeight(target, stored.shape, _reader(weights, names, name))
    factors = rope_factors(config)
    if factors is not None:
        yield GgufWeight("rope_freqs.weight", factors.shape, lambda: factors)


def _reader(weights: MergedWeights, names: Names, name: str) -> Callable[[], Array]:
    def read() -> Array:
        values: Array = weights.read(name).float().numpy()
        return names.shifted(name, names.ordered(name, values))

    return read


def lora_weights(lora: Lora, architecture: Architecture, config: Any) -> Iterator[GgufWeight]:
    """The pairs of an adapter's file.

    llama.cpp scales by alpha / rank. Where the adapter scales otherwise (rsLoRA, an alpha for each module), B carries
    the difference.
    """
    names = Names(architecture, config)
    for module, rank in lora.ranks.items():
        weight = f"{module}.weight"
        target = names.name(weight)
        if target == "token_embd.weight":
            raise ModelFileError(f"{lora.folder}: the adapter changes the embeddings; export it with --to gguf")
        a, b = (matrix.numpy() for matrix in lora.pair(module))
        scaled = b * np.float32(lora.scales[module] * rank / lora.alpha)
        yield GgufWeight(f"{target}.lora_a", a.shape, _given(a))
        yield GgufWeight(f"{target}.lora_b", b.shape, _given(names.ordered(weight, scaled)))


def _given(values: Array) -> Callable[[], Array]:
    return lambda: values


def rope_factors(config: Any) -> Array | None:
    """What llama.cpp divides each frequency by for Llama 3.1's long contexts; None where frequencies stay as they are.

    Low frequencies are divided by `factor`, high ones stay, and those between are blended, as
    `transformers.modeling_rope_utils` has it.
    """
    rope = rope_of(config)
    if rope.get("rope_type") != "llama3":
        return None
    size, base, factor = head_size(config), float(rope["rope_theta"]), float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    trained = float(rope["original_max_position_embeddings"])
    frequencies = 1.0 / base ** (np.arange(0, size, 2, dtype=np.float64) / size)
    turns = trained * frequencies / (2 * math.pi)  # in the context that the model was first trained for
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 / ((1.0 - smooth) / factor + smooth)).astype(np.float32)
