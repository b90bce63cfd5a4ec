"""What a transformers model holds inside while it reads: the vectors of its layers, without the output layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.models.hf_batch import bare

States = npt.NDArray[np.float32]

# Padded tokens of one pass. Every layer's vectors of all of them are held at once: 73 MB for SmolLM2-135M, 0.55 GB for
# an 8-billion-parameter Llama 3 in float32.
_TOKENS = {"cpu": 1024}
_TOKENS_GPU = 8192


def hidden_states(
    model: Any, prompts: Sequence[Sequence[int]], depths: Sequence[float], pad_id: int, together: bool
) -> Iterator[tuple[int, States]]:
    """`(index, states)` for each prompt, the longest first; see `HiddenStateModel`.

    Args:
        model: the transformers model; of an encoder-decoder, the encoder is read.
        pad_id: any valid token id; what follows a text changes nothing before it.
        together: whether several prompts may be read at once, padded: not where a state is carried along.
    """
    import torch

    inner = bare(model)
    reader = inner.get_encoder() if inner.config.is_encoder_decoder else inner.base_model
    limit = _TOKENS.get(model.device.type, _TOKENS_GPU)
    order = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
    with torch.inference_mode():
        for rows in _batches([len(prompts[n]) for n in order], limit, together):
            batch = [prompts[order[row]] for row in rows]
            width = len(batch[0])
            ids = torch.tensor([[*one, *[pad_id] * (width - len(one))] for one in batch], device=model.device)
            lengths = torch.tensor([len(one) for one in batch], device=model.device)
            inside = torch.arange(width, device=model.device)[None] < lengths[:, None]
            # Nothing is padded in a batch of one, and a carried state takes no mask.
            masked = {"attention_mask": inside.long()} if together else {}
            layers = reader(input_ids=ids, output_hidden_states=True, **masked).hidden_states
            chosen = torch.stack([layers[round(depth * (len(layers) - 1))] for depth in depths], dim=1).float()
            last = chosen[torch.arange(len(batch)), :, lengths - 1]
            mean = (chosen * inside[:, None, :, None]).sum(dim=2) / lengths[:, None, None]
            found = torch.stack([last, mean], dim=2).cpu().numpy()
            yield from zip([order[row] for row in rows], found, strict=True)


def _batches(lengths: Sequence[int], limit: int, together: bool) -> Iterator[range]:
    """Consecutive prompts of falling length, at most `limit` padded tokens each."""
    start = 0
    for row in range(1, len(lengths) + 1):
        if row == len(lengths) or not together or (row - start + 1) * lengths[start] > limit:
            yield range(start, row)
            start = row
