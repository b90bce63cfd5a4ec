"""Metrics of what was found for one question. Ranks count from 1.

Relevance is a table: for each keyword (or span), whether each passage holds it, best passage first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from whetstone.retrieval.measure.questions import Span
from whetstone.retrieval.search import Hit

__all__ = ["coverage", "holds_keyword", "holds_span", "ndcg", "recall", "reciprocal_rank", "strict_rank"]

Relevance = Sequence[Sequence[bool]]


def holds_keyword(shown: str, keyword: str) -> bool:
    """Whether a passage as it is shown contains a keyword, in any case, also within a longer word."""
    return keyword.lower() in shown.lower()


def holds_span(hit: Hit, span: Span) -> bool:
    """Whether a passage has at least half of a span, or lies in it with at least half of itself."""
    if hit.chunk.path != span.path:
        return False
    start, end = hit.chunks[0].chunk.start, hit.chunks[-1].chunk.end
    return 2 * (min(span.end, end) - max(span.start, start)) >= min(span.end - span.start, end - start)


def reciprocal_rank(relevance: Relevance) -> float:
    """Mean over the keywords of 1/rank of the first passage that holds it, 0 if none does (MRR, Voorhees 1999)."""
    return _mean([1 / (row.index(True) + 1) if True in row else 0.0 for row in relevance])


def ndcg(relevance: Relevance) -> float:
    """Mean over the keywords of the discounted gain, as a share of what the best order of the same passages would have.

    A passage that holds the keyword gains 1, divided by log2(rank + 1) (Järvelin & Kekäläinen 2002). So a keyword that
    is found once, in the first place, has 1, and one that is not found 0.
    """
    return _mean([_gain(row) / best if (best := _gain(sorted(row, reverse=True))) else 0.0 for row in relevance])


def coverage(relevance: Relevance) -> float:
    """Percent of the keywords that any passage holds."""
    return 100 * _mean([float(any(row)) for row in relevance])


def strict_rank(relevance: Relevance) -> float:
    """1/rank of the first passage that holds all keywords, 0 if none does."""
    return next((1 / rank for rank, held in enumerate(zip(*relevance, strict=True), 1) if all(held)), 0.0)


def recall(hits: Sequence[Hit], spans: Sequence[Span]) -> float:
    """Percent of the characters of the spans that stand in any passage, so that it does not depend on chunk sizes.

    The recall of Smith & Troynikov (2024), "Evaluating chunking strategies for retrieval", in characters.
    """
    found = wanted = 0
    for span in spans:
        inside = (stored.chunk for hit in hits for stored in hit.chunks if stored.path == span.path)
        position = span.start
        for start, end in sorted((chunk.start, min(span.end, chunk.end)) for chunk in inside):
            found += max(0, end - max(start, position))
            position = max(position, end)
        wanted += span.end - span.start
    return 100 * found / wanted if wanted else 0.0


def _gain(row: Sequence[bool]) -> float:
    return sum(1 / math.log2(rank + 1) for rank, held in enumerate(row, 1) if held)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
