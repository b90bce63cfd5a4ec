"""CSV and TSV: one pass with the standard library's parser, so that every bad row is known by its line.

polars reads CSV three times as fast, but fills short rows with nulls in silence, joins lines at a stray quote, and
names no line when it gives up.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter

import polars as pl

from whetstone.datasets.cells import stack
from whetstone.datasets.gathering import Choose, Numbered, batches
from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError

# A quoted field longer than this is a quote that was never closed.
LONGEST_FIELD = 10_000_000
# In the order in which they are tried where the header holds no comma.
SEPARATORS = (",", ";", "\t", "|")

Cells = list[str]


def read_delimited(text: Iterable[str], separator: str | None, choose: Choose, rejects: Rejects) -> pl.DataFrame:
    """The chosen columns, every cell a text.

    Args:
        text: the file's lines, line ends kept.
        separator: None for the first of comma, semicolon, tab and bar that the header holds.
        choose: which columns to keep.
        rejects: takes the rows whose number of fields is wrong, or whose quotes do not close.

    Raises:
        DataError: no header, no rows, a column twice, or JSON instead.
    """
    frames = list(delimited_batches(text, separator, choose, rejects))
    if not frames:
        if rejects:
            rejects.refuse_most(len(rejects))
        raise DataError(f"{rejects.source} has a header and no rows; it needs one row per case below the header")
    return stack(frames)


def delimited_batches(
    text: Iterable[str], separator: str | None, choose: Choose, rejects: Rejects
) -> Iterator[pl.DataFrame]:
    """The same as frames of 10,000 rows, holding one at a time; no frame where there are no rows.

    Raises:
        DataError: no header, a column twice, or JSON instead.
    """
    lines = _Lines(text)
    header_text = lines.peek()
    if header_text is None:
        raise DataError(f"{rejects.source} is empty; it needs a header and one row per case")
    _refuse_json(header_text, rejects.source)
    separator = separator or next((mark for mark in SEPARATORS if mark in header_text), ",")
    with _long_fields():
        reader = csv.reader(lines, delimiter=separator, strict=True)
        header = _header(reader, lines, rejects.source)
        yield from batches(_records(reader, lines, len(header), rejects), lambda _: header, _picker(header), choose)


class _Lines:
    """The lines of a file, remembering those of the record that is being read, so that it can be read again."""

    def __init__(self, text: Iterable[str]) -> None:
        self._text = iter(text)
        self._again: deque[str] = deque()
        self.record: list[str] = []
        self.number = 0  # of the last line handed out

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._text)
        self.number += 1
        self.record.append(line)
        return line

    def peek(self) -> str | None:
        """The first line that is not blank, left in place; blank lines before it are passed over."""
        for line in self:
            if line.strip():
                self.back(0)
                return line
            self.record.clear()
        return None

    def back(self, keep: int) -> None:
        """Keep the first `keep` lines of the record as read; the others will be handed out again."""
        self._again.extendleft(reversed(self.record[keep:]))
        self.number -= len(self.record) - keep
        self.record.clear()


def _header(reader: Iterator[Cells], lines: _Lines, source: str) -> Cells:
    try:
        header = [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise DataError(
            f"{source}, line {lines.number}: the header cannot be read ({error}); repair its quotes"
        ) from None
    lines.record.clear()
    header = [name or f"column_{position}" for position, name in enumerate(header, start=1)]
    for name, count in Counter(header).items():
        if count > 1:
            raise DataError(f"{source} has {count} columns named {name!r}; rename all but one")
    return header


def _records(reader: Iterator[Cells], lines: _Lines, width: int, rejects: Rejects) -> Iterator[Numbered[Cells]]:
    row = 0
    while True:
        start = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row += 1
            # The quote that opened this record was most likely meant as a character: only its own line is lost.
            raw = lines.record[0]
            lines.back(1)
            rejects.add(row, start, "", _quote_reason(error), {"text": raw.rstrip("\r\n")})
            continue
        if not cells:  # a blank line
            lines.record.clear()
            continue
        row += 1
        if len(cells) == width:
            lines.record.clear()
            yield row, start, cells
        else:
            raw = "".join(lines.record)
            lines.record.clear()
            reason = f"{len(cells)} fields where the header has {width}; quote fields that hold the separator"
            rejects.add(row, start, "", reason, {"text": raw.rstrip("\r\n")})


def _quote_reason(error: csv.Error) -> str:
    if "expected after" in str(error):
        return "a quote inside a quoted field is not doubled"
    return "a quote opens a field and never closes it"


def _picker(header: Cells) -> Callable[[list[str]], Callable[[Cells], Sequence[str]]]:
    position = {name: index for index, name in enumerate(header)}

    def picker(names: list[str]) -> Callable[[Cells], Sequence[str]]:
        indices = [position[name] for name in names]
        if len(indices) == 1:  # itemgetter gives no tuple for a single index
            return itemgetter(slice(indices[0], indices[0] + 1))
        return itemgetter(*indices)

    return picker


def _refuse_json(line: str, source: str) -> None:
    if not line.lstrip().startswith(("{", "[")):
        return
    try:
        json.loads(line)
    except ValueError:
        if line.strip() not in ("[", "{"):
            return
    raise DataError(f"{source} holds JSON, not CSV; name it .jsonl (an object per line) or .json (an array)")


@contextmanager
def _long_fields() -> Iterator[None]:
    """The parser's limit is one for the whole process, and by default shorter than a long document."""
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
