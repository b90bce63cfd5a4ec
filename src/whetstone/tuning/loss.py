"""What is minimised in plain tuning: cross-entropy at the labelled positions.

Every loss here is a sum over the micro-batch, divided by what the whole effective batch learns over all processes, so
that the micro-batches of a step simply add up, however the rows were put together. Where gradients are averaged over
processes instead of summed, the caller multiplies by their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whetstone.tuning.collator import IGNORED
from whetstone.tuning.kl import base_logits
from whetstone.tuning.labelled import cross_entropy, logits_at, unwrapped

_INPUTS = ("input_ids", "attention_mask", "position_ids")


def causal_loss(model: Any, batch: Mapping[str, Any], num_items: float, kl_weight: float = 0.0) -> Any:
    """The loss of a decoder: a float32 scalar with its gradient.

    Args:
        model: the transformers model.
        batch: as a `Collator` makes it, on the model's device.
        num_items: tokens that the effective batch learns (`learned_tokens`), over all processes.
        kl_weight: how much the divergence from the model without its adapter counts, at the same positions.
    """
    rows, columns = (batch["labels"][:, 1:] != IGNORED).nonzero(as_tuple=True)
    inputs = {name: batch[name] for name in _INPUTS if name in batch}
    return _summed(model, inputs, batch, (rows, columns), (rows, columns + 1), num_items, kl_weight)


def seq2seq_loss(model: Any, batch: Mapping[str, Any], num_items: float, kl_weight: float = 0.0) -> Any:
    """The same for an encoder-decoder, whose decoder begins with its start token."""
    labels = batch["labels"]
    inputs = {name: batch[name] for name in _INPUTS if name in batch}
    inputs["decoder_input_ids"] = unwrapped(model).prepare_decoder_input_ids_from_labels(labels=labels)
    where = (labels != IGNORED).nonzero(as_tuple=True)
    return _summed(model, inputs, batch, where, where, num_items, kl_weight)


def _summed(
    model: Any,
    inputs: Mapping[str, Any],
    batch: Mapping[str, Any],
    read: tuple[Any, Any],
    labelled: tuple[Any, Any],
    num_items: float,
    kl_weight: float,
) -> Any:
    """Cross-entropy of the labels in some places, read in others."""
    base = base_logits(model, inputs, *read) if kl_weight else None
    logits = logits_at(model, inputs, *read)
    weights = batch["weights"][labelled] / num_items
    return cross_entropy(logits, batch["labels"][labelled], weights, base, kl_weight * weights)
