"""How fast an embedder is here, for the estimate of a plan: measured once, then learned from each sync."""

from __future__ import annotations

import json
import time
from pathlib import Path

from whetstone import settings
from whetstone.embeddings import Embedder
from whetstone.errors import StorageError
from whetstone.storage.files import write_atomically

__all__ = ["keep_speed", "known_speed", "measured_speed"]

_WORTH_KEEPING = 20_000  # characters; a shorter measurement is mostly the loading of the model
_SENTENCE = "a sentence of some length about nothing in particular, as documents have many of. "
_SAMPLE = [f"{number} {_SENTENCE * 6}" for number in range(32)]


def _file() -> Path:
    return settings.home() / "cache" / "embedding-speed.json"


def _read() -> dict[str, float]:
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or not readable: it is measured again
        return {}
    return {str(name): float(speed) for name, speed in kept.items()} if isinstance(kept, dict) else {}


def known_speed(embedder: str) -> float | None:
    """Characters a second that the embedder of this name managed last time; None if it was never measured here."""
    return _read().get(embedder)


def keep_speed(embedder: str, characters: int, seconds: float) -> None:
    """Remember what an embedder managed, if it was enough to tell."""
    if characters < _WORTH_KEEPING or seconds <= 0:
        return
    try:
        write_atomically(_file(), json.dumps({**_read(), embedder: characters / seconds}))
    except StorageError:
        return  # an estimate is not worth failing for


def measured_speed(embedder: Embedder) -> float:
    """The known speed, else the speed on a few made-up texts, which takes about a second."""
    speed = known_speed(embedder.name)
    if speed is None:
        embedder.embed(_SAMPLE[:1])  # loads the model
        began = time.perf_counter()
        embedder.embed(_SAMPLE)
        characters = sum(map(len, _SAMPLE))
        seconds = max(time.perf_counter() - began, 1e-6)
        speed = characters / seconds
        keep_speed(embedder.name, max(characters, _WORTH_KEEPING), max(characters, _WORTH_KEEPING) / speed)
    return speed
