"""`whet tune DATA`: the plan, the loss mask of five rows, the template check, and the training."""

from __future__ import annotations

import json as jsonlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.cli.interrupts import interrupts
from whetstone.cli.tune_options import Base, Config, Setting, Target, TestData, Text, configuration

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.workflows.tune import Prepared


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of whet data curate; JSONL or Parquet with messages, prompt and completion, conversations "
            "(ShareGPT), or instruction and output (Alpaca); a table, with --text and --target; or a data set's name."
        ),
    ] = "",
    config: Config = None,
    setting: Setting = None,
    base: Base = None,
    run: Annotated[
        str | None, typer.Option(help="The run's name. Default: made of the data's and the model's.")
    ] = None,
    text: Text = None,
    target: Target = None,
    test_data: TestData = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show plan and rows, and train nothing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start afresh, where a run of this name is there already.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Train although the template check fails.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print plan and result as JSON.")] = False,
) -> None:
    """Tune a model on examples. Says first what it will take; stopped at any moment, the same command goes on.

    Ctrl-C ends the run after the step, with a revision of what was learned; a second one ends it at once.
    """
    from rich.console import Console

    from whetstone.cli.data_view import CurationProgress
    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tune_live import LiveTraining
    from whetstone.cli.tune_view import finite, print_prepared, print_report
    from whetstone.tuning.processes import process_number
    from whetstone.workflows.tune import prepare, run_tuning

    settings = configuration(
        config, setting, data=data, base=base, run=run, text=text, target=target, test_data=test_data
    )
    silent = process_number() != 0  # of several that accelerate launch started, one speaks
    console = Console(stderr=json, quiet=silent)
    with interrupts():
        with CurationProgress(Console(stderr=True, quiet=silent)) as progress:
            prepared = prepare(settings, progress=progress)
        print_prepared(prepared, console)
        _stop_at_check(prepared, anyway, console)
        if plan:
            if json:
                write_result("-", as_json(finite({"plan": prepared.plan.to_json(), "checks": prepared.checks})))
            return
        with LiveTraining(console, prepared.plan) as live, warnings.catch_warnings():
            # What the libraries tell their own developers about each other.
            warnings.filterwarnings("ignore", category=FutureWarning)
            report = run_tuning(settings, prepared=prepared, watcher=live, overwrite=overwrite, progress=live.waiting)
    if json and not silent:
        write_result("-", as_json(finite(report.to_json())))
    print_report(report, console)
    if prepared.data.rejects and not silent:
        console.print(f"Rows that were not trained on: {_write_rejects(prepared, report.outcome.folder)}", markup=False)
    if not report.outcome.finished:
        raise typer.Exit(1)


def _write_rejects(prepared: Prepared, folder: Path) -> Path:
    """Keep the rows that were set aside beside the run, each with its reason."""
    from whetstone.storage.files import write_atomically

    lines = (jsonlib.dumps(reject.to_json(), ensure_ascii=False, default=str) for reject in prepared.data.rejects)
    write_atomically(folder / "rejects.jsonl", "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    return folder / "rejects.jsonl"


def _stop_at_check(prepared: Prepared, anyway: bool, console: Console) -> None:
    if prepared.ok:
        return
    if anyway:
        console.print("The template check failed; training all the same.", style="yellow")
        return
    console.print(
        "The template check failed: the model would be trained on other tokens than it is asked with. Use a base whose "
        "template holds, or --anyway.",
        style="bold red",
    )
    raise typer.Exit(1)
