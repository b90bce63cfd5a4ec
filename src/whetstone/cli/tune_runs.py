"""`whet tune runs` and `whet tune show`: what was tuned, how it went, and which revision is best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer


def runs(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the tuning runs, newest first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.output import as_json, write_result
    from whetstone.storage.revisions import run_folder
    from whetstone.storage.revisions import runs as known

    rows = [_facts(run_folder(name)) for name in known()]
    if json:
        write_result("-", as_json(rows))
        return
    if not rows:
        typer.echo("There is no tuning run yet: `whet tune DATA` makes one.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "base", "data", "steps", "best", "state"):
        table.add_column(column, overflow="fold")
    for row in rows:
        best = row["best"]
        said = "" if best is None else f"@{best['step']}: {_worth(best)}"
        steps = f"{row['step']:,}/{row['steps']:,}" if row["steps"] else f"{row['step']:,}"
        table.add_row(*map(Text, (row["run"], row["base"], row["data"], steps, said, row["state"])))
    Console().print(table)


def show(
    run: Annotated[str, typer.Argument(help="Name of the run.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a run: its losses as a curve, its revisions, what was planned and what it took, what was forgotten."""
    from rich.console import Console

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tune_live import probe_sentence
    from whetstone.cli.tune_plot import loss_plot
    from whetstone.cli.tune_view import actual_sentence, finite, print_revisions
    from whetstone.registry import unknown_name
    from whetstone.storage.revisions import history, revisions, run_folder
    from whetstone.storage.revisions import runs as known
    from whetstone.tuning.plan import read_plan

    if run not in (names := known()):
        raise unknown_name("tuning run", run, names)
    folder = run_folder(run)
    lines = history(folder)
    found = revisions(folder)
    if json:
        shown = {**_facts(folder), "revisions": [each.to_json() for each in found], "journal": lines}
        write_result("-", as_json(finite({**shown, "plan": read_plan(folder)})))
        return
    console = Console(highlight=False)
    facts = _facts(folder)
    console.print(f"{run}: {facts['base']} on {facts['data']}, {facts['state']}", style="bold", markup=False)
    training, validation = _losses(lines, "step"), _losses(lines, "validation")
    if training or validation:
        console.print(loss_plot(training, validation))
    print_revisions(found, console)
    for line in lines:
        if line.get("kind") == "probe":
            console.print(probe_sentence(line), markup=False)
    said = actual_sentence(run)
    if said:
        console.print(said, style="dim", markup=False)
    console.print(f"in {folder}", style="dim", markup=False)


def _facts(folder: Path) -> dict[str, Any]:
    """What a run is and how far it came."""
    from whetstone.storage.revisions import best, history, revisions
    from whetstone.tuning.config import read_config
    from whetstone.tuning.plan import read_plan

    config = read_config(folder / "config.yaml")
    lines = history(folder)
    step = max((int(line["step"]) for line in lines if line.get("kind") == "step"), default=0)
    ended = next((line for line in reversed(lines) if line.get("kind") == "end"), None)
    finished = ended is not None and ended.get("ended") in ("done", "early")
    found = revisions(folder)
    return {
        "run": folder.name,
        "base": config.base,
        "data": config.data,
        "step": step,
        "steps": read_plan(folder).get("steps"),
        "state": "finished" if finished else "stopped, or under way",
        "best": best(found).to_json() if found else None,
    }


def _worth(revision: dict[str, Any]) -> str:
    if revision["metric"] is not None:
        return f"{revision['metric_name'] or 'error'} {revision['metric']:.4g}"
    return "not measured" if revision["validation_loss"] is None else f"loss {revision['validation_loss']:.4f}"


def _losses(lines: list[dict[str, Any]], kind: str) -> list[tuple[float, float]]:
    """(step, loss) of one kind of line."""
    pairs = [(line["step"], line.get("loss")) for line in lines if line.get("kind") == kind]
    return [(float(step), float(loss)) for step, loss in pairs if loss is not None and math.isfinite(loss)]
