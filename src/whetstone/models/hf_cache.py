"""Keys and values of a batch: a block of memory per layer, written in place, seen by transformers as its own cache."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any


@dataclass(frozen=True)
class Prefix:
    """The tokens that all prompts begin with, read once.

    Attributes:
        ids: the tokens.
        states: per layer, keys and values, each (1, heads, tokens, size).
    """

    ids: tuple[int, ...]
    states: tuple[tuple[Any, Any], ...]


def keeps_every_token(model: Any) -> bool:
    """Whether the model's state is keys and values per token, so that rows can be padded and share a prefix.

    Recurrent layers (Mamba, linear attention, short convolutions) run over padding as over text.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


class Block:
    """Keys and values of one layer for every row of a batch, (rows, heads, capacity, size) each."""

    def __init__(self, rows: int, capacity: int) -> None:
        self._rows = rows
        self._capacity = capacity
        self.keys: Any = None  # made on first use, when the shape is known
        self.values: Any = None

    def write(self, rows: slice, start: int, keys: Any, values: Any) -> None:
        if self.keys is None:
            self.keys = keys.new_empty(self._rows, keys.shape[1], self._capacity, keys.shape[3])
            self.values = values.new_empty(self._rows, values.shape[1], self._capacity, values.shape[3])
        end = start + keys.shape[2]
        self.keys[rows, :, start:end] = keys
        self.values[rows, :, start:end] = values

    def clear(self, rows: slice, start: int, end: int) -> None:
        """Write zeros where nothing will be: it is masked, but must still be finite."""
        self.keys[rows, :, start:end] = 0
        self.values[rows, :, start:end] = 0

    def select(self, index: Any, length: int) -> None:
        """Keep only some rows, and their first `length` tokens."""
        self._rows = len(index)
        if self.keys is not None:
            keys, values = self.keys[index, :, :length], self.values[index, :, :length]
            self.keys = self.values = None
            self.write(slice(None), 0, keys, values)


def first_cache(blocks: Sequence[Block], rows: slice, before: int, prefix: Prefix | None) -> Any:
    """The cache for the first pass over some rows: the prefix, if there is one, and zeros up to `before` tokens."""
    states: Sequence[Any] = prefix.states if prefix is not None else ()
    pairs = list(zip_longest(blocks, states))
    return _cache([_row_layer_class()(block, rows, before, True, state) for block, state in pairs])


def next_cache(blocks: Sequence[Block], rows: slice, length: int) -> Any:
    """The cache for the next pass over some rows, which have `length` tokens."""
    return _cache([_row_layer_class()(block, rows, length) for block in blocks])


def _cache(layers: Sequence[Any]) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache()
    cache.layers = list(layers)
    return cache


@functools.cache
def _row_layer_class() -> Any:
    """The cache layer that writes into a block; made on first use, because its base class needs torch."""
    from transformers.cache_utils import DynamicLayer

    class RowLayer(DynamicLayer):  # type: ignore[misc]
        """Some rows of a block, as transformers sees them: `length` tokens are there, new ones go behind them.

        The library's own layer copies all keys and values for every new token.
        """

        def __init__(
            self, block: Block, rows: slice, length: int, first: bool = False, prefix: tuple[Any, Any] | None = None
        ) -> None:
            super().__init__()
            self._block, self._rows, self._length = block, rows, length
            self._first, self._prefix = first, prefix
            self.is_initialized = True

        def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            block, rows, start = self._block, self._rows, self._length
            block.write(rows, start, keys, values)
            if self._first:
                shared = 0
                if self._prefix is not None:
                    block.write(rows, 0, *self._prefix)
                    shared = self._prefix[0].shape[2]
                block.clear(rows, shared, start)
            self._length = start + keys.shape[2]
            self.keys, self.values = block.keys[rows, :, : self._length], block.values[rows, :, : self._length]
            return self.keys, self.values

        def get_seq_length(self) -> int:
            return self._length

    return RowLayer
