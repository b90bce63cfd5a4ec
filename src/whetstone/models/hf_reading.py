"""A text through a decoder in one pass, or in few: what was expected at each of its positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from whetstone.models.base import NextToken
from whetstone.models.hf_batch import RecurrentBatch
from whetstone.models.reading import ReadToken

_LOGIT_BYTES = 128e6  # of one pass, in float32; what is made of them takes as much again
_TOKENS = 512


def read_in_passes(model: Any, ids: Sequence[int], top: int, given: int) -> Iterator[ReadToken]:
    """For a decoder that keeps keys and values per token; a long text goes in stretches, each after the one before."""
    import torch
    from transformers import DynamicCache

    config = model.config.get_text_config(decoder=True)
    size = max(1, min(_TOKENS, int(_LOGIT_BYTES / (4 * config.vocab_size))))
    cache = DynamicCache(config=model.config)
    for start in range(0, len(ids) - 1, size):
        stretch = list(ids[start : min(start + size, len(ids) - 1)])
        with torch.inference_mode():
            tokens = torch.tensor([stretch], device=model.device)
            logits = model(input_ids=tokens, past_key_values=cache, use_cache=True).logits[0]
        skipped = max(0, given - 1 - start)
        yield from _expected(logits[skipped:], ids[start + 1 + skipped : start + 1 + len(stretch)], top)


def read_token_by_token(model: Any, ids: Sequence[int], top: int, given: int) -> Iterator[ReadToken]:
    """For a decoder whose state is not keys and values per token."""
    batch = RecurrentBatch(model, ids[:given])
    logits = batch.start()
    for position in range(given, len(ids)):
        yield from _expected(logits, ids[position : position + 1], top)
        if position + 1 < len(ids):
            logits = batch.step([ids[position]])


def _expected(logits: Any, following: Sequence[int], top: int) -> Iterator[ReadToken]:
    """From logits (positions, vocabulary) and the tokens that stand there."""
    import torch

    if not following:
        return
    with torch.inference_mode():
        logprobs = logits.float().log_softmax(-1)
        own = logprobs.gather(-1, torch.tensor(list(following), device=logprobs.device)[:, None])
        ranks = (logprobs > own).sum(-1).add(1).tolist()
        values, best = (found.cpu().numpy() for found in logprobs.topk(min(top, logprobs.shape[-1])))
        listed = own[:, 0].tolist()
    for logprob, rank, row_ids, row_values in zip(listed, ranks, best, values, strict=True):
        yield ReadToken(logprob, rank, NextToken(row_ids.astype(np.int64), row_values.astype(np.float32)))
