"""The nearest vectors by cosine, exactly, and the same ones whatever else is searched for at the same time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BLOCK = 256  # queries per matrix product: 256 x 50,000 similarities are 51 MB
_ROUNDING = 1e-5  # well above the error of a float32 dot product of unit vectors


def nearest(
    queries: npt.NDArray[np.float32], corpus: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each query the `k` corpus rows of highest cosine, most similar first; ties go to the lower row.

    A float32 matrix product finds the candidates; they are ranked by float64 dot products taken one pair at a time.
    The last bits of a matrix product depend on its shape, so ranking by it would make the choice depend on the other
    queries.

    Args:
        queries: unit vectors, shape (n, d).
        corpus: unit vectors, shape (m, d).
        k: how many; all of the corpus if it has fewer.

    Returns:
        Rows of the corpus and their cosines, both of shape (n, min(k, m)).
    """
    k = min(k, len(corpus))
    rows = np.empty((len(queries), k), dtype=np.int64)
    cosines = np.empty((len(queries), k), dtype=np.float64)
    for start in range(0, len(queries), _BLOCK) if k else ():
        block = queries[start : start + _BLOCK]
        similarity = block @ corpus.T
        threshold = np.partition(similarity, len(corpus) - k, axis=1)[:, len(corpus) - k] - _ROUNDING
        for offset, query in enumerate(block.astype(np.float64)):
            candidates = np.flatnonzero(similarity[offset] >= threshold[offset])
            exact = (corpus[candidates].astype(np.float64) * query).sum(axis=1)
            best = np.lexsort((candidates, -exact))[:k]
            rows[start + offset] = candidates[best]
            cosines[start + offset] = exact[best]
    return rows, cosines
