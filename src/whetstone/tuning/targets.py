"""Which layers get an adapter, by the names that they have in the model at hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from whetstone.errors import UsageError
from whetstone.registry import unknown_name

_ATTENTION = re.compile(r"(^|[._])(self_?|cross_?|enc_?dec_?)?(attn|attention)", re.IGNORECASE)


def find_targets(model: Any, wanted: str | Sequence[str]) -> list[str]:
    """Names for PEFT's `target_modules` that match the wanted layers and no others.

    Args:
        model: the base, without adapter.
        wanted: "attention": every linear layer inside an attention block, of the encoder, of the decoder and between
            them; "all-linear": every linear layer but the output; or names of modules.

    Raises:
        UsageError: nothing in the model is meant by it.
    """
    linear = linear_layers(model)
    if isinstance(wanted, str) and wanted == "all-linear":
        return shortest_endings(linear, linear)
    if isinstance(wanted, str) and wanted == "attention":
        chosen = [name for name in linear if _ATTENTION.search(name.rpartition(".")[0])]
        if not chosen:
            raise UsageError(
                f"target_modules: attention: {type(model).__name__} has no layers with that in their names; write "
                f"all-linear, or some of {', '.join(shortest_endings(linear, linear))}"
            )
        return shortest_endings(chosen, linear)
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if not any(layer == name or layer.endswith(f".{name}") for layer in linear):
            raise UsageError(f"target_modules: {unknown_name('linear layer', name, shortest_endings(linear, linear))}")
    return names


def linear_layers(model: Any) -> list[str]:
    """Full names of a model's linear layers, but for the output layer, which shares its weights with the embedding."""
    import torch
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    return [name for name, module in model.named_modules() if isinstance(module, kinds) and module is not output]


def shortest_endings(chosen: Iterable[str], known: Iterable[str]) -> list[str]:
    """The shortest endings of dotted names that tell the chosen ones from all others: "q_proj", "attn.c_proj".

    Args:
        chosen: names to be matched.
        known: all names.
    """
    chosen = set(chosen)
    others = set(known) - chosen
    found: set[str] = set()
    for name in chosen:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            ending = ".".join(parts[-length:])
            if not any(other == ending or other.endswith(f".{ending}") for other in others):
                found.add(ending)
                break
    return sorted(found)
