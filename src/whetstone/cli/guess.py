"""`whet guess`: a person guesses the same items as the models, without seeing the answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.errors import UsageError

if TYPE_CHECKING:
    from whetstone.workflows.guess_spread import Spread
    from whetstone.workflows.guessing import Guessing

_DATA = "Data, as for whet compare"
_SHOWN_ITEMS = 10


def guess(
    source: Annotated[
        list[str],
        typer.Argument(help="The file of items, as `whet compare` reads it; with --spread, files of guesses."),
    ],
    name: Annotated[str | None, typer.Option(help="Who guesses: letters, digits, dashes.")] = None,
    items: Annotated[
        int | None,
        typer.Option(min=1, help="How many items. `whet compare --test-size` with this number has the same ones."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that is shown; repeat to join several. Default: text, or title and description.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column with the true answer. Default: price.", rich_help_panel=_DATA)
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column that identifies an item.", rich_help_panel=_DATA)
    ] = None,
    test_all: Annotated[
        bool, typer.Option("--test-all", help="Guess every row of the file.", rich_help_panel=_DATA)
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the guesses go. Default: guesses-NAME.csv.")
    ] = None,
    spread: Annotated[
        bool, typer.Option("--spread", help="Say how far the guesses in several files lie apart.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --spread: print JSON.")] = False,
) -> None:
    """Guess items yourself, blind, to be compared with the models.

    Every guess is kept at once: stop with Ctrl-D, and the same command goes on. The file of guesses is a technique,
    `whet compare … -t guesses:FILE`.
    """
    if spread:
        from whetstone.workflows.guess_spread import guess_spread

        _show_spread(guess_spread([Path(file) for file in source]), json)
        return
    if json:
        raise UsageError("--json goes with --spread")
    if len(source) > 1:
        raise UsageError("name one file of items; several files of guesses go with --spread")
    if name is None:
        raise UsageError("who guesses? Say --name NAME")
    if test_all and items is not None:
        raise UsageError("--test-all guesses every row, so there is no number of items to choose")
    from whetstone.datasets.build import build_problem
    from whetstone.workflows.guessing import Guessing
    from whetstone.workflows.known_items import find_columns

    columns = find_columns(source[0], text=text or (), price=target)
    built = build_problem(
        source[0],
        text=columns.text,
        target=columns.price,
        id=id_column or columns.id,
        test_size=items,
        test_all=test_all,
        seed=seed,
    )
    output = output or Path(f"guesses-{name}.csv")
    with Guessing(built.problem, name) as guessing:
        try:
            _ask(guessing)
        except (EOFError, KeyboardInterrupt):
            typer.echo("")
        guessing.write(output)
        left = len(guessing.cases) - guessing.done
    if left:
        typer.echo(f"{guessing.done} of {len(guessing.cases)} guessed, kept in {output}; the same command goes on.")
        return
    asked = [f"--text {name}" for name in columns.text] + [f"--target {columns.price}"]
    if id_column or columns.id:
        asked.append(f"--id {id_column or columns.id}")
    asked += ["--test-all" if test_all else f"--test-size {len(guessing.cases)}", f"--seed {seed}"]
    typer.echo(f"All {guessing.done} guessed, {guessing.mean_error:,.2f} off on average: {output}.")
    typer.echo("Compare them with techniques on the same items:")
    typer.echo(f"  whet compare {source[0]} {' '.join(asked)} -t guesses:{output} -t tfidf")


def _ask(guessing: Guessing) -> None:
    """Show item after item until all are guessed."""
    from rich.console import Console
    from rich.rule import Rule
    from rich.text import Text

    from whetstone.cli.visible import visible

    console = Console(highlight=False)
    unit = guessing.problem.unit
    console.print(f"What does each item cost{f' in {unit}' if unit else ''}? Type a number. b: back, Ctrl-D: stop.")
    while (case := guessing.current) is not None:
        console.print(Rule(f"{guessing.done + 1} of {len(guessing.cases)}", style="dim"))
        console.print(Text(visible(case.text)))
        while True:
            console.print(f"\n[bold]{guessing.problem.target}[/] {unit}", end="")
            sys.stdout.flush()
            written = sys.stdin.readline()
            if not written:
                raise EOFError
            if written.strip().lower() == "b":
                if guessing.back() is None:
                    console.print("This is the first one.")
                break
            reading = guessing.give(written)
            if reading.ok:
                break
            console.print(f"That is no number that can be meant: {reading.note}.", style="yellow", markup=False)


def _show_spread(found: Spread, json: bool) -> None:
    if json:
        from dataclasses import asdict

        from whetstone.cli.output import as_json, write_result

        write_result("-", as_json({"mean_absolute_difference": found.difference, **asdict(found)}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.price_view import dollars
    from whetstone.cli.visible import visible

    console = Console(highlight=False)
    left = f"; {found.left_out} that not all have guessed are left out" if found.left_out else ""
    console.print(
        f"{len(found.items)} items guessed by {len(found.names)} people{left}. Two people are "
        f"[bold]{found.difference:,.2f}[/] apart on average."
    )
    pairs = Table(
        "pair", "mean difference", "correlation", "of logarithms", box=None, header_style="bold", pad_edge=False
    )
    for pair in found.pairs:
        both = Text(visible(f"{pair.first} and {pair.second}"))
        pairs.add_row(both, f"{pair.difference:,.2f}", _share(pair.correlation), _share(pair.log_correlation))
    console.print(pairs)
    widest = sorted(found.items, key=lambda item: -item.deviation)[:_SHOWN_ITEMS]
    table = Table("id", *map(visible, found.names), "deviation", box=None, header_style="bold", pad_edge=False)
    for item in widest:
        table.add_row(Text(visible(item.id)), *map(dollars, item.guesses), f"{item.deviation:,.2f}")
    console.print("\nFurthest apart:")
    console.print(table)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
