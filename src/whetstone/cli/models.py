"""`whet models`: what is usable here, and why the rest is not."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that are usable here, and say why the rest is not."""
    from rich.console import Console
    from rich.table import Table

    from whetstone.cli.output import as_json, write_result
    from whetstone.workflows.inventory import list_models

    listings = list_models()
    if json:
        write_result("-", as_json([{"spec": m.spec, "usable": m.usable, "note": m.note} for m in listings]))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("model", "usable", "note"):
        table.add_column(column, overflow="fold")
    for listing in listings:
        table.add_row(listing.spec, "[green]yes[/]" if listing.usable else "[red]no[/]", listing.note)
    Console().print(table)
