"""Own price stated in the text: it leaks the answer, so the amount is masked or the row dropped.

An amount counts as the own price where it equals the price to the cent; with a currency beside it, or a word such as
"price" before it, also where it equals the price to the nearest dollar, which is what the question asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from whetstone.curation.rules.step import TEXT, VALUE, Step, Tools

MASK = "[price]"

_DIGITS = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?!\d)")
_SIGN_BEFORE = re.compile(r"(?:US\s?\$|USD|\$)\s?$", re.IGNORECASE)
_SIGN_BEHIND = re.compile(r"\s?(?:US\s?\$|USD\b|\$|dollars?\b|bucks\b)", re.IGNORECASE)
_NAMED_BEFORE = re.compile(r"\b(?:priced?|costs?|msrp|rrp|retails?|sells?)\b[^\d.$]{0,16}$", re.IGNORECASE)
_GOES_ON = re.compile(r"\s?%|\w")
_CENTS = re.compile(r"[.,]\d\d$")
# So many characters around a number are looked at.
_BEFORE, _BEHIND = 32, 12
_HINTS = ["$", "usd", "dollar", "bucks", "price", "cost", "msrp", "rrp", "retail", "sell"]
# Where none of these is, no amount has a currency or a word beside it.
_MAY_STATE_ONE = (
    r"(?i-u)\$ ?[.0-9]|usd *[.0-9]|[0-9] ?(?:\$|usd|us\$|dollar|bucks)"
    r"|\b(?:priced?|costs?|msrp|rrp|retails?|sells?)\b(?u:[^0-9.$]{0,16})[.0-9]"
)
_NEAREST_DOLLAR = 0.5
_REASON = "the text states the price"


def stated_price(frame: pl.DataFrame, tools: Tools) -> Step:
    """Masks the amount in texts that state their own price, or refuses them."""
    text, price = frame[TEXT], frame[VALUE]
    rows = _candidates(text, price).arg_true()
    masked = pl.Series(
        [masked_price(each, value) for each, value in zip(text.gather(rows), price.gather(rows), strict=True)],
        dtype=pl.String,
    )
    found = rows.filter(masked != text.gather(rows))
    stated = pl.repeat(False, len(text), eager=True).scatter(found, True)
    if tools.options.own_price == "drop":
        reason = pl.repeat(None, len(text), dtype=pl.String, eager=True).scatter(found, _REASON)
        return Step(frame, reason=reason)
    return Step(frame.with_columns(text.scatter(rows, masked).alias(TEXT)), changed=stated)


def _candidates(text: pl.Series, price: pl.Series) -> pl.Series:
    """Rows whose text may state the price: it names an amount, or holds the price's digits with cents."""
    cents = (pl.col("price") * 100).round().cast(pl.Int64)
    ending = (cents % 100).cast(pl.String).str.zfill(2)
    dollars = (cents // 100).cast(pl.String)
    grouped = pl.format("{},{}", cents // 100_000, (cents // 100 % 1000).cast(pl.String).str.zfill(3))
    hinted = text.str.contains_any(_HINTS, ascii_case_insensitive=True).fill_null(False).arg_true()
    named = pl.repeat(False, len(text), eager=True)
    named = named.scatter(hinted, text.gather(hinted).str.contains(_MAY_STATE_ONE))
    stated = (
        pl.DataFrame({"text": text, "price": price})
        .select(
            pl.col("text").str.contains(pl.format("{}.{}", dollars, ending), literal=True)
            | pl.col("text").str.contains(pl.format("{},{}", dollars, ending), literal=True)
            | ((cents >= 100_000) & pl.col("text").str.contains(pl.format("{}.{}", grouped, ending), literal=True))
        )
        .to_series()
    )
    return named | stated.fill_null(False)


def masked_price(text: str, price: float) -> str:
    """The text with every mention of this price as "[price]"."""
    parts, done = [], 0
    for found in _DIGITS.finditer(text):
        if "," in found[0]:
            if not any(abs(amount - price) <= _NEAREST_DOLLAR for amount in _readings(found[0])):
                continue
        elif abs(float(found[0]) - price) > _NEAREST_DOLLAR:  # most numbers, told apart quickly
            continue
        span = _mention(text, found, price)
        if span is not None and span[0] >= done:
            parts += [text[done : span[0]], MASK]
            done = span[1]
    return "".join([*parts, text[done:]])


def stating_rows(text: pl.Series, price: pl.Series) -> list[int]:
    """Positions of the texts that state their own price."""
    rows = _candidates(text, price).arg_true()
    cells = zip(rows, text.gather(rows), price.gather(rows), strict=True)
    return [row for row, each, value in cells if masked_price(each, value) != each]


def _mention(text: str, number: re.Match[str], price: float) -> tuple[int, int] | None:
    """Where a number that is near the price stands with its currency; None where it means something else."""
    start, end = number.span()
    before, behind = text[max(0, start - _BEFORE) : start], text[end : end + _BEHIND]
    sign = _SIGN_BEFORE.search(before)
    follows = _SIGN_BEHIND.match(behind)
    if sign or follows:
        return start - (len(sign[0]) if sign else 0), end + (len(follows[0]) if follows else 0)
    if _GOES_ON.match(behind):
        return None
    exact = any(round(100 * amount) == round(100 * price) for amount in _readings(number[0]))
    if _NAMED_BEFORE.search(before) or (exact and _CENTS.search(number[0])):
        return start, end
    return None


def _readings(digits: str) -> Iterator[float]:
    """The amounts that the digits may mean: a comma groups thousands, or stands before cents."""
    yield float(digits.replace(",", ""))
    head, comma, cents = digits.rpartition(",")
    if comma and len(cents) == 2:
        yield float(f"{head.replace(',', '')}.{cents}")
