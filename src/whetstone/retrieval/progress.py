"""How far a sync, a check or a change of embedder is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Progress", "Stage", "Told"]

Stage = Literal["looking", "reading", "embedding", "saving", "checking"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is.

    Attributes:
        stage: "looking" at the folder, "reading" documents before anything is embedded, "embedding" chunks while
            further documents are read, "saving" the new state, "checking" documents against the store.
        documents, documents_total: read, and to be read.
        chunks, chunks_total: settled (embedded, or known already), and found so far.
    """

    stage: Stage
    documents: int = 0
    documents_total: int = 0
    chunks: int = 0
    chunks_total: int = 0


Told = Callable[[Progress], None]
