"""What only the SQLite store has: a file that can be killed over, damaged, foreign, full, and large."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kb_stores import DIMENSION, HEADER, chunks_of, record_of, texts_found, vector_of, written
from whetstone.errors import StorageError
from whetstone.retrieval import sqlite_keyword, terms
from whetstone.retrieval.document import Filter
from whetstone.retrieval.sqlite_store import SqliteStore
from whetstone.retrieval.store import Change


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "deep" / "kb.db", wait=0.2)) as store:
        store.create(HEADER)
        yield store


def _sql(store: SqliteStore, statement: str, *values: object) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(store.file)) as database, database:
        assert database.execute(statement, values).rowcount != 0


# --- the file


def test_asking_for_the_header_makes_no_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "kb.db")
    assert store.header() is None
    with pytest.raises(StorageError, match="whet kb sync"):
        store.manifest()
    assert list(tmp_path.iterdir()) == []


def test_closing_leaves_one_file_and_deleting_none(store: SqliteStore) -> None:
    with store.writing(0):
        written(store, {"a.md": ["one"]})
        store.dense(vector_of("one"), 1)
    store.close()
    assert {file.name for file in store.file.parent.iterdir()} <= {"kb.db", "kb.db-lock"}
    store.delete()
    assert list(store.file.parent.iterdir()) == []


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "kb.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE theirs (x)")
    before = file.read_bytes()
    for act in (lambda store: store.header(), lambda store: store.create(HEADER)):
        with closing(SqliteStore(file)) as store, pytest.raises(StorageError, match="another program"):
            act(store)
    assert file.read_bytes() == before


def test_a_file_of_a_newer_version_is_not_read(store: SqliteStore) -> None:
    store.close()
    _sql(store, "PRAGMA user_version = 99")
    with pytest.raises(StorageError, match=r"99.*--rebuild"):
        store.header()


def test_a_file_that_another_process_made_anew_is_noticed(store: SqliteStore) -> None:
    written(store, {"a.md": ["old"]})
    store.dense(vector_of("old"), 1)
    with closing(SqliteStore(store.file)) as other:
        other.delete()
        other.create(HEADER)
        written(other, {"a.md": ["new"]})
    assert texts_found(store, [match.id for match in store.dense(vector_of("old"), 5)]) == ["new"]
    assert store.keyword("old", 5) == []


def _read_all(store: SqliteStore) -> None:
    for path in store.manifest():
        for stored in store.chunks_of(path):
            store.vectors([stored.id])


def test_a_damaged_file_says_what_to_do_and_can_be_made_anew(store: SqliteStore) -> None:
    written(store, {f"{n}.md": [f"text {n} " + "word " * 50] for n in range(200)})
    store.close()
    with open(store.file, "r+b") as file:
        file.seek(5 * 16384)
        file.write(os.urandom(store.file.stat().st_size - 5 * 16384))
    with pytest.raises(StorageError, match=r"damaged.*whet kb fsck.*--rebuild"):
        _read_all(store)
    assert "unreadable" in {fault.kind for fault in store.faults()}
    store.create(HEADER)
    written(store, {"a.md": ["one"]})
    assert list(store.faults()) == []


def test_a_full_disk_keeps_what_was_there(store: SqliteStore) -> None:
    header = written(store, {"a.md": ["one"]})
    pages = sqlite3.connect(store.file).execute("PRAGMA page_count").fetchone()[0]
    with store._sqlite.reading() as connection:  # the connection that the next change will use
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StorageError, match="full"):
        written(store, {"b.md": [f"text {n} " + "word " * 500 for n in range(400)]})
    assert store.header() == header
    assert sorted(store.manifest()) == ["a.md"]
    assert list(store.faults()) == []


def test_another_program_that_locks_the_file_is_waited_for_and_named(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"locked by another program for 0\.2 seconds"):
            written(store, {"a.md": ["one"]})
        other.execute("ROLLBACK")
    written(store, {"a.md": ["one"]})


def test_text_that_is_no_unicode_is_refused_in_a_sentence(store: SqliteStore) -> None:
    parts = chunks_of("half a \ud83d pair")
    store.add_vectors([parts[0].hash], vector_of("x")[None])
    with pytest.raises(StorageError, match="Unicode"):
        store.apply(Change(written=[(record_of("a.md", parts), parts)]), HEADER)
    assert store.manifest() == {}


def test_space_of_removed_documents_is_given_back(store: SqliteStore) -> None:
    written(store, {f"{n}.md": [f"text {n} " + "word " * 2000] for n in range(100)})
    written(store, {}, removed=[f"{n}.md" for n in range(99)])
    store.close()
    assert store.file.stat().st_size < 600_000  # it was 2.1 MB


_KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from kb_stores import written
from whetstone.retrieval.sqlite_store import SqliteStore

store = SqliteStore(Path({file!r}))
with store.writing(5):
    print("begun", flush=True)
    for state in range(1000):
        written(store, {{f"{{n}}.md": [f"state {{state}} of {{n}}", f"more {{state}}"] for n in range(20)}})
"""


