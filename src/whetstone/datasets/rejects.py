"""Rows that cannot be used: kept apart, each with its reason. Good rows are never lost because of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import DataError, StorageError

# A rejects file is for finding and repairing rows, not for keeping a second copy of a large file.
LONGEST_CELL = 2_000
# So many bad rows, and hardly a good one among them: there is no point in reading on.
HOPELESS_ROWS = 100_000
HOPELESS_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that cannot be used.

    Attributes:
        source: the file or dataset, as messages name it.
        row: its number among the data rows, from 1.
        line: its first line in the file, from 1; None where the format has no lines.
        field: the column at fault, or "" when the whole row is.
        reason: what was found, and why it cannot be used.
        content: the row: its cells by column, or the raw text under "text" where it could not be taken apart; what is
            longer than 2,000 characters is cut.
    """

    source: str
    row: int
    line: int | None
    field: str
    reason: str
    content: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """Where it is and what is wrong with it, in words."""
        where = f"row {self.row}" if self.line is None else f"line {self.line}"
        field = f", field {self.field}" if self.field else ""
        return f"{self.source}, {where}{field}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def _shortened(value: Any) -> Any:
    return f"{value[:LONGEST_CELL]}…" if isinstance(value, str) and len(value) > LONGEST_CELL else value


class Rejects:
    """The rejected rows of one source, to which those of another can be added.

    Args:
        source: the file or dataset, as messages name it.
        strict: make the first bad row an error.
    """

    def __init__(self, source: str, strict: bool = False) -> None:
        self.source = source
        self.strict = strict
        self._items: list[Reject] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Reject]:
        return iter(sorted(self._items, key=lambda reject: (reject.source != self.source, reject.row)))

    def add(self, row: int, line: int | None, field: str, reason: str, content: Mapping[str, Any]) -> None:
        """Keep one; see `Reject` for the arguments.

        Raises:
            DataError: in strict mode; or nearly every row so far is bad, and there were many.
        """
        short = {name: _shortened(value) for name, value in content.items()}
        reject = Reject(self.source, row, line, field, reason, short)
        if self.strict:
            raise DataError(f"{reject.sentence}; repair that row, or leave out strict to set bad rows aside")
        self._items.append(reject)
        if len(self) >= HOPELESS_ROWS and len(self) > HOPELESS_SHARE * row:
            self.refuse_most(row)

    def include(self, others: Rejects) -> None:
        """Keep those of another source too."""
        self._items.extend(others)

    def refuse_most(self, rows: int, bad: int | None = None) -> None:
        """Stop when more than half of the rows are bad: then the file is not what it was taken for.

        Args:
            rows: number of rows, bad ones included.
            bad: number of bad rows, where not all of them have been added.

        Raises:
            DataError: with the first of them.
        """
        bad = len(self) if bad is None else bad
        if 2 * bad <= rows:
            return
        first = next(iter(self))
        raise DataError(
            f"{bad:,} of {rows:,} rows cannot be used; the first: {first.sentence}; check that this is the right "
            "file and that the columns are named as meant"
        )

    @property
    def note(self) -> str:
        """How many rows were set aside, and the first of them; "" where there is none."""
        if not self._items:
            return ""
        rows = "1 row was" if len(self) == 1 else f"{len(self):,} rows were"
        return f"{rows} set aside; the first: {next(iter(self)).sentence}"

    def write(self, path: Path) -> None:
        """Write them as JSON Lines in row order: `source`, `row`, `line`, `field`, `reason`, `content`.

        Raises:
            StorageError: the file cannot be written.
        """
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
                for reject in self:
                    file.write(json.dumps(reject.to_json(), ensure_ascii=False, default=str) + "\n")
            os.replace(part, path)
        except OSError as error:
            if part.exists():
                part.unlink()
            raise StorageError(f"{path}: {error.strerror or error}; the rejected rows could not be written") from error
