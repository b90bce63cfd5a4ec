"""`whet diff`: is run B worse than run A, beyond chance?"""

from __future__ import annotations

from typing import Annotated

import typer


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The run to hold against: its id or the beginning of it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The run that may be worse or better.")],
    mix: Annotated[
        bool, typer.Option("--mix", help="Compare runs on different frozen items, on the items they share.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 42,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs item by item. Exits 1 when B is worse than A beyond chance."""
    from whetstone.cli.output import as_json, write_result
    from whetstone.workflows.stored import diff_runs

    result = diff_runs(a, b, mix=mix, seed=seed)
    if json:
        write_result("-", as_json(result.to_json()))
    else:
        typer.echo(result.sentence)
        for line in result.changed:
            typer.echo(line)
    if result.regression:
        raise typer.Exit(1)
