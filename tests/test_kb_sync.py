"""Sync: only what changed is read and embedded, the new state appears at once, and nothing stale is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kb_folder import HashedEmbedder, page, prove, synced, texts_in, write
from kb_stores import (
    NewStore,
    any_store,  # noqa: F401 - a fixture
)
from postgres import postgres  # noqa: F401 - a fixture
from whetstone.errors import DataError, ModelConnectionError, UsageError
from whetstone.retrieval.agreement import settings_for
from whetstone.retrieval.fsck import check
from whetstone.retrieval.progress import Progress
from whetstone.retrieval.store import Store
from whetstone.retrieval.sync import plan, sync


@pytest.fixture
def store(any_store: NewStore) -> Store:  # noqa: F811
    return any_store()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    write(docs, "company.md", page("Company", "The founder is Ann.", "It sells lamps.", "It has 12 people."))
    write(docs, "prices/2026.md", page("Prices", "A lamp costs 12 dollars.", "A shade costs 5 dollars."))
    write(docs, "메모.txt", "The office is in Seoul.")
    return docs


def changes(result: object) -> dict[str, str]:
    return {change.path: change.kind for change in result.changes}  # type: ignore[attr-defined]


def test_the_first_sync_takes_everything_in(store: Store, folder: Path) -> None:
    result = synced(store, folder)
    assert changes(result) == dict.fromkeys(["company.md", "prices/2026.md", "메모.txt"], "added")
    assert (result.documents, result.chunks, result.embedded) == (3, store.count(), store.count())
    assert result.header.synced > 0
    prove(store, folder)


def test_a_sync_with_nothing_to_do_reads_no_file_and_makes_no_new_state(store: Store, folder: Path) -> None:
    before = synced(store, folder)
    embedder = HashedEmbedder()
    for file in folder.rglob("*.md"):
        status = file.stat()
        file.write_bytes(b"x" * status.st_size)  # another text of the same size and time: only a reader would notice
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = synced(store, folder, embedder)
    assert (result.changes, embedder.embedded, result.header) == ((), [], before.header)
    assert {fault.kind for fault in check(store, embedder=embedder)} == {"changed file"}


def test_only_new_chunks_are_embedded(store: Store, folder: Path) -> None:
    synced(store, folder)
    ids = {stored.chunk.text: stored.id for stored in store.chunks_of("company.md")}
    write(folder, "company.md", page("Company", "The founder is Ann.", "It sells desks.", "It has 12 people."), age=50)
    embedder = HashedEmbedder()
    result = synced(store, folder, embedder)
    assert [change.detail for change in result.changes] == ["1 of 3 chunks is new"]
    assert len(embedder.embedded) == 1
    assert "desks" in embedder.embedded[0]
    kept = {stored.chunk.text: stored.id for stored in store.chunks_of("company.md")}
    assert sum(ids.get(text) == id for text, id in kept.items()) == 2
    prove(store, folder)


def test_a_new_time_alone_changes_nothing(store: Store, folder: Path) -> None:
    synced(store, folder)
    os.utime(folder / "company.md", (1_600_000_000, 1_600_000_000))
    embedder = HashedEmbedder()
    assert (synced(store, folder, embedder).changes, embedder.embedded) == ((), [])
    assert store.manifest()["company.md"].modified == 1_600_000_000_000_000_000


def test_a_renamed_document_keeps_its_chunks(store: Store, folder: Path) -> None:
    synced(store, folder)
    ids = [stored.id for stored in store.chunks_of("company.md")]
    (folder / "about").mkdir()
    (folder / "company.md").rename(folder / "about" / "us.md")
    embedder = HashedEmbedder()
    result = synced(store, folder, embedder)
    assert [(change.path, change.kind, change.detail) for change in result.changes] == [
        ("about/us.md", "renamed", "was company.md")
    ]
    assert embedder.embedded == []
    assert [stored.id for stored in store.chunks_of("about/us.md")] == ids
    assert store.manifest()["about/us.md"].metadata["folder"] == "about"
    prove(store, folder)


def test_a_renamed_document_that_is_called_after_its_file_gets_its_new_title(store: Store, folder: Path) -> None:
    synced(store, folder)
    (folder / "메모.txt").rename(folder / "memo.txt")
    embedder = HashedEmbedder()
    assert changes(synced(store, folder, embedder)) == {"memo.txt": "renamed"}
    assert embedder.embedded == ["memo\nThe office is in Seoul."]
    prove(store, folder)


def test_a_document_moved_under_the_same_name_costs_nothing_whatever_its_title(store: Store, folder: Path) -> None:
    synced(store, folder)
    (folder / "메모.txt").rename(folder / "prices" / "메모.txt")
    embedder = HashedEmbedder()
    assert changes(synced(store, folder, embedder)) == {"prices/메모.txt": "renamed"}
    assert embedder.embedded == []
    prove(store, folder)


def test_two_documents_that_change_places_are_noticed_and_embedded_no_second_time(store: Store, folder: Path) -> None:
    synced(store, folder)
    (folder / "company.md").rename(folder / "between")
    (folder / "prices" / "2026.md").rename(folder / "company.md")
    (folder / "between").rename(folder / "prices" / "2026.md")
    embedder = HashedEmbedder()
    assert changes(synced(store, folder, embedder)) == {"company.md": "changed", "prices/2026.md": "changed"}
    assert embedder.embedded == []
    prove(store, folder)


def test_a_deleted_document_is_gone_from_every_list_at_once(store: Store, folder: Path) -> None:
    embedder = HashedEmbedder()
    synced(store, folder, embedder)
    assert store.keyword("Seoul", 5)
    (folder / "메모.txt").unlink()
    result = synced(store, folder)
    assert changes(result) == {"메모.txt": "removed"}
    assert store.keyword("Seoul", 5) == []
    (vector,) = embedder.embed(["메모\nThe office is in Seoul."])
    assert all(match.score < 0.99 for match in store.dense(vector, 10))
    prove(store, folder)


def test_the_founder_leaves_and_the_next_search_finds_the_new_name(any_store: NewStore, folder: Path) -> None:  # noqa: F811
    from whetstone.embeddings import load_embedder

    store, embedder = any_store(), load_embedder("minilm")
    sync(store, folder, embedder=embedder, spec="minilm")
    write(
        folder, "company.md", page("Company", "The founder is Berta.", "It sells lamps.", "It has 12 people."), age=50
    )
    sync(store, folder, embedder=embedder, spec="minilm")
    (question,) = embedder.embed(["Who founded the company?"])
    found = store.chunks([match.id for match in [*store.dense(question, 3), *store.keyword("founder", 3)]])
    texts = " ".join(stored.chunk.text for stored in found)
    assert "Berta" in texts
    assert "Ann" not in " ".join(texts_in(store))


def test_an_edit_within_a_tick_of_the_clock_is_noticed(store: Store, folder: Path) -> None:
    write(folder, "fresh.txt", "It is 1 o'clock.", age=0)
    synced(store, folder)
    status = (folder / "fresh.txt").stat()
    (folder / "fresh.txt").write_text("It is 2 o'clock.")
    os.utime(folder / "fresh.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changes(synced(store, folder)) == {"fresh.txt": "changed"}
    prove(store, folder)


def test_a_plan_says_what_would_be_done_and_does_nothing(store: Store, folder: Path) -> None:
    embedder = HashedEmbedder()
    assert str(plan(store, folder, embedder=embedder, spec="hashed")).startswith("+3 ~0 -0, ")
    assert store.header() is None
    before = synced(store, folder)
    write(folder, "new.md", page("New", "It is new."))
    write(folder, "company.md", page("Company", "Another."))
    (folder / "메모.txt").unlink()
    (folder / "prices" / "2026.md").rename(folder / "prices.md")
    planned = plan(store, folder, embedder=embedder, spec="hashed")
    assert str(planned).startswith("+1 ~1 -1, 1 renamed, ")
    assert str(planned).endswith(" s")
    assert (planned.added, planned.changed, planned.removed) == (("new.md",), ("company.md",), ("메모.txt",))
    assert planned.renamed == {"prices.md": "prices/2026.md"}
    assert store.header() == before.header
    result = synced(store, folder)
    assert sorted(changes(result).values()) == ["added", "changed", "removed", "renamed"]
    assert str(plan(store, folder, embedder=embedder, spec="hashed")) == "+0 ~0 -0, 0 s"


def test_what_must_not_be_mixed_is_refused_with_what_to_do(store: Store, folder: Path, tmp_path: Path) -> None:
    synced(store, folder)
    before = store.header()
    other = tmp_path / "other"
    write(other, "a.md", "text")
    with pytest.raises(UsageError, match=r"follows .*docs, not .*other.*--rebuild"):
        synced(store, other)
    with pytest.raises(UsageError, match="whet kb reembed --kb kb --embedder hashed"):
        synced(store, folder, HashedEmbedder("another"))
    with pytest.raises(UsageError, match="whet kb reembed"):
        synced(store, folder, HashedEmbedder("another"), rebuild=True)
    with pytest.raises(UsageError, match=r"target=800.*--rebuild"):
        synced(store, folder, chunks=settings_for(800, None))
    with pytest.raises(UsageError, match="--rebuild"):
        plan(store, other, embedder=HashedEmbedder(), spec="hashed")
    with pytest.raises(DataError, match="There is no folder"):
        synced(store, tmp_path / "absent")
    assert store.header() == before
    prove(store, folder)


def test_rebuild_follows_another_folder_and_other_chunks_which_the_next_sync_keeps(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    synced(store, folder)
    other = tmp_path / "other"
    write(other, "a.md", page("A", *(f"Fact {n}." for n in range(9))))
    synced(store, other, rebuild=True, chunks=settings_for(1000, 200))
    chunks = store.count()
    assert set(store.manifest()) == {"a.md"}
    assert synced(store, other).changes == ()
    write(other, "a.md", page("A", *(f"Fact {n}." for n in range(9))) + "\nMore.\n")
    synced(store, other)
    assert store.count() == chunks
    assert list(check(store, embedder=HashedEmbedder(), deep=True)) == []


def test_a_document_that_cannot_be_read_is_kept_with_the_reason_and_its_old_text_is_not(
    store: Store, folder: Path
) -> None:
    write(folder, "report.txt", "The profit was 5.")
    synced(store, folder)
    (folder / "report.txt").write_bytes(b"%PDF-1.7 that is no text")
    result = synced(store, folder)
    assert changes(result) == {"report.txt": "unreadable"}
    assert "PDF" in result.problems["report.txt"]
    assert texts_in(store, "report.txt") == []
    assert store.keyword("profit", 5) == []
    assert list(check(store, embedder=HashedEmbedder())) == []

    again = synced(store, folder)
    assert (again.changes, set(again.problems)) == ((), {"report.txt"})  # not tried again, but said again
    write(folder, "report.txt", "The profit was 6.")
    assert changes(synced(store, folder)) == {"report.txt": "changed"}
    prove(store, folder)


def test_a_document_that_may_not_be_opened_has_no_passages(store: Store, folder: Path) -> None:
    synced(store, folder)
    (folder / "company.md").chmod(0)
    if os.access(folder / "company.md", os.R_OK):
        pytest.skip("whoever runs this test may read everything")
    result = synced(store, folder)
    assert [change.kind for change in result.changes] == ["removed"]
    assert "permission" in result.changes[0].detail
    (folder / "company.md").chmod(0o644)
    synced(store, folder)
    prove(store, folder)


def test_an_empty_folder_is_a_knowledge_base_without_documents(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = synced(store, tmp_path / "empty")
    assert (result.documents, result.chunks, result.header.synced > 0) == (0, 0, True)
    assert store.keyword("anything", 3) == []
    prove(store, tmp_path / "empty")


def test_an_endpoint_that_fails_half_way_keeps_what_was_embedded(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, "old.md", page("Old", "It is old."))
    synced(store, docs)
    for number in range(40):
        write(docs, f"d{number}.md", page(f"Document {number}", *(f"Fact {number} {part}." for part in range(20))))
    failing = HashedEmbedder(fail_after=300)
    with pytest.raises(ModelConnectionError):
        synced(store, docs, failing)
    assert set(store.manifest()) == {"old.md"}  # the old state answers
    assert store.keyword("old", 5)
    going_on = HashedEmbedder()
    synced(store, docs, going_on)
    assert failing.embedded
    assert not {*failing.embedded} & {*going_on.embedded}  # nothing is paid for twice
    prove(store, docs)


def test_a_second_sync_is_told_who_is_at_work(any_store: NewStore, folder: Path) -> None:  # noqa: F811
    first, second = any_store(), any_store()
    with first.writing(0), pytest.raises(UsageError, match=str(os.getpid())):
        synced(second, folder, wait=0.1)
    synced(second, folder, wait=0.1)


def test_a_second_sync_waits_for_the_first(any_store: NewStore, folder: Path) -> None:  # noqa: F811
    first, second = any_store(), any_store()
    results = []
    began = threading.Event()

    class Slow(HashedEmbedder):
        def embed(self, texts: Sequence[str], progress: Any = None) -> npt.NDArray[np.float32]:
            began.set()
            time.sleep(0.3)
            return super().embed(texts, progress)

    thread = threading.Thread(target=lambda: results.append(synced(first, folder, Slow())))
    thread.start()
    assert began.wait(60)  # the first one holds the lock
    embedder = HashedEmbedder()
    result = synced(second, folder, embedder, wait=30)
    thread.join()
    assert (len(results), result.changes, embedder.embedded) == (1, (), [])


def test_progress_counts_documents_and_chunks_up_to_the_end(store: Store, folder: Path) -> None:
    told: list[Progress] = []
    result = synced(store, folder, progress=told.append)
    assert told[0].stage == "looking"
    assert told[-1] == Progress("saving", 3, 3, result.chunks, result.chunks)
    assert any(progress.stage == "embedding" for progress in told)
    assert [progress.chunks for progress in told] == sorted(progress.chunks for progress in told)


def test_a_text_that_stands_in_many_documents_is_embedded_once(store: Store, tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / "docs", f"{number}/notice.txt", "All rights reserved.")
    embedder = HashedEmbedder()
    result = synced(store, tmp_path / "docs", embedder)
    assert (result.chunks, len(embedder.embedded)) == (30, 1)
    prove(store, tmp_path / "docs")


def test_a_first_sync_that_did_not_end_binds_nobody(store: Store, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelConnectionError):
        synced(store, folder, HashedEmbedder(fail_after=0))
    other = HashedEmbedder("another", dimension=8)
    write(tmp_path / "other", "a.txt", "text")
    synced(store, tmp_path / "other", other)
    assert np.array_equal(store.vectors([next(store.chunks_of("a.txt")).id]), other.embed(["a\ntext"]))
