"""Another embedder for a knowledge base: the new vectors are made beside the old ones, which serve until the swap."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from whetstone import settings
from whetstone.embeddings import Embedder, load_embedder
from whetstone.errors import UsageError
from whetstone.retrieval.agreement import cut_for_another_tokenizer
from whetstone.retrieval.embedding_job import Engine, embed_missing, open_job
from whetstone.retrieval.progress import Progress, Told
from whetstone.retrieval.store import Header, Store
from whetstone.retrieval.vector_file import VectorFile

__all__ = ["reembed", "replace_all_vectors"]


def reembed(
    store: Store,
    *,
    spec: str,
    embedder: Embedder | None = None,
    engine: Engine = "local",
    wait: float = 10.0,
    progress: Told | None = None,
) -> tuple[Header, int]:
    """Make all vectors of a knowledge base anew, by the same embedder or another one, and swap them in at once.

    Killed at any moment, the old vectors go on serving, and the next call goes on from the last batch. As another
    embedder may read another number of tokens, the next sync chunks every document again, and embeds what that changes.

    Args:
        store: open.
        spec: of the new embedder; `embedder` is the same one, if it is loaded already.
        engine: "local", or "ray".
        wait: seconds to wait for a sync of the same knowledge base.
        progress: told how far it is.

    Returns:
        The new header, and how many vectors were computed.

    Raises:
        UsageError: there is no such knowledge base, or a sync runs.
        ModelError: the embedder failed; what was embedded is kept for the next call.
        StorageError: the vectors cannot be kept; the old ones stay.
    """
    embedder = embedder or load_embedder(spec)
    with store.writing(wait):
        header = store.header()
        if header is None:
            raise UsageError(f"The knowledge base {store.name} is empty: `whet kb sync FOLDER` fills it")
        changed = replace(
            header, embedder=embedder.name, embedder_spec=spec, dimension=embedder.dimension, synced=time.time()
        )
        if embedder.name != header.embedder:
            changed = replace(changed, chunker=cut_for_another_tokenizer(header.chunker))
        return replace_all_vectors(store, changed, embedder, engine, progress or (lambda _: None))


def replace_all_vectors(
    store: Store,
    header: Header,
    embedder: Embedder,
    engine: Engine,
    told: Told,
    just_made: Collection[bytes] | None = None,
) -> tuple[Header, int]:
    """Compute the vector of every chunk in the store and swap them in; the caller is the one that writes.

    Args:
        header: what the knowledge base will have.
        just_made: hashes of chunks whose vectors in the store are as good as new.

    Returns:
        The new header, and how many vectors were computed.
    """
    hashes: set[bytes] = set()
    settled = embedded = 0
    total = store.count()

    def tell(more: int = 0) -> None:
        nonlocal settled
        settled += more
        told(Progress("embedding", chunks=min(settled, total), chunks_total=total))

    aside = VectorFile(_file_for(store, embedder), embedder.dimension)
    try:
        with open_job(engine, embedder, header.embedder_spec) as job:
            for stretch, ids in _stretches(store, job.most):
                if just_made:
                    good = [one for one in stretch if one in just_made and not aside.with_vectors([one])]
                    aside.add_vectors(good, store.vectors([ids[one] for one in good]))
                embedded += len(embed_missing(job, stretch, aside, tell))
                hashes.update(stretch)
        told(Progress("saving", chunks=total, chunks_total=total))
        header = store.replace_vectors(header, aside.batches(hashes))
        aside.delete()
    finally:
        aside.close()
    return header, embedded


def _stretches(store: Store, most: int) -> Iterator[tuple[dict[bytes, str], dict[bytes, int]]]:
    """All chunks, at most so many at a time: hash -> text, and hash -> id of a chunk with it."""
    texts: dict[bytes, str] = {}
    ids: dict[bytes, int] = {}
    for path in store.manifest():
        for stored in store.chunks_of(path):
            texts[stored.chunk.hash], ids[stored.chunk.hash] = stored.chunk.shown, stored.id
            if len(texts) >= most:
                yield texts, ids
                texts, ids = {}, {}
    if texts:
        yield texts, ids


def _file_for(store: Store, embedder: Embedder) -> Path:
    """Where the vectors wait; the same file for the same knowledge base and embedder, so that a kill costs little."""
    key = hashlib.sha256(f"{store.where}\n{store.name}\n{embedder.name}".encode()).hexdigest()[:16]
    return settings.home() / "cache" / f"reembed-{key}.vectors"
