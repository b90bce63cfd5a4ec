"""Results that do not all say the same: maximal marginal relevance (Carbonell & Goldstein 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["diversified"]


def diversified(
    scores: Sequence[float], vectors: npt.NDArray[np.float32], strength: float, most: int | None = None
) -> list[int]:
    """An order in which each next one is good and unlike those before it.

    Args:
        scores: of the candidates, shape (n,).
        vectors: of length 1, shape (n, dimension).
        strength: from 0, by score only, to 1, where being a copy of an earlier one costs all that lies between the best
            score and the worst.
        most: how many are put into that order; the others follow by their scores.

    Returns:
        Positions of all candidates; ties go to the earlier one.
    """
    if not len(scores):
        return []
    values = np.asarray(scores, dtype=np.float64)
    price = strength * float(values.max() - values.min())
    likeness = np.zeros(len(values))
    left = np.ones(len(values), dtype=bool)
    order: list[int] = []
    for _ in range(min(len(values), most if most is not None else len(values))):
        best = int(np.argmax(np.where(left, values - price * likeness, -np.inf)))
        order.append(best)
        left[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return order + [int(n) for n in np.argsort(-values, kind="stable") if left[n]]
