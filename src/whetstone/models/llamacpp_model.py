"""A GGUF model that llama.cpp runs inside this process."""

from __future__ import annotations

import copy
import hashlib
import re
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from whetstone.errors import (
    ModelError,
    ModelFileError,
    RequestRefusedError,
    WhetstoneWarning,
)
from whetstone.models.base import GREEDY, NextToken, ReplyStream
from whetstone.models.llamacpp_logits import next_tokens
from whetstone.models.llamacpp_prompt import Prompts, native_tool_choice
from whetstone.models.llamacpp_revision import revision
from whetstone.models.llamacpp_server import ENGINE, SERVERS, LlamaServer, ServerConfig, too_long
from whetstone.models.llamacpp_trial import ensure_loads, try_to_load
from whetstone.models.openai_api import OpenAIModel
from whetstone.models.reasoning import opens_reasoning, separate_reasoning
from whetstone.models.spec import ModelSpec
from whetstone.models.tool_form import calls_in, in_tool_form, offers_tools, read_form
from whetstone.tokens.gguf_file import GgufHeader
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.types import Chunk, Message, ModelIdentity, Options

DAY = 86400.0  # seconds; a long prompt on a slow machine takes hours, and a server in this process does not get lost
_RANDOM_SEED = 2**32 - 1  # to llama.cpp this seed means: choose one
_SIZES = re.compile(r"request \((\d+) tokens\) exceeds the available context size \((\d+) tokens\)")


@dataclass(frozen=True)
class _Running:
    """A model that is loaded.

    Attributes:
        server: runs it.
        chats: clients of the server, by whether they let it reuse what a slot holds.
        prompts: makes its prompts.
    """

    server: LlamaServer
    chats: Mapping[bool, OpenAIModel]
    prompts: Prompts


