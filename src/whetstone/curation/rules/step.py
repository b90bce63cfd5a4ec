"""What a rule does to a frame: rows refused with a reason, texts changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from whetstone.curation.options import Options
from whetstone.curation.words import WordTable

TEXT = "text"
VALUE = "value"
OPENING = "opening"


@dataclass(frozen=True)
class Tools:
    """What rules need beside the rows."""

    options: Options
    words: WordTable


@dataclass(frozen=True)
class Step:
    """What a rule made of a frame of n rows.

    Attributes:
        frame: the same n rows, changed or not.
        reason: why a row is refused; null where it is not; n long. None where the rule refuses nothing.
        changed: which rows were changed, n long. None where the rule changes nothing.
        counts: what else is to be counted, by name.
        before, after: a column of the old and one of the new frame in which a change can be seen.
    """

    frame: pl.DataFrame
    reason: pl.Series | None = None
    changed: pl.Series | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    before: str = TEXT
    after: str = TEXT


@dataclass(frozen=True)
class Rule:
    """A rule with its name and a sentence that says what it does."""

    name: str
    sentence: Callable[[Options], str]
    apply: Callable[[pl.DataFrame, Tools], Step]


def rewrite(text: pl.Series, where: pl.Series, change: Callable[[pl.Series], pl.Series]) -> tuple[pl.Series, pl.Series]:
    """A column in which `change` was made where `where` says so, and which of its rows are another text now.

    Most rules concern few rows; the others are not touched, which is what makes them fast.
    """
    rows = where.fill_null(False).arg_true()
    if rows.is_empty():
        return text, pl.repeat(False, len(text), eager=True)
    old = text.gather(rows)
    new = change(old)
    different = rows.filter(old.ne_missing(new))
    changed = pl.repeat(False, len(text), eager=True).scatter(different, True)
    # `scatter` writes into the series that it is called on.
    return text.clone().scatter(rows, new), changed
