"""Details: a JSON object of what a shop noted beside the text, brought to lines of "Name: value"."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import polars as pl

from whetstone.curation.listing import DETAILS
from whetstone.curation.rules.step import Step, Tools, rewrite

UNREADABLE = "unreadable details"
# Names that say nothing about what a thing is worth, or that are numbers of a catalogue.
NOISE = (
    "Best Sellers Rank",
    "Customer Reviews",
    "Date First Available",
    "Date first listed on Amazon",
    "Item model number",
    "Model Number",
    "Model Name Number",
    "Part Number",
    "Manufacturer Part Number",
    "OEM Part Number",
    "Hollander Number",
    "Is Discontinued By Manufacturer",
    "Batteries Required?",
    "Batteries Included?",
    "ASIN",
    "UPC",
    "EAN",
    "GTIN",
    "ISBN-10",
    "ISBN-13",
    "Global Trade Identification Number",
    "Domestic Shipping",
    "International Shipping",
    "Warranty Description",
)
_NOISE_NAMES = frozenset(name.casefold() for name in NOISE)
_NAMES = "|".join(name.replace("?", r"\?") for name in NOISE)
_VALUE = r'(?:\{[^{}]*\}|"(?:[^"\\]|\\.)*"|[^,{}"\[\]]+)'
_NOISE = rf', "(?:{_NAMES})": {_VALUE}'
_NOISE_FIRST = rf'^\{{(?:"(?:{_NAMES})": {_VALUE}(?:, )?)+'
# An object of plain texts as `json.dumps` writes it, with no escapes but of quotes and backslashes.
_FLAT = r'^\{(?:"[^"\\]*": "(?:[^"\\]|\\["\\])*"(?:, "[^"\\]*": "(?:[^"\\]|\\["\\])*")*)?\}$'


def _flat_lines(details: pl.Series) -> pl.Series:
    """Objects of plain texts as lines; from left to right, so that an escaped quote is never taken for a text's end."""
    inner = details.str.strip_prefix('{"').str.strip_suffix('"}').str.strip_prefix("{}")
    return inner.str.replace_many(["\\\\", '\\"', '": "', '", "'], ["\\", '"', ": ", "\n"], leftmost=True)


def details_to_lines(frame: pl.DataFrame, tools: Tools) -> Step:
    """Brings details to lines without the noise fields. Those that are no JSON object are left out, and counted."""
    details = frame[DETAILS]
    kept, _ = rewrite(
        details,
        details.str.contains(f'"(?:{_NAMES})": '),
        lambda found: found.str.replace_all(_NOISE, "").str.replace(_NOISE_FIRST, "{"),
    )
    flat = kept.str.contains(_FLAT).fill_null(False)
    lines, _ = rewrite(kept, flat, _flat_lines)
    others = (~flat & details.is_not_null()).arg_true()
    if len(others):
        read = [read_details(text) for text in details.gather(others).to_list()]
        lines = lines.scatter(others, pl.Series([text for text, _ in read], dtype=pl.String))
        noisy = others.filter(pl.Series([noise for _, noise in read], dtype=pl.Boolean))
    else:
        noisy = others
    changed = (kept.ne_missing(details) & flat).scatter(noisy, True)
    unreadable = int((details.str.contains(r"\S") & lines.is_null()).sum())
    return Step(
        frame.with_columns(lines.alias(DETAILS)),
        changed=changed,
        counts={UNREADABLE: unreadable},
        before=DETAILS,
        after=DETAILS,
    )


def read_details(text: str) -> tuple[str | None, bool]:
    """Details of any shape as lines, None where they are no JSON object; and whether anything was left out."""
    if not text.strip():
        return None, False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None, True
    if not isinstance(value, dict):
        return None, value is not None
    kept = {name: cell for name, cell in value.items() if not _is_noise(name)}
    written = "\n".join(f"{name}: {cell if isinstance(cell, str) else _plain(cell)}" for name, cell in kept.items())
    if not written.isascii():  # it may hold half of a surrogate pair
        written = written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return written, len(kept) < len(value)


@lru_cache(maxsize=4096)  # a catalogue has few names
def _is_noise(name: str) -> bool:
    return name.strip(" \n:").casefold() in _NOISE_NAMES


def _plain(cell: Any) -> str:
    if isinstance(cell, dict):
        return "; ".join(f"{name} {_plain(part)}" for name, part in cell.items())
    if isinstance(cell, list):
        return ", ".join(map(_plain, cell))
    return cell if isinstance(cell, str) else json.dumps(cell)
