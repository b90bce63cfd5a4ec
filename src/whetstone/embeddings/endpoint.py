"""Embedders behind any OpenAI-compatible `/embeddings`: `openai:MODEL?base_url=URL&key_env=NAME`.

Whether a text's vector depends on the others of its request is up to the endpoint: OpenAI's own differ in the last
digits even between two equal requests.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from whetstone.embeddings.batches import Batch, in_flight, without_lone_surrogates
from whetstone.endpoints.client import OPENAI_KEY, OPENAI_URL, checked_key, checked_url, open_client, read_key
from whetstone.endpoints.connections import Cancellation, Connection, ConnectionPool
from whetstone.endpoints.failures import Failure, Site, from_exception
from whetstone.endpoints.retries import delay_before_next
from whetstone.errors import BadReplyError, ModelConnectionError, UsageError
from whetstone.specs import ModelSpec

_REQUEST_TOKENS = 100_000  # estimated; OpenAI takes 300,000 in a request
_OPENAI_MAX_TOKENS = 8191  # of all its embedding models
_COMMON_MAX_TOKENS = 512  # of most open models
_EASY = b"abcdefghijklmnopqrstuvwxyz "


class EndpointOptions(BaseModel):
    """Options of `openai:` specs of embedders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        "", description="another endpoint, up to and with /v1; it is sent no key unless key_env is given"
    )
    key_env: str = Field("", description="name of the environment variable that holds the key")
    dimensions: int | None = Field(None, ge=1, description="length of the vectors, where the model lets one choose")
    max_tokens: int | None = Field(
        None,
        ge=8,
        description="most tokens of a text that the model reads; 8191 at OpenAI and 512 elsewhere when not given",
    )
    texts: int = Field(64, ge=1, le=2048, description="most texts in one request")
    encoding: Literal["base64", "float"] = Field("base64", description="how the endpoint is asked to write vectors")
    concurrency: int = Field(4, ge=1, le=256, description="most requests open at once")
    timeout: float = Field(120, gt=0, description="seconds of silence after which a request is given up")
    retries: int = Field(5, ge=0, le=100, description="how often a request that failed in passing is sent again")


def load_endpoint(spec: ModelSpec) -> EndpointEmbedder:
    """The embedder. Opens no connection.

    Raises:
        UsageError: the spec names no model, or an option is wrong.
        LoginError: the key's environment variable is not set.
    """
    options = spec.read_options(EndpointOptions)
    if not spec.named:
        raise UsageError("openai: name an embedding model, for example openai:text-embedding-3-small")
    base_url = checked_url(options.base_url, "openai", "/embeddings") or OPENAI_URL
    elsewhere = base_url != OPENAI_URL
    # Only what decides the vectors: a knowledge base must stay what it is when requests are given more time.
    decisive = {"base_url": base_url if elsewhere else "", "dimensions": str(options.dimensions or "")}
    name = str(ModelSpec("openai", spec.named, options={key: value for key, value in decisive.items() if value}))
    # A key goes only to the endpoint that it was made for, unless the user names it for another one.
    key_env = options.key_env or ("" if elsewhere else OPENAI_KEY)
    site = Site(name, base_url, options.timeout, key_env, read_key(key_env, name))
    return EndpointEmbedder(spec.named, site, options)


