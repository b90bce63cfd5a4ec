"""Search: what fits a question, by meaning and by words, as passages with the reasons for their ranks.

Two lists are taken from the store, the nearest vectors and the highest BM25. What is on either is a candidate, gets
all signals, and is ranked by their fused score (`fusion`); a reranker may then look at the best, and diversity push
apart what says the same. Chunks next to each other become one passage (`passages`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from whetstone.embeddings import Embedder
from whetstone.errors import UsageError
from whetstone.retrieval.coverage import share
from whetstone.retrieval.diversity import diversified
from whetstone.retrieval.document import EVERYTHING, Filter, StoredChunk
from whetstone.retrieval.fusion import WEIGHTS, Weights, fused
from whetstone.retrieval.passages import gathered, shown_together
from whetstone.retrieval.query import Query, analysed, vector_of
from whetstone.retrieval.rerank import Reranker
from whetstone.retrieval.store import Match, Store
from whetstone.retrieval.terms import terms_held

__all__ = ["Hit", "Mode", "Search", "SearchSettings"]

Mode = Literal["hybrid", "dense", "keyword"]
_Candidate = tuple[StoredChunk, set[str]]

_WEIGHTS: Mapping[Mode, Weights] = {
    "hybrid": WEIGHTS,
    "dense": Weights(1, 0, 0),
    "keyword": Weights(0, 1, 0),
}


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How to search.

    Attributes:
        mode: both lists and all signals, or the order of one list alone.
        depth: candidates taken from each list, at least twice as many as passages are wanted. Measured as in `fusion`,
            20 to 50 make no difference; a search takes longer with each.
        characters: on average for each wanted passage, as they are shown; what would go beyond is left out, so that
            there may be fewer passages than wanted. 0 for no bound.
        diversity: from 0 to 1, how much a passage loses that is like a better one, see `diversity`.
        neighbours: chunks before and behind each passage that are added to it, whatever their length.
        reranked: candidates that a reranker looks at, where there is one.
    """

    mode: Mode = "hybrid"
    depth: int = 20
    characters: int = 400
    diversity: float = 0.0
    neighbours: int = 0
    reranked: int = 20

    def __post_init__(self) -> None:
        if self.mode not in _WEIGHTS:
            raise UsageError(f"There is no search mode {self.mode!r}; there are {', '.join(_WEIGHTS)}")
        if not 0 <= self.diversity <= 1:
            raise UsageError(f"Diversity goes from 0 to 1, not {self.diversity:g}")
        if min(self.depth, self.reranked) < 1 or min(self.characters, self.neighbours) < 0:
            raise UsageError("A search needs at least 1 candidate, and no fewer than 0 characters and neighbours")


@dataclass(frozen=True)
class Hit:
    """A passage that was found, with the parts behind its score, which are those of its best chunk.

    Attributes:
        chunk: the best chunk of the passage.
        score: what hits are ordered by, from 0 to 1; the reranker's where one was asked (then of any range).
        dense: cosine of question and chunk; 0 where only words were looked for.
        keyword: BM25; 0 if the chunk is not on the keyword list.
        coverage: share of the question's terms that stand in the chunk, from 0 to 1, see `coverage`.
        matched: the terms of the question that stand in the chunk, the rarest first.
        neighbours: the other chunks of the passage, in the document's order.
    """

    chunk: StoredChunk
    score: float
    dense: float = 0.0
    keyword: float = 0.0
    coverage: float = 0.0
    matched: tuple[str, ...] = ()
    neighbours: tuple[StoredChunk, ...] = ()

    @property
    def chunks(self) -> list[StoredChunk]:
        """All chunks of the passage in the document's order."""
        return sorted((self.chunk, *self.neighbours), key=lambda stored: stored.chunk.ordinal)

    @property
    def shown(self) -> str:
        """The passage as it is put into prompts."""
        return shown_together(self.chunks)


