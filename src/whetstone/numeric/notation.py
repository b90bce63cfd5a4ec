"""How people write numbers: digits of any script, and which of the marks between them is the decimal one.

No library does this for replies whose locale is unknown: babel's `parse_decimal` has to be told the locale, and
price-parser 0.5, made for shop pages, knows no ranges, magnitudes, signs or refusals and takes the first number that it
sees: of 89 replies in tests/test_numeric_reading.py that have a value it reads 40 rightly.
"""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal

_GROUPING_SPACES = "\u00a0\u202f\u2007\u2008\u2009\u200a"
_INVISIBLE = "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufeff"
_LONGEST = 40  # digits and marks: anything longer is no number that somebody means

# Currencies whose prices group thousands by dots, or have no decimals at all: "1.299 €" is 1299, "$1.299" is 1.299.
DOT_GROUPING = frozenset(
    word
    for words in (
        "€ eur euro euros r$ brl kr kr. dkk nok sek isk ₺ tl try ₽ rub zł pln kč czk ft huf lei ron clp cop",
        "₫ vnd rp rp. idr ₩ krw won 원 ¥ jpy yen 円 엔",
    )
    for word in words.split()
)


class _Spellings(dict[int, str]):
    """Character code -> how we write it, for `str.translate`; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        digit = unicodedata.decimal(character, None)
        if digit is not None:
            character = str(digit)
        elif 0xFF01 <= code <= 0xFF5E:  # full-width ASCII
            character = chr(code - 0xFEE0)
        self[code] = character
        return character


_SPELLINGS = _Spellings(
    dict.fromkeys(map(ord, _GROUPING_SPACES), "\u00a0")
    | dict.fromkeys(map(ord, _INVISIBLE), "")
    | dict.fromkeys(map(ord, "’‘ʼ′`´"), "'")
    | {ord("\u066b"): ".", ord("\u066c"): ",", ord("−"): "-", ord("￥"): "¥", ord("￦"): "₩"}
)


def normalised(text: str) -> str:
    """The text with one spelling for each digit, grouping space, apostrophe and minus sign, and no marks of layout."""
    if not text.isascii():
        text = text.translate(_SPELLINGS)
    text = text.replace("{,}", ",").replace("\\$", "$").replace("\\,", "\u00a0").replace("\\%", "%")
    text = re.sub(r"~~[^~\n]{1,80}~~", " ", text)  # struck out
    return re.sub(r"(?<!\d)\*\*|\*\*(?!\d)|`", "", text)


def written_value(text: str, currency: str = "") -> float | None:
    """The value of digits with marks between them: "1,299.99", "1.299,99", "1'299.50", "12,34,567", ".5".

    The last of two different marks is the decimal one. A single mark is a decimal mark, except before exactly three
    digits: a comma there groups thousands ("1,299"); a dot does so only with currencies that are written that way
    ("1.299 €"), and never after a lone 0.

    Args:
        text: as `normalised` leaves it.
        currency: the sign, code or word beside it.

    Returns:
        None where the marks make no number: "1.2.3", "10,20,30", or digits without end.
    """
    if len(text) > _LONGEST:
        return None
    if text.startswith("."):
        return float(f"0{text}")
    groups = re.split(r"[^\d]", text)
    marks = re.findall(r"[^\d]", text)
    if not marks:
        return float(text)
    decimals = ""
    last = marks[-1]
    if last in ".," and marks.count(last) == 1:
        ambiguous = len(marks) == 1 and len(groups[1]) == 3 and len(groups[0]) <= 3 and groups[0].strip("0")
        if not ambiguous or (last == "." and currency.casefold() not in DOT_GROUPING):
            decimals, groups, marks = groups[-1], groups[:-1], marks[:-1]
    if len(set(marks)) > 1 or (marks and not _grouped(groups)):
        return None
    return float(f"{''.join(groups)}.{decimals or '0'}")


def _grouped(groups: list[str]) -> bool:
    """Whether digits are in groups of three, or in the Indian way: two, two, then three."""
    sizes = [len(group) for group in groups]
    western = 1 <= sizes[0] <= 3 and all(size == 3 for size in sizes[1:])
    indian = 1 <= sizes[0] <= 2 and sizes[-1] == 3 and all(size == 2 for size in sizes[1:-1])
    return western or indian


def scaled(value: float, exponent: int) -> float | None:
    """value × 10^exponent, rounded as if it had been written out; None beyond what a number can hold."""
    if abs(exponent) > 400:
        return None
    result = float(str(Decimal(repr(value)).scaleb(exponent)))
    return result if math.isfinite(result) else None
