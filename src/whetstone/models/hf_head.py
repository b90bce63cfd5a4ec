"""Log-probabilities of a few tokens at many positions, without the logits of all tokens at all of them.

The probability of a token takes the sum over the whole vocabulary. Positions times vocabulary are 200 MB for ten
prompts of SmolLM2 with 99 nodes each: memory that is asked for, cleared, written and read several times, a tenth of the
time of reading them. So the vocabulary goes by in pieces that stay in a CPU's caches, and the sums are kept.
"""

from __future__ import annotations

from typing import Any

from whetstone.models.hf_batch import bare

# Bytes of logits at a time.
_PIECE = {"cpu": 16e6}
_PIECE_GPU = 256e6


class OutputLayer:
    """What a decoder makes of its last hidden states.

    With most models that is one linear layer and nothing else, which goes by in pieces. Where more is done (Gemma's
    soft cap, Cohere's scale, an adapter on the layer), the model computes all logits itself.

    Args:
        model: the transformers model, with or without PEFT.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layer = _linear_alone(model)

    def logprobs(self, columns: Any, **inputs: Any) -> Any:
        """Log-probabilities of some tokens at every position, (rows, positions, len(columns)), float32.

        Args:
            columns: token ids, a tensor.
            inputs: of the model's forward pass.
        """
        if self._layer is None:
            return logprobs_of(self._model(**inputs).logits, columns)
        hidden = bare(self._model).base_model(**inputs)[0]
        layer, flat = self._layer, hidden.reshape(-1, hidden.shape[-1])
        limit = _PIECE.get(flat.device.type, _PIECE_GPU)
        size = max(1, int(limit / (4 * len(flat))))
        total = None
        for start in range(0, len(layer.weight), size):
            piece = _logits(layer, flat, slice(start, start + size)).logsumexp(-1, keepdim=True)
            total = piece if total is None else total.logaddexp(piece)
        return (_logits(layer, flat, columns) - total).reshape(*hidden.shape[:-1], len(columns))


def _logits(layer: Any, hidden: Any, tokens: Any) -> Any:
    import torch

    bias = None if layer.bias is None else layer.bias[tokens]
    return torch.nn.functional.linear(hidden, layer.weight[tokens], bias).float()


def _linear_alone(model: Any) -> Any:
    """The output layer, if the logits are that linear layer of the last hidden states: tried on a few tokens."""
    import torch

    inner = bare(model)
    layer = inner.get_output_embeddings()
    if type(layer) is not torch.nn.Linear or layer.weight.device != inner.device:
        return None
    with torch.inference_mode():
        ids = torch.tensor([[1, 2, 3]], device=inner.device) % len(layer.weight)
        whole = inner(input_ids=ids, use_cache=False).logits
        alone = layer(inner.base_model(input_ids=ids, use_cache=False)[0])
    # The same operations on the same numbers: nothing is rounded otherwise.
    return layer if whole.shape == alone.shape and torch.equal(whole, alone) else None


def logprobs_of(logits: Any, columns: Any) -> Any:
    """Log-probabilities of some tokens, (..., len(columns)), float32, from logits (..., vocabulary)."""
    logits = logits.float()
    return logits[..., columns] - logits.logsumexp(-1, keepdim=True)
