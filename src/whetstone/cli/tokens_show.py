"""`whet tokens TEXT`: the pieces of a text and their ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.tokens_input import Json, Tokenizers

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.tokens.pieces import Piece
    from whetstone.tokens.tokenizer import Tokenizer
    from whetstone.tokens.tokenizer_roundtrip import RoundTrip

_SHOWN = 2000  # tokens that fit a few screens
_CHANGES_SHOWN = 5


def show(
    text: Annotated[str | None, typer.Argument(help="The text, or - to read it from standard input.")] = None,
    tokenizer: Tokenizers = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from this file.")] = None,
    special: Annotated[
        bool, typer.Option("--special", help="The spelling of a control token in the text becomes that token.")
    ] = False,
    add_special_tokens: Annotated[
        bool,
        typer.Option("--add-special-tokens", "-a", help="Add what the tokenizer puts around texts, such as a BOS."),
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Show every token; otherwise the first {_SHOWN:,}.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the pieces of a text with their ids, spaces and other invisible characters included."""
    from rich.console import Console

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tokens_input import mistakes, text_of, tokenizers_of
    from whetstone.tokens.pieces import pieces
    from whetstone.tokens.tokenizer_roundtrip import round_trips

    given = text_of(text, file)
    found = []
    for each in tokenizers_of(tokenizer):
        with mistakes():
            shown = pieces(each, given, special=special, add_special_tokens=add_special_tokens)
        found.append((each, shown, round_trips(each, given, special=special)))
    if json:
        views = [_as_values(each, shown, trip) for each, shown, trip in found]
        write_result("-", as_json({"text": given, **_sizes(given), "tokenizers": views}))
        return
    console = Console(highlight=False)
    for each, shown, trip in found:
        _print(console, each, given, shown, trip, everything)
        if not special and any(spelling in given for spelling in each.control):
            console.print(
                "The text spells control tokens, which are shown as text here; --special makes tokens of them.",
                style="dim",
            )


def _sizes(text: str) -> dict[str, int]:
    return {"characters": len(text), "bytes": len(text.encode()), "words": len(text.split())}


def _as_values(tokenizer: Tokenizer, shown: list[Piece], trip: RoundTrip) -> dict[str, Any]:
    return {
        "tokenizer": tokenizer.name,
        "source": tokenizer.source,
        "kind": tokenizer.kind,
        "count": len(shown),
        "ids": [piece.id for piece in shown],
        "tokens": [
            {
                "id": piece.id,
                "spelling": piece.spelling,
                "shown": piece.shown,
                "bytes": piece.bytes.hex(),
                "kind": piece.kind,
                "start": piece.start,
                "end": piece.end,
            }
            for piece in shown
        ],
        "round_trip": {
            "exact": trip.exact,
            "reasons": list(trip.reasons),
            "changes": [{"start": c.start, "before": c.before, "after": c.after} for c in trip.changes],
        },
    }


def _print(
    console: Console, tokenizer: Tokenizer, text: str, shown: list[Piece], trip: RoundTrip, everything: bool
) -> None:
    from rich.text import Text

    from whetstone.cli.tokens_render import KINDS, LEGEND, counted, piece_lines, ratio
    from whetstone.tokens.pieces import visible_text

    sizes = _sizes(text)
    counts = ", ".join(
        (counted(len(shown), "token"), counted(sizes["characters"], "character"), counted(sizes["words"], "word"))
    )
    if sizes["words"]:
        counts += f"; {ratio(len(shown) / sizes['words'])} tokens per word"
    console.print(Text(tokenizer.name, "bold").append(f"  {counts}", "not bold"))
    for top, bottom in piece_lines(shown if everything else shown[:_SHOWN], console.width):
        console.print(top, no_wrap=True, overflow="ignore", crop=False)
        console.print(bottom, no_wrap=True, overflow="ignore", crop=False)
    if len(shown) > _SHOWN and not everything:
        console.print(f"… and {len(shown) - _SHOWN:,} more: --all shows every token.", style="dim")
    kinds = {piece.kind for piece in shown} & LEGEND.keys()
    if kinds:
        legend = Text()
        for kind in sorted(kinds):
            legend.append(f" {LEGEND[kind]} ", KINDS[kind]).append("  ")
        console.print(legend)
    if not trip.exact:
        console.print(f"Decoding does not give the text back: {', '.join(trip.reasons)}.", style="yellow")
        for change in trip.changes[:_CHANGES_SHOWN]:
            before, after = (visible_text(part[:60]) or "nothing" for part in (change.before, change.after))
            console.print(f"  character {change.start}: {before} becomes {after}", markup=False, style="yellow")
        if len(trip.changes) > _CHANGES_SHOWN:
            console.print(f"  and {len(trip.changes) - _CHANGES_SHOWN:,} more", style="yellow")
    console.print()
