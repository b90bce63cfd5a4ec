"""Usable price: one plain number within the range asked for."""

from __future__ import annotations

import polars as pl

from whetstone.curation.listing import PRICE
from whetstone.curation.rules.step import VALUE, Step, Tools
from whetstone.datasets.targets import number_and_reason

_RANGE = r"\d\s*(?:-|–|—|~|to)\s*[$€£]?\s*\.?\d"
_START = r"(?i)^\s*(?:from|starting|as low as|up to|over|under|ab|à partir)\b"
_MARKUP = r"<[a-zA-Z/!][^<>]*>?"


def usable_price(frame: pl.DataFrame, tools: Tools) -> Step:
    """Adds the price as a number; refuses rows without one, or with one outside the range."""
    options = tools.options
    number, why = number_and_reason(PRICE, pl.String(), None, None)
    cell = pl.col(PRICE).str.strip_chars()
    quoted = pl.format("“{}”", cell.str.slice(0, 40))
    markup = cell.str.contains(_MARKUP)
    value = pl.col(VALUE)
    judged = frame.with_columns(number.alias(VALUE), why.alias("_why"))
    reason = judged.select(
        pl.when(cell.is_null() | (cell == ""))
        .then(pl.lit("no price"))
        .when(pl.col("_why").str.starts_with("the target is missing"))
        .then(pl.format("no price: {}", quoted))
        .when(markup & (cell.str.replace_all(_MARKUP, "").str.strip_chars() == ""))
        .then(pl.lit("no price: HTML tags"))
        .when(markup)
        .then(pl.format("HTML in the price: {}", quoted))
        .when(value.is_null() & cell.str.contains(_RANGE))
        .then(pl.format("a range of prices: {}", quoted))
        .when(value.is_null() & cell.str.contains(_START))
        .then(pl.format("a limit instead of a price: {}", quoted))
        .when(value.is_null())
        .then(pl.format("no plain number: {}", quoted))
        .when(value < 0)
        .then(pl.format("a negative price: {}", quoted))
        .when(value == 0)
        .then(pl.lit("a price of 0"))
        .when(value < options.min_price)
        .then(pl.format("below {}: {}", pl.lit(f"${options.min_price:,.2f}"), quoted))
        .when(value > options.max_price)
        .then(pl.format("above {}: {}", pl.lit(f"${options.max_price:,.2f}"), quoted))
        .alias("reason")
    ).to_series()
    return Step(judged.drop("_why"), reason=reason)
