"""A question taken apart for the search: the weight of its terms, and its vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from whetstone.embeddings import Embedder
from whetstone.errors import UsageError
from whetstone.retrieval.coverage import rarities
from whetstone.retrieval.store import Store
from whetstone.retrieval.terms import query_terms

__all__ = ["Query", "analysed", "vector_of"]

_MOST_TERMS = 48
"""Terms that are looked for: the rarest. Each costs a list of the keyword index, and what is common tells little."""

_MOST_SEEN = 8_000
"""Chunks that the keyword list may have to score, counted once for each term. Common terms are left to `coverage`, that
looks at candidates only, so that a question costs no more as the knowledge base grows. At 200,000 chunks (synthetic,
Zipf's words, eight as they come) against scoring everything: the best passage stays the same, as do 88 % of those that
are shown, in 17 ms (p50); with 20,000 they are 93 %, in 21 ms."""

_MOST_PIECES = 64
"""Pieces of a long question that are embedded: 16,384 tokens with MiniLM, about two seconds."""


@dataclass(frozen=True)
class Query:
    """Which words are looked for.

    Attributes:
        rarity: weight of each term that the knowledge base has, the rarest first.
        words: what the keyword list is asked for, as it stands in the question; "" where no term is known.
    """

    rarity: Mapping[str, float]
    words: str


def analysed(store: Store, question: str) -> Query:
    """Take the words of a question apart; the store tells how rare they are.

    Raises:
        UsageError: there is nothing to look for.
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
    return Query({term: rarity[term] for term in rarest}, " ".join(words))


def vector_of(embedder: Embedder, question: str) -> npt.NDArray[np.float32]:
    """The vector of a question, of length 1; of one longer than the embedder reads, the mean of its pieces' vectors.

    Raises:
        UsageError: it is longer than `_MOST_PIECES` pieces.
        ModelError: the embedder fails.
    """
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
