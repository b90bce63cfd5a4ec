"""The configuration that a page's fields ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from whetstone.errors import UsageError
from whetstone.registry import unknown_name
from whetstone.tuning.config import TuneConfig, default_run, read_config
from whetstone.ui.asked import Asked
from whetstone.ui.tune_form import FIELDS

# What of a page's YAML reads files of the server, or logs in elsewhere by its keys, which only its own user may.
_OWN = ("test_data", "replay_data", "report_to")
_CHOSEN = ("method", "loss", "weights", "run", *FIELDS)


def config_of(asked: Asked, place: str, bases: Sequence[str], *, any_source: bool) -> TuneConfig:
    """What the fields of a page ask for.

    Args:
        place: of the rows, as `lab_sources.place_of` says.
        bases: specs that may be tuned; with `any_source`, others too.
        any_source: files of the server and other bases may be named.

    Raises:
        UsageError: a key is unknown, a value is wrong, or something may not be named; the sentence says which.
    """
    given = asked.get("config")
    fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    values: dict[str, Any] = dict(_yaml(str(fields.get("yaml") or "")))
    if "data" in values:
        raise UsageError("data is chosen above, or uploaded: leave it out of the settings")
    if not any_source and (named := [key for key in _OWN if values.get(key)]):
        raise UsageError(f"{named[0]} is for the server's own user only: leave it out")
    base = str(values.get("base") or fields.get("base") or "").strip()
    if base not in bases and not any_source:
        raise unknown_name("base", base, list(bases))
    values |= {"base": base, "data": place}
    for key in _CHOSEN:
        if (text := str(fields.get(key) or "").strip()) and key not in values:
            values[key] = yaml.safe_load(text) if key in FIELDS else text
    values |= _columns(asked)
    values.setdefault("run", default_run(Path(place).name, base))
    return read_config(None, {key: yaml.safe_dump(value) for key, value in values.items()})


def _yaml(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"the settings are no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, Mapping):
        raise UsageError("the settings are no YAML of keys and values: write a line like lora_alpha: 64")
    return found


def _columns(asked: Asked) -> dict[str, Any]:
    """The columns of a table, where the page shows one."""
    given = asked.get("columns")
    fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    texts = [str(name) for name in fields.get("text") or ()]
    if len(texts) > 1:
        raise UsageError(f"one column holds the text, not {len(texts)}: {', '.join(texts)}; put them together first")
    found = {"text": texts[0] if texts else "", "target": str(fields.get("target") or "")}
    return {name: column for name, column in found.items() if column}
