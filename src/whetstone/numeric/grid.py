"""Candidate numbers, and every way in which each may be written.

A grid is written as text: "0..999" (whole numbers), "0.00..99.99" (two decimals), "1..5" (grades), "0..100:5" (steps),
"log:1..10000:60" (60 numbers, evenly spaced in the logarithm), "1,2,5,10" (a list).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError

MOST_CANDIDATES = 200_000

_RANGE = re.compile(r"(?P<low>-?[\d.]+?)\.\.(?P<high>-?[\d.]+)(?::(?P<step>[\d.]+))?")
_LOG = re.compile(r"log:(?P<low>[\d.]+?)\.\.(?P<high>[\d.]+):(?P<count>\d+)")


@dataclass(frozen=True)
class Grid:
    """Candidate numbers.

    Attributes:
        name: as text, see the top of this module.
        numbers: the candidates, rising.
        places: decimals that a candidate may be written with.
    """

    name: str
    numbers: tuple[Decimal, ...]
    places: int

    @cached_property
    def values(self) -> npt.NDArray[np.float64]:
        """The candidates, shape (k,), rising."""
        return np.array([float(number) for number in self.numbers])

    def __len__(self) -> int:
        return len(self.numbers)

    def spellings(self, index: int) -> tuple[str, ...]:
        """How a candidate may be written, the usual form first: "129", or with decimals "129.50", "129.5".

        A whole number among decimals may also do without them, and with a lone point ("129", "129.").
        """
        number = self.numbers[index]
        full = f"{number:.{self.places}f}"
        if not self.places:
            return (full,)
        short = full.rstrip("0")
        forms = [full[:end] for end in range(len(full), len(short) - 1, -1)]
        if short.endswith("."):
            forms.append(short[:-1])
        return tuple(forms)

    def goes_on(self, written: str) -> str:
        """Characters that cannot follow a number written so far without changing it.

        A digit always goes on; a comma does where thousands may follow ("1,299" is not 1). A point goes on in a grid
        with decimals; in one without, "129.00" is 129.
        """
        digits = "0123456789"
        if "." in written:
            return digits
        more = digits + ("." if self.places else "")
        return more + "," if 1 <= len(written.lstrip("-")) <= 3 else more


PRICES = "0..999"


def parse_grid(text: str) -> Grid:
    """The grid that a text describes.

    Raises:
        UsageError: it cannot be read, is empty, or has more than 200,000 candidates.
    """
    written = text.strip()
    try:
        if (match := _LOG.fullmatch(written)) is not None:
            numbers = _log_spaced(Decimal(match["low"]), Decimal(match["high"]), int(match["count"]))
        elif (match := _RANGE.fullmatch(written)) is not None:
            numbers = _stepped(match["low"], match["high"], match["step"])
        else:
            numbers = [Decimal(part.strip()) for part in written.split(",")]
        if not all(number.is_finite() for number in numbers):
            raise InvalidOperation
    except InvalidOperation:
        raise UsageError(
            f"{text!r} is no grid of numbers: write 0..999, 0.00..99.99, 0..100:5, log:1..10000:60 or 1,2,5,10"
        ) from None
    ordered = sorted(set(numbers))
    if not ordered:
        raise UsageError(f"the grid {text!r} holds no number: its end lies before its beginning")
    return Grid(written, tuple(ordered), max(map(_places, ordered)))


def _stepped(low: str, high: str, step: str | None) -> list[Decimal]:
    first, last = Decimal(low), Decimal(high)
    places = max(_places(first), _places(last))
    by = Decimal(step) if step else Decimal(1).scaleb(-places)
    if by <= 0:
        raise InvalidOperation
    count = int((last - first) // by) + 1
    _check_count(count)
    # As many decimals as the bounds were written with, so that 0.00..9.99 holds 0.10 and not 0.1.
    return [first + by * n for n in range(count)]


def _log_spaced(low: Decimal, high: Decimal, count: int) -> Iterable[Decimal]:
    """Numbers at even ratios, rounded to three significant digits."""
    _check_count(count)
    if not 0 < low < high or count < 2:
        raise InvalidOperation
    spaced = np.geomspace(float(low), float(high), count)
    rounded = [Decimal(f"{value:.3g}") for value in spaced]
    return [Decimal(f"{number:f}") for number in rounded]


def _check_count(count: int) -> None:
    if count > MOST_CANDIDATES:
        raise UsageError(f"the grid has {count:,} candidates, more than {MOST_CANDIDATES:,}: take steps, or log:")


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
