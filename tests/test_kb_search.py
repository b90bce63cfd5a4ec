"""Search: both lists, the parts of a score, passages, filters, bounds. On both stores where a store matters."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from kb_stores import NewStore, any_store, record_of  # noqa: F401 - a fixture
from postgres import postgres  # noqa: F401 - a fixture
from whetstone.errors import ModelError, UsageError
from whetstone.retrieval.document import Chunk, Filter
from whetstone.retrieval.search import Hit, Search, SearchSettings
from whetstone.retrieval.store import Change, Header, Store
from whetstone.retrieval.terms import index_terms

DIMENSION = 512
HEADER = Header(folder="/docs", embedder="words", embedder_spec="words", dimension=DIMENSION, chunker="chunker 1")
WORDS_AT_ONCE = 40


class Words:
    """An embedder by words: texts that share words are near each other, and so are `synonyms`."""

    name = "words"
    dimension = DIMENSION
    max_tokens = WORDS_AT_ONCE

    def __init__(self, synonyms: Mapping[str, str] | None = None) -> None:
        self._synonyms = {index_terms(one)[0]: index_terms(other)[0] for one, other in (synonyms or {}).items()}
        self.embedded: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        self.embedded += texts
        vectors = np.full((len(texts), DIMENSION), 1e-3)
        for row, text in zip(vectors, texts, strict=True):
            for term in index_terms(text)[:WORDS_AT_ONCE]:
                row[zlib.crc32(self._synonyms.get(term, term).encode()) % DIMENSION] += 1
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def filled(
    store: Store,
    documents: Mapping[str, Sequence[str]],
    embedder: Words | None = None,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
) -> Store:
    """A store with documents: path -> texts of its chunks, two characters apart, the path's name as their title."""
    store.create(HEADER)
    parts: dict[str, list[Chunk]] = {}
    for path, texts in documents.items():
        title, start = path.partition(".")[0], 0
        parts[path] = []
        for ordinal, text in enumerate(texts):
            parts[path].append(Chunk(ordinal, (title,), text, start, start + len(text)))
            start += len(text) + 2
    chunks = {chunk.hash: chunk for of in parts.values() for chunk in of}
    store.add_vectors(list(chunks), (embedder or Words()).embed([chunk.shown for chunk in chunks.values()]))
    written = ((record_of(path, of, (metadata or {}).get(path)), of) for path, of in parts.items())
    store.apply(Change(written=written), HEADER)
    return store


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.chunk.text for hit in hits]


ZOO = {
    "lions.md": ["Lions sleep for twenty hours.", "A lion eats meat."],
    "bears.md": ["Bears sleep all winter.", "A bear eats berries, roots and honey."],
    "tickets.md": ["A ticket for the zoo costs 12 euros.", "Order code ZX-4711 gives a discount."],
    "hours.md": ["The zoo opens at nine.", "It closes at dusk."],
}


@pytest.fixture
def zoo(any_store: NewStore) -> Store:  # noqa: F811
    return filled(any_store(), ZOO)


def test_the_passage_that_says_it_comes_first_and_shows_why(zoo: Store) -> None:
    best, *rest = Search(zoo, Words()).find("What does a bear eat?")
    assert best.chunk.chunk.text == "A bear eats berries, roots and honey."
    assert best.chunk.title == "bears.md"
    assert "bear" in best.matched
    assert 0 < best.coverage <= 1
    assert best.keyword > 0
    assert 0 < best.dense <= 1
    assert [hit.score for hit in (best, *rest)] == sorted((hit.score for hit in (best, *rest)), reverse=True)
    assert all(0 <= hit.score <= 1 for hit in (best, *rest))


def test_a_code_is_found_however_it_is_written(zoo: Store) -> None:
    for asked in ("zx4711", "ZX 4711", "what is zx-4711?"):
        assert Search(zoo, Words()).find(asked)[0].chunk.path == "tickets.md"


def test_meaning_finds_what_shares_no_word(any_store: NewStore) -> None:  # noqa: F811
    embedder = Words(synonyms={"feline": "lion"})
    store = filled(any_store(), ZOO, embedder)
    hit = Search(store, embedder, SearchSettings(mode="dense")).find("feline", 1)[0]
    assert hit.chunk.path == "lions.md"
    assert (hit.keyword, hit.coverage, hit.matched) == (0, 0, ())
    assert Search(store, embedder, SearchSettings(mode="keyword")).find("feline") == []
    assert Search(store, embedder).find("feline", 1)[0].chunk.path == "lions.md"


def test_keyword_mode_asks_no_embedder(zoo: Store) -> None:
    def none() -> Words:
        raise AssertionError("nothing is embedded")

    hit = Search(zoo, none, SearchSettings(mode="keyword")).find("honey")[0]
    assert (hit.chunk.path, hit.dense) == ("bears.md", 0)


