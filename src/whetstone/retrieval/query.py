"""A question taken apart for the search: its vector, and the weight of its terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from whetstone.embeddings import Embedder
from whetstone.errors import UsageError
from whetstone.retrieval.coverage import rarities
from whetstone.retrieval.store import Store
from whetstone.retrieval.terms import query_terms

__all__ = ["Query", "analysed"]

_MOST_TERMS = 48
"""Terms that are looked for: the rarest. Each costs a list of the keyword index, and what is common tells little."""

_MOST_SEEN = 20_000
"""Chunks that the keyword list may have to score, counted once for each term. Common terms are left to `coverage`, that
looks at candidates only, so that a question costs no more as the knowledge base grows."""

_MOST_PIECES = 64
"""Pieces of a long question that are embedded: 16,384 tokens with MiniLM, about two seconds."""


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        text: the question.
        vector: of length 1; None where only words are looked for.
        rarity: weight of each term that the knowledge base has, the rarest first.
        words: what the keyword list is asked for, as it stands in the question; "" where no term is known.
    """

    text: str
    vector: npt.NDArray[np.float32] | None
    rarity: Mapping[str, float]
    words: str


def analysed(store: Store, embedder: Callable[[], Embedder] | None, question: str) -> Query:
    """Take a question apart.

    Args:
        store: tells how rare the terms are.
        embedder: gives the one that made the store's vectors; None where only words are looked for.
        question: of any length that can be embedded in `_MOST_PIECES` pieces.

    Raises:
        UsageError: there is nothing to look for, or it is longer than that.
        StorageError: the store cannot be read.
    """
    if not question.strip():
        raise UsageError("There is nothing to search for: write a question or a few words")
    terms = query_terms(question)
    frequencies = store.document_frequency(terms)
    rarity = rarities(terms, frequencies, store.count())
    rarest = sorted(rarity, key=lambda term: -rarity[term])[:_MOST_TERMS]
    chunks_with = dict(zip(terms, frequencies, strict=True))
    reached = accumulate(chunks_with[term] for term in rarest)
    wanted = {term for term, seen in zip(rarest, reached, strict=True) if seen <= _MOST_SEEN} or set(rarest[:1])
    words = [word for word in dict.fromkeys(question.split()) if not wanted.isdisjoint(query_terms(word))]
    vector = _vector(embedder(), question) if embedder is not None else None
    return Query(question, vector, {term: rarity[term] for term in rarest}, " ".join(words))


def _vector(embedder: Embedder, question: str) -> npt.NDArray[np.float32]:
    """The vector of a question; of one that is longer than the embedder reads, the mean of its pieces' vectors."""
    tokens = embedder.count_tokens([question])[0]
    if tokens <= embedder.max_tokens:
        return np.asarray(embedder.embed([question])[0])
    if tokens > _MOST_PIECES * embedder.max_tokens:
        raise UsageError(
            f"The question has {tokens:,} tokens, more than the {_MOST_PIECES * embedder.max_tokens:,} that a search "
            "takes: ask for one thing at a time"
        )
    mean = embedder.embed(_pieces(embedder, question)).mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def _pieces(embedder: Embedder, text: str) -> list[str]:
    """The text halved, between words where it has any, until the embedder reads each piece whole."""
    whole: list[str] = []
    halves = [text]
    while halves:
        cut: list[str] = []
        for piece, tokens in zip(halves, embedder.count_tokens(halves), strict=True):
            if tokens <= embedder.max_tokens or len(piece) < 2:
                whole.append(piece)
                continue
            middle = len(piece) // 2
            between = piece.rfind(" ", 1, middle)
            middle = between if between > 0 else middle
            cut += [half for half in (piece[:middle], piece[middle:]) if half.strip()]
        halves = cut
    return whole
