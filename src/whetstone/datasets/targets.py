"""True answers: their kind, and numbers read from cells, with the reason where a cell holds none.

The rules are strict on purpose. A reply of a model may be read with goodwill; the truth it is measured against may not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from whetstone.types import TargetKind

CURRENCIES = "$€£¥₩₹"
# Beyond this a number is taken for a mistake of the file, whatever its unit.
LARGEST = 1e12
# Few different, short texts are labels: at most 50, each found five times on average.
MOST_LABELS = 50
LEAST_REPEATS = 5
LONGEST_LABEL = 60

# How files write that there is no value.
_VOID = ["none", "null", "nan", "n/a", "na"]
_DIGITS = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
# A sign, a currency sign before or after, thousands separated by commas, a decimal point; nothing else.
_PLAIN_NUMBER = rf"^(?:[+-]?[{CURRENCIES}]?\s*|[{CURRENCIES}]\s*[+-]){_DIGITS}\s*[{CURRENCIES}]?$"
_NOT_FINITE = r"^[+-]?(?:inf|infinity)$"
_MONEY_WORDS = {"price", "prices", "cost", "costs"}


def infer_kind(target: pl.Series) -> TargetKind:
    """Number where most filled cells are numbers, label where few short texts recur, else text."""
    if target.dtype == pl.Boolean:
        return "label"
    if target.dtype != pl.String:
        return "number"
    cells = target.str.strip_chars()
    cells = cells.filter(~cells.str.to_lowercase().is_in(["", *_VOID]) & cells.is_not_null())
    if cells.is_empty() or 2 * cells.str.contains(_PLAIN_NUMBER).sum() > len(cells):
        return "number"
    longest = cells.str.len_chars().max()
    few = cells.n_unique() <= min(MOST_LABELS, len(cells) / LEAST_REPEATS)
    return "label" if few and isinstance(longest, int) and longest <= LONGEST_LABEL else "text"


def infer_unit(name: str, target: pl.Series) -> str:
    """The currency sign that more than half of the cells carry; "$" for a column called price or cost; else ""."""
    if target.dtype == pl.String:
        for sign in CURRENCIES:
            if 2 * target.str.contains(sign, literal=True).sum() > len(target):
                return sign
    words = set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
    return "$" if words & _MONEY_WORDS else ""


def number_and_reason(
    column: str, kind: pl.DataType, minimum: float | None, maximum: float | None
) -> Sequence[pl.Expr]:
    """Two expressions on a target column: the number ("expected"), and why there is none ("reason", else null)."""
    cell = pl.col(column)
    if kind == pl.String:
        found = cell.str.strip_chars()
        plain = found.str.contains(_PLAIN_NUMBER)
        number = found.str.replace_all(rf"[,\s{CURRENCIES}]", "").cast(pl.Float64, strict=False)
        value: pl.Expr = pl.when(plain).then(number)
        quoted = pl.format("“{}”", found.str.slice(0, 60))
        blank = found.is_null() | (found == "")
        void = found.str.to_lowercase().is_in(_VOID)
        infinite = found.str.to_lowercase().str.contains(_NOT_FINITE)
    else:
        value = cell.cast(pl.Float64)
        quoted = cell.cast(pl.String)
        blank = value.is_null() | value.is_nan()
        void = pl.lit(False)
        plain = pl.lit(True)
        infinite = value.is_infinite()
    reason: Any = (  # a chain whose type changes from link to link
        pl.when(blank)
        .then(pl.lit("the target is missing"))
        .when(void)
        .then(pl.format("the target is missing ({})", quoted))
        .when(infinite)
        .then(pl.format("{} is not finite", quoted))
        .when(~plain)
        .then(pl.format("{} is not a plain number", quoted))
        .when(value.abs() > LARGEST)
        .then(pl.format("{} is absurd: beyond a million million", quoted))
    )
    if minimum is not None:
        reason = reason.when(value < minimum).then(
            pl.format("{} is below the minimum {}", quoted, pl.lit(f"{minimum:g}"))
        )
    if maximum is not None:
        reason = reason.when(value > maximum).then(
            pl.format("{} is above the maximum {}", quoted, pl.lit(f"{maximum:g}"))
        )
    return (value + 0.0).alias("expected"), reason.otherwise(None).alias("reason")  # + 0.0 turns -0.0 into 0.0


def text_and_reason(column: str) -> Sequence[pl.Expr]:
    """The same two expressions for labels and texts: outer blanks are taken off."""
    cell = pl.col(column).cast(pl.String).str.strip_chars()
    missing = cell.is_null() | (cell == "")
    return cell.alias("expected"), pl.when(missing).then(pl.lit("the target is missing")).alias("reason")
