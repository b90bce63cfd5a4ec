"""Forward passes over a batch of rows: the first one over the prompts, then one per token.

Three kinds of batch share one small contract, `Batch`. What they hold is bounded by whoever plans the batches
(`whetstone.models.hf_generate.plan`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from whetstone.models.hf_cache import Block, Prefix, first_cache, next_cache

# Padded tokens of one forward pass over prompts. On a CPU the activations of more than about a thousand tokens no
# longer fit its caches: with SmolLM2-135M, 16 rows of 53 tokens take 144 ms a row, 32 rows 167 ms.
_PREFILL_TOKENS = {"cpu": 1024}
_PREFILL_TOKENS_GPU = 8192


class Batch(Protocol):
    """Some rows of one model, advanced together."""

    def start(self) -> Any:
        """Read the prompts; the logits of every row's first token, (rows, vocabulary)."""
        ...

    def step(self, tokens: Sequence[int]) -> Any:
        """Append one token to every row; the logits of its next one, (rows, vocabulary)."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Let all other rows go, and the memory they hold."""
        ...


def read_prefix(model: Any, ids: Sequence[int]) -> Prefix:
    """Run the model once over tokens that many prompts share."""
    import torch
    from transformers import DynamicCache

    with torch.inference_mode():
        cache = DynamicCache()
        _forward(model, torch.tensor([list(ids)], device=model.device), cache, None, None)
        return Prefix(tuple(ids), tuple((layer.keys, layer.values) for layer in cache.layers))


class DecoderBatch:
    """Rows of a decoder-only model, padded on the left, in one block of memory that is written in place.

    The prompts are read a few rows at a time, each straight into its rows of the block. A shorter row leaves a hole
    between the shared prefix and its own tokens, which is masked.

    Args:
        model: the transformers model.
        prompts: token ids, longest first.
        spare: tokens to leave room for after the prompts.
        prefix: what all prompts begin with; every prompt has at least one token more.
        pad_id: any valid token id.
    """

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], spare: int, prefix: Prefix | None, pad_id: int
    ) -> None:
        self._model = model
        self._prefix = prefix
        self._pad_id = pad_id
        shared = len(prefix.ids) if prefix else 0
        self._rests = [list(ids[shared:]) for ids in prompts]
        self._shared = shared
        self._length = shared + max(map(len, self._rests))
        self._lengths = [len(ids) for ids in prompts]
        self._capacity = self._length + spare
        config = model.config.get_text_config(decoder=True)
        self._blocks = [Block(len(prompts), self._capacity) for _ in range(config.num_hidden_layers)]
        # A finished row that idles in the batch may reach the end of a table of learned positions.
        self._last_position = (getattr(config, "max_position_embeddings", None) or self._capacity) - 1

    def start(self) -> Any:
        import torch

        device = self._model.device
        with torch.inference_mode():
            self._mask = torch.ones(len(self._rests), self._capacity, dtype=torch.long, device=device)
            self._positions = torch.tensor(self._lengths, device=device)
            limit = _PREFILL_TOKENS.get(device.type, _PREFILL_TOKENS_GPU)
            return torch.cat([self._read(rows) for rows in _chunks(self._rests, limit)])

    def _read(self, rows: range) -> Any:
        """The first pass over some rows' own tokens."""
        import torch

        model, mask = self._model, self._mask[rows.start : rows.stop]
        rests = [self._rests[row] for row in rows]
        width = max(map(len, rests))
        before = self._length - width  # the shared prefix, and a hole
        ids = torch.full((len(rests), width), self._pad_id)
        for row, rest in enumerate(rests):
            ids[row, width - len(rest) :] = torch.tensor(rest)
            mask[row, self._shared : self._length - len(rest)] = 0
        cache = first_cache(self._blocks, slice(rows.start, rows.stop), before, self._prefix)
        lengths = self._positions[rows.start : rows.stop, None]
        positions = torch.arange(-width, 0, device=model.device)[None] + lengths
        return _forward(model, ids.to(model.device), cache, mask[:, : self._length], positions.clamp(min=0))

    def step(self, tokens: Sequence[int]) -> Any:
        import torch

        model, count = self._model, len(tokens)
        with torch.inference_mode():
            ids = torch.tensor([[token] for token in tokens], device=model.device)
            cache = next_cache(self._blocks, slice(count), self._length)
            mask = self._mask[:, : self._length + 1]
            positions = self._positions.clamp(max=self._last_position)
            logits = _forward(model, ids, cache, mask, positions[:, None])
            self._length += 1
            self._positions = self._positions + 1
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        import torch

        with torch.inference_mode():
            index = torch.tensor(rows, device=self._model.device)
            for block in self._blocks:
                block.select(index, self._length)
            self._mask = self._mask[index]
            self._positions = self._positions[index]


