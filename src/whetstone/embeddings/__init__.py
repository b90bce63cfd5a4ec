"""Sentence embeddings: text in, unit vectors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from whetstone.registry import Registry
from whetstone.specs import parse_spec

EMBEDDERS = Registry("embedder", {"minilm": "whetstone.embeddings.minilm:MiniLM"}, group="whetstone.embeddings")

EMBEDDING_PROVIDERS = Registry(
    "kind of embedder",
    {
        "openai": "whetstone.embeddings.endpoint:load_endpoint",
        "st": "whetstone.embeddings.sentence_transformer:load_sentence_transformer",
    },
    group="whetstone.embedding_providers",
)
"""What may stand before the colon of a spec: a function from a parsed spec to an embedder."""

__all__ = ["EMBEDDERS", "EMBEDDING_PROVIDERS", "Embedder", "load_embedder"]


class Embedder(Protocol):
    """Something that turns texts into vectors.

    Attributes:
        name: which model and revision; vectors of different names are never mixed.
        dimension: length of a vector.
        max_tokens: tokens of a text beyond this are not read.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int: ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, those beyond `max_tokens` included."""
        ...

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension); `progress` is told `(done, total)` texts.

        A text's vector does not depend on the other texts. All or nothing: whoever has very many texts gives some
        hundreds at a time, and keeps what comes back.
        """
        ...


def load_embedder(spec: str = "minilm") -> Embedder:
    """The embedder that a spec names: "minilm", "st:NAME_OR_FOLDER", "openai:MODEL?base_url=URL".

    Raises:
        UsageError: an option is wrong.
        UnknownNameError: no such embedder.
        MissingPackageError: its weights or its library are not installed.
        ModelError: its files cannot be used, or its endpoint's key is not set.
    """
    embedder: Embedder
    if ":" in spec:
        parsed = parse_spec(spec)
        embedder = EMBEDDING_PROVIDERS.resolve(parsed.provider)(parsed)
    else:
        embedder = EMBEDDERS.resolve(spec)()
    return embedder