class EndpointEmbedder:
    """An embedding model behind an endpoint.

    No tokenizer of it is at hand: `count_tokens` estimates from above (see `estimated_tokens`), and a text is cut
    where the estimate passes `max_tokens`.

    Args:
        model: what the endpoint calls it.
        site: the endpoint.
        options: see `EndpointOptions`.

    Raises:
        LoginError: the key holds characters that no key has.
    """

    def __init__(self, model: str, site: Site, options: EndpointOptions) -> None:
        self.name = site.spec
        self.max_tokens = options.max_tokens or (
            _OPENAI_MAX_TOKENS if site.base_url == OPENAI_URL else _COMMON_MAX_TOKENS
        )
        self._model = model
        self._site = checked_key(site)
        self._options = options
        self._pool = ConnectionPool(options.concurrency, functools.partial(open_client, site))
        self._ever_answered = False

    @cached_property
    def dimension(self) -> int:
        """Length of a vector: as asked for, or learnt by embedding one word."""
        return self._options.dimensions or self._asked(["dimension"], Cancellation()).shape[1]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Estimated tokens of each text, those beyond `max_tokens` included."""
        return [estimated_tokens(text) for text in texts]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension), in the order of `texts`.

        Args:
            progress: told `(done, total)` texts after each request.

        Raises:
            ModelError: one of its kinds, when the endpoint fails and asking again did not help. The other requests
                are stopped.
        """
        vectors: npt.NDArray[np.float32] | None = None
        done = 0
        cancellations: list[Cancellation] = []
        pool = ThreadPoolExecutor(self._options.concurrency, thread_name_prefix="whetstone-embed")

        def compute(batch: list[str]) -> npt.NDArray[np.float32]:
            cancellation = Cancellation()
            cancellations.append(cancellation)
            return self._asked(batch, cancellation)

        try:
            for indices, rows in in_flight(pool, self._options.concurrency, compute, self._batches(texts)):
                if vectors is None:
                    self.__dict__.setdefault("dimension", rows.shape[1])  # learnt from the first answer
                    vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
                if rows.shape[1] != self.dimension:
                    raise BadReplyError(
                        f"{self.name}: {self._site.base_url} sent vectors of {rows.shape[1]} numbers instead of "
                        f"{self.dimension}"
                    )
                vectors[indices] = rows
                done += len(indices)
                if progress is not None:
                    progress(done, len(texts))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for cancellation in cancellations:
                self._pool.cancel(cancellation)
        return np.empty((0, self.dimension), dtype=np.float32) if vectors is None else vectors

    def close(self) -> None:
        """Close every connection. Closing twice is harmless."""
        self._pool.close()

    def _batches(self, texts: Sequence[str]) -> Iterator[Batch[list[str]]]:
        """Texts of like length together, the shortest first."""
        whole = [_cut(without_lone_surrogates(text), self.max_tokens) for text in texts]
        tokens = [estimated_tokens(text) for text in whole]
        batch: list[int] = []
        held = 0
        for index in sorted(range(len(whole)), key=tokens.__getitem__):
            if batch and (len(batch) == self._options.texts or held + tokens[index] > _REQUEST_TOKENS):
                yield batch, [whole[one] for one in batch]
                batch, held = [], 0
            batch.append(index)
            held += tokens[index]
        if batch:
            yield batch, [whole[one] for one in batch]

    def _asked(self, texts: list[str], cancellation: Cancellation) -> npt.NDArray[np.float32]:
        """Unit vectors of one request's texts; asked again where that may help."""
        with self._pool.connection(cancellation) as connection:
            for attempt in itertools.count(1):
                if connection is None or cancellation.requested:
                    break
                result = self._attempt(connection, texts)
                if not isinstance(result, Failure):
                    self._ever_answered = True
                    return result
                self._ever_answered = self._ever_answered or not result.unreachable
                delay = delay_before_next(result, attempt, self._options.retries, self._ever_answered)
                if delay is None:
                    times = f" ({attempt} attempts)" if attempt > 1 else ""
                    raise type(result.error)(f"{result.error}{times}")
                cancellation.wait(delay)
        raise ModelConnectionError(f"{self.name}: the request was stopped")

    def _attempt(self, connection: Connection, texts: list[str]) -> npt.NDArray[np.float32] | Failure:
        import httpx2
        import openai

        try:
            answer = connection.client.embeddings.with_raw_response.create(
                model=self._model,
                input=[text or " " for text in texts],  # OpenAI refuses an empty text
                encoding_format=self._options.encoding,
                dimensions=self._options.dimensions or openai.omit,
            )
            return _read(json.loads(answer.http_response.content), len(texts), self._site)
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, OSError, ValueError) as error:
            return from_exception(error, self._site)
        except BadReplyError as error:
            return Failure(error)


def _read(answer: Any, count: int, site: Site) -> npt.NDArray[np.float32]:
    """The unit vectors of an answer, shape (count, dimension), in the order of the texts.

    Raises:
        BadReplyError: it does not hold one finite vector for each text.
    """
    try:
        entries = {int(entry["index"]): _numbers(entry["embedding"]) for entry in answer["data"]}
        vectors = np.stack([entries[index] for index in range(count)])
    except (KeyError, TypeError, ValueError) as error:
        raise BadReplyError(
            f"{site.spec}: {site.base_url} did not answer with one vector for each of {count} texts "
            f"({type(error).__name__}: {error}); check that it is an embedding model"
        ) from error
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and norms.all()):
        raise BadReplyError(f"{site.spec}: {site.base_url} sent a vector that has no direction (zeros, or no numbers)")
    return np.asarray(vectors / norms, dtype=np.float32)


def _numbers(embedding: Any) -> npt.NDArray[np.float64]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float64)
    return np.array(embedding, dtype=np.float64).reshape(len(embedding))


def estimated_tokens(text: str) -> int:
    """Tokens of a text for a model whose tokenizer is not at hand, erring above for any natural language.

    A token for three small letters or blanks of ASCII (English has four to five), for each of its other characters,
    and for two bytes of all others in UTF-8 (so 1.5 for a syllable of Hangul); two for the marks around a text.
    """
    data = text.encode("utf-8", "surrogatepass")
    rest = data.translate(None, _EASY)
    others = sum(byte >= 128 for byte in rest)
    return 2 + -(-(len(data) - len(rest)) // 3) + (len(rest) - others) + -(-others // 2)


def _cut(text: str, most: int) -> str:
    """The longest beginning of a text with at most `most` estimated tokens."""
    if estimated_tokens(text) <= most:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if estimated_tokens(text[:middle]) <= most else (low, middle - 1)
    return text[:low]
