"""What every store of a knowledge base promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from kb_stores import (
    DIMENSION,
    HEADER,
    NewStore,
    any_store,  # noqa: F401 - a fixture
    chunks_of,
    record_of,
    texts_found,
    vector_of,
    written,
)
from postgres import postgres  # noqa: F401 - a fixture
from whetstone.errors import StorageError, UsageError
from whetstone.retrieval.document import Chunk, DocumentRecord, Filter
from whetstone.retrieval.store import Change, Store
from whetstone.retrieval.terms import index_terms


@pytest.fixture
def store(any_store: NewStore) -> Store:  # noqa: F811
    made = any_store()
    made.create(HEADER)
    return made


def _ids(store: Store, path: str) -> list[int]:
    return [stored.id for stored in store.chunks_of(path)]


def _dense(store: Store, text: str, k: int = 10, where: Filter = Filter()) -> list[str]:  # noqa: B008 - frozen
    return texts_found(store, [match.id for match in store.dense(vector_of(text), k, where)])


def _keyword(store: Store, text: str, k: int = 10, where: Filter = Filter()) -> list[str]:  # noqa: B008 - frozen
    return texts_found(store, [match.id for match in store.keyword(text, k, where)])


# --- the header


def test_there_is_no_header_before_create(any_store: NewStore) -> None:  # noqa: F811
    assert any_store().header() is None


def test_create_makes_an_empty_knowledge_base(store: Store) -> None:
    assert store.header() == dataclasses.replace(HEADER, state=store.header().state)  # type: ignore[union-attr]
    assert store.manifest() == {}
    assert store.count() == 0
    assert store.dense(vector_of("a"), 5) == []
    assert store.keyword("a", 5) == []
    assert list(store.faults()) == []


def test_create_replaces_what_was_there_without_using_ids_again(store: Store) -> None:
    written(store, {"a.md": ["one", "two"]})
    old = _ids(store, "a.md")
    store.create(dataclasses.replace(HEADER, dimension=4, embedder="other"))
    assert store.manifest() == {}
    assert store.with_vectors([chunk.hash for chunk in chunks_of("one", "two")]) == set()
    written(store, {"a.md": ["one"]}, header=dataclasses.replace(HEADER, dimension=4, embedder="other"))
    assert not set(_ids(store, "a.md")) & set(old)
    assert store.dense(vector_of("one", 4), 1)[0].id == _ids(store, "a.md")[0]


def test_each_change_makes_a_new_state(store: Store) -> None:
    first = written(store, {"a.md": ["one"]})
    second = written(store, {"b.md": ["two"]}, header=dataclasses.replace(HEADER, synced=12.5))
    assert second.state == first.state + 1
    assert second.synced == 12.5
    assert store.header() == second


def test_knowledge_bases_of_other_names_are_apart(any_store: NewStore) -> None:  # noqa: F811
    one, two = any_store("one"), any_store("두번째")
    one.create(HEADER)
    written(one, {"a.md": ["first"]})
    assert two.header() is None
    two.create(HEADER)
    assert _keyword(two, "first") == []
    two.delete()
    assert _keyword(one, "first") == ["first"]
    assert (one.name, two.name) == ("one", "두번째")


# --- documents and chunks


def test_what_was_written_is_read_back(store: Store) -> None:
    chunk = Chunk(0, ("Prices", "2026", "Ünïcode"), "| a | b |\n한국어 ' \" \\ %", 7, 29, "page 3", "| h |")
    record = dataclasses.replace(
        record_of("가격/표.md", [chunk], {"author": "이", "it's": 'a "quoted" \\ value'}),
        problem="two pages are missing",
    )
    store.add_vectors([chunk.hash], vector_of(chunk.shown)[None])
    store.apply(Change(written=[(record, [chunk])]), HEADER)
    assert store.manifest() == {"가격/표.md": record}
    (stored,) = store.chunks_of("가격/표.md")
    assert stored.chunk == chunk
    assert (stored.path, stored.title, stored.metadata) == (record.path, record.title, record.metadata)
    assert store.chunks([stored.id]) == [stored]
    assert store.count() == 1


def test_chunks_come_in_the_order_asked_for_and_missing_ones_are_left_out(store: Store) -> None:
    written(store, {"a.md": ["one", "two", "three"]})
    one, two, three = _ids(store, "a.md")
    assert texts_found(store, [three, 10**9, one, three, two]) == ["three", "one", "three", "two"]
    assert store.chunks([]) == []
    assert list(store.chunks_of("none.md")) == []
    assert [stored.id for stored in store.chunks_of("a.md", 1)] == [two, three]
    assert list(store.chunks_of("a.md", 3)) == []


def test_a_document_that_could_not_be_read_stands_in_the_manifest(store: Store) -> None:
    record = DocumentRecord("locked.pdf", 10, 5, "", problem="needs a password")
    store.apply(Change(written=[(record, [])]), HEADER)
    assert store.manifest() == {"locked.pdf": record}


def test_a_removed_document_is_found_no_more(store: Store) -> None:
    written(store, {"a.md": ["the founder is Avery"], "b.md": ["the pool is closed"]})
    written(store, {}, removed=["a.md"])
    assert sorted(store.manifest()) == ["b.md"]
    assert _keyword(store, "founder") == []
    assert _dense(store, "the founder is Avery") == ["the pool is closed"]
    assert store.with_vectors([chunks_of("the founder is Avery")[0].hash]) == set()
    assert list(store.faults()) == []


def test_a_changed_document_keeps_the_ids_of_the_chunks_that_stayed(store: Store) -> None:
    written(store, {"a.md": ["one", "two", "three"]})
    one, two, _ = _ids(store, "a.md")
    written(store, {"a.md": ["one", "deux", "three"]})
    assert _ids(store, "a.md")[0] == one
    assert two not in _ids(store, "a.md")
    assert _keyword(store, "two") == []
    assert _keyword(store, "deux") == ["deux"]
    assert list(store.faults()) == []


def test_a_renamed_document_keeps_its_chunks_and_takes_its_new_record(store: Store) -> None:
    written(store, {"old/a.md": ["one", "two"]})
    ids = _ids(store, "old/a.md")
    record = dataclasses.replace(store.manifest()["old/a.md"], path="new/b.md", title="B", metadata={"folder": "new"})
    store.apply(Change(renamed={"new/b.md": "old/a.md"}, touched=[record]), HEADER)
    assert store.manifest() == {"new/b.md": record}
    assert _ids(store, "new/b.md") == ids
    assert store.chunks(ids)[0].path == "new/b.md"
    assert _keyword(store, "one", where=Filter({"folder": "new"})) == ["one"]
    assert list(store.faults()) == []


def test_two_documents_may_swap_their_names_while_a_third_takes_the_place_of_a_removed_one(store: Store) -> None:
    written(store, {"a.md": ["one"], "b.md": ["two"], "c.md": ["three"], "d.md": ["four"]})
    manifest = store.manifest()
    swapped = [dataclasses.replace(manifest[old], path=new) for new, old in (("b.md", "a.md"), ("a.md", "b.md"))]
    moved = dataclasses.replace(manifest["d.md"], path="c.md")
    change = Change(
        removed=["c.md"], renamed={"a.md": "b.md", "b.md": "a.md", "c.md": "d.md"}, touched=[*swapped, moved]
    )
    store.apply(change, HEADER)
    assert [[stored.chunk.text for stored in store.chunks_of(path)] for path in sorted(store.manifest())] == [
        ["two"],
        ["one"],
        ["four"],
    ]


def test_a_written_document_may_take_the_old_name_of_a_renamed_one(store: Store) -> None:
    written(store, {"a.md": ["one"]})
    moved = dataclasses.replace(store.manifest()["a.md"], path="b.md")
    fresh = chunks_of("new one")
    store.add_vectors([fresh[0].hash], vector_of("new one")[None])
    change = Change(renamed={"b.md": "a.md"}, touched=[moved], written=[(record_of("a.md", fresh), fresh)])
    store.apply(change, HEADER)
    assert texts_found(store, _ids(store, "a.md") + _ids(store, "b.md")) == ["new one", "one"]


def test_touching_a_document_changes_its_record_only(store: Store) -> None:
    written(store, {"a.md": ["one"]})
    ids = _ids(store, "a.md")
    record = dataclasses.replace(store.manifest()["a.md"], modified=99, problem="skipped one picture")
    store.apply(Change(touched=[record]), HEADER)
    assert store.manifest() == {"a.md": record}
    assert _ids(store, "a.md") == ids


def test_ids_are_never_used_again(store: Store) -> None:
    seen: set[int] = set()
    for round_ in range(4):
        written(store, {"a.md": [f"text {round_}"]})
        ids = _ids(store, "a.md")
        assert not seen & set(ids)
        seen |= set(ids)
        written(store, {}, removed=["a.md"])


# --- whole states


def test_a_chunk_without_a_vector_is_refused_and_nothing_changes(store: Store) -> None:
    written(store, {"a.md": ["one"]})
    before = store.header(), store.manifest()
    fresh = chunks_of("without a vector")
    with pytest.raises(StorageError, match=r"b\.md.*vector"):
        store.apply(Change(removed=["a.md"], written=[(record_of("b.md", fresh), fresh)]), HEADER)
    assert (store.header(), store.manifest()) == before
    assert _keyword(store, "one") == ["one"]


def test_an_error_half_way_changes_nothing(store: Store) -> None:
    written(store, {"a.md": ["one"]})
    before = store.header(), store.manifest()

    def broken() -> Iterator[tuple[DocumentRecord, list[Chunk]]]:
        again = chunks_of("one")
        yield record_of("b.md", again), again
        raise StorageError("the folder went away")

    with pytest.raises(StorageError, match="went away"):
        store.apply(Change(removed=["a.md"], written=broken()), HEADER)
    assert (store.header(), store.manifest()) == before
    assert list(store.faults()) == []


def test_vectors_are_kept_before_their_chunks_and_find_nothing(store: Store, any_store: NewStore) -> None:  # noqa: F811
    (chunk,) = chunks_of("one")
    store.add_vectors([chunk.hash], vector_of("one")[None])
    assert any_store().with_vectors([chunk.hash, b"0" * 16]) == {chunk.hash}
    assert store.dense(vector_of("one"), 5) == []
    store.add_vectors([chunk.hash], vector_of("one")[None])  # a second sync computed it too
    written(store, {"a.md": ["one"]})
    assert _dense(store, "one") == ["one"]


def test_vectors_that_no_chunk_needs_go_with_the_next_change(store: Store) -> None:
    store.add_vectors([b"1" * 16], vector_of("left over")[None])
    written(store, {"a.md": ["one"]})
    assert store.with_vectors([b"1" * 16]) == set()


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, DIMENSION + 1), np.float32), np.full((1, DIMENSION), np.nan, np.float32), np.ones((1, DIMENSION))],
    ids=["wrong dimension", "not finite", "not of length 1"],
)
def test_vectors_of_another_kind_are_refused(store: Store, vectors: np.ndarray) -> None:
    with pytest.raises(StorageError, match="vector"):
        store.add_vectors([b"1" * 16], vectors.astype(np.float32))
    assert store.with_vectors([b"1" * 16]) == set()


def test_a_reader_sees_the_new_state_at_once(store: Store, any_store: NewStore) -> None:  # noqa: F811
    reader = any_store()
    for number in range(3):
        written(store, {"a.md": [f"state {number}", "always there"]})
        assert _keyword(reader, f"state {number}")[0] == f"state {number}"
        assert _dense(reader, f"state {number}", k=1) == [f"state {number}"]
        assert reader.header() == store.header()


def test_readers_in_threads_see_one_whole_state_each(store: Store, any_store: NewStore) -> None:  # noqa: F811
    """Every state holds one word ten times; a reader that finds it nine times, or no time, saw half a state."""
    written(store, {f"{n}.md": [f"word0 in document {n}"] for n in range(10)})
    reader, wrong, done = any_store(), [], threading.Event()

    def read() -> None:
        while not done.is_set():
            dense, keyword = reader.dense(vector_of("x"), 100), reader.keyword("document", 100)
            if (len(dense), len(keyword)) != (10, 10):
                wrong.append((len(dense), len(keyword)))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for state in range(1, 12):
            written(store, {f"{n}.md": [f"word{state} in document {n}"] for n in range(10)})
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []


# --- one writer at a time


def test_a_second_sync_is_told_which_process_runs(store: Store, any_store: NewStore) -> None:  # noqa: F811
    import os

    with store.writing(0), pytest.raises(UsageError, match=str(os.getpid())), any_store().writing(0.05):
        pass
    with any_store().writing(0):  # given back
        pass


def test_readers_are_not_kept_out_by_a_sync(store: Store, any_store: NewStore) -> None:  # noqa: F811
    written(store, {"a.md": ["one"]})
    with store.writing(0):
        assert _dense(any_store(), "one") == ["one"]
        written(store, {"a.md": ["two"]})
    assert _dense(any_store(), "two") == ["two"]


def test_the_lock_of_a_dead_process_is_given_back(store: Store) -> None:
    make = f"from whetstone.retrieval.{type(store).__module__.rpartition('.')[2]} import {type(store).__name__}\n"
    arguments = _arguments(store)
    script = make + (
        "import os, sys\nfrom pathlib import Path\n"
        f"with {type(store).__name__}({arguments}).writing(5):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match=str(process.pid)), store.writing(0.05):
            pass
        process.kill()
    with store.writing(5):
        pass


def _arguments(store: Store) -> str:
    """How another process opens the same knowledge base."""
    from whetstone.retrieval.sqlite_store import SqliteStore

    if isinstance(store, SqliteStore):
        return f"Path({str(store.file)!r})"
    return f"{store.url!r}, {store.name!r}"  # type: ignore[attr-defined]


# --- dense search


def test_dense_finds_the_nearest_with_their_cosines(store: Store) -> None:
    texts = [f"text {number}" for number in range(300)]
    written(store, {f"{n % 7}.md": texts[n::7] for n in range(7)})
    query = vector_of("a question")
    exact = {text: float(vector_of(text).astype(np.float64) @ query.astype(np.float64)) for text in texts}
    matches = store.dense(query, 20)
    assert texts_found(store, [m.id for m in matches]) == sorted(texts, key=lambda text: -exact[text])[:20]
    assert [m.score for m in matches] == pytest.approx(sorted(exact.values(), reverse=True)[:20], abs=1e-5)
    assert store.cosines(query, [m.id for m in reversed(matches)]) == pytest.approx(
        [m.score for m in reversed(matches)], abs=1e-6
    )
    assert store.vectors([matches[3].id]) == pytest.approx(
        vector_of(texts_found(store, [matches[3].id])[0])[None], abs=1e-6
    )
    assert len(store.dense(query, 1000)) == 300
    assert store.dense(query, 0) == []


def test_ties_go_to_the_lower_id(store: Store) -> None:
    written(store, {f"{n}.md": ["the same words", f"other {n}"] for n in range(30)})
    same = sorted(_ids(store, f"{n}.md")[0] for n in range(30))
    assert [match.id for match in store.dense(vector_of("the same words"), 10)] == same[:10]
    assert [match.id for match in store.keyword("same words", 10)] == same[:10]


def test_vectors_of_no_ids(store: Store) -> None:
    assert store.vectors([]).shape == (0, DIMENSION)
    assert store.cosines(vector_of("a"), []) == []


# --- keyword search


def test_keyword_ranks_by_bm25(store: Store) -> None:
    """The rarer word counts for more, more often counts for more, longer texts for less."""
    texts = ["common rare", "common common words", "common word", "rare", "nothing of the kind"]
    written(store, {f"{n}.md": [text] for n, text in enumerate([*texts, *["common thing"] * 3, *["filler"] * 20])})
    matches = store.keyword("common rare", 10)
    found = texts_found(store, [match.id for match in matches])
    assert found[:2] == ["common rare", "rare"]
    assert set(found[2:]) == {"common common words", "common word", "common thing"}
    assert [match.score for match in matches] == sorted((match.score for match in matches), reverse=True)
    assert matches[-1].score > 0


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What are your policies on refunds?", "Refund policy: thirty days"),
        ("환불은 어떻게 하나요?", "환불정책을 안내합니다"),
        ("정책", "환불정책을 안내합니다"),
        ("東京の天気", "明日の天気は東京で晴れ"),
        ("ราคา", "สินค้าราคาถูก"),
        ("ab1234", "Contract AB-1234 of May"),
        ("AB 1234", "Contract AB-1234 of May"),
        ("v2.1.3", "Changed in v2.1.3"),
        ("1200000", "It cost $1,200,000 then"),
        ("CAFE", "Le café est là"),
        ("who is it?", "who is it"),
    ],
)
def test_keyword_finds_in_any_script(store: Store, question: str, found: str) -> None:
    texts = [
        "Refund policy: thirty days",
        "환불정책을 안내합니다",
        "明日の天気は東京で晴れ",
        "สินค้าราคาถูก",
        "Contract AB-1234 of May",
        "Changed in v2.1.3",
        "It cost $1,200,000 then",
        "Le café est là",
        "who is it",
    ]
    written(store, {"a.md": texts})
    assert _keyword(store, question)[:1] == [found]


@pytest.mark.parametrize(
    "text", ["", "   ", "?!", '"', "'; DROP TABLE chunks; --", "NOT", "a AND OR NEAR(", "*", "\x00"]
)
def test_keyword_takes_any_text(store: Store, text: str) -> None:
    written(store, {"a.md": ["one"]})
    assert _keyword(store, text) == []


def test_a_question_of_ten_thousand_words_is_answered(store: Store) -> None:
    written(store, {f"{n}.md": [f"filler number{n}"] for n in range(50)})
    question = " ".join(f"unknown{n}" for n in range(10_000)) + " number7"
    assert _keyword(store, question) == ["filler number7"]


def test_words_of_every_chunk_rank_where_nothing_rarer_is_asked(store: Store) -> None:
    written(store, {f"{n}.md": ["insurellm " * (1 + n % 3) + f"number{n}"] for n in range(30)})
    assert len(_keyword(store, "insurellm", k=5)) == 5
    assert _keyword(store, "insurellm number7", k=5)[0] == "insurellm insurellm number7"


def test_document_frequency_counts_chunks(store: Store) -> None:
    written(store, {"a.md": ["policy policy", "a policy"], "b.md": ["Prices"]})
    terms = index_terms("policy price unknown")
    assert store.document_frequency(terms) == [2, 1, 0]
    written(store, {}, removed=["a.md"])
    assert store.document_frequency(terms) == [0, 1, 0]
    assert store.document_frequency([]) == []


# --- filters


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Filter({"type": "md"}), {"one", "two", "three"}),
        (Filter({"folder": "contracts"}), {"two", "three", "five"}),
        (Filter({"folder": "contracts", "type": "md"}), {"two", "three"}),
        (Filter({"folder": ""}), {"one"}),
        (Filter({"it's": 'a "quoted" \\ value'}), {"four"}),
        (Filter({"it's": "a"}), set()),
        (Filter({"type": "MD"}), set()),
        (Filter(path="contracts/*"), {"two", "three", "five"}),
        (Filter(path="contracts/*.md"), {"two", "three"}),
        (Filter(path="*.md"), {"one", "two", "three"}),
        (Filter(path="?.md"), {"one"}),
        (Filter(path="contracts/[!a]*"), {"three", "five"}),
        (Filter(path="계약/*"), {"four"}),
        (Filter({"type": "md"}, "contracts/a_%.md"), {"two"}),
        (Filter({"type": "pdf"}, "contracts/*"), {"five"}),
        (Filter({"nothing": "x"}), set()),
    ],
)
def test_filters_are_exact_for_both_lists(store: Store, where: Filter, expected: set[str]) -> None:
    documents = {
        "a.md": "one",
        "contracts/a_%.md": "two",
        "contracts/deep/er.md": "three",
        "계약/가.txt": "four",
        "contracts/b.pdf": "five",
    }
    odd = {"계약/가.txt": {"it's": 'a "quoted" \\ value'}}
    written(store, {path: [f"word {text}"] for path, text in documents.items()}, metadata=odd)
    found = {f"word {text}" for text in expected}
    assert set(_dense(store, "question", where=where)) == found
    assert set(_keyword(store, "word", where=where)) == found


def test_a_filter_finds_what_is_far_down_the_whole_list(store: Store) -> None:
    written(store, {f"{n}.md": [f"word {n}"] for n in range(400)} | {"x/one.md": ["word apart"]})
    query = -vector_of("word apart")  # nothing is less like it
    assert texts_found(store, [m.id for m in store.dense(query, 3, Filter(path="x/*"))]) == ["word apart"]


def test_a_filter_counts_the_document_and_not_the_text(store: Store) -> None:
    written(store, {"a.md": ["the same"], "b.txt": ["the same"]})
    (match,) = store.dense(vector_of("the same"), 5, Filter({"type": "txt"}))
    assert store.chunks([match.id])[0].path == "b.txt"


# --- another embedder


def test_new_vectors_are_swapped_in_at_once(store: Store) -> None:
    texts = ["one", "two", "three"]
    written(store, {"a.md": texts})
    ids = _ids(store, "a.md")
    changed = dataclasses.replace(HEADER, dimension=4, embedder="small")
    hashes = [chunk.hash for chunk in chunks_of(*texts)]

    def batches() -> Iterator[tuple[list[bytes], np.ndarray]]:
        yield hashes[:2], np.stack([vector_of(text, 4) for text in texts[:2]])
        assert store.dense(vector_of("two"), 1)[0].id == ids[1]  # the old ones serve
        yield hashes[2:], vector_of("three", 4)[None]

    header = store.replace_vectors(changed, batches())
    assert (header.embedder, header.dimension) == ("small", 4)
    assert store.header() == header
    assert store.dense(vector_of("three", 4), 1)[0].id == ids[2]
    assert store.vectors(ids).shape == (3, 4)
    assert list(store.faults()) == []


def test_a_missing_new_vector_leaves_the_old_ones(store: Store) -> None:
    written(store, {"a.md": ["one", "two"]})
    before = store.header()
    batch = [chunks_of("one")[0].hash], vector_of("one", 4)[None]
    with pytest.raises(StorageError, match="vector"):
        store.replace_vectors(dataclasses.replace(HEADER, dimension=4), [batch])
    assert store.header() == before
    assert _dense(store, "two", k=1) == ["two"]
    assert list(store.faults()) == []


# --- the end


def test_delete_removes_it_and_a_new_one_can_be_made(store: Store, any_store: NewStore) -> None:  # noqa: F811
    written(store, {"a.md": ["one"]})
    store.delete()
    assert any_store().header() is None
    again = any_store()
    again.create(HEADER)
    assert again.manifest() == {}


def test_closing_twice_is_harmless(store: Store) -> None:
    store.close()
    store.close()
