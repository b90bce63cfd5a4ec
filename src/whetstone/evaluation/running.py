"""The mean of the answers so far with its 95 % band: whether the items were enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 300

Floats = NDArray[np.float64]


def running_interval(values: Floats, *, share: bool) -> tuple[Floats, Floats, Floats, str]:
    """The mean of the first 1, 2, ... n values, the two ends of its 95 % interval, and what that is, in words.

    A share is in percent. Its interval is Wilson's (1927), which has a width where all answers so far were right.
    """
    n = np.maximum(np.arange(1, len(values) + 1), 1)
    means = np.cumsum(values) / n
    if share:
        p, z = means / 100, 1.96
        middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        scale = 100 / (1 + z**2 / n)
        words = "The band is the 95 % interval of the answers so far (Wilson)."
        return means, scale * (middle - half), scale * (middle + half), words
    centred = values - (values.mean() if len(values) else 0.0)  # else the subtraction below cancels
    squares = np.maximum(np.cumsum(centred**2) - np.cumsum(centred) ** 2 / n, 0.0)
    half = 1.96 * np.sqrt(squares / np.maximum(n - 1, 1) / n)
    # Neither an error nor a score is below 0.
    words = "The band is the mean ± 1.96 standard errors of the answers so far."
    return means, np.maximum(means - half, 0.0), means + half, words


def steps_of(n: int, most: int = MOST_STEPS) -> list[int]:
    """At most so many indices from 1 to n - 1, denser at the beginning, where a running mean moves most."""
    if n <= 2:
        return list(range(n))
    return sorted({round(1 + (n - 2) * (step / (most - 1)) ** 1.5) for step in range(most)})
