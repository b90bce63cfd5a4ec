"""`whet tune`: models tuned on a task. A module per command; `whet tune DATA` is short for `whet tune train DATA`."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from whetstone.cli import tune_curve, tune_export, tune_probe, tune_runs, tune_train

_DEFAULT = "train"
_HELP = ("-h", "--help")


class _TuneGroup(TyperGroup):
    """A group whose first argument may be data, where it is no command's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in _HELP:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_TuneGroup,
    no_args_is_help=True,
    help="Tune a model on a task: `whet tune DATA` trains, and the commands below show, prove and export what came of "
    "it. A file whose name is a command's is written ./NAME.",
)
app.command(_DEFAULT)(tune_train.train)
app.command("runs")(tune_runs.runs)
app.command("show")(tune_runs.show)
app.command("export")(tune_export.export)
app.command("probe")(tune_probe.probe)
app.command("curve")(tune_curve.curve)