@pytest.mark.parametrize("moment", [0.0, 0.03, 0.1, 0.17, 0.31])
def test_a_kill_at_any_moment_leaves_a_whole_state(store: SqliteStore, moment: float) -> None:
    """Wherever the kill strikes, all documents are of one state, nothing is left over, and the next sync can begin."""
    written(store, {f"{n}.md": [f"state x of {n}", "more x"] for n in range(20)})
    script = _KILLED.format(tests=str(Path(__file__).parent), file=str(store.file))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(moment)
        process.send_signal(signal.SIGKILL)
    states = {stored.chunk.text.split()[1] for n in range(20) for stored in store.chunks_of(f"{n}.md")}
    assert len(states) == 1
    assert store.count() == 40
    assert len(store.dense(vector_of("q"), 100)) == 40
    assert len(store.keyword("state", 100)) == 20
    assert list(store.faults()) == []
    with store.writing(0):
        written(store, {"new.md": ["after the kill"]}, removed=["0.md"])
    assert list(store.faults()) == []


# --- vectors and their codes


def test_codes_are_packed_anew_as_vectors_come_and_go(store: SqliteStore) -> None:
    """A reader that loaded the codes before follows every change; the packs stay few."""
    with closing(SqliteStore(store.file)) as reader:
        alive: set[str] = set()
        for step in range(120):
            added = {f"{step}.md": [f"text {step}"]}
            removed = [f"{step - 7}.md"] if step >= 7 else []
            written(store, added, removed=removed)
            alive = {f"text {n}" for n in range(max(0, step - 6), step + 1)}
            matches = reader.dense(vector_of(f"text {step}"), 20)
            assert set(texts_found(reader, [match.id for match in matches])) == alive
            assert matches[0].score == pytest.approx(1, abs=1e-6)
        with store._sqlite.reading() as connection:
            assert connection.execute("SELECT count(*) FROM packs").fetchone()[0] < 20
    assert list(store.faults()) == []


