"""A second look at what was found: question and passage are read together, which is slower and often surer.

`hf:NAME` is a cross-encoder (a folder, or a model on the hub); `llm:MODEL` is any chat model, asked for a grade.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from whetstone.errors import UsageError

__all__ = ["Reranker", "load_reranker"]


class Reranker(Protocol):
    """Something that judges passages."""

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """How well each passage answers the question; higher is better, of any range.

        Raises:
            ModelError: it cannot answer.
        """
        ...

    def close(self) -> None:
        """Free what it holds. Closing twice is harmless."""
        ...


def load_reranker(spec: str) -> Reranker:
    """The reranker of a spec: `hf:cross-encoder/ms-marco-MiniLM-L6-v2`, `hf:./folder`, `llm:smollm2`.

    Raises:
        UsageError: the spec names none.
        ModelError, MissingPackageError: it cannot be loaded.
    """
    kind, _, name = spec.partition(":")
    if kind == "hf" and name:
        from whetstone.retrieval.cross_encoder import CrossEncoder

        return CrossEncoder(name)
    if kind == "llm" and name:
        from whetstone.models import load_model
        from whetstone.retrieval.graded import GradingModel

        return GradingModel(load_model(name))
    raise UsageError(f"{spec!r} names no reranker: write hf:NAME for a cross-encoder, or llm:MODEL for a chat model")
