"""Text as a person reads it: no HTML, no entities, no odd white space."""

from __future__ import annotations

import html
import re

import polars as pl

from whetstone.curation.listing import DESCRIPTION, DETAILS, FEATURES, TITLE
from whetstone.curation.rules.step import OPENING, TEXT, Step, Tools, rewrite
from whetstone.datasets.columns import is_filled

# The last alternative is a tag that was cut off with its line.
_TAG = r"<(?:/?[a-zA-Z][^<>]{0,2000}|![^<>]{0,2000})>|</?[a-zA-Z]{1,8}(?m:$)"
_UNSHOWN = r"(?is)<script\b.*?</script\s*>|<style\b.*?</style\s*>|<!--.*?-->"
_MARKED = rf"{_TAG}|&(?:[a-zA-Z][a-zA-Z0-9]{{1,31}}|#[0-9]{{1,7}}|#[xX][0-9a-fA-F]{{1,6}});"
_SURROGATES = re.compile("[\ud800-\udfff]")
# White space and invisible characters that are neither a blank between words nor the end of a line.
_ODD = (
    r"[\t\r\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{a0}\x{ad}\x{1680}\x{2000}-\x{200f}\x{2028}-\x{202f}\x{205f}-\x{206f}"
    r"\x{3000}\x{feff}\x{fff9}-\x{fffd}]"
)
_UNTIDY = rf"{_ODD}|  | \n|\n |\n\n|^\s|\s$"
_WIDTHLESS = (
    r"[\x00-\x08\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\x{ad}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}\x{feff}"
    r"\x{fff9}-\x{fffd}]"
)
# Of a text, so many characters for each token it may have are looked at: four times what English has for a token.
CHARACTERS_PER_TOKEN = 16


def compose(frame: pl.DataFrame, tools: Tools) -> pl.DataFrame:
    """Adds the text: title, description, features and details, each on lines of its own."""
    most = tools.options.max_tokens * CHARACTERS_PER_TOKEN
    cells = [pl.col(name).str.slice(0, most) for name in (TITLE, DESCRIPTION, FEATURES, DETAILS)]
    return frame.with_columns(
        pl.concat_str([pl.when(is_filled(cell)).then(cell) for cell in cells], separator="\n", ignore_nulls=True)
        .str.slice(0, most)
        .fill_null("")
        .alias(TEXT),
        is_filled(cells[0]).fill_null(False).alias(OPENING),
    )


def without_markup(frame: pl.DataFrame, tools: Tools) -> Step:
    """Takes off HTML tags, comments, scripts and styles, and writes entities as the characters they stand for."""
    text, changed = rewrite(frame[TEXT], frame[TEXT].str.contains(_MARKED), _unmarked)
    return Step(frame.with_columns(text.alias(TEXT)), changed=changed)


def _unmarked(text: pl.Series) -> pl.Series:
    shown = text.str.replace_all(_UNSHOWN, " ").str.replace_all(_TAG, " ")
    read = [_SURROGATES.sub("", html.unescape(each)) for each in shown.to_list()]
    # What was an entity may turn out to be a tag: shops escape twice.
    return pl.Series(TEXT, read, dtype=pl.String).str.replace_all(_UNSHOWN, " ").str.replace_all(_TAG, " ")


def tidy_space(frame: pl.DataFrame, tools: Tools) -> Step:
    """Writes every run of white space as one blank or one line end, and takes invisible characters off."""
    text, changed = rewrite(frame[TEXT], frame[TEXT].str.contains(_UNTIDY), tidied)
    return Step(frame.with_columns(text.alias(TEXT)), changed=changed)


def tidied(text: pl.Series) -> pl.Series:
    """Texts with every run of white space as one blank or one line end, and without invisible characters."""
    return (
        text.str.replace_all(_WIDTHLESS, "")
        .str.replace_all(r"[^\S\n]+", " ")
        .str.replace_all(r" ?\n[ \n]*", "\n")
        .str.strip_chars()
    )
