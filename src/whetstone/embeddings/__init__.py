"""Sentence embeddings: text in, unit vectors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from whetstone.registry import Registry

EMBEDDERS = Registry("embedder", {"minilm": "whetstone.embeddings.minilm:MiniLM"}, group="whetstone.embeddings")

__all__ = ["EMBEDDERS", "Embedder", "load_embedder"]


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

        A text's vector does not depend on the other texts.
        """
        ...


def load_embedder(name: str = "minilm") -> Embedder:
    """The embedder of that name.

    Raises:
        UnknownNameError: no such embedder.
        MissingPackageError: its weights are not installed.
    """
    embedder: Embedder = EMBEDDERS.resolve(name)()
    return embedder
