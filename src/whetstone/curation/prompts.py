"""The columns that training reads, as `whetstone.prompting.price.PricePrompt` writes them, for whole frames at once."""

from __future__ import annotations

import polars as pl

from whetstone.prompting.price import LABEL, QUESTION


def completion(price: pl.Expr) -> pl.Expr:
    """A price as the answer to learn: whole dollars, "129.00"."""
    return pl.format("{}.00", price.round(0, mode="half_to_even").cast(pl.Int64))


def prompt(text: pl.Expr) -> pl.Expr:
    """The question, the text, and the beginning of the answer, which nothing follows."""
    return pl.format("{}\n\n{}\n\n{}", pl.lit(QUESTION), text, pl.lit(LABEL))


def messages(text: pl.Expr, price: pl.Expr) -> pl.Expr:
    """The same as a conversation: a list of {role, content}."""
    asked = pl.struct(pl.lit("user").alias("role"), pl.format("{}\n\n{}", pl.lit(QUESTION), text).alias("content"))
    answered = pl.struct(
        pl.lit("assistant").alias("role"), pl.concat_str(pl.lit(LABEL), completion(price)).alias("content")
    )
    return pl.concat_list(asked, answered)
