"""A correction of one model's prices, learnt from items with known prices and kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np

from whetstone import settings
from whetstone.errors import UsageError
from whetstone.numeric.calibration import FEWEST, Calibration, fit_calibration
from whetstone.numeric.distribution import Distribution
from whetstone.storage.files import storage_error, write_atomically
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.workflows.known_items import ItemRow
from whetstone.workflows.price import Pricer, Read

# Of the masses that a journal keeps: ten million items of rounding do not move a quantile.
_DIGITS = 7


def learn_calibration(
    pricer: Pricer, items: Sequence[ItemRow], progress: Callable[[int, int], None] | None = None
) -> Calibration:
    """What `learning` comes to.

    Args:
        progress: told `(done, total)` items.
    """
    steps = learning(pricer, items)
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            learnt: Calibration = end.value
            return learnt
        if progress is not None:
            progress(done, total)


def learning(pricer: Pricer, items: Sequence[ItemRow]) -> Generator[tuple[int, int], None, Calibration]:
    """Learn the correction of a model's distributions by what these items really cost: `(done, total)` on the way.

    It is kept below `WHETSTONE_HOME/cache/calibrations` under a digest of model, grid, prompt and items; stopped at any
    moment, the same call goes on where it was. Items that the model cannot price are left out.

    Args:
        pricer: without a calibration of its own.
        items: each with a price; none of them should be priced later.

    Raises:
        UsageError: fewer than 20 items can be used, or the model shows no complete distributions.
        StorageError: the cache cannot be written.
    """
    if not pricer.shows_all:
        raise UsageError(
            f"{pricer.model.identity.spec} shows only its likeliest tokens, and bounds cannot be corrected: take a "
            "local model (gguf:, hf:)"
        )
    if len(items) < FEWEST:
        raise UsageError(f"a correction takes at least {FEWEST} items with prices, not {len(items)}")
    path = settings.home() / "cache" / "calibrations" / f"{_key(pricer, items)}.json"
    kept = _kept(path)
    if kept is not None:
        return kept
    found = yield from _distributions(pricer, items, path.with_suffix(".jsonl"))
    usable = [
        (one, item.price) for one, item in zip(found, items, strict=True) if one is not None and item.price is not None
    ]
    learnt = fit_calibration([one for one, _ in usable], [price for _, price in usable])
    write_atomically(path, json.dumps(learnt.to_json()))
    path.with_suffix(".jsonl").unlink(missing_ok=True)
    return learnt


def _key(pricer: Pricer, items: Sequence[ItemRow]) -> str:
    identity = pricer.model.identity
    asked = [
        identity.spec,
        identity.revision,
        identity.template,
        pricer.grid.name,
        repr(pricer.prompt),
        pricer.limit,
        [(item.text, item.price) for item in items],
    ]
    return hashlib.sha256(json.dumps(asked, ensure_ascii=True).encode()).hexdigest()[:24]


def _kept(path: Path) -> Calibration | None:
    try:
        return Calibration.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(path, error) from error
    except (ValueError, KeyError, TypeError):
        return None  # a cache of an earlier form is made anew


def _distributions(
    pricer: Pricer, items: Sequence[ItemRow], path: Path
) -> Generator[tuple[int, int], None, list[Distribution | None]]:
    """The model's distribution for each item, those that an earlier call has read included."""
    with JournalWriter(path) as journal:
        masses = [entry["masses"] for entry in read_journal(path)]
        for start in range(len(masses), len(items), pricer.at_once):
            yield start, len(items)
            for read in pricer.read([item.text for item in items[start : start + pricer.at_once]]):
                found = read.distribution.masses if isinstance(read, Read) else None
                masses.append(None if found is None else [float(f"{mass:.{_DIGITS}g}") for mass in found])
                journal.append({"masses": masses[-1]})
        yield len(items), len(items)
    values = pricer.grid.values
    return [None if one is None else Distribution(values, np.array(one)) for one in masses]
