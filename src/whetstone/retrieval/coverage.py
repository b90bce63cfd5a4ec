"""How much of a question stands in a chunk: the exact-term signal beside meaning and BM25.

BM25 lets a rare word outweigh all others once it is repeated, and counts short chunks for more; the share of the
question's terms that stand in a chunk at all does neither. A name, a number or a code in a question weighs most, since
terms weigh by their rarity, as in BM25 (Robertson & Spärck Jones 1976).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

__all__ = ["rarities", "share"]


def rarities(terms: Sequence[str], frequencies: Sequence[int], total: int) -> dict[str, float]:
    """Weight of each term that stands in the knowledge base at all; nothing can cover the others.

    Args:
        terms: of the question.
        frequencies: in how many chunks each of them stands.
        total: how many chunks there are.
    """
    return {
        term: math.log1p((max(total, found) - found + 0.5) / (found + 0.5))
        for term, found in zip(terms, frequencies, strict=True)
        if found
    }


def share(rarity: Mapping[str, float], terms: Collection[str]) -> float:
    """The share, from 0 to 1, of the question's terms that are among those of a chunk, each as heavy as it is rare."""
    whole = sum(rarity.values())
    return sum(weight for term, weight in rarity.items() if term in terms) / whole if whole else 0.0
