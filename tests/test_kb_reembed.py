"""A change of embedder: made beside the old vectors, resumable, swapped in at once; and the same vectors by Ray."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kb_folder import HashedEmbedder, page, synced, write
from kb_stores import (
    NewStore,
    any_store,  # noqa: F401 - a fixture
)
from postgres import postgres  # noqa: F401 - a fixture
from whetstone import settings
from whetstone.errors import ModelConnectionError, UsageError
from whetstone.retrieval.fsck import check
from whetstone.retrieval.reembed import reembed
from whetstone.retrieval.store import Store
from whetstone.retrieval.vector_file import VectorFile


@pytest.fixture
def store(any_store: NewStore) -> Store:  # noqa: F811
    return any_store()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    for number in range(50):
        write(docs, f"d{number}.md", page(f"Document {number}", *(f"Fact {number}.{n}" for n in range(12))))
    return docs


def test_another_embedder_takes_the_place_of_the_old_one_at_once(store: Store, folder: Path) -> None:
    old, new = HashedEmbedder(), HashedEmbedder("another", dimension=24)
    before = synced(store, folder, old)
    ids = [stored.id for stored in store.chunks_of("d7.md")]
    header, embedded = reembed(store, spec="another", embedder=new)
    assert (header.embedder, header.dimension, embedded) == ("another", 24, before.chunks)
    assert [stored.id for stored in store.chunks_of("d7.md")] == ids
    texts = [stored.chunk.shown for stored in store.chunks_of("d7.md")]
    assert np.array_equal(store.vectors(ids), new.embed(texts))
    assert store.dense(new.embed(texts[:1])[0], 1)[0].score == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(UsageError, match="made by another, not by hashed"):
        synced(store, folder, old)
    new.embedded.clear()
    assert (synced(store, folder, new).changes, new.embedded) == ((), [])
    assert list(check(store, embedder=new, deep=True)) == []


def test_a_change_of_embedder_that_breaks_off_goes_on_where_it_was_and_the_old_one_serves(
    store: Store, folder: Path
) -> None:
    old = HashedEmbedder()
    total = synced(store, folder, old).chunks
    failing = HashedEmbedder("another", fail_after=300)
    with pytest.raises(ModelConnectionError):
        reembed(store, spec="another", embedder=failing)
    (first,) = list(store.chunks_of("d0.md"))[:1]
    assert store.dense(old.embed([first.chunk.shown])[0], 1)[0].id == first.id
    assert list(check(store, embedder=old, deep=True)) == []
    going_on = HashedEmbedder("another")
    _, embedded = reembed(store, spec="another", embedder=going_on)
    assert failing.embedded
    assert embedded == len(going_on.embedded) == total - len(failing.embedded)
    assert list((settings.home() / "cache").glob("reembed-*")) == []
    assert synced(store, folder, HashedEmbedder("another")).changes == ()


def test_an_embedder_that_reads_less_gets_smaller_chunks_with_the_next_sync(store: Store, folder: Path) -> None:
    synced(store, folder)
    short = HashedEmbedder("short", max_tokens=40)
    reembed(store, spec="short", embedder=short)
    synced(store, folder, short)
    for path in store.manifest():
        assert max(short.count_tokens([stored.chunk.shown for stored in store.chunks_of(path)])) <= 40
    assert list(check(store, embedder=short, deep=True)) == []
    assert synced(store, folder, short).changes == ()


def test_the_same_embedder_mends_stale_vectors(store: Store, folder: Path) -> None:
    wrong = HashedEmbedder()
    wrong._vector = HashedEmbedder("wrong")._vector  # type: ignore[method-assign]
    synced(store, folder, wrong)
    assert {fault.kind for fault in check(store, embedder=HashedEmbedder())} == {"stale vector"}
    reembed(store, spec="hashed", embedder=HashedEmbedder())
    assert list(check(store, embedder=HashedEmbedder(), deep=True)) == []


def test_vectors_set_aside_survive_a_torn_end(tmp_path: Path) -> None:
    embedder = HashedEmbedder()
    hashes = [bytes([number]) * 16 for number in range(5)]
    vectors = embedder.embed([str(number) for number in range(5)])
    kept = VectorFile(tmp_path / "vectors", embedder.dimension)
    kept.add_vectors(hashes, vectors)
    kept.close()
    whole = (tmp_path / "vectors").read_bytes()
    for damaged in (whole[:-7], whole[:-1] + b"\xff", whole + b"torn"):
        (tmp_path / "vectors").write_bytes(damaged)
        kept = VectorFile(tmp_path / "vectors", embedder.dimension)
        found = kept.with_vectors(hashes)
        assert found == set(hashes[: 5 if damaged.startswith(whole) else 4])
        kept.add_vectors(hashes[4:], vectors[4:])
        ((order, rows),) = list(kept.batches(reversed(hashes)))
        assert np.array_equal(rows, vectors[::-1])
        assert order == hashes[::-1]
        kept.close()


RAY = """
import sys
from pathlib import Path
from whetstone.retrieval import embedding_job
from whetstone.retrieval.library import open_store
from whetstone.retrieval.sync import sync
embedding_job._BATCH = 8
result = sync(open_store("ray"), Path(sys.argv[1]), engine="ray")
import ray
print(result.embedded, ray.is_initialized())
"""


@pytest.mark.timeout(900)  # Ray starts a dozen processes
def test_ray_makes_the_same_vectors_bit_for_bit_and_ends_quietly(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'whetstone-llm[scale]'")
    from whetstone.retrieval.library import open_store
    from whetstone.retrieval.sync import sync

    docs = tmp_path / "docs"
    for number in range(12):
        write(docs, f"d{number}.md", page(f"Document {number}", "Ann founded it.", "A lamp costs 12 €.", "램프"))
    result = subprocess.run([sys.executable, "-c", RAY, str(docs)], capture_output=True, text=True, check=False)
    with closing(open_store("local")) as store:
        local = sync(store, docs)
    assert result.stdout.split() == [str(local.embedded), "False"], result.stdout + result.stderr
    # One line comes from Ray's C++, about how Ray Data starts its own actors, and cannot be turned off there alone.
    assert [line for line in result.stderr.splitlines() if "ray/issues/53727" not in line] == []
    ours, theirs = open_store("local"), open_store("ray")
    for path in ours.manifest():
        assert [one.chunk for one in ours.chunks_of(path)] == [one.chunk for one in theirs.chunks_of(path)]
        vectors = [store.vectors([one.id for one in store.chunks_of(path)]) for store in (ours, theirs)]
        assert np.array_equal(*vectors)
    ours.close()
    theirs.close()
