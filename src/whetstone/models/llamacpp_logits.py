"""Log-probabilities of the next token, from llama.cpp's server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from whetstone.models.base import NextToken
from whetstone.models.llamacpp_server import LlamaServer


def next_tokens(
    server: LlamaServer, asked: Iterable[tuple[tuple[int, ...], bool]], top: int | None, sampled: int
) -> Iterator[NextToken]:
    """What follows each prompt, in order; as many are asked at once as the server has slots, and one more waits.

    Args:
        server: runs the model.
        asked: prompts as token ids, and whether their beginning may be taken from a slot.
        top: how many of the most probable tokens; None for all.
        sampled: a token that is a whole character. The server keeps back a token that ends inside a character, and its
            probabilities with it. So it is made to sample this one; the probabilities are from before that.
    """
    pool = ThreadPoolExecutor(server.config.slots, thread_name_prefix="whetstone-logits")
    try:
        running: deque[Future[NextToken]] = deque()
        for ids, cached in asked:
            running.append(pool.submit(_ask_next, server, ids, top, sampled, cached))
            if len(running) > server.config.slots:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _ask_next(server: LlamaServer, ids: tuple[int, ...], top: int | None, sampled: int, cached: bool) -> NextToken:
    answer = server.post(
        "/completion",
        {
            "prompt": ids,
            "n_predict": 1,
            "n_probs": np.iinfo(np.int32).max if top is None else top,
            "samplers": ["top_k"],
            "top_k": 1,
            "logit_bias": [[sampled, 1e9]],
            "post_sampling_probs": False,
            "cache_prompt": cached,
        },
    )
    listed = answer["completion_probabilities"][0]["top_logprobs"]
    tokens = np.fromiter((entry["id"] for entry in listed), np.int64, len(listed))
    logprobs = np.fromiter((entry["logprob"] for entry in listed), np.float64, len(listed))
    logprobs[logprobs <= np.finfo(np.float32).min] = -np.inf  # how the server writes the logarithm of 0
    if top is None:
        logprobs -= np.log(np.exp(logprobs).sum())
    return NextToken(tokens, logprobs.astype(np.float32))
