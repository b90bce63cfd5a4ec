"""A folder of documents that tests change, an embedder that needs no weights, and the proof that nothing is stale."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whetstone.errors import ModelConnectionError
from whetstone.retrieval.chunker import Chunker
from whetstone.retrieval.fsck import check
from whetstone.retrieval.reading import digest_of, read
from whetstone.retrieval.scan import scan
from whetstone.retrieval.store import Store
from whetstone.retrieval.sync import SyncResult, sync

DIMENSION = 16


class HashedEmbedder:
    """Unit vectors that depend on nothing but the text and the embedder's name. Counts what it embeds.

    Args:
        name: another name gives other vectors.
        fail_after: it fails once it has embedded so many texts.
        delay: seconds for each call.
    """

    def __init__(
        self,
        name: str = "hashed",
        *,
        dimension: int = DIMENSION,
        max_tokens: int = 256,
        fail_after: int | None = None,
        delay: float = 0.0,
    ) -> None:
        self.name, self.dimension, self.max_tokens = name, dimension, max_tokens
        self.fail_after, self.delay = fail_after, delay
        self.embedded: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) + 2 for text in texts]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        time.sleep(self.delay)
        if self.fail_after is not None and len(self.embedded) + len(texts) > self.fail_after:
            raise ModelConnectionError("http://127.0.0.1/v1 broke off")
        self.embedded.extend(texts)
        return np.stack([self._vector(text) for text in texts]) if texts else np.empty((0, self.dimension), np.float32)

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        seed = hashlib.sha256(f"{self.name}\n{text}".encode("utf-8", "surrogatepass")).digest()[:8]
        vector = np.random.default_rng(int.from_bytes(seed, "big")).standard_normal(self.dimension)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def synced(store: Store, folder: Path, embedder: HashedEmbedder | None = None, **options: object) -> SyncResult:
    """A sync with an embedder of the tests."""
    return sync(store, folder, embedder=embedder or HashedEmbedder(), spec="hashed", **options)  # type: ignore[arg-type]


def write(folder: Path, path: str, text: str, *, age: float = 100.0) -> None:
    """Write a document that is so many seconds old: its time can be trusted."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    then = time.time_ns() - round(age * 1e9)
    os.utime(file, ns=(then, then))


def page(title: str, *facts: str) -> str:
    """A document with a chunk for each fact, more or less."""
    return (
        f"# {title}\n\n" + "\n\n".join(f"## Part {n}\n\n{fact} {'filler ' * 40}" for n, fact in enumerate(facts)) + "\n"
    )


def texts_in(store: Store, path: str | None = None) -> list[str]:
    """The text of every chunk, of one document or of all."""
    paths = [path] if path is not None else sorted(store.manifest())
    return [stored.chunk.text for one in paths for stored in store.chunks_of(one)]


def prove(store: Store, folder: Path, embedder: HashedEmbedder | None = None) -> None:
    """Index = manifest = disk: what `fsck` says, and the same once more without it."""
    embedder = embedder or HashedEmbedder()
    assert list(check(store, folder, embedder=embedder, deep=True)) == []
    chunker = Chunker(embedder.count_tokens, embedder.max_tokens)
    manifest, files = store.manifest(), scan(folder).files
    assert set(manifest) == set(files)
    count = 0
    for path, file in files.items():
        record = manifest[path]
        assert (record.digest, record.size) == (digest_of(file.file), file.size)
        document = read(file.file, path)
        chunks = list(chunker.chunks(document.title, document.blocks))
        stored = list(store.chunks_of(path))
        assert [one.chunk for one in stored] == chunks
        assert record.chunks == len(chunks)
        assert {(one.title, *sorted(one.metadata.items())) for one in stored} <= {
            (document.title, *sorted(document.metadata.items()))
        }
        if chunks:
            kept = store.vectors([one.id for one in stored])
            assert np.array_equal(kept, embedder.embed([chunk.shown for chunk in chunks]))
        count += len(chunks)
    assert store.count() == count


def change_something(folder: Path, dice: random.Random) -> None:
    """Add, edit, rename, move, copy, swap, delete or touch a document."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    new = (
        folder
        / dice.choice(["", "a", "b/c"])
        / f"{dice.choice(['', '이름 '])}n{dice.randrange(30)}.{dice.choice(['md', 'txt'])}"
    )
    new.parent.mkdir(parents=True, exist_ok=True)
    age = dice.choice([0.0, 100.0, 100.0])
    match dice.choice(["add", "add", "edit", "rename", "rename", "copy", "swap", "delete", "touch", "append"]):
        case "edit" if files:
            write(folder, str(dice.choice(files).relative_to(folder)), _content(dice), age=age)
        case "append" if files:
            with open(dice.choice(files), "a", encoding="utf-8") as file:
                file.write(f"\n\n## More\n\n{dice.randrange(100)} more of it\n")
        case "rename" if files:
            os.replace(dice.choice(files), new)
        case "copy" if files:
            new.write_bytes(dice.choice(files).read_bytes())
        case "swap" if len(files) > 1:
            one, other = dice.sample(files, 2)
            between = folder / "between.tmp"
            os.replace(one, between)
            os.replace(other, one)
            os.replace(between, other)
        case "delete" if files:
            dice.choice(files).unlink()
        case "touch" if files:
            os.utime(dice.choice(files))
        case _:
            write(folder, str(new.relative_to(folder)), _content(dice), age=age)


def _content(dice: random.Random) -> str:
    facts = [f"fact {dice.randrange(40)} stands here" for _ in range(dice.randrange(4))]
    return page(f"Title {dice.randrange(10)}", *facts) if dice.random() < 0.7 else " ".join(facts)
