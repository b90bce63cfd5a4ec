"""Knowledge bases by name, in files and on a server; and following a folder."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from kb_folder import HashedEmbedder, synced, write
from postgres import (
    PostgresServer,
    postgres,  # noqa: F401 - a fixture
)
from whetstone.errors import DataError, ModelConnectionError, StorageError, UnknownNameError, UsageError, WhetstoneError
from whetstone.retrieval import watch
from whetstone.retrieval.library import names, open_knowledge, open_store
from whetstone.retrieval.sync import SyncResult, sync


@pytest.fixture(params=["sqlite", "postgresql"])
def kept_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where knowledge bases go without another word."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        monkeypatch.setenv("WHETSTONE_DATABASE_URL", server.new_database("template0"))
    return str(request.param)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    write(tmp_path / "docs", "a.txt", "The founder is Ann.")
    return tmp_path / "docs"


def test_knowledge_bases_are_found_by_name(kept_in: str, docs: Path) -> None:
    assert names() == []
    with pytest.raises(UnknownNameError, match="whet kb sync FOLDER --kb handbook"):
        open_knowledge("handbook")
    assert names() == []  # to ask for one does not make it
    for name in ("handbook", "회사"):
        store = open_store(name)
        sync(store, docs)
        store.close()
    assert names() == ["handbook", "회사"]
    with pytest.raises(UnknownNameError, match="Did you mean handbook"):
        open_knowledge("handbok")
    with open_knowledge("handbook") as knowledge:
        assert (knowledge.name, knowledge.header.folder) == ("handbook", str(docs))
        (vector,) = knowledge.embedder.embed(["a\nThe founder is Ann."])
        assert knowledge.store.dense(vector, 1)[0].score == pytest.approx(1.0, abs=1e-5)
        knowledge.store.delete()
        with pytest.raises(StorageError, match="whet kb sync"):
            _ = knowledge.header
    assert names() == ["회사"]


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 61, "a.db"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a knowledge base"):
        open_store(name)


def test_an_embedder_that_is_not_the_one_of_the_vectors_is_refused(kept_in: str, docs: Path) -> None:
    store = open_store("old")
    header = sync(store, docs).header
    store.create(dataclasses.replace(header, embedder="all-MiniLM-L6-v2-int8@older/256"))
    store.close()
    with open_knowledge("old") as knowledge, pytest.raises(StorageError, match="whet kb reembed --kb old"):
        _ = knowledge.embedder


def test_following_goes_on_after_a_sync_that_failed_and_ends_with_the_folder(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_RETRY", 0.0)
    store = open_store("followed")
    failures: list[WhetstoneError] = []
    embedders = [HashedEmbedder(fail_after=0), HashedEmbedder(), HashedEmbedder(), HashedEmbedder()]

    def run() -> SyncResult:
        return synced(store, docs, embedders.pop(0))

    following = watch.follow(docs, run, failures.append)
    assert [change.kind for change in next(following).changes] == ["added"]  # the second try
    assert [type(failure) for failure in failures] == [ModelConnectionError]
    write(docs, "b.txt", "The office is in Seoul.")
    assert [change.path for change in next(following).changes] == ["b.txt"]
    shutil.rmtree(docs)
    with pytest.raises(DataError, match="no folder"):
        for _ in following:
            pass
    store.close()
