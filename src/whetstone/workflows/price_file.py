"""Many items priced from a file: a line for each, in the order of the file, kept as soon as it is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from whetstone.errors import UsageError
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.workflows.known_items import ItemRow
from whetstone.workflows.price import EstimateName, PricedItem, Pricer, Unpriced

Line = dict[str, Any]


def price_rows(pricer: Pricer, rows: Sequence[ItemRow], *, level: float, estimate: EstimateName) -> Iterator[Line]:
    """A line for each row, in their order, each as soon as it is known: `row`, `line`, `id`, `key`, and the price as
    `PricedItem.to_json` gives it, or the reason why there is none under "error".

    Raises:
        UsageError: as `Pricer.price`.
        ModelError: the model cannot answer at all.
    """
    usable = (row.text for row in rows if not row.reason)
    priced = pricer.price(usable, level=level, estimate=estimate)
    keys = _Keys(pricer, level, estimate)
    for row in rows:
        told: Line = {"row": row.row, "line": row.line, "id": row.id, "key": keys.of(row)}
        if row.reason:
            yield {**told, "error": row.reason}
            continue
        found: PricedItem | Unpriced = next(priced)
        yield {**told, "error": found.reason} if isinstance(found, Unpriced) else {**told, **found.to_json()}


def price_to_file(
    pricer: Pricer, rows: Sequence[ItemRow], path: Path, *, level: float, estimate: EstimateName
) -> Iterator[Line]:
    """The same, written to a JSON Lines file; what it holds already is given again, and not asked again.

    Raises:
        UsageError: the file holds something else than the beginning of these lines.
        StorageError: it cannot be written.
    """
    keys = _Keys(pricer, level, estimate)
    with JournalWriter(path) as journal:
        done = 0
        for done, entry in enumerate(read_journal(path), start=1):
            row = rows[done - 1] if done <= len(rows) else None
            if row is None or not isinstance(entry, dict) or entry.get("key") != keys.of(row):
                raise UsageError(
                    f"{path}, line {done}: not the price of this row by this model and these settings: name another "
                    "file, or delete this one"
                )
            yield entry
        for line in price_rows(pricer, rows[done:], level=level, estimate=estimate):
            journal.append(line)
            yield line


class _Keys:
    """Digests of what is asked: equal keys have equal prices."""

    def __init__(self, pricer: Pricer, level: float, estimate: EstimateName) -> None:
        identity = pricer.model.identity
        asked = [
            identity.spec,
            identity.revision,
            pricer.grid.name,
            repr(pricer.prompt),
            pricer.limit,
            pricer.calibration.to_json() if pricer.calibration else None,
            level,
            estimate,
        ]
        self._settings = hashlib.sha256(json.dumps(asked).encode())

    def of(self, row: ItemRow) -> str:
        """The key of a row: where it stands, and what it says."""
        digest = self._settings.copy()
        digest.update(f"{row.row}\n{row.reason}\n{row.text}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]
