"""Short greedy replies of a model that is in memory already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whetstone.models.hf_batch import Batch, DecoderBatch, EncoderDecoderBatch, RecurrentBatch, bare
from whetstone.models.hf_cache import keeps_every_token
from whetstone.models.hf_generate import Row, advance, plan, shared_prefix
from whetstone.models.hf_sampling import Sampler, Sampling
from whetstone.models.hf_text import TextAssembler
from whetstone.tokens.tokenizer import Tokenizer

_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Written:
    """A reply.

    Attributes:
        text: without control tokens.
        ended: whether the model ended it; otherwise it was cut off at its limit.
    """

    text: str
    ended: bool


def greedy_replies(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], limits: Sequence[int]
) -> list[Written]:
    """The most probable reply to each prompt, token by token; nothing is drawn at random.

    Args:
        model: a transformers model, with or without PEFT, its dropout off.
        prompts: token ids.
        limits: most tokens of each reply.
    """

    def decode(ids: Sequence[int]) -> str:
        return tokenizer.decode(ids, skip_special=True)

    inner = bare(model)  # with its adapters in place; PEFT's wrapper hides what its attention takes
    encoder_decoder = bool(inner.config.is_encoder_decoder)
    together = encoder_decoder or keeps_every_token(inner)
    prefix = shared_prefix(inner, prompts, max(limits)) if together and not encoder_decoder else None
    sampler = Sampler(Sampling(), tokenizer.spelling)
    ends = _end_ids(inner, tokenizer)
    found: dict[int, Written] = {}
    batches = plan([len(ids) for ids in prompts], max(limits), _BATCH_TOKENS)
    for batch in batches if together else ([n] for n in range(len(prompts))):
        chosen = [prompts[n] for n in batch]
        rows = [Row(n, prompts[n], limits[n], TextAssembler(decode)) for n in batch]
        state: Batch
        if encoder_decoder:
            state = EncoderDecoderBatch(inner, chosen, _start_id(inner), 0)
        elif not together:
            state = RecurrentBatch(inner, chosen[0])
        else:
            state = DecoderBatch(inner, chosen, max(limits), prefix, 0)
        for row, chunk in advance(state, rows, sampler, ends, lambda row: row.ids):
            if chunk.finish_reason:
                found[row.index] = Written("".join(row.pieces), chunk.finish_reason == "stop")
    return [found[n] for n in range(len(prompts))]


def _end_ids(inner: Any, tokenizer: Tokenizer) -> frozenset[int]:
    ids = inner.generation_config.eos_token_id
    known = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
    return frozenset([*known, *([] if tokenizer.eos_id is None else [tokenizer.eos_id])])


def _start_id(inner: Any) -> int:
    config = inner.config
    start = config.decoder_start_token_id
    return int(config.pad_token_id if start is None else start)