def test_korean_words_are_found_with_other_particles_and_endings(any_store: NewStore) -> None:  # noqa: F811
    store = filled(
        any_store(),
        {
            "환불.md": ["구매하신 상품은 이 주 안에 환불을 받으실 수 있습니다.", "환불정책은 해마다 바뀝니다."],
            "배송.md": ["배송은 사흘이 걸리고 서울에서는 하루가 걸립니다."],
            "회사.md": ["저희 회사는 부산에서 시작했습니다.", "대표이사는 김하늘입니다."],
        },
    )
    search = Search(store, Words(), SearchSettings(mode="keyword"))
    assert search.find("환불은 언제까지 되나요?")[0].chunk.path == "환불.md"
    assert "환불정책" in search.find("환불 정책이 무엇인가요?")[0].shown
    assert search.find("배송이 얼마나 걸리나요?")[0].chunk.path == "배송.md"
    assert search.find("부산")[0].chunk.path == "회사.md"
    assert search.find("김하늘 대표이사를 알려줘")[0].chunk.chunk.text == "대표이사는 김하늘입니다."


def test_filters_hold_for_both_lists(any_store: NewStore) -> None:  # noqa: F811
    store = filled(any_store(), ZOO, metadata={"bears.md": {"author": "Kim"}, "lions.md": {"author": "Lee"}})
    search = Search(store, Words())
    assert {hit.chunk.path for hit in search.find("sleep eats", where=Filter({"author": "Kim"}))} == {"bears.md"}
    assert {hit.chunk.path for hit in search.find("sleep eats", where=Filter(path="l*.md"))} == {"lions.md"}
    assert search.find("sleep", where=Filter({"author": "nobody"})) == []


def test_chunks_side_by_side_are_one_passage_in_the_document_s_order(zoo: Store) -> None:
    hits = Search(zoo, Words()).find("What does a bear eat in winter, honey or berries?")
    assert hits[0].chunk.path == "bears.md"
    assert hits[0].shown == "bears\nBears sleep all winter.\n\nA bear eats berries, roots and honey."
    assert [stored.chunk.ordinal for stored in hits[0].chunks] == [0, 1]
    assert len([hit for hit in hits if hit.chunk.path == "bears.md"]) == 1


def test_no_chunk_is_in_two_passages_and_all_stay_within_their_characters(any_store: NewStore) -> None:  # noqa: F811
    documents = {
        f"{n}.md": [f"Rivers carry {word} water {m} {'x' * 90}." for m, word in enumerate("abcdef")] for n in range(30)
    }
    search = Search(filled(any_store(), documents), Words(), SearchSettings(characters=250))
    for k in (1, 4, 10):
        hits = search.find("Which rivers carry water?", k)
        ids = [stored.id for hit in hits for stored in hit.chunks]
        assert len(ids) == len(set(ids))
        assert 1 <= len(hits) <= k
        assert sum(len(hit.shown) for hit in hits) <= 250 * k
        for hit in hits:
            ordinals = [stored.chunk.ordinal for stored in hit.chunks]
            assert ordinals == list(range(ordinals[0], ordinals[0] + len(ordinals)))


def test_the_best_passage_comes_even_if_it_alone_is_too_long(any_store: NewStore) -> None:  # noqa: F811
    store = filled(any_store(), {"a.md": ["A dodo is extinct. " + "x" * 500]})
    assert len(Search(store, Words(), SearchSettings(characters=100)).find("dodo")) == 1


def test_overlapping_chunks_are_not_shown_twice(any_store: NewStore) -> None:  # noqa: F811
    store = any_store()
    store.create(HEADER)
    text = "One dodo. Two dodos. Three dodos."
    chunks = [Chunk(0, ("T",), text[:20], 0, 20), Chunk(1, ("T",), text[10:], 10, len(text))]
    store.add_vectors([chunk.hash for chunk in chunks], Words().embed([chunk.shown for chunk in chunks]))
    store.apply(Change(written=[(record_of("d.md", chunks), chunks)]), HEADER)
    (hit,) = Search(store, Words()).find("dodo")
    assert hit.shown == f"T\n{text}"


def test_neighbours_are_added_to_a_passage(zoo: Store) -> None:
    alone = Search(zoo, Words(), SearchSettings(mode="keyword")).find("honey")[0]
    assert alone.neighbours == ()
    more = Search(zoo, Words(), SearchSettings(mode="keyword", neighbours=3)).find("honey")[0]
    assert more.shown == "bears\nBears sleep all winter.\n\nA bear eats berries, roots and honey."
    assert more.chunk == alone.chunk


