"""One request to an endpoint, and what came of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from whetstone.endpoints.connections import Connection
from whetstone.endpoints.failures import Failure, Site, from_answer, from_exception
from whetstone.errors import BadReplyError, ModelConnectionError
from whetstone.models.openai_wire import Assembler
from whetstone.types import Chunk

GRACE = 0.5  # seconds that an endpoint has to end a reply that it said is complete


class Attempt:
    """One request.

    Attributes:
        failure: after `chunks` has ended, why the reply is not complete; None when it is.
    """

    def __init__(self, connection: Connection, site: Site) -> None:
        self.failure: Failure | None = None
        self._connection = connection
        self._site = site
        self._assembler = Assembler()

    def chunks(self, body: dict[str, Any]) -> Iterator[Chunk]:
        """The reply's chunks, as far as they come. Raises nothing for a failed request: see `failure`."""
        import httpx2
        import openai

        try:
            with self._request(body) as response:
                yield from self._read(response.http_response)
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, OSError, ValueError) as error:
            self.failure = from_exception(error, self._site)
        if self._assembler.finished:  # what goes wrong after the end does not matter
            self.failure = None
            yield self._assembler.finish()

    def _request(self, body: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
        """The answer to a chat or, where there are no messages, to a plain prompt."""
        client = self._connection.client
        asked: contextlib.AbstractContextManager[Any]
        if "messages" in body:
            asked = client.chat.completions.with_streaming_response.create(
                model=body["model"], messages=body["messages"], stream=True, extra_body=body
            )
        else:
            asked = client.completions.with_streaming_response.create(
                model=body["model"], prompt=body["prompt"], stream=True, extra_body=body
            )
        return asked

    def _read(self, response: Any) -> Iterator[Chunk]:
        import httpx2

        self.failure = self._check_kind(response)
        if self.failure is not None:
            return
        events = iter(httpx2.EventSource(response))
        for event in events:
            if event.data.startswith("[DONE]"):
                if not self._assembler.finished:
                    self._assembler.finished = self._assembler.any_choice
                # To its end, so that the connection can be used again (the SDK's own stream closes it each time).
                with self._connection.shut_after(GRACE), contextlib.suppress(httpx2.HTTPError):
                    for _ in events:
                        pass
                break
            data = json.loads(event.data)
            if isinstance(data, dict) and (data.get("error") or data.get("object") == "error"):
                self.failure = from_answer(None, data, self._site)
                return
            yield from self._assembler.feed(data)
        if not self._assembler.finished:
            self.failure = self._unfinished()

    def _unfinished(self) -> Failure:
        if self._assembler.any_event and not self._assembler.any_choice:
            return Failure(BadReplyError(f"{self._site.spec}: {self._site.base_url} sent a reply without choices"))
        return Failure(
            ModelConnectionError(f"{self._site.spec}: {self._site.base_url} broke off before the end of its reply"),
            passing=True,
        )

    def _check_kind(self, response: Any) -> Failure | None:
        """A failure when the answer is no event stream at all, though its status is 200."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return None
        text = response.read().decode("utf-8", "replace")
        with contextlib.suppress(ValueError):
            body = json.loads(text)
            if isinstance(body, dict) and body.get("error"):
                return from_answer(None, body, self._site)
        start = self._site.hide(" ".join(text.split())[:100])
        return Failure(
            BadReplyError(
                f"{self._site.spec}: {self._site.base_url} answered {kind or 'something without a type'} instead of a "
                f"stream of events, beginning {start!r}; check base_url, which usually ends in /v1"
            )
        )
