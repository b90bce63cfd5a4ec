"""Reranking with a cross-encoder: question and passage through one encoder together (Nogueira & Cho 2019)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError
from whetstone.models.hf_load import check_folder, from_folder, load_config, memory_errors, quiet, require_packages
from whetstone.tokens.hub import hub_folder

__all__ = ["CrossEncoder"]

_WANTED_FILES = ["*.safetensors", "*.json", "*.txt"]
_LONGEST = 512  # tokens of question and passage together
_BATCH = 16  # pairs


class CrossEncoder:
    """A transformers model that classifies pairs of texts, with one logit (relevance) or several (the last means yes).

    Its files are found and checked now, its weights are read on first use.

    Args:
        name: a folder with config.json, tokenizer.json and safetensors, or a model on the hub.

    Raises:
        MissingPackageError: transformers or torch is not installed.
        ModelFileError, UnknownModelError, LoginError, ModelConnectionError: the files are not there, or are not what
            they should be.
    """

    def __init__(self, name: str) -> None:
        self._spec = f"hf:{name}"
        require_packages(self._spec)
        path = Path(name).expanduser()
        if path.is_dir() or name.startswith((".", "/", "~")):
            self._folder = path
        else:
            hub_name, _, revision = name.partition("@")
            self._folder = hub_folder(
                hub_name, revision, _WANTED_FILES, asked=self._spec, instead="give a folder: hf:./folder"
            )
        check_folder(self._folder)
        if not (self._folder / "tokenizer.json").is_file():
            raise ModelFileError(f"{self._folder}: there is no tokenizer.json; a cross-encoder is read with that")
        self._lock = threading.Lock()

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        with memory_errors(self._spec), quiet():
            config = load_config(self._folder)
            return from_folder(AutoModelForSequenceClassification, self._folder, config=config).eval()

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        positions = getattr(self._model.config, "max_position_embeddings", _LONGEST + 2)
        tokenizer.enable_truncation(min(_LONGEST, positions - 2))  # RoBERTa counts positions from 2
        tokenizer.no_padding()
        return tokenizer

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """The logit of "relevant" for each passage; of a pair that is too long, the longer text's end is not read.

        Raises:
            ModelError: the weights cannot be loaded or do not fit into memory.
        """
        import torch

        with self._lock:
            model, tokenizer = self._model, self._tokenizer
        pairs = tokenizer.encode_batch([(question, passage) for passage in passages])
        order = sorted(range(len(pairs)), key=lambda n: len(pairs[n].ids))
        scores = [0.0] * len(pairs)
        with torch.inference_mode(), memory_errors(self._spec):
            for start in range(0, len(order), _BATCH):
                batch = order[start : start + _BATCH]
                logits = model(**_padded([pairs[n] for n in batch], model.config)).logits.float()
                values = logits[:, -1] - logits[:, :-1].logsumexp(1) if logits.shape[1] > 1 else logits[:, 0]
                for n, value in zip(batch, values.tolist(), strict=True):
                    scores[n] = value
        return scores

    def close(self) -> None:
        """Free the weights."""
        self.__dict__.pop("_model", None)


def _padded(pairs: Sequence[Any], config: Any) -> dict[str, Any]:
    """Tensors of a batch of encoded pairs, each of shape (len(pairs), tokens of the longest)."""
    import torch

    width = max(len(pair.ids) for pair in pairs)
    pad = getattr(config, "pad_token_id", None) or 0
    inputs = {
        "input_ids": [[*pair.ids, *[pad] * (width - len(pair.ids))] for pair in pairs],
        "attention_mask": [[1] * len(pair.ids) + [0] * (width - len(pair.ids)) for pair in pairs],
    }
    if getattr(config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = [[*pair.type_ids, *[0] * (width - len(pair.ids))] for pair in pairs]
    return {name: torch.tensor(rows) for name, rows in inputs.items()}
