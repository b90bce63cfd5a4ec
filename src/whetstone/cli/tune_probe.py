"""`whet tune probe`: what a tuned model has forgotten, and what that bought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.tuning.probe_result import ProbeResult
    from whetstone.tuning.tradeoff import Tradeoff


def probe(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|SPEC",
            help="RUN (every revision), RUN@best, RUN@120 (a step), or an hf: spec with ?adapter=…",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what a tuned model has forgotten: neutral texts, instructions, sums, facts, and habits of answering.

    A revision that was probed before is not probed again.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from whetstone.cli.output import as_json, write_result
    from whetstone.workflows.probe_run import probe as measure

    errors = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        task = bars.add_task("loading", total=None)
        found = measure(target, lambda what, done, of: bars.update(task, description=what, completed=done, total=of))
    if json:
        write_result("-", as_json(found.to_json()))
        return
    console = Console(highlight=False, markup=False)
    if found.tradeoff is not None:
        _print_tradeoff(found.tradeoff, console)
    for step, result in found.results.items():
        console.print()
        console.print(f"{found.name}, step {step:,}" if found.tradeoff is not None else found.name, style="bold")
        _print_result(result, console)


def _print_tradeoff(tradeoff: Tradeoff, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    heading, *rows = tradeoff.rows()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in heading:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    for sentence in tradeoff.sentences():
        console.print(sentence)


def _print_result(result: ProbeResult, console: Console) -> None:
    from rich.table import Table

    texts = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("neutral text", "drift (nats/token)", "perplexity", "of the base"):
        texts.add_column(title, justify="left" if title == "neutral text" else "right")
    for name, one in (("all", result.texts), *result.kinds.items()):
        drift = f"{one.drift.value:.4f}"
        if name == "all":
            drift += f" ({one.drift.low:.4f} to {one.drift.high:.4f})"
        texts.add_row(name, drift, f"{one.perplexity:.2f}", f"{one.base_perplexity:.2f}")
    console.print(texts)
    shares = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("asked", "right", "95 % interval", "base", "lost", "gained", ""):
        shares.add_column(title, justify="left" if title in ("asked", "") else "right")
    for name, share in result.shares.items():
        habit = name.startswith("labels")
        shares.add_row(
            _ASKED.get(name, name),
            f"{share.right}/{share.n}",
            f"{share.low:.0%} to {share.high:.0%}",
            str(share.base_right),
            "" if habit else str(share.lost),
            str(share.gained),
            "a certain loss" if share.certain_loss and not habit else "",
        )
    console.print(shares)
    for question, reply in result.examples:
        console.print(f"{question!r} is answered {reply!r}", style="dim")


_ASKED = {
    "labels": "unrelated questions answered as in training",
    "labels plain": "the same, asked as plain text",
}
