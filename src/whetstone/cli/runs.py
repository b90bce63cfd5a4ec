"""`whet runs`: what has been run, and how far it came."""

from __future__ import annotations

from typing import Annotated

import typer


def runs(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the stored runs."""
    from rich.console import Console
    from rich.table import Table

    from whetstone.cli.output import as_json, write_result
    from whetstone.evaluation.run import RunStore

    store = RunStore()
    rows = [
        {
            "run": record.id,
            "problem": record.header["problem"],
            "fingerprint": record.header["fingerprint"],
            "technique": record.header["technique"],
            "model": record.header["model"],
            "answers": len(record.answers),
            "cases": record.header["cases"],
            "created": record.header["created"],
        }
        for record in store
    ]
    if json:
        write_result("-", as_json({"home": str(store.home), "runs": rows}))
        return
    if not rows:
        typer.echo(f"There are no runs in {store.folder} yet: `whet compare` makes some.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "answers", "fingerprint", "created"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row["run"], f"{row['answers']}/{row['cases']}", str(row["fingerprint"])[:12], str(row["created"]))
    Console().print(table)
