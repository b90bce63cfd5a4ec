"""A model's logits at some positions only, and what losses read off them without a second copy.

The output layer is a fifth of SmolLM2's work, and most tokens of a prompt have no label. The model's own forward pass
is run, so that whatever it does behind its output layer stays (Gemma's soft cap, Cohere's and Granite's scales); a
hook hands the output layer only the positions that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from whetstone.errors import ModelError

# Logits that are turned into float32 at a time, in bytes.
_PIECE = {"cpu": 16e6}
_PIECE_GPU = 256e6


def logits_at(model: Any, inputs: Mapping[str, Any], rows: Any, columns: Any) -> Any:
    """The logits behind some tokens, (n, vocabulary), in the model's precision.

    Args:
        model: a transformers model, with or without PEFT, possibly spread over processes.
        inputs: arguments of its forward pass.
        rows: of the batch, shape (n,).
        columns: positions in the row (of the decoder), shape (n,).

    Raises:
        ModelError: the model's logits have a shape that we do not know.
    """

    def only_these(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (arguments[0][rows, columns][None], *arguments[1:])

    hook = unwrapped(model).get_output_embeddings().register_forward_pre_hook(only_these)
    try:
        logits = model(**inputs, use_cache=False).logits
    finally:
        hook.remove()
    batch = tuple(inputs.get("decoder_input_ids", inputs["input_ids"]).shape)
    if logits.shape[:-1] == (1, len(rows)):
        return logits[0]
    if logits.shape[:-1] == batch:  # an output layer that is not called as a module
        return logits[rows, columns]
    raise ModelError(
        f"{type(unwrapped(model)).__name__} gives logits of shape {tuple(logits.shape)} for tokens of shape {batch}: "
        "Whetstone cannot tune such a model"
    )


def unwrapped(model: Any) -> Any:
    """The model inside what spreads it over processes."""
    while hasattr(model, "module"):
        model = model.module
    return model


def cross_entropy(logits: Any, labels: Any, weights: Any, base: Any = None, base_weights: Any = None) -> Any:
    """Weighted sum of the cross-entropy, and of the divergence from another model where asked for: a float32 scalar.

    The gradient is written over the logits, which nothing else may use afterwards.

    Args:
        logits: (n, vocabulary).
        labels: token ids, (n,).
        weights: of each position's cross-entropy, float32, (n,).
        base: logits of the model to stay near, (n, vocabulary).
        base_weights: of each position's KL(base || model), float32, (n,).
    """
    return _CrossEntropy.apply(logits, labels, weights, base, base_weights)


def logprobs_of(logits: Any, wanted: Any) -> Any:
    """Log-probabilities of some tokens, (n, w), float32. The gradient is written over the logits.

    Args:
        logits: (n, vocabulary).
        wanted: token ids, (w,).
    """
    return _LogprobsOf.apply(logits, wanted)


class _CrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, logits: Any, labels: Any, weights: Any, base: Any, base_weights: Any) -> Any:
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        # Not `.data`: autograd has to notice that the logits are no longer what they were.
        store = logits.detach()
        for piece in _pieces(logits):
            logprobs = torch.log_softmax(store[piece].float(), dim=-1)
            label, weight = labels[piece, None], weights[piece, None]
            total -= (logprobs.gather(1, label) * weight).sum()
            if base is not None:
                near = torch.log_softmax(base[piece].float(), dim=-1)
                held = near.exp().mul_(base_weights[piece, None])
                total += (held * (near - logprobs)).sum()
            if ctx.needs_input_grad[0]:
                gradient = logprobs.exp_()
                if base is None:
                    gradient.mul_(weight)
                else:
                    gradient.mul_(weight + base_weights[piece, None]).sub_(held)
                store[piece] = gradient.scatter_add_(1, label, -weight).to(store.dtype)
        ctx.save_for_backward(store)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(upstream.to(gradient.dtype)), None, None, None, None


class _LogprobsOf(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, logits: Any, wanted: Any) -> Any:
        whole = torch.cat([logits[piece].float().logsumexp(-1, keepdim=True) for piece in _pieces(logits)])
        ctx.save_for_backward(logits, whole, wanted)
        return logits[:, wanted].float() - whole

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        logits, whole, wanted = ctx.saved_tensors
        store = logits.detach()
        for piece in _pieces(logits):
            gradient = (store[piece].float() - whole[piece]).exp_()
            gradient.mul_(-upstream[piece].sum(-1, keepdim=True))
            gradient.index_add_(1, wanted, upstream[piece])
            store[piece] = gradient.to(store.dtype)
        return store, None


def _pieces(logits: Any) -> Iterator[slice]:
    rows = max(1, int(_PIECE.get(logits.device.type, _PIECE_GPU) / (4 * logits.shape[1])))
    for start in range(0, len(logits), rows):
        yield slice(start, start + rows)
