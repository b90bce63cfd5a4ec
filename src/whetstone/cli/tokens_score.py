"""`whet tokens score`: how likely a model finds each token of a text."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.errors import UsageError

if TYPE_CHECKING:
    from whetstone.workflows.scoring import ScoredToken


def score(
    text: Annotated[str, typer.Argument(help="The text; `-` reads a pipe.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model that runs here: smollm2, gguf:… or hf:…")] = (
        "smollm2"
    ),
    top: Annotated[int, typer.Option(min=1, max=50, help="Alternatives told at each position.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print every token as JSON.")] = False,
) -> None:
    """Show the probability and the rank of every token of a text under a model, and the text's perplexity.

    Nothing is put before the text but the model's own beginning (BOS), so that its first token may have none.
    """
    from whetstone.models import ContextModel, LogitModel, load_model
    from whetstone.workflows.scoring import perplexity, score_text

    loaded = load_model(model)
    try:
        if not isinstance(loaded, LogitModel) or not isinstance(loaded, ContextModel):
            raise UsageError(f"{model} does not show its probabilities; use a model that runs here, such as smollm2")
        scored = list(score_text(loaded, sys.stdin.read() if text == "-" else text, top=top))
    finally:
        loaded.close()
    if as_json:
        from whetstone.cli.output import as_json as written

        values = {"perplexity": perplexity(scored), "tokens": [dataclasses.asdict(token) for token in scored]}
        sys.stdout.write(written(values))
    else:
        _show(scored, perplexity(scored))


def _show(scored: list[ScoredToken], perplexity: float | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.visible import visible

    console = Console(highlight=False)
    table = Table("token", "probability", "rank", "the model's favourites there")
    for token in scored:
        if token.logprob is None or token.rank is None:
            table.add_row(Text(visible(repr(token.text)[1:-1])), "", "", Text("nothing precedes it", "dim"))
            continue
        style = "green" if token.rank == 1 else "yellow" if token.rank <= 10 else "red"
        others = "  ".join(f"{visible(repr(text)[1:-1])} {math.exp(logprob):.1%}" for _, text, logprob in token.top)
        shown = Text(visible(repr(token.text)[1:-1]), style)
        table.add_row(shown, f"{math.exp(token.logprob):.2%}", str(token.rank), Text(others, "dim"))
    console.print(table)
    if perplexity is not None:
        console.print(f"perplexity {perplexity:.2f} over {sum(token.logprob is not None for token in scored)} tokens")
