"""Whether what was found can hold the answer: a figure that means the same for every knowledge base and embedder.

Two signals, half each, and the best passage counts:

- Words: the share of the question's terms that stand in the passage, each as heavy as it is rare (see `coverage`). Here
  a term that stands nowhere in the knowledge base counts too, as the rarest: it is what tells that the documents are
  about something else.
- Meaning: the cosine above what the embedder gives the question with sentences that have nothing to do with it, as a
  share of what is left up to 1. Embedders differ in what "unrelated" is: 0.05 for MiniLM in English, 0.6 in Korean,
  0.7 for some others.

`THRESHOLD` measured with packaged MiniLM on two sets of documents, `python benchmarks/unanswerable.py`: of 120
questions that the documents answer, 119 are let through; of 180 about something else, 7; of 30 that a company's
documents might answer and do not, 13. Those the model has to answer with "the documents do not say" itself. To refuse
falsely costs more than to ask the model in vain, so the threshold is low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from whetstone.embeddings import Embedder
from whetstone.retrieval.search import Hit
from whetstone.retrieval.store import Store
from whetstone.retrieval.terms import index_terms, query_terms

THRESHOLD = 0.25

# Sentences about nothing in particular, by language; the question's own language gives the highest mean.
_UNRELATED = (
    (
        "The cat slept on the warm windowsill.",
        "Quarterly revenue rose by four percent.",
        "Mix the flour with two eggs and a pinch of salt.",
        "The train to the coast leaves at noon.",
        "Photons carry the electromagnetic force.",
        "She signed the contract on Tuesday.",
        "Turn left at the second traffic light.",
        "Rain is expected in the north tomorrow.",
    ),
    (
        "고양이가 따뜻한 창가에서 잤다.",
        "분기 매출이 4퍼센트 늘었다.",
        "밀가루에 달걀 두 개를 넣고 섞는다.",
        "바다로 가는 기차는 정오에 떠난다.",
        "그는 작은 악단에서 바이올린을 켠다.",
        "내일 북쪽에는 비가 온다.",
        "성은 12세기에 지어졌다.",
        "프로그램을 닫기 전에 파일을 저장한다.",
    ),
    ("猫在温暖的窗台上睡着了。", "季度收入增长了百分之四。", "开往海边的火车中午出发。", "明天北部预计有雨。"),
    ("猫は暖かい窓辺で眠っていた。", "四半期の売上は四パーセント増えた。", "海へ行く列車は正午に出る。"),
    ("El gato dormía en la ventana.", "Los ingresos subieron un cuatro por ciento.", "El tren sale a mediodía."),
)
_ABSENT_PAIR = 0.4  # two characters of a script without spaces, side by side by chance more often than as a word


class Confidence:
    """Tells how sure it is that what was found holds an answer.

    Args:
        store: of the knowledge base.
        embedder: gives the one that made its vectors.
    """

    def __init__(self, store: Store, embedder: Callable[[], Embedder]) -> None:
        self._store = store
        self._embedder = embedder
        self._unrelated: dict[str, list[npt.NDArray[np.float32]]] = {}

    def __call__(self, question: str, hits: Sequence[Hit]) -> float:
        """From 0 to 1, that one of the passages holds the answer to a question.

        Raises:
            StorageError: the store cannot be read.
            ModelError: the embedder fails.
        """
        if not hits:
            return 0.0
        weights = self._weights(question)
        floor = self._floor(question)
        return max((_covered(weights, hit) + _above(floor, hit.dense)) / 2 for hit in hits)

    def _weights(self, question: str) -> dict[str, float]:
        """Weight of each term by its rarity, as in `coverage`, but with the terms that stand nowhere."""
        terms = query_terms(question)
        total = self._store.count()
        weights = {}
        for term, found in zip(terms, self._store.document_frequency(terms), strict=True):
            weight = math.log1p((max(total, found) - found + 0.5) / (found + 0.5))
            weights[term] = weight if found or term.isascii() else weight * _ABSENT_PAIR
        return weights

    def _floor(self, question: str) -> float:
        """The cosine that the embedder gives a question with what has nothing to do with it."""
        embedder = self._embedder()
        if embedder.name not in self._unrelated:
            self._unrelated[embedder.name] = [embedder.embed(list(sentences)) for sentences in _UNRELATED]
        vector = embedder.embed([question])[0]
        return max(float((sentences @ vector).mean()) for sentences in self._unrelated[embedder.name])


def _covered(weights: dict[str, float], hit: Hit) -> float:
    held = set(index_terms(hit.shown))
    whole = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in held) / whole if whole else 0.0


def _above(floor: float, cosine: float) -> float:
    return max(0.0, cosine - floor) / max(1e-6, 1 - floor)
