"""`whet prompts`: prompts as files, with versions. A module per command."""

from __future__ import annotations

import typer

from whetstone.cli import prompts_files, prompts_run, prompts_search, prompts_shots, prompts_show

app = typer.Typer(
    no_args_is_help=True,
    help="Prompts: plain files with versions, to list, show, compare, run and improve.",
)
app.command("list")(prompts_files.list_)
app.command("show")(prompts_show.show)
app.command("diff")(prompts_files.diff)
app.command("run")(prompts_run.run)
app.command("new")(prompts_files.new)
app.command("save")(prompts_files.save)
app.command("shots")(prompts_shots.shots)
app.command("search")(prompts_search.search)
