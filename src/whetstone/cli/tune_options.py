"""Options that `whet tune` and `whet tune curve` share, and the configuration that they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whetstone.tuning.config import TuneConfig

_DATA = "Data"

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration of the run (YAML).")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the configuration; repeat for several."),
]
Base = Annotated[str | None, typer.Option(help="The model to tune, an hf: spec. Default: hf:smollm2.")]
Text = Annotated[str | None, typer.Option(help="Column with the text, of a table.", rich_help_panel=_DATA)]
Target = Annotated[str | None, typer.Option(help="Column with the true answer, of a table.", rich_help_panel=_DATA)]
TestData = Annotated[
    str | None,
    typer.Option(
        help="Items to be tested on: DATA is for training alone, and what belongs to them is left out.",
        rich_help_panel=_DATA,
    ),
]


def configuration(config: Path | None, settings: Sequence[str] | None, **named: str | None) -> TuneConfig:
    """The configuration of a file, changed by `KEY=VALUE` pairs, and these by options of their own.

    Args:
        config: the file; None for the defaults.
        settings: the pairs.
        named: keys with what their options say; None and "" say nothing.

    Raises:
        UsageError: a setting is no pair, a key is unknown, or a value is wrong.
    """
    from whetstone.tuning.config import read_config

    given = {key: json.dumps(value) for key, value in named.items() if value}
    return read_config(config, {**_pairs(settings or ()), **given})


def _pairs(settings: Sequence[str]) -> dict[str, str]:
    from whetstone.errors import UsageError

    found = {}
    for pair in settings:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set takes KEY=VALUE, as in --set r=32; {pair!r} is none")
        found[key.strip()] = value
    return found
