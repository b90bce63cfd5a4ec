"""A `transformers` model in memory: loaded on first use, its tokenizer, and batches of prompts that fit it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from whetstone.errors import ContextTooLongError, RequestRefusedError, UsageError
from whetstone.models.hf_batch import Batch, DecoderBatch, EncoderDecoderBatch, RecurrentBatch
from whetstone.models.hf_cache import Prefix, keeps_every_token
from whetstone.models.hf_generate import plan, shared_prefix
from whetstone.models.hf_load import Source, load_config, load_weights
from whetstone.models.hf_sampling import warn_of_unfollowed
from whetstone.models.hf_tokenizer import FolderTokenizer
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer

# Most tokens of a reply when the request does not say: a small model that never ends must not fill its whole context.
DEFAULT_REPLY_TOKENS = 1024


class HfEngine:
    """A transformers model, decoder-only or encoder-decoder. Weights and tokenizer are read on first use.

    Args:
        source: where its files are and how to load them.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._loaded: Any = None
        self._closed = False

    @cached_property
    def _tokenizer(self) -> FolderTokenizer:
        return FolderTokenizer(self._source.folder)

    @cached_property
    def vocabulary(self) -> Tokenizer:
        """The model's tokenizer as its own files say."""
        return load_tokenizer(str(self._source.folder))

    @cached_property
    def _config(self) -> Any:
        return load_config(self._source.folder)

    @property
    def _model(self) -> Any:
        with self._lock:
            if self._closed:
                raise UsageError(f"{self._source.spec} was closed; load it again")
            if self._loaded is None:
                self._loaded = load_weights(self._source)
                warn_of_unfollowed(self._loaded.generation_config, self._source.name)
            return self._loaded

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._loaded = None

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`; with `special`, the spelling of a control token becomes that token."""
        return self._tokenizer.encode(text, special=special)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, see `TokenizingModel`."""
        return self._tokenizer.spell(self._checked_ids(ids))

    def _checked_ids(self, ids: Sequence[int]) -> list[int]:
        size = self._tokenizer.size
        if not all(0 <= token < size for token in ids):
            raise RequestRefusedError(f"{self._source.name} has only the token ids 0 to {size - 1}")
        return [int(token) for token in ids]

    @property
    def context_length(self) -> int:
        """Tokens of prompt and reply together; of an encoder-decoder, of each.

        A model whose attention has no longest distance (T5) has no such length: it gets the largest one.
        """
        return self._window or sys.maxsize

    @property
    def _window(self) -> int | None:
        window: int | None = getattr(self._config.get_text_config(decoder=True), "max_position_embeddings", None)
        return window

    def _check_length(self, prompt: int, reply: int) -> int:
        """How many tokens a reply may have at most.

        Raises:
            ContextTooLongError: prompt and reply do not fit.
        """
        window = self._window
        if window is None:  # relative positions (T5): no end is built in
            return DEFAULT_REPLY_TOKENS
        taken, room = (max(prompt, reply), window) if self.encoder_decoder else (prompt + reply, window - prompt)
        if taken > window:
            raise ContextTooLongError(
                f"a prompt of {prompt} tokens and a reply of up to {reply} do not fit the {window} tokens of "
                f"{self._source.name}; shorten the prompt or lower max_tokens"
            )
        return int(room)

    @property
    def encoder_decoder(self) -> bool:
        """Whether prompts go through an encoder, and replies begin anew behind it (T5). Loads no weights."""
        return bool(self._config.is_encoder_decoder)

    @cached_property
    def _keeps_every_token(self) -> bool:
        return keeps_every_token(self._model)

    @property
    def _start_id(self) -> int:
        """The token that an encoder-decoder's reply starts from."""
        config = self._model.generation_config
        start = config.bos_token_id if config.decoder_start_token_id is None else config.decoder_start_token_id
        return int(self._tokenizer.pad_id if start is None else start)

    def _shared(self, prompts: Sequence[Sequence[int]], reply: int) -> Prefix | None:
        if self.encoder_decoder or not self._keeps_every_token:
            return None
        return shared_prefix(self._model, prompts, reply)

    def _plan(self, prompts: Sequence[Sequence[int]], reply: int) -> Iterator[list[int]]:
        lengths = [len(ids) for ids in prompts]
        if not self.encoder_decoder and not self._keeps_every_token:
            return ([n] for n in range(len(prompts)))
        return plan(lengths, reply, self._source.options.batch_tokens)

    def _batch(self, prompts: Sequence[Sequence[int]], reply: int, prefix: Prefix | None) -> Batch:
        model, pad_id = self._model, self._tokenizer.pad_id
        if self.encoder_decoder:
            return EncoderDecoderBatch(model, prompts, self._start_id, pad_id)
        if not self._keeps_every_token:
            return RecurrentBatch(model, prompts[0])
        return DecoderBatch(model, prompts, reply, prefix, pad_id)