class Search:
    """Searches one knowledge base.

    Args:
        store: of the knowledge base.
        embedder: the one that made its vectors, or what gives it: a knowledge base may change it (`reembed`).
        settings: how to search.
        reranker: looks at the best candidates once more.
        weights: of the signals; None for those of the mode.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder | Callable[[], Embedder],
        settings: SearchSettings = SearchSettings(),
        *,
        reranker: Reranker | None = None,
        weights: Weights | None = None,
    ) -> None:
        self._store, self._settings, self._reranker = store, settings, reranker
        self._embedder: Callable[[], Embedder] = embedder if callable(embedder) else lambda: embedder
        self._weights = weights or _WEIGHTS[settings.mode]

    def find(self, question: str, k: int = 10, where: Filter = EVERYTHING) -> list[Hit]:
        """The best passages for a question, best first.

        Args:
            question: in any language that the embedder knows; words alone also do.
            k: most passages.
            where: which chunks may be found.

        Raises:
            UsageError: nothing is asked for, or the question is too long.
            StorageError: the store cannot be read.
            ModelError: the reranker or the embedder cannot answer.
        """
        if k < 1:
            raise UsageError(f"A search finds at least 1 passage, not {k}")
        settings = self._settings
        query = analysed(self._store, question)
        hits = self._candidates(query, question, max(settings.depth, 2 * k), where)
        if self._reranker is not None:
            hits = _reranked(hits, self._reranker, question, max(settings.reranked, k))
        if settings.diversity:
            hits = self._spread(hits, k)
        by_id = {hit.chunk.id: hit for hit in hits}
        passages = gathered([hit.chunk for hit in hits], k, settings.characters * k)
        return [
            replace(by_id[p.best.id], neighbours=tuple(c for c in self._around(p.chunks) if c.id != p.best.id))
            for p in passages
        ]

    def _candidates(self, query: Query, question: str, depth: int, where: Filter) -> list[Hit]:
        """What stands on either list, by score; ties go to the lower id.

        The question is embedded, and its vector looked for, while its words are.
        """

        def by_words() -> tuple[list[Match], dict[int, _Candidate]]:
            matches = self._store.keyword(query.words, depth, where) if query.words else []
            return matches, self._read(query, [match.id for match in matches])

        vector: npt.NDArray[np.float32] | None = None
        nearest: list[Match] = []
        if self._settings.mode == "keyword":
            words, candidates = by_words()
        else:
            with ThreadPoolExecutor(1, thread_name_prefix="whetstone-keyword") as pool:
                found = pool.submit(by_words) if self._settings.mode == "hybrid" else None
                vector = vector_of(self._embedder(), question)
                nearest = self._store.dense(vector, depth, where)
                words, candidates = found.result() if found else ([], {})
        keyword = {match.id: match.score for match in words}
        dense = {match.id: match.score for match in nearest}
        if vector is not None and (missing := [id_ for id_ in keyword if id_ not in dense]):
            dense.update(zip(missing, self._store.cosines(vector, missing), strict=True))
        candidates |= self._read(query, [id_ for id_ in dense if id_ not in candidates])
        return self._scored(query, candidates, dense, keyword)

    def _read(self, query: Query, ids: Sequence[int]) -> dict[int, _Candidate]:
        """Chunks, each with the terms of the question that stand in it."""
        stored = self._store.chunks(sorted(ids)) if ids else []
        return {one.id: (one, terms_held(one.chunk.shown, query.rarity)) for one in stored}

    def _scored(
        self,
        query: Query,
        candidates: Mapping[int, _Candidate],
        dense: Mapping[int, float],
        keyword: Mapping[int, float],
    ) -> list[Hit]:
        found = [candidates[id_] for id_ in sorted(candidates)]
        coverage = [share(query.rarity, terms) for _, terms in found]
        cosines = [dense.get(one.id, 0.0) for one, _ in found]
        bm25 = [keyword.get(one.id, 0.0) for one, _ in found]
        scores = fused(cosines, bm25, coverage, self._weights)
        hits = [
            Hit(one, score, cosine, words, covered, tuple(term for term in query.rarity if term in terms))
            for (one, terms), score, cosine, words, covered in zip(found, scores, cosines, bm25, coverage, strict=True)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.id))

    def _spread(self, hits: Sequence[Hit], k: int) -> list[Hit]:
        """Another order of the hits, in which the best are unlike each other."""
        vectors = self._store.vectors([hit.chunk.id for hit in hits])
        order = diversified([hit.score for hit in hits], vectors, self._settings.diversity, most=2 * k)
        return [hits[n] for n in order]

    def _around(self, chunks: Sequence[StoredChunk]) -> list[StoredChunk]:
        """Chunks of a passage with the neighbours that the settings ask for."""
        wanted = self._settings.neighbours
        if not wanted:
            return list(chunks)
        first, last = max(0, chunks[0].chunk.ordinal - wanted), chunks[-1].chunk.ordinal + wanted
        return list(islice(self._store.chunks_of(chunks[0].path, first), last - first + 1)) or list(chunks)


def _reranked(hits: Sequence[Hit], reranker: Reranker, question: str, most: int) -> list[Hit]:
    """The best hits in the order that a reranker gives them; the others, which it has not seen, are left out."""
    best = hits[:most]
    scores = reranker.scores(question, [hit.chunk.chunk.shown for hit in best])
    judged = [replace(hit, score=score) for hit, score in zip(best, scores, strict=True)]
    return sorted(judged, key=lambda hit: -hit.score)
