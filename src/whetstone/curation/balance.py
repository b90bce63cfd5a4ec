"""Weights that balance categories and price ranges, instead of throwing rows away."""

from __future__ import annotations

import numpy as np
import polars as pl

WEIGHT = "sample_weight"
# Price ranges of about the same width to a buyer.
EDGES = (10.0, 20.0, 35.0, 60.0, 100.0, 200.0, 400.0)
# No row counts more than this many times as much as the average one, or less than its inverse.
_FURTHEST = 5.0


def weights(categories: pl.Series, prices: pl.Series, counted: pl.Series) -> pl.Series:
    """A weight for each row, 1 on average over the counted rows: the inverse square root of how many share its cell.

    A cell is a category and a price range. The square root halves the imbalance on a logarithmic scale: rare cells are
    heard, and no single row shouts.

    Args:
        categories: null is a category of its own.
        prices: dollars.
        counted: which rows the cells are counted over, the training rows; the others get their cell's weight.
    """
    bands = np.searchsorted(EDGES, prices.to_numpy(), side="right")
    cells = pl.DataFrame({"category": categories.fill_null(""), "band": bands, "counted": counted})
    shares = cells.with_columns(pl.col("counted").sum().over("category", "band").clip(lower_bound=1).alias("count"))
    raw = 1.0 / np.sqrt(shares["count"].to_numpy())
    chosen = counted.to_numpy()
    for _ in range(20):  # clipping moves the average, so both are repeated until it stays
        mean = raw[chosen].mean() if chosen.any() else 1.0
        raw = np.clip(raw / mean, 1 / _FURTHEST, _FURTHEST)
    return pl.Series(WEIGHT, raw.round(4))