class LlamaCppModel:
    """A GGUF model, run by llama.cpp inside this process. It is loaded when it is first asked something.

    Args:
        spec: the spec it was named by.
        header: what its file says of itself.
        files: the file; all parts of a split model, the first one first; then that of an adapter.
        config: how to run it.
        try_first: load it in a process of its own before it is loaded here for the first time.
    """

    def __init__(
        self,
        spec: ModelSpec,
        header: GgufHeader,
        files: Sequence[Path],
        config: ServerConfig,
        *,
        try_first: bool = True,
    ) -> None:
        self._spec = spec
        self._header = header
        self._files = files
        self._config = config
        self._try_first = try_first
        self._identity: ModelIdentity | None = None
        self._starting = threading.Lock()
        self._running: _Running | None = None
        # What the slots may still hold: messages, or token ids.
        self._recent: deque[list[Message] | tuple[int, ...]] = deque(maxlen=config.concurrency + 1)
        self._release: Any = None
        self._closed = False

    def __repr__(self) -> str:
        return f"LlamaCppModel({str(self._spec)!r})"

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is. The file is hashed the first time that it is met."""
        if self._identity is None:
            template = self._header.chat_template
            self._identity = ModelIdentity(
                spec=str(self._spec),
                engine=ENGINE,
                name=self._header.path.stem,
                revision=revision(self._files),
                template=hashlib.sha256(template.encode()).hexdigest() if template else "",
            )
        return self._identity

    @property
    def concurrency(self) -> int:
        """Streams worth having open."""
        return self._config.concurrency

    @property
    def context_length(self) -> int:
        """Tokens of prompt and reply together; every slot holds as many."""
        return self._config.context

    @property
    def sends_reasoning_back(self) -> bool:
        """Whether the chat template reads the `reasoning_content` of earlier answers."""
        return "reasoning_content" in self._header.chat_template

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
        """The reply, piece by piece; see `ChatModel`. A last message of the assistant's is continued.

        Tools that the chat template has no place for are offered in the system message, and the reply is constrained to
        words or a call (see `tool_form`).

        Raises:
            RequestRefusedError: there are no messages, or one holds something else than text.
            UsageError: `tool_choice` names a tool that is not there.
            ModelError: one of its kinds.
        """
        running, said, asked = self._prepared(messages, options)
        prompt = running.prompts.prepare(said, asked)
        if prompt.ids is None:
            chat = self._chat_for(copy.deepcopy(prompt.messages), options)
            stream = self._spoken(chat.stream(prompt.messages, _seeded(asked)))
        else:
            plain = self._continued(prompt.ids, asked)
            stream = ReplyStream(separate_reasoning(plain, starts_inside=opens_reasoning(prompt.text)), plain.close)
        if not asked.tools and offers_tools(messages, options):
            return ReplyStream(read_form(stream, calls_in(messages)), stream.close)
        return stream

    def complete(self, prompt: str | Sequence[int], options: Options = Options()) -> ReplyStream:  # noqa: B008
        """What follows a prompt, piece by piece; see `CompletionModel`. A json_schema is obeyed.

        Raises:
            RequestRefusedError: the prompt is empty, or holds an id that the model does not have.
            UsageError: tools are given: they belong to chats.
            ModelError: one of its kinds.
        """
        if isinstance(prompt, str):
            ids = tuple(self._started().prompts.encode(prompt, around=True))
        else:
            ids = self._checked_ids(prompt)
        if not ids:
            raise RequestRefusedError(f"{self._spec}: the prompt is empty, so nothing can follow it")
        return self._continued(ids, options)

    def render(self, messages: Sequence[Message], options: Options = Options()) -> str:  # noqa: B008
        """The text that the chat template makes of messages, up to where the reply begins.

        `encode(text, special=True)` of it gives the very ids that the model is sent, save where a message spells a
        control token: that shows as itself, and is sent as text. `prompt_ids` gives the ids of any.
        """
        running, said, asked = self._prepared(messages, options)
        prompt = running.prompts.prepare(said, asked)
        return prompt.text if prompt.ids is not None else running.prompts.apply_template(prompt.messages, asked)

    def prompt_ids(self, messages: Sequence[Message], options: Options = Options()) -> list[int]:  # noqa: B008
        """The token ids that `stream` sends for messages."""
        running, said, asked = self._prepared(messages, options)
        prompt = running.prompts.prepare(said, asked)
        if prompt.ids is not None:
            return list(prompt.ids)
        return running.prompts.encode(running.prompts.apply_template(prompt.messages, asked), special=True)

    def count_tokens(self, messages: Sequence[Message], options: Options = Options()) -> int:  # noqa: B008
        """Tokens of the prompt that `stream` would send; see `ContextModel`."""
        return len(self.prompt_ids(messages, options))

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`, see `TokenizingModel`."""
        return self._started().prompts.encode(text, special=special)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, see `TokenizingModel`."""
        return self._started().prompts.decode(self._checked_ids(ids))

    def next_token(self, prompts: Sequence[Sequence[int]], top: int | None = None) -> Iterator[NextToken]:
        """Log-probabilities of the token after each prompt, see `LogitModel`.

        Prompts are worked on in their order. The last digits depend on what was asked before: a prompt that adds a
        single token to the one before it is rounded otherwise than one of which more has to be computed.

        llama.cpp sums probabilities in single precision, which is off by some 1e-4 over a whole vocabulary; with
        `top` None the sum is made again in double precision. A probability too small for single precision is 0.

        Raises:
            ContextTooLongError: a prompt does not fit.
            RequestRefusedError: a prompt is empty, or holds an id that the model does not have.
        """
        server = self._started().server
        # Each is looked at when its turn comes: what may be reused depends on what was asked before.
        asked = ((ids, self._may_reuse(ids, GREEDY)) for ids in map(self._checked_ids, prompts))
        return next_tokens(server, asked, top, sampled=self.encode("a")[-1])

    @cached_property
    def vocabulary(self) -> Tokenizer:
        """The tokenizer that the file's metadata describe."""
        return load_tokenizer(str(self._header.path))

    def close(self) -> None:
        """Stop open streams and free the model's memory. It cannot be used afterwards."""
        with self._starting:
            self._closed = True
            if self._release is not None:
                self._release()

    def _checked_ids(self, ids: Sequence[int]) -> tuple[int, ...]:
        vocabulary = self._header.lengths.get("tokenizer.ggml.tokens", 0)
        if not all(0 <= token < vocabulary for token in ids):
            raise RequestRefusedError(f"{self._spec}: it has only the token ids 0 to {vocabulary - 1}")
        return tuple(int(token) for token in ids)

    def _may_reuse(self, asked: list[Message] | tuple[int, ...], options: Options) -> bool:
        """Whether it is safe to take the beginning of what is asked from a slot.

        Of a prompt that a slot holds as a whole, all but one token would be taken from there, and a token computed
        alone is rounded otherwise than among others: a question asked again would get another answer. That matters to
        greedy and seeded replies only. Whether messages and token ids are the same prompt is not known here.
        """
        with self._starting:
            may = not options.deterministic or all(
                type(asked) is type(other) and asked != other[: len(asked)] for other in self._recent
            )
            self._recent.append(asked)
            return may

    def _prepared(self, messages: Sequence[Message], options: Options) -> tuple[_Running, list[Message], Options]:
        """The loaded model, and messages and options as it takes them."""
        self._check_request(messages)
        options = native_tool_choice(options)
        said = list(messages)
        if "tools" not in self._header.chat_template:
            said, options = in_tool_form(messages, options)
        return self._started(), said, options

    def _chat_for(self, asked: list[Message] | tuple[int, ...], options: Options) -> OpenAIModel:
        return self._started().chats[self._may_reuse(asked, options)]

    def _continued(self, ids: tuple[int, ...], options: Options) -> ReplyStream:
        extra = {} if options.json_schema is None else {"json_schema": options.json_schema}
        asked = _seeded(options).model_copy(update={"json_schema": None})
        return self._spoken(self._chat_for(ids, options).complete(ids, asked, extra_body=extra))

    def _started(self) -> _Running:
        with self._starting:
            if self._closed:
                raise RuntimeError("the model was closed; load it again to use it")
            if self._running is None:
                server = self._acquire()
                chats = {cached: self._chat(server, cached) for cached in (True, False)}
                self._running = _Running(server, chats, Prompts(server, self._header))
                # Also when the model is forgotten without being closed, and when the interpreter exits.
                self._release = weakref.finalize(self, _close, server, chats)
            return self._running

    def _chat(self, server: LlamaServer, cached: bool) -> OpenAIModel:
        return OpenAIModel(
            identity=self.identity,
            base_url=f"{server.url}/v1",
            api_key=server.api_key,
            concurrency=self.concurrency,
            timeout=DAY,
            # The server closes a connection after a stream without saying so, now and then just when the next request
            # is sent on it.
            retries=3,
            extra_body={"cache_prompt": cached},
        )

    def _acquire(self) -> LlamaServer:
        if self._try_first:
            ensure_loads(self._config, self.identity.revision)
        try:
            return SERVERS.acquire(self._config)
        except RuntimeError as error:
            try_to_load(self._config)  # to hear why
            raise ModelFileError(f"llama.cpp cannot load {self._header.path} just now: {error}") from None

    def _check_request(self, messages: Sequence[Message]) -> None:
        if not messages:
            raise RequestRefusedError(f"{self._spec}: there is no message to answer")
        for message in messages:
            content = message.get("content")
            for part in content if isinstance(content, list) else ():
                if part.get("type") != "text":
                    raise RequestRefusedError(
                        f"{self._spec}: it reads text only, and a message holds {part.get('type')}"
                    )
        if not self._header.chat_template:
            warnings.warn(
                f"{self._spec}: the file holds no chat template, so that messages are sent in ChatML form, which the "
                "model may never have seen",
                WhetstoneWarning,
                stacklevel=4,
            )

    def _spoken(self, stream: ReplyStream) -> ReplyStream:
        return ReplyStream(self._speaking_of_the_model(stream, f"{self._started().server.url}/v1"), stream.close)

    def _speaking_of_the_model(self, stream: ReplyStream, url: str) -> Generator[Chunk]:
        """The stream, with errors that tell what to do, and nothing of a server's address."""
        try:
            yield from stream
        except ModelError as error:
            sizes = _SIZES.search(str(error))
            if sizes is not None:
                raise too_long(str(self._spec), int(sizes[1]), int(sizes[2])) from None
            raise type(error)(str(error).replace(url, ENGINE)) from None


def _seeded(options: Options) -> Options:
    """The options with a seed that llama.cpp takes for one."""
    return options if options.seed is None else options.model_copy(update={"seed": options.seed % _RANDOM_SEED})


def _close(server: LlamaServer, chats: dict[bool, OpenAIModel]) -> None:
    for chat in chats.values():  # first: a stream that stays open would hold the server up
        chat.close()
    SERVERS.release(server)
