"""fsck finds every fault that is planted, names the cure, and the cure works."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from kb_folder import HashedEmbedder, page, prove, synced, write
from whetstone.retrieval.fsck import check, cure
from whetstone.retrieval.sqlite_store import SqliteStore
from whetstone.retrieval.store import Fault

PARTS = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    for number in range(4):
        write(docs, f"d{number}.md", page(f"Document {number}", *(f"Fact {number}.{n}" for n in range(PARTS))))
    return docs


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "kb.db")) as store:
        synced(store, folder)
        yield store


def found(store: SqliteStore, *, deep: bool = False) -> list[Fault]:
    return list(check(store, embedder=HashedEmbedder(), deep=deep))


def sql(store: SqliteStore, statement: str, *values: object) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(store.file)) as database, database:
        assert database.execute(statement, values).rowcount != 0


def another_vector() -> bytes:
    (vector,) = HashedEmbedder().embed(["another text"])
    return vector.astype("<f4").tobytes()


def test_nothing_is_found_where_nothing_is_wrong(store: SqliteStore) -> None:
    assert found(store, deep=True) == []
    assert cure(store, []) == ""


def a_missing_chunk(store: SqliteStore, folder: Path) -> None:
    sql(store, "DELETE FROM chunks WHERE id = (SELECT min(id) + 1 FROM chunks)")


def a_missing_vector(store: SqliteStore, folder: Path) -> None:
    sql(store, "DELETE FROM vectors WHERE id = (SELECT min(id) + 1 FROM vectors)")


def a_stale_vector(store: SqliteStore, folder: Path) -> None:
    sql(store, "UPDATE vectors SET vector = ? WHERE id = (SELECT min(id) + 2 FROM vectors)", another_vector())


def a_vector_of_another_dimension(store: SqliteStore, folder: Path) -> None:
    vector = np.ones(1, np.float32).tobytes()
    sql(store, "UPDATE vectors SET vector = ? WHERE id = (SELECT min(id) FROM vectors)", vector)


def an_orphan_chunk(store: SqliteStore, folder: Path) -> None:
    sql(store, "UPDATE chunks SET document = 99999 WHERE id = (SELECT min(id) + 2 FROM chunks)")


def a_chunk_of_a_document_that_does_not_hold_it(store: SqliteStore, folder: Path) -> None:
    sql(store, "UPDATE chunks SET text = 'Nobody wrote this.' WHERE id = (SELECT max(id) FROM chunks)")


def an_orphan_vector(store: SqliteStore, folder: Path) -> None:
    sql(
        store,
        "INSERT INTO vectors (hash, embedding, vector) SELECT x'00', embedding, ? FROM header",
        another_vector(),
    )


def a_document_that_is_lost(store: SqliteStore, folder: Path) -> None:
    sql(store, "DELETE FROM documents WHERE path = 'd1.md'")


def a_keyword_index_that_is_lost(store: SqliteStore, folder: Path) -> None:
    sql(store, "INSERT INTO keyword (keyword) VALUES ('delete-all')")


def a_changed_file(store: SqliteStore, folder: Path) -> None:
    write(folder, "d2.md", page("Document 2", "Another fact."))


def a_file_that_rotted(store: SqliteStore, folder: Path) -> None:
    file = folder / "d2.md"
    status = file.stat()
    file.write_bytes(file.read_bytes().replace(b"Fact", b"Fakt"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def a_missing_file(store: SqliteStore, folder: Path) -> None:
    (folder / "d3.md").unlink()


def a_new_file(store: SqliteStore, folder: Path) -> None:
    write(folder, "new.md", "It is new.")


PLANTED: list[tuple[Callable[[SqliteStore, Path], None], set[str]]] = [
    (a_missing_chunk, {"missing chunk"}),
    (a_missing_vector, {"missing vector"}),
    (a_stale_vector, {"stale vector"}),
    (a_vector_of_another_dimension, {"wrong dimension"}),
    (an_orphan_chunk, {"orphan chunk"}),
    (a_chunk_of_a_document_that_does_not_hold_it, {"missing chunk", "orphan chunk"}),
    (an_orphan_vector, {"orphan vector"}),
    (a_document_that_is_lost, {"orphan chunk", "new file"}),
    (a_keyword_index_that_is_lost, {"keyword index"}),
    (a_changed_file, {"changed file"}),
    (a_file_that_rotted, {"changed file"}),
    (a_missing_file, {"missing file"}),
    (a_new_file, {"new file"}),
]


@pytest.mark.parametrize(("plant", "kinds"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_fault_is_found_and_the_cure_that_is_named_mends_it(
    store: SqliteStore, folder: Path, plant: Callable[[SqliteStore, Path], None], kinds: set[str]
) -> None:
    plant(store, folder)
    faults = found(store)
    assert kinds <= {fault.kind for fault in faults}
    assert all(fault.where and fault.detail for fault in faults)
    rebuild = "--rebuild" in cure(store, faults)
    assert rebuild == bool({fault.kind for fault in faults} - {"changed file", "missing file", "new file"})
    if plant is a_file_that_rotted:
        (folder / "d2.md").touch()  # bytes that change while size and time do not are no business of a plain sync
    synced(store, folder, rebuild=rebuild)
    prove(store, folder)


def test_a_damaged_file_is_said_and_rebuilt(store: SqliteStore, folder: Path) -> None:
    store.close()
    size = store.file.stat().st_size
    with open(store.file, "r+b") as file:
        file.seek(100)
        file.write(os.urandom(size - 100))
    for beside in ("-wal", "-shm"):
        Path(f"{store.file}{beside}").unlink(missing_ok=True)
    faults = found(store)
    assert faults
    assert "--rebuild" in cure(store, faults)
    synced(store, folder, rebuild=True)
    prove(store, folder)


def test_a_file_that_is_no_database_is_said_and_rebuilt(store: SqliteStore, folder: Path) -> None:
    store.close()
    for beside in ("", "-wal", "-shm"):
        Path(f"{store.file}{beside}").unlink(missing_ok=True)
    store.file.write_bytes(b"nothing that SQLite knows" * 1000)
    assert {fault.kind for fault in found(store)} == {"unreadable"}
    synced(store, folder, rebuild=True)
    prove(store, folder)


class OnceWrong(HashedEmbedder):
    """Gives one text the vector of another."""

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        return super()._vector("another text" if "Fact 2.3" in text else text)


def test_deep_finds_the_one_stale_vector_that_a_sample_may_miss(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whetstone.retrieval import fsck

    monkeypatch.setattr(fsck, "SAMPLE", 2)
    with closing(SqliteStore(tmp_path / "wrong.db")) as store:
        synced(store, folder, OnceWrong())
        sampled = [{fault.kind for fault in check(store, embedder=HashedEmbedder(), seed=seed)} for seed in range(40)]
        assert {"stale vector"} in sampled  # every chunk has its chance
        assert set() in sampled
        (fault,) = found(store, deep=True)
        assert (fault.kind, fault.where) == ("stale vector", "d2.md, chunk 3")
        synced(store, folder, rebuild=True)
        prove(store, folder)


def test_faults_that_are_planted_together_are_all_found(store: SqliteStore, folder: Path) -> None:
    together = [plant for plant, _ in PLANTED if plant is not a_file_that_rotted]
    for plant in together:
        plant(store, folder)
    expected = set().union(*(kinds for plant, kinds in PLANTED if plant in together)) - {"stale vector"}
    faults = found(store)
    assert expected <= {fault.kind for fault in faults}
    assert {"stale vector", "vector index"} & {fault.kind for fault in faults}
    synced(store, folder, rebuild=True)
    prove(store, folder)


def test_a_document_that_could_not_be_read_is_no_fault_until_it_changes(store: SqliteStore, folder: Path) -> None:
    (folder / "d0.md").write_bytes(b"%PDF-1.7 that is no text")
    synced(store, folder)
    assert found(store) == []
    write(folder, "d0.md", "It can be read.")
    assert [fault.kind for fault in found(store)] == ["changed file"]
