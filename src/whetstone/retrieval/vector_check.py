"""Vectors that a store may keep: the right shape, all numbers, length 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whetstone.errors import StorageError

_LENGTH = 1e-3  # what the length of a unit vector may be off: embedders that compute in float16 come near it


def fault_of(vector: npt.NDArray[np.float32], dimension: int) -> str:
    """What is wrong with a vector, as the end of a sentence; "" if nothing is."""
    if vector.shape != (dimension,):
        return f"has {vector.size} dimensions, not {dimension}"
    if not np.isfinite(vector).all():
        return "holds numbers that are not finite"
    length = float(np.linalg.norm(vector))
    return "" if abs(length - 1) <= _LENGTH else f"has length {length:.4g}, not 1"


def checked(vectors: npt.NDArray[np.float32], count: int, dimension: int) -> npt.NDArray[np.float32]:
    """The vectors, if all may be kept.

    Raises:
        StorageError: one may not, or they are not `count`.
    """
    if vectors.shape != (count, dimension):
        shape = " x ".join(map(str, vectors.shape))
        raise StorageError(
            f"The embedder gave vectors of shape {shape} where {count} x {dimension} were expected;"
            " nothing of them was kept"
        )
    right = np.abs(np.linalg.norm(vectors, axis=1) - 1) <= _LENGTH  # False for NaN too
    if not right.all():
        wrong = fault_of(vectors[int(np.argmin(right))], dimension)
        raise StorageError(f"The embedder gave a vector that {wrong}; nothing of its batch was kept")
    return vectors
