"""What `whet tune` prints before and after training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from whetstone.storage.revisions import Revision
    from whetstone.tuning.plan import Plan
    from whetstone.tuning.rows import TuneData
    from whetstone.workflows.tune import Prepared, TuneReport

_REJECTS = 3


def print_prepared(prepared: Prepared, console: Console) -> None:
    """Plan, rows with their masks, remarks and checks."""
    print_plan(prepared.plan, console)
    print_masks(prepared.data, console)
    for remark in [*prepared.data.remarks, *prepared.checks]:
        console.print(remark, style="dim", markup=False, highlight=False)
    print_rejects(prepared.data, console)
    for warning in prepared.plan.warnings:
        console.print(warning, style="yellow", markup=False, highlight=False)


def print_plan(plan: Plan, console: Console) -> None:
    """The plan on one screen."""
    from whetstone.tuning.plan_words import plan_lines

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, said in plan_lines(plan):
        table.add_row(name, Text(said))
    console.print(table)


def print_masks(data: TuneData, console: Console) -> None:
    """The first rows as the model sees them, what is learned underlined."""
    from whetstone.cli.tokens_chat import painted

    for number, row in enumerate(data.kept_texts, start=1):
        console.rule(f"row {number}: {sum(row.trained)} of {len(row.ids)} tokens are learned (underlined)", style="dim")
        console.print(painted(row), soft_wrap=True)
    console.rule(style="dim")


def print_rejects(data: TuneData, console: Console) -> None:
    """Rows that are not trained on."""
    if not data.rejects:
        return
    rows = "1 row is" if len(data.rejects) == 1 else f"{len(data.rejects):,} rows are"
    console.print(f"{rows} not trained on:", style="yellow")
    for reject in data.rejects[:_REJECTS]:
        said = reject.sentence if reject.row else f"{reject.source}: {reject.reason}"
        console.print(f"  {said}", style="dim", markup=False, highlight=False)
    if len(data.rejects) > _REJECTS:
        console.print(f"  and {len(data.rejects) - _REJECTS:,} more", style="dim")


def print_report(report: TuneReport, console: Console) -> None:
    """What came of a run."""
    run, found = report.outcome.run, report.outcome.revisions
    print_revisions(found, console)
    for remark in report.remarks:
        console.print(remark, markup=False, highlight=False)
    said = actual_sentence(run)
    if said:
        console.print(said, style="dim", markup=False, highlight=False)
    if not report.outcome.finished:
        console.print("Stopped. The same command goes on from here.", highlight=False)
    if found:
        base = report.prepared.config.base
        console.print(f"Talk to it: whet chat -m '{base}?adapter={run}@best'", markup=False, highlight=False)


def print_revisions(found: Sequence[Revision], console: Console) -> None:
    """Revisions as a table, the best one marked."""
    from whetstone.storage.revisions import best

    if not found:
        console.print("There is no revision yet.")
        return
    measured = any(revision.metric is not None for revision in found)
    name = next((revision.metric_name for revision in found if revision.metric_name), "error")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("revision", "epoch", "validation loss", *([name] if measured else []), ""):
        table.add_column(column, justify="right" if column else "left")
    winner = best(found)
    for revision in found:
        cells = [
            f"{revision.run}@{revision.step}",
            f"{revision.epoch:.2f}",
            "" if revision.validation_loss is None else f"{revision.validation_loss:.4f}",
        ]
        if measured:
            cells.append("" if revision.metric is None else f"{revision.metric:.4g}")
        table.add_row(
            *map(Text, cells), "best" if revision == winner else "", style="green" if revision == winner else ""
        )
    console.print(table)


def actual_sentence(run: str) -> str:
    """What the run took, beside what was planned; "" where nothing is known."""
    from whetstone.storage.revisions import run_folder
    from whetstone.tuning.plan import read_plan
    from whetstone.tuning.plan_words import minutes_in_words

    kept = read_plan(run_folder(run))
    actual = kept.get("actual")
    if not actual:
        return ""
    speed = f"{actual['tokens_per_second']:,.0f} tokens/s"
    said = f"It took {minutes_in_words(actual['minutes'])} for {actual['steps']:,} steps ({speed})"
    if (off := actual.get("off")) is not None:
        far = f"{1 + off:,.1f} times as long" if off >= 1 else f"{abs(off):.0%} {'longer' if off > 0 else 'less'}"
        said += f"; planned: {minutes_in_words(kept['minutes'])}, so it took {far}"
    if actual.get("memory"):
        said += f". Memory: {actual['memory'] / 1e9:.1f} GB, planned {kept['memory'] / 1e9:.1f} GB"
    return said


def finite(value: Any) -> Any:
    """Values as JSON has them: a loss that is no number any more is null."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
