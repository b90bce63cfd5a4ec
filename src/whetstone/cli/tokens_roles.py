"""`whet tokens roles`: which roles and orders of messages each chat template takes."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer


def roles(
    tokenizer: Annotated[
        list[str] | None,
        typer.Option("--tokenizer", "-t", help="Folder, GGUF file, hub id, or smollm2; repeat for several."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
) -> None:
    """Show which roles and orders of messages chat templates take, refuse, or pass over in silence."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.visible import one_line
    from whetstone.tokens.roles import PROBES, probe_roles
    from whetstone.tokens.sources import load_tokenizer

    loaded = [load_tokenizer(source) for source in tokenizer or ["smollm2"]]
    found = {each.name: {finding.probe: finding for finding in probe_roles(each)} for each in loaded}
    if as_json:
        from whetstone.cli.output import as_json as written

        values = {name: [dataclasses.asdict(one) for one in probes.values()] for name, probes in found.items()}
        sys.stdout.write(written(values))
        return
    console = Console(highlight=False)
    table = Table("conversation", *found)
    colours = {"taken": "green", "refused": "yellow", "passed over": "bold red"}
    for probe in PROBES:
        table.add_row(probe, *(Text(each[probe].outcome, colours[each[probe].outcome]) for each in found.values()))
    console.print(table)
    for name, probes in found.items():
        for finding in probes.values():
            if finding.outcome == "refused":
                console.print(Text(f"{name}, {finding.probe}: {one_line(finding.detail)}"), soft_wrap=True)
