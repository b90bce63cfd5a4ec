"""`transformers` models as chat models: streamed and batched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property

from whetstone.errors import BadReplyError, ModelError, RequestRefusedError, UsageError
from whetstone.models.hf_adapter import adapter_digest
from whetstone.models.hf_cache import Prefix
from whetstone.models.hf_engine import DEFAULT_REPLY_TOKENS
from whetstone.models.hf_generate import Row, advance
from whetstone.models.hf_grammar import Grammar, Vocabulary
from whetstone.models.hf_load import content_digest, memory_errors
from whetstone.models.hf_probabilities import HfProbabilities
from whetstone.models.hf_sampling import Sampler, sampling_for
from whetstone.models.hf_text import TextAssembler
from whetstone.models.reasoning import closing_tag, separate_reasoning, separate_reply
from whetstone.models.tool_form import calls_in, in_tool_form, offers_tools, read_form, read_reply
from whetstone.types import Chunk, Message, ModelIdentity, Options, Reply


class HfModel(HfProbabilities):
    """A transformers model to talk to.

    A model with a chat template gets the rendered chat. One without (a base model, an encoder-decoder) gets the
    contents of the messages, joined by blank lines. Tools are offered in the system message, and the reply is
    constrained to words or a call (see `tool_form`): every family writes calls of its own in its own way.

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
        return self._tokenizer.render(self._said(messages, options)[0])

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        """The reply, a token at a time. Closing the iterator stops the work.

        A json_schema is obeyed, from the end of its reasoning on where the chat template begins with that.

        Raises:
            RequestRefusedError: a message holds more than text, or the schema cannot be followed by this model.
            UsageError: `tool_choice` names a tool that is not there.
            ModelError: one of its kinds.
        """
        said, asked = self._said(messages, options)
        closing = self._closing(said)
        prompt = self._tokenized(said)
        sampler = self._sampler(asked)
        row = self._row(0, prompt, asked, sampler, self._grammar(asked), closing)
        chunks = separate_reasoning(self._streamed(row, sampler), starts_inside=bool(closing))
        yield from read_form(chunks, calls_in(messages)) if offers_tools(messages, options) else chunks

    def complete(self, prompt: str | Sequence[int], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        """What follows a prompt, a token at a time; see `CompletionModel`. A json_schema is obeyed."""
        if options.tools:
            raise UsageError("tools belong to chats: a prompt is only continued")
        sampler = self._sampler(options)
        ids = self._tokenizer.encode_plain(prompt) if isinstance(prompt, str) else self._checked_ids(prompt)
        if not ids:
            raise RequestRefusedError("the prompt is empty, so nothing can follow it")
        yield from self._streamed(self._row(0, ids, options, sampler, self._grammar(options)), sampler)

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
        grammars: dict[str, Grammar | None] = {}
        rows: dict[int, Row] = {}
        inside: dict[int, str] = {}
        for index, messages in enumerate(conversations):
            said, asked = self._said(messages, options)
            form = json.dumps(asked.json_schema)
            if form not in grammars:
                grammars[form] = self._grammar(asked)
            try:
                inside[index] = self._closing(said)
                ids = self._tokenized(said)
                rows[index] = self._row(index, ids, asked, sampler, grammars[form], inside[index])
            except ModelError as error:
                if not error.concerns_one_item:
                    raise
                yield index, error
        if not rows:
            return
        waiting = list(rows.values())
        longest = max(row.limit for row in waiting)
        prompts = [row.prompt for row in waiting]
        with memory_errors(self._source.spec):
            prefix = self._shared(prompts, longest)
            for batch in self._plan(prompts, longest):
                for row, chunk in self._advance([waiting[n] for n in batch], prefix, sampler):
                    if chunk.finish_reason:
                        reply = separate_reply(row.reply(), starts_inside=bool(inside[row.index]))
                        yield row.index, _told(reply, conversations[row.index], options)

    def count_tokens(self, messages: Sequence[Message], options: Options = Options()) -> int:  # noqa: B008
        """Tokens of the prompt that `stream` would send; see `ContextModel`. Loads no weights."""
        return len(self.prompt_ids(messages, options))

    @cached_property
    def _end_ids(self) -> frozenset[int]:
        """The tokens that end a reply, as `generate` knows them."""
        ids = self._model.generation_config.eos_token_id
        if ids is None:
            ids = self._tokenizer.end_id
        return frozenset([ids] if isinstance(ids, int) else ids or ())

    def _sampler(self, options: Options) -> Sampler:
        return Sampler(sampling_for(options, self._model.generation_config), self._tokenizer.spelling)

    def _said(self, messages: Sequence[Message], options: Options) -> tuple[list[Message], Options]:
        """Messages and options as this engine takes them: with tools in words."""
        if messages and (options.tools or "tools" not in self._tokenizer.template):
            return in_tool_form(messages, options)
        return list(messages), options

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._tokenizer.description, tuple(self._end_ids), self._tokenizer.spell)

    def _grammar(self, options: Options) -> Grammar | None:
        """What the reply has to obey, if anything."""
        return None if options.json_schema is None else self._vocabulary.grammar(options.json_schema)

    def _closing(self, said: Sequence[Message]) -> str:
        """What ends the block of reasoning that the template has opened and the reply goes on in; "" without one."""
        return closing_tag(self._tokenizer.render(said)) if "<think" in self._tokenizer.template else ""

    def prompt_ids(self, messages: Sequence[Message], options: Options = Options()) -> list[int]:  # noqa: B008
        """The token ids that `stream` sends for messages.

        Raises:
            RequestRefusedError: the messages cannot be answered.
        """
        return self._tokenized(self._said(messages, options)[0])

    def _tokenized(self, said: Sequence[Message]) -> list[int]:
        if self.encoder_decoder and said and said[-1]["role"] == "assistant":
            raise RequestRefusedError("an encoder-decoder model cannot continue a reply; end with a user message")
        prompt = self._tokenizer.prompt_ids(said)
        if not prompt:
            raise RequestRefusedError("the messages hold no text, so there is nothing to answer")
        return prompt

    def _row(
        self,
        index: int,
        prompt: Sequence[int],
        options: Options,
        sampler: Sampler,
        grammar: Grammar | None = None,
        closing: str = "",
    ) -> Row:
        """One reply to be made.

        Args:
            grammar: what it obeys.
            closing: text up to which it is free, see `_closing`.
        """
        room = self._check_length(len(prompt), options.max_tokens or 1)
        limit = min(options.max_tokens or DEFAULT_REPLY_TOKENS, room)
        text = TextAssembler(self._tokenizer.decode, options.stop)
        guide = None if grammar is None else grammar.guide(after=closing)
        return Row(index, prompt, limit, text, sampler.generator(), guide)

    def _advance(self, rows: Sequence[Row], prefix: Prefix | None, sampler: Sampler) -> Iterator[tuple[Row, Chunk]]:
        for row in rows:
            row.cached = len(prefix.ids) if prefix else 0
        batch = self._batch([row.prompt for row in rows], max(row.limit for row in rows), prefix)
        lead = [self._start_id] if self.encoder_decoder else None
        return advance(
            batch, rows, sampler, self._end_ids, lambda row: [*(lead if lead is not None else row.prompt), *row.ids]
        )


def _told(reply: Reply, messages: Sequence[Message], options: Options) -> Reply | ModelError:
    """A reply as its reader gets it: with the calls in it read, where tools were offered."""
    if not offers_tools(messages, options):
        return reply
    try:
        return read_reply(reply, calls_in(messages))
    except BadReplyError as error:
        return error