class EncoderDecoderBatch:
    """Rows of an encoder-decoder model: the prompts go through the encoder, the reply through the decoder.

    Args:
        model: the transformers model.
        prompts: token ids.
        start_id: the token that every reply starts from.
        pad_id: any valid token id.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], start_id: int, pad_id: int) -> None:
        self._model = model
        self._prompts = prompts
        self._start_id = start_id
        self._pad_id = pad_id

    def start(self) -> Any:
        import torch
        from transformers import DynamicCache, EncoderDecoderCache

        device = self._model.device
        width = max(map(len, self._prompts))
        ids = torch.tensor([[*ids, *[self._pad_id] * (width - len(ids))] for ids in self._prompts], device=device)
        lengths = torch.tensor([len(ids) for ids in self._prompts], device=device)
        with torch.inference_mode():
            self._mask = (torch.arange(width, device=device)[None] < lengths[:, None]).long()
            self._encoded = self._model.get_encoder()(input_ids=ids, attention_mask=self._mask)[0]
            self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return self.step([self._start_id] * len(self._prompts))

    def step(self, tokens: Sequence[int]) -> Any:
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        with torch.inference_mode():
            ids = torch.tensor([[token] for token in tokens], device=self._model.device)
            return self._model(
                encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
                attention_mask=self._mask,
                decoder_input_ids=ids,
                past_key_values=self._cache,
                use_cache=True,
            ).logits[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        import torch

        with torch.inference_mode():
            index = torch.tensor(rows, device=self._model.device)
            self._cache.batch_select_indices(index)
            self._mask = self._mask[index]
            self._encoded = self._encoded[index]


class RecurrentBatch:
    """One row of a decoder whose state is not keys and values per token, which can be neither padded nor shared.

    Args:
        model: the transformers model.
        prompt: token ids.
    """

    def __init__(self, model: Any, prompt: Sequence[int]) -> None:
        self._model = model
        self._prompt = prompt

    def start(self) -> Any:
        from transformers import DynamicCache

        self._cache = DynamicCache(config=self._model.config)
        return self._advance(self._prompt)

    def step(self, tokens: Sequence[int]) -> Any:
        return self._advance(tokens)

    def keep(self, rows: Sequence[int]) -> None:
        """There is one row, and a batch ends with its last row."""

    def _advance(self, ids: Sequence[int]) -> Any:
        import torch

        with torch.inference_mode():
            return _forward(self._model, torch.tensor([list(ids)], device=self._model.device), self._cache, None, None)


def _chunks(rests: Sequence[Sequence[int]], limit: int) -> Iterator[range]:
    """Consecutive rows for one forward pass: at most `limit` padded tokens, a quarter of a row padding at most."""
    start = 0
    for row in range(1, len(rests) + 1):
        width = len(rests[start])
        if row == len(rests) or (row - start + 1) * width > limit or 4 * len(rests[row]) < 3 * width:
            yield range(start, row)
            start = row


@functools.lru_cache(maxsize=64)
def _accepted(forward: Callable[..., Any]) -> frozenset[str]:
    """The names that a model's forward pass takes."""
    return frozenset(inspect.signature(forward).parameters)


def takes_positions(model: Any) -> bool:
    """Whether a model can be told the position of each token."""
    return "position_ids" in _accepted(type(bare(model)).forward)


def _forward(model: Any, ids: Any, cache: Any, mask: Any, positions: Any) -> Any:
    """One pass through a decoder; the logits of each row's last token, (rows, vocabulary)."""
    accepted = _accepted(type(bare(model)).forward)
    extra: dict[str, Any] = {}
    if mask is not None:
        extra["attention_mask"] = mask
    if positions is not None and "position_ids" in accepted:
        extra["position_ids"] = positions
    if "logits_to_keep" in accepted:
        extra["logits_to_keep"] = 1  # the output layer is a quarter of SmolLM2's work, and only the end is wanted
    # Mamba calls it otherwise, and passes over what it has no name for: every step would begin from nothing.
    extra["cache_params" if "cache_params" in accepted else "past_key_values"] = cache
    return model(input_ids=ids, use_cache=True, **extra).logits[:, -1]


def bare(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
