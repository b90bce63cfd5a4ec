"""`transformers` models as chat models: streamed, batched, and with next-token probabilities."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from whetstone.errors import ContextTooLongError, ModelError, RequestRefusedError, UsageError
from whetstone.models.base import NextToken
from whetstone.models.hf_adapter import adapter_digest
from whetstone.models.hf_batch import Batch, DecoderBatch, EncoderDecoderBatch, RecurrentBatch
from whetstone.models.hf_cache import Prefix, keeps_every_token
from whetstone.models.hf_generate import Row, advance, plan, shared_prefix
from whetstone.models.hf_head import OutputLayer
from whetstone.models.hf_hidden import States, hidden_states
from whetstone.models.hf_load import Source, content_digest, load_config, load_weights, memory_errors
from whetstone.models.hf_reading import read_in_passes, read_token_by_token
from whetstone.models.hf_sampling import Sampler, sampling_for, warn_of_unfollowed
from whetstone.models.hf_text import TextAssembler
from whetstone.models.hf_tokenizer import FolderTokenizer
from whetstone.models.hf_tree import Logprobs, TreeBatch, branches_truly, can_branch, read_by_levels
from whetstone.models.reading import ReadToken, read_stepwise
from whetstone.models.reasoning import opens_reasoning, separate_reasoning, separate_reply
from whetstone.models.token_tree import TokenTree
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.types import Chunk, Message, ModelIdentity, Options, Reply

# Most tokens of a reply when the request does not say: a small model that never ends must not fill its whole context.
DEFAULT_REPLY_TOKENS = 1024

# How many prompts' distributions are computed before the first is handed out, in order.
_NEXT_TOKEN_WINDOW = 128


class HfModel:
    """A transformers model, decoder-only or encoder-decoder. Weights and tokenizer are read on first use.

    A model with a chat template gets the rendered chat. One without (a base model, an encoder-decoder) gets the
    contents of the messages, joined by blank lines.

    Args:
        source: where its files are and how to load them.
    """

    concurrency = 1  # many conversations go through `reply_many`

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._loaded: Any = None
        self._closed = False

    @cached_property
    def identity(self) -> ModelIdentity:
        source = self._source
        revision = source.revision or content_digest(source.folder)
        if source.adapter is not None:
            revision += f"+{adapter_digest(source.adapter)}"
        template = self._tokenizer.template
        return ModelIdentity(
            spec=source.spec,
            engine="transformers",
            name=source.name,
            revision=revision,
            template=hashlib.sha256(template.encode()).hexdigest() if template else "",
        )

    @cached_property
    def _tokenizer(self) -> FolderTokenizer:
        return FolderTokenizer(self._source.folder)

    @property
    def sends_reasoning_back(self) -> bool:
        """Whether the chat template reads the `reasoning_content` of earlier answers."""
        return "reasoning_content" in self._tokenizer.template

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
            self.__dict__.pop("_head", None)  # it holds the model

    def render(self, messages: Sequence[Message], options: Options = Options()) -> str:  # noqa: B008
        """The exact text that goes into the model.

        A control token that a message spells shows as itself, and is text to the model: `prompt_ids` gives the ids.
        """
        return self._tokenizer.render(messages)

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        """The reply, a token at a time. Closing the iterator stops the work."""
        sampler = self._sampler(options)
        chunks = self._streamed(self._row(0, self.prompt_ids(messages), options, sampler), sampler)
        yield from separate_reasoning(chunks, starts_inside=self._starts_inside(messages))

    def complete(self, prompt: str | Sequence[int], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        """What follows a prompt, a token at a time; see `CompletionModel`."""
        sampler = self._sampler(options)
        ids = self._tokenizer.encode_plain(prompt) if isinstance(prompt, str) else self._checked_ids(prompt)
        if not ids:
            raise RequestRefusedError("the prompt is empty, so nothing can follow it")
        yield from self._streamed(self._row(0, ids, options, sampler), sampler)

    def _streamed(self, row: Row, sampler: Sampler) -> Iterator[Chunk]:
        with memory_errors(self._source.spec):
            for _, chunk in self._advance([row], None, sampler):
                if chunk.text or chunk.logprobs or chunk.finish_reason:
                    yield chunk

    def reply_many(
        self,
        conversations: Sequence[Sequence[Message]],
        options: Options = Options(),  # noqa: B008
    ) -> Iterator[tuple[int, Reply | ModelError]]:
        """`(index, reply)` for many conversations, longest first, each as soon as it is done.

        What all prompts begin with is read once. The rest goes through the model in batches of prompts alike in length,
        whose keys and values take at most `batch_tokens` tokens: for SmolLM2-135M in float32 46 kB each, 0.4 GB for the
        8192 of the default; for an 8-billion-parameter Llama 3 in half precision 1 GB.
        """
        sampler = self._sampler(options)
        rows: dict[int, Row] = {}
        for index, messages in enumerate(conversations):
            try:
                rows[index] = self._row(index, self.prompt_ids(messages), options, sampler)
            except ModelError as error:
                if not error.concerns_one_item:
                    raise
                yield index, error
        if not rows:
            return
        waiting = list(rows.values())
        reply = max(row.limit for row in waiting)
        prompts = [row.prompt for row in waiting]
        with memory_errors(self._source.spec):
            prefix = self._shared(prompts, reply)
            for batch in self._plan(prompts, reply):
                for row, chunk in self._advance([waiting[n] for n in batch], prefix, sampler):
                    if chunk.finish_reason:
                        inside = self._starts_inside(conversations[row.index])
                        yield row.index, separate_reply(row.reply(), starts_inside=inside)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`; with `special`, the spelling of a control token becomes that token."""
        return self._tokenizer.encode(text, special=special)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, see `TokenizingModel`."""
        return self._tokenizer.spell(self._checked_ids(ids))

    @property
    def context_length(self) -> int:
        """Tokens of prompt and reply together; of an encoder-decoder, of each.

        A model whose attention has no longest distance (T5) has no such length: it gets the largest one.
        """
        return self._window or sys.maxsize

    def count_tokens(self, messages: Sequence[Message], options: Options = Options()) -> int:  # noqa: B008
        """Tokens of the prompt that `stream` would send; see `ContextModel`. Loads no weights."""
        return len(self.prompt_ids(messages))

    def _checked_ids(self, ids: Sequence[int]) -> list[int]:
        size = self._tokenizer.size
        if not all(0 <= token < size for token in ids):
            raise RequestRefusedError(f"{self._source.name} has only the token ids 0 to {size - 1}")
        return [int(token) for token in ids]

    @cached_property
    def _config(self) -> Any:
        return load_config(self._source.folder)

    @property
    def _window(self) -> int | None:
        window: int | None = getattr(self._config.get_text_config(decoder=True), "max_position_embeddings", None)
        return window

    def next_token(self, prompts: Sequence[Sequence[int]], top: int | None = None) -> Iterator[NextToken]:
        """For each prompt (token ids), in order, what follows it; for an encoder-decoder, how its reply begins."""
        for n, ids in enumerate(prompts):
            if not len(ids):
                raise RequestRefusedError(f"prompt {n} has no token, so nothing can follow it")
            self._check_length(len(ids), 0)
        with memory_errors(self._source.spec):
            prefix = self._shared(prompts, 0) if prompts else None
            for start in range(0, len(prompts), _NEXT_TOKEN_WINDOW):
                window = prompts[start : start + _NEXT_TOKEN_WINDOW]
                found: dict[int, NextToken] = {}
                for batch in self._plan(window, 0):
                    logits = self._batch([window[n] for n in batch], 0, prefix).start()
                    found.update(zip(batch, _distributions(logits, top), strict=True))
                yield from (found[n] for n in range(len(window)))

    def read(self, ids: Sequence[int], top: int, given: int = 1) -> Iterator[ReadToken]:
        """What was expected at each position of a text, in one pass; see `ReadingModel`.

        For an encoder-decoder every beginning of the text is a prompt of its own.
        """
        ids = self._checked_ids(ids)
        if self.encoder_decoder:
            yield from read_stepwise(self, ids, top, given)
            return
        self._check_length(len(ids) - 1, 0)
        how = read_in_passes if self._keeps_every_token else read_token_by_token
        with memory_errors(self._source.spec):
            yield from how(self._model, ids, top, given)

    def tree_logprobs(
        self, prompts: Sequence[Sequence[int]], tree: TokenTree, wanted: Sequence[int]
    ) -> Iterator[tuple[int, Logprobs]]:
        """How likely tokens are after each prompt and each continuation; see `TreeModel`.

        A decoder reads all nodes of a batch of prompts in one pass, with at most 256 MB of logits; one whose attention
        takes no mask of ours, and an encoder-decoder, level by level.

        Raises:
            ContextTooLongError: a prompt with its deepest node does not fit.
            RequestRefusedError: a prompt is empty.
        """
        depth = int(tree.depths.max(initial=0))
        for n, ids in enumerate(prompts):
            if not len(ids):
                raise RequestRefusedError(f"prompt {n} has no token, so nothing can follow it")
            self._check_length(len(ids), depth)
        if not prompts:
            return
        with memory_errors(self._source.spec):
            if not self.encoder_decoder and not self._keeps_every_token:
                yield from self._tree_by_prompts(prompts, tree, wanted)
            elif (
                not self.encoder_decoder and self._branches and can_branch(self._model, max(map(len, prompts)) + depth)
            ):
                prefix = self._shared(prompts, len(tree))
                for rows in self._plan(prompts, len(tree)):
                    batch = [prompts[n] for n in rows]
                    read = TreeBatch(self._model, batch, tree, prefix, self._tokenizer.pad_id, self._head)
                    yield from zip(rows, read.read(wanted), strict=True)
            else:
                prefix = self._shared(prompts, depth)
                for n, ids in enumerate(prompts):
                    (found,) = read_by_levels(self._batch([ids], depth, prefix), 1, tree, wanted)
                    yield n, found

    def _tree_by_prompts(
        self, prompts: Sequence[Sequence[int]], tree: TokenTree, wanted: Sequence[int]
    ) -> Iterator[tuple[int, Logprobs]]:
        """Every node as a prompt of its own: for a state that can be neither copied nor masked."""
        for n, ids in enumerate(prompts):
            paths = [[*ids, *tree.path(node)] for node in range(-1, len(tree))]
            yield n, np.stack([token.logprobs[np.argsort(token.ids)[list(wanted)]] for token in self.next_token(paths)])

    def hidden_states(self, prompts: Sequence[Sequence[int]], depths: Sequence[float]) -> Iterator[tuple[int, States]]:
        """The vectors of some layers for each prompt; see `HiddenStateModel`. At most 1,024 tokens at once on a CPU.

        Raises:
            ContextTooLongError: a prompt does not fit.
            RequestRefusedError: a prompt is empty.
        """
        for n, ids in enumerate(prompts):
            if not len(ids):
                raise RequestRefusedError(f"prompt {n} has no token, so there is nothing to read")
            self._check_length(len(ids), 0)
        together = self.encoder_decoder or self._keeps_every_token
        with memory_errors(self._source.spec):
            yield from hidden_states(self._model, prompts, depths, self._tokenizer.pad_id, together)

    @cached_property
    def vocabulary(self) -> Tokenizer:
        """The model's tokenizer as its own files say."""
        return load_tokenizer(str(self._source.folder))

    @cached_property
    def _head(self) -> OutputLayer:
        return OutputLayer(self._model)

    @cached_property
    def _branches(self) -> bool:
        return can_branch(self._model, 0) and branches_truly(self._model, self._tokenizer.pad_id)

    @property
    def encoder_decoder(self) -> bool:
        """Whether prompts go through an encoder, and replies begin anew behind it (T5). Loads no weights."""
        return bool(self._config.is_encoder_decoder)

    @cached_property
    def _keeps_every_token(self) -> bool:
        return keeps_every_token(self._model)

    @cached_property
    def _end_ids(self) -> frozenset[int]:
        """The tokens that end a reply, as `generate` knows them."""
        ids = self._model.generation_config.eos_token_id
        if ids is None:
            ids = self._tokenizer.end_id
        return frozenset([ids] if isinstance(ids, int) else ids or ())

    def _sampler(self, options: Options) -> Sampler:
        """Refuse what this engine cannot do, before any work."""
        if options.json_schema is not None:
            raise RequestRefusedError(
                "the transformers engine cannot constrain a reply to a JSON schema; use a llama.cpp model (gguf:, "
                "smollm2) or an endpoint that can"
            )
        if options.tools and options.tool_choice != "none":
            raise RequestRefusedError(
                "the transformers engine does not read tool calls out of replies; use an endpoint that does"
            )
        return Sampler(sampling_for(options, self._model.generation_config), self._tokenizer.spelling)

    def _starts_inside(self, messages: Sequence[Message]) -> bool:
        """Whether the template has opened a block of reasoning that the reply goes on in."""
        return "<think" in self._tokenizer.template and opens_reasoning(self.render(messages))

    def prompt_ids(self, messages: Sequence[Message], options: Options = Options()) -> list[int]:  # noqa: B008
        """The token ids that `stream` sends for messages.

        Raises:
            RequestRefusedError: the messages cannot be answered.
        """
        if self.encoder_decoder and messages and messages[-1]["role"] == "assistant":
            raise RequestRefusedError("an encoder-decoder model cannot continue a reply; end with a user message")
        prompt = self._tokenizer.prompt_ids(messages)
        if not prompt:
            raise RequestRefusedError("the messages hold no text, so there is nothing to answer")
        return prompt

    def _row(self, index: int, prompt: Sequence[int], options: Options, sampler: Sampler) -> Row:
        room = self._check_length(len(prompt), options.max_tokens or 1)
        limit = min(options.max_tokens or DEFAULT_REPLY_TOKENS, room)
        text = TextAssembler(self._tokenizer.decode, options.stop)
        return Row(index, prompt, limit, text, sampler.generator())

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

    @property
    def _start_id(self) -> int:
        """The token that an encoder-decoder's reply starts from."""
        config = self._model.generation_config
        start = config.bos_token_id if config.decoder_start_token_id is None else config.decoder_start_token_id
        return int(self._tokenizer.pad_id if start is None else start)

    def _advance(self, rows: Sequence[Row], prefix: Prefix | None, sampler: Sampler) -> Iterator[tuple[Row, Chunk]]:
        for row in rows:
            row.cached = len(prefix.ids) if prefix else 0
        batch = self._batch([row.prompt for row in rows], max(row.limit for row in rows), prefix)
        lead = [self._start_id] if self.encoder_decoder else None
        return advance(
            batch, rows, sampler, self._end_ids, lambda row: [*(lead if lead is not None else row.prompt), *row.ids]
        )


def _distributions(logits: Any, top: int | None) -> Iterator[NextToken]:
    """Log-probabilities of each row of logits (rows, vocabulary), most probable first."""
    import torch

    with torch.inference_mode():
        logprobs = logits.float().log_softmax(-1)
        values, ids = logprobs.sort(descending=True) if top is None else logprobs.topk(min(top, logprobs.shape[-1]))
        values, ids = values.cpu().numpy(), ids.cpu().numpy()
    for row_ids, row_values in zip(ids, values, strict=True):
        yield NextToken(row_ids.astype(np.int64), row_values.astype(np.float32))
