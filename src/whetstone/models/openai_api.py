"""The client for every endpoint that speaks OpenAI's chat completions, hosted or in this process."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from whetstone.endpoints.client import checked_key, open_client
from whetstone.endpoints.connections import Cancellation, ConnectionPool
from whetstone.endpoints.failures import Site
from whetstone.endpoints.retries import delay_before_next
from whetstone.errors import ModelConnectionError, RequestRefusedError, UsageError
from whetstone.models.base import ReplyStream
from whetstone.models.openai_attempt import Attempt
from whetstone.models.openai_wire import MaxTokensField, completion_body, request_body
from whetstone.models.reasoning import separate_reasoning
from whetstone.types import Chunk, Message, ModelIdentity, Options

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class OpenAIModel:
    """A chat model behind an OpenAI-compatible endpoint.

    Args:
        identity: which model this is; its `name` is what the endpoint is asked for.
        base_url: the endpoint, up to and with `/v1`.
        api_key: its key; any text for an endpoint that needs none.
        key_env: the environment variable that the key came from, for messages.
        concurrency: most requests open at once, those that wait to be retried included.
        timeout: seconds of silence after which a request is given up. Connecting has at most 10 of them.
        retries: how often a request that failed in passing is sent again, as long as no part of its reply has arrived.
        extra_body: fields added to every request.
        max_tokens_field: what the endpoint calls `Options.max_tokens`.
        continue_body: fields that make the endpoint continue a last message of the assistant's; None where it cannot.
        unsupported: names of `Options` that the endpoint refuses or silently ignores: asking for one is an error.
        omit: names of `Options` that are never sent, because the model refuses them (reasoning models: temperature).

    Raises:
        LoginError: the key holds characters that no key has.
    """

    def __init__(
        self,
        *,
        identity: ModelIdentity,
        base_url: str,
        api_key: str,
        key_env: str = "",
        concurrency: int = 8,
        timeout: float = 120,
        retries: int = 5,
        extra_body: Mapping[str, Any] | None = None,
        max_tokens_field: MaxTokensField = "max_tokens",
        continue_body: Mapping[str, Any] | None = _NOTHING,
        unsupported: Collection[str] = (),
        omit: Collection[str] = (),
    ) -> None:
        self.identity = identity
        self.concurrency = concurrency
        self._site = checked_key(Site(identity.spec, base_url, timeout, key_env, api_key))
        self._retries = retries
        self._extra_body = dict(extra_body or {})
        self._max_tokens_field = max_tokens_field
        self._continue_body = continue_body
        self._unsupported = frozenset(unsupported) - frozenset(omit)
        self._omit = frozenset(omit)
        self._pool = ConnectionPool(concurrency, functools.partial(open_client, self._site))
        self._ever_answered = False

    def __repr__(self) -> str:
        return f"OpenAIModel({self.identity.spec!r})"

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
        """The reply, piece by piece; see `ChatModel`. The request is sent when the first chunk is asked for.

        Raises:
            UsageError: an option is set that this endpoint or this model does not take.
            ModelError: one of its kinds. A stream that breaks off after text has arrived raises ModelConnectionError.
        """
        options = self._checked(options)
        body = {
            **request_body(self.identity.name, messages, options, self._max_tokens_field),
            **self._extra_body,
        }
        if messages and messages[-1]["role"] == "assistant":
            if self._continue_body is None:
                raise RequestRefusedError(f"{self.identity.spec}: this endpoint cannot continue an assistant's message")
            body.update(self._continue_body)
        stream = self._asked(body)
        # Some servers (ollama) leave the model's own tags in the text.
        return ReplyStream(separate_reasoning(stream), stream.close)

    def complete(
        self,
        prompt: str | Sequence[int],
        options: Options = Options(),  # noqa: B008
        *,
        extra_body: Mapping[str, Any] = _NOTHING,
    ) -> ReplyStream:
        """What follows a prompt, from the endpoint's /completions; see `CompletionModel`.

        Which spellings of control tokens are read in a text, and whether a BOS is added, is up to the endpoint.

        Args:
            prompt: text or token ids.
            options: tools and json_schema belong to chats.
            extra_body: fields added to this request.

        Raises:
            UsageError: an option is set that a plain completion does not take.
            ModelError: one of its kinds; where the endpoint has no /completions, the one that its answer stands for.
        """
        if options.tools or options.json_schema is not None:
            raise UsageError(f"{self.identity.spec}: tools and json_schema belong to chats, not to plain completions")
        body = completion_body(self.identity.name, prompt, self._checked(options))
        return self._asked({**body, **self._extra_body, **extra_body})

    def _checked(self, options: Options) -> Options:
        """The options that are sent.

        Raises:
            UsageError: one is set that this endpoint or this model does not take.
        """
        for name in sorted(options.model_fields_set & self._unsupported):
            if getattr(options, name) not in (None, ()):
                raise UsageError(
                    f"{self.identity.spec}: this endpoint does not support {name}; leave it out, or add omit={name}"
                )
        if not self._omit:
            return options
        return options.model_copy(update={name: Options.model_fields[name].default for name in self._omit})

    def _asked(self, body: dict[str, Any]) -> ReplyStream:
        cancellation = Cancellation()
        return ReplyStream(self._chunks(body, cancellation), functools.partial(self._pool.cancel, cancellation))

    def close(self) -> None:
        """Stop every stream and close every connection."""
        self._pool.close()

    def _chunks(self, body: dict[str, Any], cancellation: Cancellation) -> Generator[Chunk]:
        with self._pool.connection(cancellation) as connection:
            if connection is None:
                return
            for attempt in itertools.count(1):
                attempted = Attempt(connection, self._site)
                # No `yield from`: the text that arrived is counted for the message below.
                characters, began = 0, False
                for chunk in attempted.chunks(body):
                    characters, began = characters + len(chunk.text), True
                    yield chunk
                failure = attempted.failure
                self._ever_answered = self._ever_answered or failure is None or not failure.unreachable
                if failure is None:
                    return
                if cancellation.requested:
                    if cancellation.model_closed:
                        raise ModelConnectionError(f"{self.identity.spec}: the model was closed while it answered")
                    return
                if began:
                    raise type(failure.error)(f"{failure.error} (after {characters} characters of the reply)")
                delay = delay_before_next(failure, attempt, self._retries, self._ever_answered)
                if delay is None:
                    times = f" ({attempt} attempts)" if attempt > 1 else ""
                    raise type(failure.error)(f"{failure.error}{times}")
                if cancellation.wait(delay):
                    return