def test_diversity_prefers_what_is_unlike_the_best(any_store: NewStore) -> None:  # noqa: F811
    copies = {f"copy{n}.md": ["The harbour is closed on Mondays."] for n in range(5)}
    store = filled(
        any_store(),
        {**copies, "other.md": ["The harbour has two cranes for closed ships."], "far.md": ["A closed door."]},
    )
    plain = Search(store, Words()).find("When is the harbour closed?", 3)
    spread = Search(store, Words(), SearchSettings(diversity=1.0)).find("When is the harbour closed?", 3)
    assert "other.md" not in [hit.chunk.path for hit in plain]
    assert [hit.chunk.path for hit in spread][:2] == [plain[0].chunk.path, "other.md"]


def test_a_small_difference_in_meaning_does_not_outweigh_words(any_store: NewStore) -> None:  # noqa: F811
    store = filled(
        any_store(), {"a.md": ["The bridge was opened by the queen."], "b.md": ["The bridge, opened in 1887."]}
    )
    assert Search(store, Words()).find("bridge opened 1887")[0].chunk.path == "b.md"


def test_a_reranker_has_the_last_word(zoo: Store) -> None:
    class Shortest:
        def scores(self, question: str, passages: Sequence[str]) -> list[float]:
            return [-len(passage) for passage in passages]

        def close(self) -> None:
            pass

    hits = Search(zoo, Words(), SearchSettings(characters=0), reranker=Shortest()).find("the zoo", 3)
    assert hits[0].chunk.chunk.text == "A lion eats meat."
    assert hits[0].score == -len("lions\nA lion eats meat.")


def test_a_failing_reranker_is_no_silent_loss(zoo: Store) -> None:
    class Failing:
        def scores(self, question: str, passages: Sequence[str]) -> list[float]:
            raise ModelError("it is down")

        def close(self) -> None:
            pass

    with pytest.raises(ModelError, match="it is down"):
        Search(zoo, Words(), reranker=Failing()).find("the zoo")


def test_a_question_of_ten_thousand_words_is_read_to_its_end(zoo: Store) -> None:
    embedder = Words()
    question = "who " * 2_000 + "eats honey"
    assert Search(zoo, embedder).find(question, 1)[0].chunk.chunk.text.endswith("honey.")
    assert max(embedder.count_tokens(embedder.embedded)) <= embedder.max_tokens
    assert "".join(embedder.embedded).endswith("honey")
    with pytest.raises(UsageError, match="10,002 tokens"):
        Search(zoo, Words()).find("who " * 10_000 + "eats honey")
    assert Search(zoo, Words(), SearchSettings(mode="keyword")).find("who " * 10_000 + "eats honey", 1)


def test_a_long_text_without_blanks_is_cut_too(zoo: Store) -> None:
    class Characters(Words):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [len(text) for text in texts]

    embedder = Characters()
    assert Search(zoo, embedder).find("꿀" * 500, 1)
    assert max(map(len, embedder.embedded)) <= WORDS_AT_ONCE


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(zoo: Store, question: str) -> None:
    with pytest.raises(UsageError, match="nothing to search for"):
        Search(zoo, Words()).find(question)


def test_strange_questions_are_only_text(zoo: Store) -> None:
    search = Search(zoo, Words())
    for question in (
        '"',
        "NEAR(a b)",
        "bear*",
        "a AND OR NOT",
        "terms:bear",
        "'; DROP TABLE chunks; --",
        "\ud800",
        "🐻",
        "\0",
    ):
        assert isinstance(search.find(question), list)


def test_an_empty_knowledge_base_finds_nothing(any_store: NewStore) -> None:  # noqa: F811
    store = any_store()
    store.create(HEADER)
    assert Search(store, Words()).find("anything") == []


@pytest.mark.parametrize(
    "wrong", [{"mode": "fuzzy"}, {"diversity": 1.5}, {"depth": 0}, {"characters": -1}, {"neighbours": -1}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SearchSettings(**wrong)  # type: ignore[arg-type]


def test_fewer_than_one_passage_is_refused(zoo: Store) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Search(zoo, Words()).find("bears", 0)


def test_what_is_removed_is_found_no_more_by_a_search_that_is_open(zoo: Store) -> None:
    search = Search(zoo, Words())
    assert search.find("honey", 1)[0].chunk.path == "bears.md"
    zoo.apply(Change(removed=["bears.md"]), HEADER)
    assert "bears.md" not in {hit.chunk.path for hit in search.find("honey")}


def test_a_common_word_does_not_hide_a_rare_one(any_store: NewStore) -> None:  # noqa: F811
    documents = {f"{n}.md": ["The zoo zoo zoo zoo has many zoo animals."] for n in range(40)}
    store = filled(
        any_store(), {**documents, "rare.md": ["Among the animals of the park is one okapi, born this year."]}
    )
    assert Search(store, Words()).find("zoo okapi")[0].chunk.path == "rare.md"
    assert math.isclose(Search(store, Words()).find("okapi")[0].coverage, 1)
