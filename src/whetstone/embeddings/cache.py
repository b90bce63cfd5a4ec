"""Vectors kept on disk, so that a text is embedded once: by the run before, by another technique, before the kill."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whetstone.embeddings import Embedder
from whetstone.storage.kept_vectors import KeptVectors, cache_file


class CachedEmbedder:
    """An embedder that looks first into `WHETSTONE_HOME/cache/embeddings`, one SQLite file for each embedder name.

    A vector does not depend on the other texts of its call (see `minilm`), so one from the cache equals a fresh one.
    The file may be deleted at any time.

    Args:
        embedder: what embeds the texts that are not there yet.
        save_every: texts embedded between commits: what a kill can cost.
    """

    def __init__(self, embedder: Embedder, save_every: int = 512) -> None:
        self._embedder = embedder
        self._save_every = save_every
        self.name = embedder.name
        self.dimension = embedder.dimension
        self.max_tokens = embedder.max_tokens

    @property
    def path(self) -> Path:
        """The cache file of this embedder."""
        return cache_file("embeddings", self.name)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, see `Embedder`."""
        return self._embedder.count_tokens(texts)

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension), in the order of `texts`.

        Args:
            progress: told `(done, total)` distinct texts, those from the cache included.

        Raises:
            StorageError: the cache cannot be read or written.
        """
        positions: dict[bytes, list[int]] = {}
        for index, text in enumerate(texts):
            key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
            positions.setdefault(key, []).append(index)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        with KeptVectors.opened(self.path) as kept:
            missing = set(positions)
            for key, vector in kept.look_up(list(positions)):
                vectors[positions[key]] = vector
                missing.discard(key)
            todo = [key for key in positions if key in missing]
            known = len(positions) - len(todo)
            # By length, so that each stretch between two commits fills its batches.
            todo.sort(key=lambda key: len(texts[positions[key][0]]))
            for start in range(0, len(todo), self._save_every):
                keys = todo[start : start + self._save_every]
                fresh = self._embedder.embed(
                    [texts[positions[key][0]] for key in keys], _counted_from(known + start, len(positions), progress)
                )
                for key, vector in zip(keys, fresh, strict=True):
                    vectors[positions[key]] = vector
                kept.keep(zip(keys, fresh, strict=True))
        return vectors


def _counted_from(
    done: int, total: int, progress: Callable[[int, int], None] | None
) -> Callable[[int, int], None] | None:
    """Progress on a part, told as progress on the whole."""
    return None if progress is None else lambda part, _: progress(done + part, total)
