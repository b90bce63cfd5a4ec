"""`whet task`: everyday tasks. Each card is a command, whose options are the card's inputs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class _CardGroup(TyperGroup):
    """A group whose commands are the cards, read when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        from whetstone.tasks.card import NAMES

        return [*super().list_commands(ctx), *NAMES]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        from whetstone.cli.task_command import card_command
        from whetstone.tasks.card import load_card

        return card_command(load_card(cmd_name))


app = typer.Typer(
    cls=_CardGroup,
    no_args_is_help=True,
    help="Do an everyday task: `whet task summarize report.pdf`. `whet task NAME --help` says what it takes. A card "
    "of your own is named by its folder: `whet task ./mine/ TEXT`.",
)


@app.command("list")
def list_cards(
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with what each card takes.")] = False,
) -> None:
    """List the task cards: what they do, how they are scored, and what goes wrong."""
    from whetstone.tasks import cards

    found = cards()
    if json:
        from whetstone.cli.output import as_json, write_result

        write_result("-", as_json([card.to_json() for card in found]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("NAME", "WHAT IT DOES", "TAKES", "SCORED BY", "CASES", box=None, pad_edge=False)
    for card in found:
        takes = ", ".join(one.name if one.required else f"[{one.name}]" for one in card.inputs)
        table.add_row(card.name, card.title, takes.replace("[", r"\["), card.file.metric, str(len(card.cases())))
    Console().print(table)


@app.callback()
def _task() -> None:
    pass
