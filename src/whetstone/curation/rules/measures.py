"""Weights and sizes as numbers in one unit each: grams and centimetres."""

from __future__ import annotations

import polars as pl

from whetstone.curation.listing import DETAILS
from whetstone.curation.rules.step import Step, Tools

WEIGHT = "weight_g"
LENGTHS = ("length_cm", "width_cm", "height_cm")

GRAMS = {
    "pound": 453.59237,
    "lb": 453.59237,
    "ounce": 28.349523125,
    "oz": 28.349523125,
    "kilogram": 1000.0,
    "kg": 1000.0,
    "milligram": 0.001,
    "mg": 0.001,
    "gram": 1.0,
    "g": 1.0,
    "ton": 907184.74,
}
CENTIMETRES = {
    "inch": 2.54,
    "inches": 2.54,
    "in": 2.54,
    '"': 2.54,
    "foot": 30.48,
    "feet": 30.48,
    "ft": 30.48,
    "centimeter": 1.0,
    "cm": 1.0,
    "millimeter": 0.1,
    "mm": 0.1,
    "meter": 100.0,
    "m": 100.0,
}
_NUMBER = r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)"
_WEIGHT_UNIT = r"(pound|lb|ounce|oz|kilogram|kg|milligram|mg|gram|g|ton)s?\b"
_WEIGHT = rf'(?i)"(?:Item |Package |Shipping |Product )?Weight": "\s*{_NUMBER}\s*{_WEIGHT_UNIT}'
# Amazon also writes the weight behind the dimensions, after a semicolon.
_WEIGHT_BEHIND = rf'(?i)Dimensions[^"]*": "[^"]*;\s*{_NUMBER}\s*{_WEIGHT_UNIT}'
_LENGTH_UNIT = r"(inches|inch|in|feet|foot|ft|centimeter|cm|millimeter|mm|meter|m)s?\b"
_SIDE = rf'{_NUMBER}\s*(?:\\?")?\s*[DLWHT]?'
# The unit stands behind the last side: as a word, or as the sign of inches, which JSON writes with a backslash.
_SIZE = (
    r'(?i)"(?:(?:Item|Product|Package|Item Package) )?Dimensions[^"]*": '
    rf'"\s*{_SIDE}\s*[x×]\s*{_SIDE}\s*[x×]\s*{_NUMBER}'
    rf'\s*(?:\\(")|[DLWHT]?\s*{_LENGTH_UNIT})'
)


def normalised_measures(frame: pl.DataFrame, tools: Tools) -> Step:
    """Adds weight in grams and three lengths in centimetres, from the details; null where they are not given."""
    details = frame[DETAILS]
    weight, behind = (_weight(details, pattern) for pattern in (_WEIGHT, _WEIGHT_BEHIND))
    sizes = details.str.extract_groups(_SIZE).struct.unnest()
    unit = _factor(sizes["5"].fill_null(sizes["4"]), CENTIMETRES)
    lengths = [(_number(sizes[str(side)]) * unit).round(2).alias(name) for side, name in enumerate(LENGTHS, start=1)]
    measured = frame.with_columns(weight.fill_null(behind).round(2).alias(WEIGHT), *lengths)
    found = measured.select(pl.any_horizontal(pl.col(WEIGHT, *LENGTHS).is_not_null())).to_series()
    return Step(measured, changed=found, before=DETAILS, after=WEIGHT)


def _weight(details: pl.Series, pattern: str) -> pl.Series:
    groups = details.str.extract_groups(pattern).struct.unnest()
    return _number(groups["1"]) * _factor(groups["2"], GRAMS)


def _factor(unit: pl.Series, units: dict[str, float]) -> pl.Series:
    return unit.str.to_lowercase().replace_strict(units, default=None, return_dtype=pl.Float64)


def _number(text: pl.Series) -> pl.Series:
    return text.str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False)
