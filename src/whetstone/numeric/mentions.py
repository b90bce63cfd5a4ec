"""Every number that a text mentions: as an amount in the unit asked for, or as something beside it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from whetstone.numeric import surroundings as around
from whetstone.numeric.notation import scaled, written_value

# A run of digits and marks, each mark between digits: there is one way to match, so no backtracking.
_NUMBER = re.compile(r"\d+(?:[.,'_\u00a0]\d+)*|(?<![\d.])\.\d+|[¼-¾⅐-⅞]")
_SPACED = re.compile(r"\d{1,3}(?: \d{3}){1,8}(?:[.,]\d{1,2})?(?![.,]?\d)")
_FRACTION = re.compile(r"[ \u00a0]?([¼-¾⅐-⅞])")


@dataclass(frozen=True, slots=True)
class Mention:
    """A number in a text.

    Attributes:
        value: what it says.
        start, end: where it stands, currency and magnitude included.
        marked: whether it stands with a currency, or with the unit asked for.
        before: whether that mark stands before it.
        aside: whether it says something else than an amount: a percentage, a measure, a date, a list number.
        power: the power of ten behind it ("million"), which the first number of a range may share ("1-2 million").
        note: how it was read, where that is not obvious.
    """

    value: float
    start: int
    end: int
    marked: bool = False
    before: bool = False
    aside: bool = False
    power: int = 0
    note: str = ""


class Unit:
    """What an answer is asked in: a currency ("$", "EUR", "US dollars"), "%", another unit ("kg"), or nothing ("")."""

    def __init__(self, unit: str) -> None:
        self.name = unit
        self.any = not unit
        self.currency = any(around.CURRENCY.fullmatch(word) for word in unit.split())
        if unit in ("£", "GBP"):
            spelt = r"(?:pounds?|quid)"  # otherwise a weight
        else:
            spelt = around.PERCENT.pattern if unit == "%" else rf"{re.escape(unit)}(?:e?s)?"
        self._after = re.compile(rf"[\s-]?{spelt}(?!\w)", re.IGNORECASE)

    def after(self, text: str, position: int) -> int | None:
        """Where this unit ends, if it stands here."""
        match = None if self.any else self._after.match(text, position)
        return match.end() if match else None


def find_mentions(text: str, unit: Unit) -> Iterator[Mention]:
    """The numbers in a `normalised` text, in order. Digits within a name, a date, a time or a fraction are none."""
    position, previous_end = 0, -10
    whole = len(text.strip())
    while match := _NUMBER.search(text, position):
        start, position = match.span()
        if date := around.DATE.match(text, start):
            position = date.end()
            continue
        left = _left(text, start, previous_end)
        spaced = _SPACED.match(text, start)
        if spaced and (
            len(spaced.group()) == whole or (left and left[1]) or around.CURRENCY_AFTER.match(text, spaced.end())
        ):
            position = spaced.end()
        if left is None:
            continue
        mention = _mention(text, (start, position), left, unit)
        if mention is not None:
            position = previous_end = max(position, mention.end)
            yield mention


def _left(text: str, start: int, previous_end: int) -> tuple[int, str, bool] | None:
    """Where the number begins with its currency and sign, that currency, whether it is negative; None within a name."""
    free = max(0, start - 9, previous_end)  # what is left of this belongs to the number before
    if start - 1 > free and text[start - 1] == "-" and (inner := around.CURRENCY_BEFORE.search(text[free : start - 1])):
        return free + inner.start(), inner.group(1), True  # "$-5"
    found = around.CURRENCY_BEFORE.search(text[free:start])
    left, currency = (free + found.start(), found.group(1)) if found else (start, "")
    neighbour, beyond = text[left - 1 : left], text[left - 2 : left - 1] if left > 1 else ""
    if neighbour == "-" and previous_end not in (left - 1, left - 2):
        if not beyond.isalnum():
            return left - 1, currency, True
        return (left, currency, False) if currency else None  # "RTX-3080"
    if not currency:
        in_a_name = (neighbour.isalpha() and neighbour < "\u2e80") or neighbour in ("_", "#")
        in_a_time = neighbour in ("/", ":") and beyond.isdigit()
        if in_a_name or in_a_time:
            return None
    return left, currency, False


def _mention(text: str, span: tuple[int, int], left: tuple[int, str, bool], unit: Unit) -> Mention | None:
    """The number at `span` with everything that follows it; None where it is a part of something else."""
    (start, end), (begin, before, negative) = span, left
    written = text[start:end].replace(" ", "\u00a0")
    after = around.CURRENCY_AFTER.match(text, end)
    # "1.299,-" names no currency, but is written as prices in euros are.
    currency = before or ((after.group(1) or "€") if after else unit.name if unit.currency else "")
    value = unicodedata.numeric(written) if len(written) == 1 else written_value(written, currency)
    if value is None:
        return None
    if len(written) > 1 or written.isdigit():
        fraction = _FRACTION.match(text, end)
        if fraction and value == int(value):
            value, end = value + unicodedata.numeric(fraction.group(1)), fraction.end()
    read = _magnitude(text, end, value, currency=before)
    if read is None:
        return None
    value, end, power = read
    note = "" if power == 0 else f"times 10^{power}"
    after = around.CURRENCY_AFTER.match(text, end)
    if after:
        end = after.end()
        if after.group(1) and around.CENTS.fullmatch(after.group(1)) and not around.CENTS.fullmatch(unit.name or "-"):
            value, note = value / 100, "cents"
    priced = bool(before) or after is not None
    wanted = unit.any or unit.currency
    value = -value if negative else value
    if not (priced and wanted) and (own_end := unit.after(text, end)) is not None:
        return Mention(value, begin, own_end, marked=True, power=power, note=note)
    if priced:
        return Mention(value, begin, end, wanted, bool(before), aside=not wanted, power=power, note=note)
    if _part_of_something(text, end):
        return None
    return Mention(value, begin, end, aside=_aside(text, start, end, value), power=power, note=note)


def _magnitude(text: str, end: int, value: float, currency: str) -> tuple[float, int, int] | None:
    """The value with the power of ten behind it, where that ends, and the power. None where it is beyond numbers."""
    if east_asian := around.EAST_ASIAN.match(text, end):
        return _east_asian(text, value, east_asian)
    power = 0
    if exponent := around.EXPONENT.match(text, end):
        digits = exponent.group(1) or exponent.group(2) or exponent.group(3).translate(around.SUPERSCRIPTS)
        power = int(digits) if re.fullmatch(r"[+-]?\d+", digits) else 0
        end = exponent.end()
    if word := around.MAGNITUDE_WORD.match(text, end):
        power, end = power + around.MAGNITUDES[word.group(1).casefold()], word.end()
    elif (letter := around.MAGNITUDE_LETTER.match(text, end)) and (currency or letter.group(1) in "kK"):
        power, end = power + around.LETTER_POWERS[letter.group(1).casefold()], letter.end()
    if power == 0:
        return value, end, 0
    product = scaled(value, power)
    return None if product is None else (product, end, power)


def _east_asian(text: str, value: float, match: re.Match[str]) -> tuple[float, int, int]:
    """Korean, Japanese and Chinese magnitudes: "12만" is 120,000, "3만 5천원" 35,000."""
    total = 0.0
    found: re.Match[str] | None = match
    while found is not None:
        power = sum(around.EAST_ASIAN_POWERS[character] for character in found.group(1))
        total += scaled(value, power) or 0.0
        end = found.end()
        rest = around.EAST_ASIAN_REST.match(text, end)
        if rest is None:
            return total, end, power
        value, end = float(rest.group(1).replace(",", "")), rest.end()
        found = around.EAST_ASIAN.match(text, end)
    return total + value, end, power


def _part_of_something(text: str, end: int) -> bool:
    """Whether the number runs on into a word ("256GB", "12th", "2-pack"), a time or a fraction ("10:30", "4/5")."""
    following, beyond = text[end : end + 1], text[end + 1 : end + 2]
    if following.isalpha() and following < "\u2e80":
        return True
    return (following == "-" and beyond.isalpha()) or (following in ("/", ":") and beyond.isdigit())


def _aside(text: str, start: int, end: int, value: float) -> bool:
    """Whether what stands around an unmarked number says that it is a percentage, a count, a measure, a date."""
    if around.PERCENT.match(text, end) or around.MEASURE.match(text, end):
        return True
    if around.NAMED_BEFORE.search(text[max(0, start - 16) : start]):
        return True
    begins_line = not text[max(0, start - 40) : start].rpartition("\n")[2].strip()
    return value < 100 and begins_line and around.LIST_NUMBER.match(text, end) is not None