def test_codes_do_not_change_what_is_nearest(tmp_path: Path) -> None:
    """Vectors that differ by less than their codes can tell are told apart, as the best are looked at in float32."""
    random = np.random.default_rng(3)
    centre = random.standard_normal(384)
    vectors = centre + 0.02 * random.standard_normal((3000, 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    query = centre + 0.02 * random.standard_normal(384)
    query = (query / np.linalg.norm(query)).astype(np.float32)
    header = HEADER.__class__("/d", "e", "e", 384, "c")
    parts = chunks_of(*(f"text {n}" for n in range(3000)))
    with closing(SqliteStore(tmp_path / "kb.db")) as store:
        store.create(header)
        store.add_vectors([chunk.hash for chunk in parts], vectors)
        store.apply(Change(written=[(record_of("a.md", parts), parts)]), header)
        best = np.argsort(-(vectors.astype(np.float64) @ query.astype(np.float64)), kind="stable")[:50]
        found = texts_found(store, [match.id for match in store.dense(query, 50)])
    assert found == [f"text {n}" for n in best]


# --- the keyword index


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_keyword, "_MOST_SCORED", 5)
    monkeypatch.setattr(sqlite_keyword, "_MOST_READ", 100)


@pytest.mark.usefixtures("small_budget")
def test_common_words_add_to_the_score_of_what_the_rare_ones_find(store: SqliteStore) -> None:
    texts = [f"common{n % 3} filler{n} words" for n in range(60)] + ["rare common1 tail", "rare other tail thing"]
    written(store, {f"{n}.md": [text] for n, text in enumerate(texts)})
    found = texts_found(store, [match.id for match in store.keyword("rare common1", 5)])
    assert found[:2] == ["rare common1 tail", "rare other tail thing"]
    assert all(text.startswith("common1") for text in found[2:])  # filled up with what the common word finds
    assert len(found) == 5


@pytest.mark.usefixtures("small_budget")
def test_a_filter_that_few_chunks_pass_finds_common_words_too(store: SqliteStore) -> None:
    texts = {f"many/{n}.md": [f"common filler{n}"] for n in range(60)} | {"few/a.md": ["common alone"]}
    written(store, texts | {"many/rare.md": ["rare"]})
    (match,) = store.keyword("rare common", 5, Filter(path="few/*"))
    assert texts_found(store, [match.id]) == ["common alone"]


def test_an_index_of_another_analysis_is_written_anew(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written(store, {"a.md": ["Policies of the house"]})
    monkeypatch.setattr(terms, "VERSION", terms.VERSION + 1)
    monkeypatch.setattr(terms, "index_terms", lambda text: [word.lower()[:3] for word in text.split()])
    monkeypatch.setattr(terms, "query_terms", lambda text: [text.lower()[:3]])
    assert len(store.keyword("polar", 5)) == 1
    written(store, {"a.md": ["Rules"]})
    assert store.keyword("polar", 5) == []
    assert list(store.faults()) == []


# --- faults that are planted


def _another(number: int) -> bytes:
    return vector_of(f"another {number}").astype("<f4").tobytes()


PLANTED: list[tuple[str, Callable[[SqliteStore], None], str]] = [
    ("a chunk is lost", lambda s: _sql(s, "DELETE FROM chunks WHERE ordinal = 1"), "missing chunk"),
    ("a chunk twice", lambda s: _sql(s, "UPDATE chunks SET ordinal = 0 WHERE ordinal = 1"), "missing chunk"),
    ("a document is lost", lambda s: _sql(s, "DELETE FROM documents WHERE path = 'a.md'"), "orphan chunk"),
    ("a vector is lost", lambda s: _sql(s, "DELETE FROM vectors WHERE id = 2"), "missing vector"),
    ("another vector", lambda s: _sql(s, "UPDATE vectors SET vector = ? WHERE id = 2", _another(1)), "vector index"),
    ("another hash", lambda s: _sql(s, "UPDATE vectors SET hash = x'00' WHERE id = 2"), "stale vector"),
    ("another text", lambda s: _sql(s, "UPDATE chunks SET text = 'x y' WHERE id = 2"), "stale vector"),
    ("of no embedding", lambda s: _sql(s, "UPDATE vectors SET embedding = 7 WHERE id = 2"), "stale vector"),
    ("of a chunk that is gone", lambda s: _sql(s, "UPDATE chunks SET vector = 1 WHERE id = 2"), "orphan vector"),
    ("short", lambda s: _sql(s, "UPDATE vectors SET vector = x'0000803f' WHERE id = 2"), "wrong dimension"),
    ("torn", lambda s: _sql(s, "UPDATE vectors SET vector = x'0000' WHERE id = 2"), "wrong dimension"),
    (
        "not finite",
        lambda s: _sql(s, "UPDATE vectors SET vector = ? WHERE id = 2", np.full(DIMENSION, np.nan, "<f4").tobytes()),
        "stale vector",
    ),
    (
        "not of length 1",
        lambda s: _sql(s, "UPDATE vectors SET vector = ? WHERE id = 2", np.ones(DIMENSION, "<f4").tobytes()),
        "stale vector",
    ),
    ("codes are lost", lambda s: _sql(s, "DELETE FROM packs"), "vector index"),
    ("codes are torn", lambda s: _sql(s, "UPDATE packs SET codes = x'0011'"), "vector index"),
    ("a code is dropped", lambda s: _sql(s, "INSERT INTO dropped_codes VALUES (2)"), "vector index"),
    ("the index is empty", lambda s: _sql(s, "INSERT INTO keyword (keyword) VALUES ('delete-all')"), "keyword index"),
    ("other terms", lambda s: _sql(s, "UPDATE chunks SET text = 'zwei' WHERE id = 2"), "keyword index"),
    ("left over terms", lambda s: _sql(s, "INSERT INTO keyword (rowid, terms) VALUES (99, 'x')"), "keyword index"),
]


@pytest.mark.parametrize(("plant", "kind"), [(plant, kind) for _, plant, kind in PLANTED], ids=[n for n, *_ in PLANTED])
def test_a_planted_fault_is_found(store: SqliteStore, plant: Callable[[SqliteStore], None], kind: str) -> None:
    written(store, {"a.md": ["one", "two", "three"], "b.md": ["four"]})
    assert list(store.faults()) == []
    plant(store)
    assert kind in {fault.kind for fault in store.faults()}


def test_damaged_codes_are_told_in_a_sentence(store: SqliteStore) -> None:
    written(store, {"a.md": ["one", "two"]})
    _sql(store, "UPDATE packs SET codes = x'0011'")
    with pytest.raises(StorageError, match="--rebuild"):
        store.dense(vector_of("one"), 1)


def test_vectors_that_wait_for_the_next_sync_are_no_fault(store: SqliteStore) -> None:
    written(store, {"a.md": ["one"]})
    store.add_vectors([b"2" * 16], vector_of("computed before a kill")[None])
    assert list(store.faults()) == []
