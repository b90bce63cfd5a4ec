"""What leaks: texts of one set that are alike those of another, and texts that state their own price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from whetstone.curation.minhash import Signatures, signatures
from whetstone.curation.pairs import compare, meetings
from whetstone.curation.words import as_lists, hashed_terms
from whetstone.embeddings import Embedder

# From this cosine on, two texts are about the same thing.
LOOKS_ALIKE = 0.95


@dataclass(frozen=True)
class Leak:
    """A row of one set that is alike a row of the other.

    Attributes:
        train, test: positions in the sets.
        similarity: share of the terms and pairs of terms that they have in common, or the cosine of embeddings.
        kind: "text" or "embedding".
    """

    train: int
    test: int
    similarity: float
    kind: str


def leaks_by_text(train: pl.Series, test: pl.Series) -> list[Leak]:
    """Every test text that a training text is alike, with the one that is most alike it; the most alike first."""
    if train.is_empty() or test.is_empty():
        return []
    terms, starts = hashed_terms(pl.concat([train.alias("text"), test.alias("text")]).fill_null(""))
    every = signatures(terms, starts)
    known, unknown = (
        Signatures(every.whole[part], every.keys[part], every.slots[part])
        for part in (slice(0, len(train)), slice(len(train), None))
    )
    first, second = meetings(known, unknown)
    pairs = compare(as_lists((terms >> np.uint64(32)).astype(np.uint32), starts), first, second + len(train))
    chosen = np.flatnonzero(pairs.alike)
    found: dict[int, Leak] = {}
    for at in chosen[np.argsort(-pairs.similarity[chosen], kind="stable")].tolist():
        row = int(second[at])
        found.setdefault(row, Leak(int(first[at]), row, float(pairs.similarity[at]), "text"))
    return list(found.values())


def leaks_by_embedding(
    train: Sequence[str],
    test: Sequence[str],
    embedder: Embedder,
    progress: Callable[[int, int], None] | None = None,
) -> list[Leak]:
    """Every test text with the training text that is nearest it, where their cosine is 0.95 or more."""
    if not train or not test:
        return []
    vectors = embedder.embed([*train, *test], progress)
    cosines = vectors[len(train) :] @ vectors[: len(train)].T
    nearest = cosines.argmax(axis=1)
    found = [
        Leak(int(place), row, float(cosines[row, place]), "embedding")
        for row, place in enumerate(nearest)
        if cosines[row, place] >= LOOKS_ALIKE
    ]
    return sorted(found, key=lambda leak: -leak.similarity)
