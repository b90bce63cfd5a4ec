"""`whet doctor`: is this installation healthy, and what to do where it is not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the installation, and say what to do. Exits 1 when something needed is broken."""
    from rich.console import Console
    from rich.markup import escape

    from whetstone.cli.output import as_json, write_result
    from whetstone.workflows.inventory import check_installation

    checks = []
    console = Console(highlight=False)
    for check in check_installation():
        checks.append(check)
        if json:
            continue
        mark = {True: "[green]ok  [/]", False: "[red]FAIL[/]", None: "[yellow]--  [/]"}[check.ok]
        console.print(f"{mark} {check.name}: {escape(check.found)}", soft_wrap=True)
        if check.advice:
            console.print(f"       {escape(check.advice)}", soft_wrap=True)
    if json:
        write_result("-", as_json([asdict(check) for check in checks]))
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)
