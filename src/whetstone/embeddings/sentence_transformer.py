"""Embedders of the library sentence-transformers, on torch: `st:NAME_OR_FOLDER[@revision][?option=value]`.

Only texts of the same number of tokens share a batch, so nothing is ever padded. What is left is that torch may add up
a matrix product in another order for another number of rows: on a CPU in float32 a coordinate of a text's vector moves
by less than 1e-6 with its batch (with MiniLM on an AVX2 machine: not by a bit), which no ranking notices.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from whetstone import settings
from whetstone.embeddings.batches import without_lone_surrogates
from whetstone.errors import MissingPackageError, ModelError, ModelFileError, UsageError
from whetstone.specs import ModelSpec
from whetstone.tokens.hub import hub_folder

# Never pickled weights, never code.
_WANTED_FILES = ["*.safetensors", "*.json", "*.model", "*.txt"]
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65_536, "mps": 8192}


class SentenceTransformerOptions(BaseModel):
    """Options of `st:` specs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="where to compute: cpu, cuda, cuda:1, mps; auto is the first CUDA GPU, or else the CPU",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="precision of the weights; auto is float32 on a CPU, and what the model was saved in elsewhere",
    )


def load_sentence_transformer(spec: ModelSpec) -> SentenceTransformerEmbedder:
    """The embedder; its files are found, or downloaded from the hub, and not yet read.

    Raises:
        UsageError: the spec names no model, or an option is wrong.
        MissingPackageError: sentence-transformers is not installed.
        ModelError: the hub has no such model, or cannot be reached.
    """
    options = spec.read_options(SentenceTransformerOptions)
    if not spec.named:
        raise UsageError("st: name a model of the hub or a folder, for example st:BAAI/bge-small-en-v1.5")
    if find_spec("sentence_transformers") is None:
        raise MissingPackageError("sentence-transformers", f"st:{spec.named}", "pip install sentence-transformers")
    folder = Path(spec.named).expanduser()
    if folder.is_dir():
        return SentenceTransformerEmbedder(folder.name, "", folder, options)
    asked = f"st:{spec.named}"
    snapshot = hub_folder(spec.name, spec.revision, _WANTED_FILES, asked=asked, instead="name a folder")
    return SentenceTransformerEmbedder(spec.name, snapshot.name, snapshot, options)


class SentenceTransformerEmbedder:
    """Vectors of a sentence-transformers model, with the pooling that its folder asks for.

    Args:
        model: its name.
        revision: what pins its files; "" when only their content does.
        folder: of its files.
        options: see `SentenceTransformerOptions`.
    """

    def __init__(self, model: str, revision: str, folder: Path, options: SentenceTransformerOptions) -> None:
        self._called = model
        self._revision = revision
        self._folder = folder
        self._options = options
        self._lock = threading.Lock()
        self._loaded: Any = None

    @cached_property
    def name(self) -> str:
        """Model, revision (the hub's commit, or 12 digits of the files' sha256), precision if chosen, token limit."""
        dtype = "" if self._options.dtype == "auto" else f"/{self._options.dtype}"
        return f"{self._called}@{self._revision[:12] or _digest(self._folder)}{dtype}/{self.max_tokens}"

    @cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension())

    @cached_property
    def max_tokens(self) -> int:
        """As the model's folder says; those beyond are not read."""
        model = self._model
        limits = [model.max_seq_length, getattr(model.tokenizer, "model_max_length", None)]
        return min(int(limit) for limit in limits if limit)

    @property
    def _model(self) -> Any:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._folder, self._options)
            return self._loaded

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, those beyond `max_tokens` included."""
        if not texts:
            return []
        model = self._model
        prompt = model.prompts.get(model.default_prompt_name or "") or ""
        whole = [prompt + without_lone_surrogates(text) for text in texts]
        encoded = model.tokenizer(whole, padding=False, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension), in the order of `texts`.

        Args:
            progress: told `(done, total)` texts after each batch.

        Raises:
            ModelError: it does not fit into memory.
        """
        model = self._model
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        done = 0
        with _failures(self._called):
            for batch in self._batches(texts):
                vectors[batch] = model.encode(
                    [without_lone_surrogates(texts[index]) for index in batch],
                    batch_size=len(batch),
                    show_progress_bar=False,
                    normalize_embeddings=True,
                )
                done += len(batch)
                if progress is not None:
                    progress(done, len(texts))
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Positions of texts of the same number of tokens, the longest first: what does not fit fails at once."""
        by_length: dict[int, list[int]] = {}
        for index, tokens in enumerate(self.count_tokens(texts)):
            by_length.setdefault(min(tokens, self.max_tokens), []).append(index)
        for length, indices in sorted(by_length.items(), reverse=True):
            size = max(1, _BATCH_TOKENS[self._model.device.type] // max(1, length))
            for first in range(0, len(indices), size):
                yield indices[first : first + size]


def _load(folder: Path, options: SentenceTransformerOptions) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as hf_logging

    device = options.device if options.device != "auto" else ("cuda:0" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device={device}: PyTorch sees no CUDA GPU here; write device=cpu or device=auto")
    dtype = "float32" if options.dtype == "auto" and device == "cpu" else options.dtype
    if device == "cpu":
        torch.set_num_threads(settings.threads())
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        with _failures(str(folder)):
            model = SentenceTransformer(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": dtype, "use_safetensors": True},
            )
    except ModelError:
        raise
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "trust_remote_code" in str(error):
            said = "it needs Python code of its own (trust_remote_code), which Whetstone does not run"
        raise ModelFileError(f"{folder}: sentence-transformers cannot load it: {said}") from error
    except Exception as error:  # a damaged safetensors file: an exception class of its own, without a base
        raise ModelFileError(f"{folder}: a file is damaged or truncated ({error}); get it again") from error
    finally:
        if bars:
            hf_logging.enable_progress_bar()
    return model.eval()


@contextmanager
def _failures(name: str) -> Iterator[None]:
    """Turn a lack of memory into our own error."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{name}: the GPU's memory is full; free some, or write device=cpu") from error
    except MemoryError as error:
        raise ModelError(f"{name}: the memory is full; a smaller model may fit") from error


def _digest(folder: Path) -> str:
    """12 digits of the sha256 over names and contents of the files that decide a model's vectors."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json", ".model", ".txt") and path.is_file():
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()[:12]
