"""True answers written the way a model is to write them, and units in words."""

from __future__ import annotations

_CURRENCIES = {
    "$": "dollars",
    "€": "euros",
    "£": "pounds",
    "¥": "yen",
    "₩": "won",
    "₹": "rupees",
}


def unit_in_words(unit: str) -> str:
    """A unit as a question names it: "dollars" for "$"; a unit that is a word already stays."""
    return _CURRENCIES.get(unit, unit)


def write_number(value: float, unit: str = "") -> str:
    """A number as an example answer: "$326", "$8.50", "2.5 kg".

    From 100 up without decimals, which would teach a model to spend tokens on a precision that no guess has; below that
    two decimals, and three significant digits under 1. Small whole numbers stay whole.
    """
    if abs(value) >= 100 or value == int(value):
        digits = f"{value:.0f}"
    elif abs(value) >= 1 or unit in _CURRENCIES:
        digits = f"{value:.2f}"
    else:
        digits = f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.12f}".rstrip("0")
    if unit in _CURRENCIES:
        return f"-{unit}{digits[1:]}" if digits.startswith("-") else f"{unit}{digits}"
    return f"{digits}{unit}" if unit == "%" else f"{digits} {unit}".strip()
