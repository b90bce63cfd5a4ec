"""Sources of an answer whose model cited none: each sentence is compared with the passages that the model was given.

Small models answer and cite nothing. A sentence belongs to the passage that holds most of its words and all of its
numbers; of equals, to the one of higher cosine. That says where to look, not that the model took it from there: such a
citation is marked as attributed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from whetstone.embeddings import Embedder
from whetstone.retrieval.packing import Passage
from whetstone.retrieval.terms import index_terms, query_terms

_SENTENCE = re.compile(r"[^\n]+?(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+|(?=\n|$))")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_FEWEST_TERMS = 2  # a sentence of one word stands in any passage
_SHARE = 0.6  # of a sentence's terms that its passage must hold


def attribute(answer: str, passages: Sequence[Passage], embedder: Embedder) -> dict[int, list[tuple[int, int]]]:
    """Number of a passage -> the sentences of an answer that belong to it, as (start, end) in characters."""
    sentences = [(start, end, query_terms(answer[start:end])) for start, end in sentences_of(answer)]
    sentences = [sentence for sentence in sentences if len(sentence[2]) >= _FEWEST_TERMS]
    if not sentences or not passages:
        return {}
    held = [set(index_terms(passage.shown)) for passage in passages]
    numbers = [set(_NUMBER.findall(passage.shown)) for passage in passages]
    texts = [answer[start:end] for start, end, _ in sentences] + [passage.shown for passage in passages]
    vectors = embedder.embed(texts)
    cosines = vectors[: len(sentences)] @ vectors[len(sentences) :].T
    found: dict[int, list[tuple[int, int]]] = {}
    for row, (start, end, words) in enumerate(sentences):
        told = set(_NUMBER.findall(answer[start:end]))
        shares = np.array([len(terms.intersection(words)) / len(words) for terms in held])
        shares[[not told <= known for known in numbers]] = 0.0
        best = max(range(len(passages)), key=lambda n: (shares[n], cosines[row, n]))
        if shares[best] >= _SHARE:
            found.setdefault(passages[best].number, []).append((start, end))
    return dict(sorted(found.items()))


def sentences_of(text: str) -> Iterator[tuple[int, int]]:
    """The sentences of a text of any script, as (start, end) in characters; a line break ends one too."""
    for match in _SENTENCE.finditer(text):
        start = match.start() + len(match[0]) - len(match[0].lstrip())
        end = match.start() + len(match[0].rstrip())
        if start < end:
            yield start, end
