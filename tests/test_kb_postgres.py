"""What is PostgreSQL's own in its knowledge bases: the server, its users, its locks, its indexes. See test_kb_store."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from kb_stores import HEADER, chunks_of, record_of, texts_found, vector_of, written
from postgres import PostgresServer, postgres  # noqa: F401 - a fixture
from whetstone.errors import StorageError, UsageError
from whetstone.retrieval import postgres_vectors
from whetstone.retrieval.document import Filter
from whetstone.retrieval.postgres_filter import path_pattern
from whetstone.retrieval.postgres_store import PostgresStore, names
from whetstone.retrieval.sqlite_store import SqliteStore
from whetstone.retrieval.store import Change


@pytest.fixture
def url(postgres: PostgresServer) -> str:  # noqa: F811
    return postgres.new_database("template0")


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    opened = PostgresStore(url, "kb")
    opened.create(HEADER)
    yield opened
    opened.close()


def _run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


# --- the server


def test_the_names_in_a_database_are_listed(url: str) -> None:
    assert names(url) == []
    for name in ("contracts", "계약"):
        store = PostgresStore(url, name)
        store.create(HEADER)
        store.close()
    assert names(url) == ["contracts", "계약"]


def test_a_wrong_password_is_said_without_the_password(postgres: PostgresServer, url: str) -> None:  # noqa: F811
    postgres.want_password("librarian", "right horse")
    wrong = sa.make_url(url).set(username="librarian", password="wrong battery").render_as_string(hide_password=False)
    store = PostgresStore(wrong, "kb")
    with pytest.raises(StorageError, match="refused the user or the password") as caught:
        store.header()
    assert "battery" not in str(caught.value)
    assert "battery" not in store.where


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite:///x.db", "postgres//x"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="postgresql://"):
        PostgresStore(url, "kb")


def test_a_server_that_is_not_there_is_one_sentence(url: str) -> None:
    away = sa.make_url(url).update_query_dict({"host": "/nowhere"}).render_as_string()
    with pytest.raises(StorageError, match="cannot be reached"):
        PostgresStore(away, "kb").header()


def test_connections_that_the_server_ended_are_opened_anew(
    postgres: PostgresServer,  # noqa: F811
    store: PostgresStore,
    url: str,
) -> None:
    written(store, {"a.md": ["one"]})
    database = sa.make_url(url).database
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )
    assert texts_found(store, [match.id for match in store.keyword("one", 1)]) == ["one"]


def test_a_user_who_may_not_add_pgvector_is_told_who_can(
    postgres: PostgresServer,  # noqa: F811
    url: str,
) -> None:
    postgres.execute("CREATE ROLE reader LOGIN")
    store = PostgresStore(sa.make_url(url).set(username="reader").render_as_string(), "kb")
    assert store.header() is None
    with pytest.raises(StorageError, match="CREATE EXTENSION vector"):
        store.create(HEADER)
    _run(url, "CREATE EXTENSION vector")
    with pytest.raises(StorageError, match="may not do that"):
        store.create(HEADER)
    store.close()


def test_a_knowledge_base_that_is_not_there_is_one_sentence(url: str) -> None:
    store = PostgresStore(url, "kb")
    with pytest.raises(StorageError, match="whet kb sync"):
        store.manifest()
    store.delete()  # harmless
    store.close()


# --- several processes


def test_two_processes_write_one_after_the_other(store: PostgresStore, url: str) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from kb_stores import written\nfrom whetstone.retrieval.postgres_store import PostgresStore\n"
        "store = PostgresStore(sys.argv[1], 'kb')\n"
        "for n in range(5):\n"
        "    with store.writing(60):\n"
        "        written(store, {f'{sys.argv[2]}{n}.md': [f'word of {sys.argv[2]}{n}']})\n"
    )
    folder = str(Path(__file__).parent)
    processes = [subprocess.Popen([sys.executable, "-c", script, url, name, folder]) for name in ("a", "b")]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert sorted(store.manifest()) == sorted(f"{name}{n}.md" for name in "ab" for n in range(5))
    assert len(store.keyword("word", 100)) == len(store.dense(vector_of("x"), 100)) == 10
    header = store.header()
    assert header is not None
    assert header.state == 10
    assert list(store.faults()) == []


def test_knowledge_bases_of_other_names_are_synced_side_by_side(store: PostgresStore, url: str) -> None:
    other = PostgresStore(url, "other")
    with store.writing(0), other.writing(0):
        pass
    other.close()


def test_a_killed_sync_leaves_the_state_before_and_its_vectors(store: PostgresStore, url: str) -> None:
    written(store, {"a.md": ["one"]})
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from kb_stores import *\nfrom whetstone.retrieval.postgres_store import PostgresStore\n"
        "store = PostgresStore(sys.argv[1], 'kb')\n"
        "(chunk,) = chunks_of('two')\n"
        "store.add_vectors([chunk.hash], vector_of('two')[None])\n"
        "def half():\n    yield record_of('b.md', [chunk]), [chunk]\n    os.kill(os.getpid(), 9)\n"
        "from whetstone.retrieval.store import Change\n"
        "store.apply(Change(removed=['a.md'], written=half()), HEADER)\n"
    )
    folder = str(Path(__file__).parent)
    assert subprocess.run([sys.executable, "-c", script, url, folder], check=False, timeout=120).returncode == -9
    assert sorted(store.manifest()) == ["a.md"]
    assert store.with_vectors([chunks_of("two")[0].hash]) == {chunks_of("two")[0].hash}
    assert list(store.faults()) == []
    written(store, {"b.md": ["two"]}, removed=["a.md"])
    assert [match.score for match in store.dense(vector_of("two"), 5)] == pytest.approx([1])


# --- the indexes


def test_a_long_document_is_written_in_parts(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whetstone.retrieval.postgres_changes._CHUNKS_AT_ONCE", 7)
    monkeypatch.setattr("whetstone.retrieval.postgres_changes._DOCUMENTS_AT_ONCE", 3)
    texts = [f"long {n}" for n in range(40)]
    written(store, {"a.md": ["first"], "long.md": texts, "z.md": ["last"], "y.md": ["more"], "x.md": ["most"]})
    before = [stored.id for stored in store.chunks_of("long.md")]
    changed = [*texts[:20], "another", *texts[21:30]]
    written(store, {"long.md": changed, "a.md": ["first"]})
    assert [stored.chunk.text for stored in store.chunks_of("long.md")] == changed
    assert [stored.id for stored in store.chunks_of("long.md")][:20] == before[:20]
    assert len(store.keyword("long", 100)) == 29
    assert list(store.faults()) == []


def test_beyond_a_size_an_index_is_used_and_finds_the_same(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = {f"{n % 3}/{n}.md": [f"text {n}", "boilerplate"] for n in range(120)}
    written(store, documents)
    queries = [vector_of(f"question {n}") for n in range(10)]
    filters = [Filter(), Filter({"folder": "1"})]
    exact = [store.dense(query, 20, where) for query in queries for where in filters]
    monkeypatch.setattr(postgres_vectors, "INDEX_FROM", 50)
    monkeypatch.setattr(postgres_vectors, "_SELECTIVE", 10)
    written(store, {"new.md": ["one more"]}, removed=["0/0.md"])
    written(store, {"0/0.md": documents["0/0.md"]}, removed=["new.md"])
    store.add_vectors([b"s" * 16], queries[0][None])  # staged, and nearer than all
    with store._base.reading() as (cursor, base):
        assert base is not None
        assert postgres_vectors.has_index(cursor, base.vectors)
    found = [store.dense(query, 20, where) for query in queries for where in filters]
    for matches, expected in zip(found, exact, strict=True):
        assert [match.score for match in matches] == pytest.approx([match.score for match in expected], abs=1e-6)
    assert list(store.faults()) == []


def test_both_stores_score_alike(store: PostgresStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    words = [f"word{n}" for n in range(60)] + ["정책", "환불", "東京", "café"]
    weights = 1 / np.arange(1, len(words) + 1)
    documents = {
        f"{n}.md": [" ".join(rng.choice(words, size=rng.integers(3, 40), p=weights / weights.sum())) for _ in range(4)]
        for n in range(60)
    }
    other = SqliteStore(tmp_path / "kb.db")
    other.create(HEADER)
    for one in (store, other):
        written(one, documents)
    for question in ["word3 word40", "환불 정책은?", "word0 word1 word2 word50 word60", "cafe 東京 word9"]:
        for where in (Filter(), Filter(path="1*")):
            ours, theirs = store.keyword(question, 15, where), other.keyword(question, 15, where)
            assert texts_found(store, [m.id for m in ours]) == texts_found(other, [m.id for m in theirs])
            assert [m.score for m in ours] == pytest.approx([m.score for m in theirs])
    other.close()


def test_an_index_of_another_version_of_the_terms_is_written_anew(store: PostgresStore, url: str) -> None:
    written(store, {"a.md": ["policies of refund", "more"]})
    _run(
        url,
        "UPDATE whetstone_knowledge.bases SET terms = 0, length = 1",
        "UPDATE whetstone_kb_1.terms SET term = term || '?'",
    )
    assert [match.score > 0 for match in store.keyword("policy", 5)] == [True]
    assert list(store.faults()) == []


@pytest.mark.parametrize(
    ("statement", "kind", "where"),
    [
        ("DELETE FROM whetstone_kb_1.chunks WHERE ordinal = 1", "missing chunk", "a.md"),
        ("DELETE FROM whetstone_kb_1.documents WHERE path = 'b.md'", "orphan chunk", "chunk"),
        ("UPDATE whetstone_kb_1.documents SET chunks = 1 WHERE path = 'a.md'", "orphan chunk", "a.md"),
        ("DELETE FROM whetstone_kb_1.vectors_0 WHERE ctid = '(0,1)'", "missing vector", "a.md"),
        (
            "INSERT INTO whetstone_kb_1.vectors_0 SELECT '\\x01', vector FROM whetstone_kb_1.vectors_0 LIMIT 1",
            "orphan vector",
            "vector 01",
        ),
        ("UPDATE whetstone_kb_1.vectors_0 SET vector = vector + vector", "stale vector", "vector"),
        ("UPDATE whetstone_kb_1.chunks SET text = 'changed' WHERE ordinal = 1", "stale vector", "a.md"),
        ("DELETE FROM whetstone_kb_1.postings WHERE ctid = '(0,1)'", "keyword index", ""),
        ("UPDATE whetstone_kb_1.postings SET count = 9 WHERE ctid = '(0,1)'", "keyword index", "a.md"),
        ("INSERT INTO whetstone_kb_1.postings VALUES (999, 1, 1, 1)", "keyword index", "chunk 999"),
        ("INSERT INTO whetstone_kb_1.postings SELECT max(id), 1, 1, 1 FROM whetstone_kb_1.chunks", "keyword index", ""),
        ("UPDATE whetstone_kb_1.terms SET chunks = 7", "keyword index", "term"),
        ("UPDATE whetstone_knowledge.bases SET length = 7", "keyword index", "header"),
        (
            "ALTER TABLE whetstone_kb_1.vectors_0 ALTER vector TYPE vector;"
            " UPDATE whetstone_kb_1.vectors_0 SET vector = '[1]' WHERE ctid = '(0,1)'",
            "wrong dimension",
            "vector",
        ),
    ],
)
def test_planted_faults_are_found(store: PostgresStore, url: str, statement: str, kind: str, where: str) -> None:
    written(store, {"a.md": ["one", "two"], "b.md": ["three"]})
    assert list(store.faults()) == []
    _run(url, statement)
    assert any(fault.kind == kind and fault.where.startswith(where) for fault in store.faults())


def test_a_missing_vector_index_is_a_fault(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written(store, {"a.md": ["one", "two"]})
    monkeypatch.setattr("whetstone.retrieval.postgres_faults.INDEX_FROM", 2)
    assert [fault.kind for fault in store.faults()] == ["vector index"]


def test_text_of_any_code_points_is_kept(store: PostgresStore) -> None:
    (plain,) = chunks_of("NUL \x00 and half a pair \ud83d \x1a")
    chunks = [dataclasses.replace(plain, place="\x00", headings=("\x00",))]
    record = dataclasses.replace(record_of("odd\udcff.md", chunks, {"a\x00": "\ud83d"}), title="\x00")
    store.add_vectors([chunks[0].hash], vector_of("x")[None])
    header = dataclasses.replace(HEADER, folder="/docs\udcff")
    store.apply(Change(written=[(record, chunks)]), header)
    assert store.manifest() == {record.path: record}
    (stored,) = store.chunks_of(record.path)
    assert (stored.chunk, stored.metadata, stored.title) == (chunks[0], record.metadata, "\x00")
    assert store.header() == dataclasses.replace(header, state=1)
    where = Filter({"a\x00": "\ud83d"}, "odd?.md")
    assert [match.id for match in store.dense(vector_of("x"), 1, where)] == [stored.id]


def test_vectors_that_are_too_long_for_an_index_are_compared_one_by_one(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_vectors, "INDEX_FROM", 1)
    store = PostgresStore(url, "wide")
    header = dataclasses.replace(HEADER, dimension=3072)
    store.create(header)
    written(store, {"a.md": ["one", "two"]}, header=header)
    assert [match.score for match in store.dense(vector_of("two", 3072), 1)] == pytest.approx([1])
    assert list(store.faults()) == []
    store.close()


@pytest.mark.parametrize(
    ("pattern", "regex"),
    [
        ("a*.md", r"^a.*\U0000002emd$"),
        ("[!a-c]", "^[^a-c]$"),
        ("[]x]", r"^[\U0000005dx]$"),
        ("[^]]", r"^[^\U0000005d]$"),
        ("a[b", r"^a\U0000005bb$"),
        ("[z-a]", "^(?!)$"),
        ("[a-]", r"^[a\U0000002d]$"),
    ],
)
def test_patterns_of_the_shell_become_regular_expressions(pattern: str, regex: str) -> None:
    assert path_pattern(pattern) == regex
