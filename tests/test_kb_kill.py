"""Whatever happens to a folder and to its syncs, the next sync makes index = manifest = disk."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_folder import HashedEmbedder, change_something, page, prove, synced, texts_in, write
from kb_stores import (
    NewStore,
    any_store,  # noqa: F401 - a fixture
)
from postgres import postgres  # noqa: F401 - a fixture
from whetstone.errors import ModelConnectionError, StorageError
from whetstone.retrieval.sqlite_store import SqliteStore
from whetstone.retrieval.store import Store

KILLS = 10


class Failing:
    """A store that breaks at one of the calls to it, before or after the call does its work.

    Args:
        store: the real one.
        call: which call breaks, from 0.
        after: whether the call has done its work by then.
    """

    def __init__(self, store: Store, call: int, after: bool) -> None:
        self._store, self._call, self._after = store, call, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name not in ("create", "manifest", "with_vectors", "add_vectors", "apply", "chunks_of", "header"):
            return real

        def call(*arguments: Any) -> Any:
            self._call -= 1
            if self._call == -1 and not self._after:
                raise StorageError("The disk is full")
            result = real(*arguments)
            if self._call == -1:
                raise StorageError("The disk is full")
            return result

        return call


def state_of(store: Store) -> dict[str, list[str]]:
    """What is found, by document."""
    if store.header() is None:
        return {}
    return {path: texts_in(store, path) for path in store.manifest()}


def run_history(store: Store, folder: Path, dice: random.Random, steps: int) -> None:
    """Changes and syncs by chance, some of which break."""
    for _ in range(steps):
        for _ in range(dice.randrange(4)):
            change_something(folder, dice)
        before = state_of(store)
        match dice.randrange(4):
            case 0:
                with_fault = Failing(store, dice.randrange(12), dice.random() < 0.5)
                try:
                    synced(with_fault, folder)  # type: ignore[arg-type]
                except StorageError:
                    after = state_of(store)
                    if after != before:  # the new state had become visible before it broke
                        synced(store, folder)
                        assert state_of(store) == after
            case 1:
                try:
                    synced(store, folder, HashedEmbedder(fail_after=dice.randrange(4)))
                except ModelConnectionError:
                    assert state_of(store) == before
            case _:
                synced(store, folder, rebuild=dice.random() < 0.1)
                prove(store, folder)
    synced(store, folder)
    prove(store, folder)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_any_history_of_changes_and_faults_ends_true_on_sqlite(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    home = tmp_path_factory.mktemp("history")
    (home / "docs").mkdir()
    store = SqliteStore(home / "kb.db")
    try:
        run_history(store, home / "docs", random.Random(seed), 8)
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(3))
def test_any_history_of_changes_and_faults_ends_true(any_store: NewStore, tmp_path: Path, seed: int) -> None:  # noqa: F811
    (tmp_path / "docs").mkdir()
    run_history(any_store(), tmp_path / "docs", random.Random(seed), 10)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from kb_folder import HashedEmbedder, synced
from whetstone.retrieval import embedding_job
from whetstone.retrieval.library import open_store
embedding_job._BATCH = 4  # so that a small folder takes many batches
store = open_store("killed")
print("ready", flush=True)
synced(store, Path(sys.argv[2]), HashedEmbedder(delay=0.01), rebuild=len(sys.argv) > 3)
print("done", flush=True)
"""


def child(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A sync in a process of its own, which says when it begins."""
    arguments = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(folder), *options]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_kill_9_at_any_moment_leaves_the_old_state_and_the_next_sync_finishes(tmp_path: Path) -> None:
    from whetstone.retrieval.library import open_store

    docs, dice = tmp_path / "docs", random.Random(5)
    for number in range(30):
        write(docs, f"d{number}.md", page(f"Document {number}", *(f"Fact {number}.{part}" for part in range(8))))
    store = open_store("killed")
    synced(store, docs)
    outcomes = set()
    for kill in range(KILLS):
        for number in dice.sample(range(30), 12):
            write(
                docs, f"d{number}.md", page(f"Document {number}", *(f"Fact {kill}.{dice.random()}" for _ in range(8)))
            )
        (docs / f"d{dice.randrange(30)}.md").unlink(missing_ok=True)
        before = state_of(store)
        with child(docs) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            finished = "done" in process.stdout.read()
        after = state_of(store)
        assert store.keyword("Fact", 3)
        synced(store, docs)
        prove(store, docs)
        assert after in (before, state_of(store))
        outcomes.add("finished" if finished else "new" if after != before else "old")
    assert "old" in outcomes
    store.close()


def test_what_a_killed_sync_embedded_is_not_embedded_again(tmp_path: Path) -> None:
    from whetstone.retrieval.library import open_store

    docs = tmp_path / "docs"
    for number in range(20):
        write(docs, f"d{number}.md", page(f"Document {number}", *(f"Fact {number}.{part}" for part in range(10))))
    store = open_store("killed")
    with child(docs) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not kept(store):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    already = kept(store)
    embedder = HashedEmbedder()
    result = synced(store, docs, embedder)
    assert len(embedder.embedded) <= result.chunks - already
    prove(store, docs)
    store.close()


def kept(store: Store) -> int:
    """How many vectors are in the file of a store, whether anything finds them or not."""
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(store.where)) as database:
            return int(database.execute("SELECT count(*) FROM vectors").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from kb_folder import synced
from whetstone.errors import ModelConnectionError, StorageError
from whetstone.retrieval.library import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    synced(open_store("killed"), Path(sys.argv[2]))
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit of the size of files")
@pytest.mark.parametrize("limit", [20_000, 150_000, 400_000])
def test_a_full_disk_leaves_the_old_state_and_the_next_sync_finishes(tmp_path: Path, limit: int) -> None:
    from whetstone.retrieval.library import open_store

    docs = tmp_path / "docs"
    write(docs, "old.md", page("Old", "It is old."))
    store = open_store("killed")
    synced(store, docs)
    before = state_of(store)
    for number in range(100):
        write(docs, f"d{number}.md", page(f"Document {number}", *(f"Fact {number}.{part}" for part in range(10))))
    said = subprocess.run(
        [sys.executable, "-c", LIMITED, str(Path(__file__).parent), str(docs), str(limit)],
        capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    assert len(said.stdout.splitlines()) == 1, said.stdout + said.stderr
    assert state_of(store) == before
    synced(store, docs)
    prove(store, docs)
    store.close()
