"""The columns that training reads: prompt, completion, messages, in the course's form."""

from __future__ import annotations

import polars as pl

QUESTION = "How much does this cost to the nearest dollar?"
LABEL = "Price is $"


def completion(price: pl.Expr) -> pl.Expr:
    """A price as the answer to learn: whole dollars, "129.00"; halves go up."""
    return pl.format("{}.00", (price + 0.5).floor().cast(pl.Int64))


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
