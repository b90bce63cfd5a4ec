"""`transformers` models as chat models: streamed and batched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property

from whetstone.errors import ModelError, RequestRefusedError
from whetstone.models.hf_adapter import adapter_digest
from whetstone.models.hf_cache import Prefix
from whetstone.models.hf_engine import DEFAULT_REPLY_TOKENS
from whetstone.models.hf_generate import Row, advance
from whetstone.models.hf_load import content_digest, memory_errors
from whetstone.models.hf_probabilities import HfProbabilities
from whetstone.models.hf_sampling import Sampler, sampling_for
from whetstone.models.hf_text import TextAssembler
from whetstone.models.reasoning import opens_reasoning, separate_reasoning, separate_reply
from whetstone.types import Chunk, Message, ModelIdentity, Options, Reply


class HfModel(HfProbabilities):
    """A transformers model to talk to.

    A model with a chat template gets the rendered chat. One without (a base model, an encoder-decoder) gets the
    contents of the messages, joined by blank lines.

    Args:
        source: where its files are and how to load them.
    """

    concurrency = 1  # many conversations go through `reply_many`

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

    @property
    def sends_reasoning_back(self) -> bool:
        """Whether the chat template reads the `reasoning_content` of earlier answers."""
        return "reasoning_content" in self._tokenizer.template

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

    def count_tokens(self, messages: Sequence[Message], options: Options = Options()) -> int:  # noqa: B008
        """Tokens of the prompt that `stream` would send; see `ContextModel`. Loads no weights."""
        return len(self.prompt_ids(messages))

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

    def _advance(self, rows: Sequence[Row], prefix: Prefix | None, sampler: Sampler) -> Iterator[tuple[Row, Chunk]]:
        for row in rows:
            row.cached = len(prefix.ids) if prefix else 0
        batch = self._batch([row.prompt for row in rows], max(row.limit for row in rows), prefix)
        lead = [self._start_id] if self.encoder_decoder else None
        return advance(
            batch, rows, sampler, self._end_ids, lambda row: [*(lead if lead is not None else row.prompt), *row.ids]
        )
