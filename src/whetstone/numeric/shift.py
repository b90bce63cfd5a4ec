"""Do the numbers that are asked for lie where those lay that were learned?"""

from __future__ import annotations

import numpy as np

from whetstone.numeric.distribution import Floats

_FAR = 2.0  # times, between medians


def range_shift(trained: Floats, asked: Floats, unit: str = "") -> str:
    """In words, how far the numbers of the items that are asked about lie from those that were learned; "" where near.

    Args:
        trained: numbers of training rows, or quantiles of them.
        asked: numbers of the items.
    """
    if not len(trained) or not len(asked):
        return ""
    before, now = float(np.median(trained)), float(np.median(asked))
    if before <= 0 or now <= 0 or max(before / now, now / before) < _FAR:
        return ""
    return (
        f"the numbers that were learned have a median of {unit}{before:,.4g}, and those that are asked for "
        f"{unit}{now:,.4g}: a tuned model answers what it has learned; weights: balance makes rare ranges count more"
    )
