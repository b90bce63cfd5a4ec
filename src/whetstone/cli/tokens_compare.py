"""`whet tokens compare`: several tokenizers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.tokens_input import Json, Tokenizers

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.tokens.compare import Comparison
    from whetstone.tokens.tokenizer import Encoding, Tokenizer

_ALIGNED = 2000  # characters that are shown side by side


def compare(
    text: Annotated[str | None, typer.Argument(help="The text, or - to read it from standard input.")] = None,
    tokenizer: Tokenizers = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from this file.")] = None,
    json: Json = False,
) -> None:
    """Compare how tokenizers cut a text, numbers and languages, and what their vocabularies share."""
    from rich.console import Console

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tokens_input import mistakes, text_of, tokenizers_of
    from whetstone.errors import UsageError
    from whetstone.tokens.compare import compare_tokenizers

    given = text_of(text, file)
    if len(set(tokenizer or ())) < 2:
        raise UsageError("name at least two tokenizers to compare: -t smollm2 -t ./folder")
    tokenizers = tokenizers_of(tokenizer)
    with mistakes():
        comparison = compare_tokenizers(tokenizers, given)
    encodings = [each.encode(given) for each in tokenizers]
    if json:
        write_result("-", as_json(_as_values(tokenizers, given, encodings, comparison)))
        return
    console = Console(highlight=False)
    _print_aligned(console, tokenizers, given, encodings)
    _print_counts(console, tokenizers, comparison)
    _print_scripts(console, tokenizers, comparison)
    _print_prices(console, tokenizers, comparison)
    _print_dearness(console, tokenizers, comparison)
    _print_overlaps(console, tokenizers, comparison)


def _as_values(
    tokenizers: list[Tokenizer], text: str, encodings: list[Encoding], comparison: Comparison
) -> dict[str, Any]:
    return {
        "text": text,
        "tokenizers": [
            {
                "tokenizer": tokenizer.name,
                "source": tokenizer.source,
                "kind": tokenizer.kind,
                "vocabulary": tokenizer.vocab_size,
                "count": len(encoding.ids),
                "ids": encoding.ids,
                "offsets": encoding.offsets,
                "pieces": [tokenizer.spelling(id) for id in encoding.ids],
                "tokens_per_word": use.tokens / use.words if use.words else None,
                "tokens_per_character": use.tokens / use.characters if use.characters else None,
                "scripts": {
                    name: {"tokens": script.tokens, "characters": script.characters, "words": script.words}
                    for name, script in use.scripts.items()
                },
                "digits": str(digits),
                "prices": prices,
                "compared_with_english": {each.language: each.ratio for each in dear},
            }
            for tokenizer, encoding, use, digits, prices, dear in zip(
                tokenizers,
                encodings,
                comparison.uses,
                comparison.digits,
                comparison.prices,
                comparison.dearness,
                strict=True,
            )
        ],
        "overlaps": [
            {
                "first": tokenizers[i].name,
                "second": tokenizers[j].name,
                "common": found.common,
                "share": found.share,
                "of_first": found.common / found.first,
                "of_second": found.common / found.second,
            }
            for (i, j), found in comparison.overlaps.items()
        ],
    }


def _print_aligned(console: Console, tokenizers: list[Tokenizer], text: str, encodings: list[Encoding]) -> None:
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    from whetstone.cli.tokens_render import aligned_lines

    part = text[:_ALIGNED]
    shown = [_until(encoding, len(part)) for encoding in encodings]
    names = [tokenizer.name for tokenizer in tokenizers]
    column = min(max(map(cell_len, names)), 24) + 2
    for block in aligned_lines(part, names, shown, console.width - column):
        for name, line in block:
            head = Text().append(set_cell_size(name, column), "bold")
            console.print(head.append_text(line), no_wrap=True, overflow="ignore", crop=False)
        console.print()
    if len(part) < len(text):
        console.print(f"… the first {_ALIGNED:,} of {len(text):,} characters are shown side by side.\n", style="dim")


def _until(encoding: Encoding, length: int) -> Encoding:
    """The tokens within the first characters; one that reaches beyond them is cut there."""
    from whetstone.tokens.tokenizer import Encoding

    kept = [(start, min(end, length)) for start, end in encoding.offsets if start < length]
    return Encoding(encoding.ids[: len(kept)], kept)


def _print_counts(console: Console, tokenizers: list[Tokenizer], comparison: Comparison) -> None:
    from whetstone.cli.tokens_render import ratio

    table = _table("", "vocabulary", "tokens", "per word", "per character", "numbers")
    for tokenizer, use, digits in zip(tokenizers, comparison.uses, comparison.digits, strict=True):
        table.add_row(
            tokenizer.name,
            f"{tokenizer.vocab_size:,}",
            f"{use.tokens:,}",
            ratio(use.tokens / use.words if use.words else None),
            ratio(use.tokens / use.characters if use.characters else None),
            str(digits),
        )
    console.print(table)


def _print_scripts(console: Console, tokenizers: list[Tokenizer], comparison: Comparison) -> None:
    from whetstone.cli.tokens_render import ratio

    scripts = sorted({name for use in comparison.uses for name in use.scripts})
    if not scripts:
        return
    console.print("\nTokens per character, by script", style="bold")
    table = _table("", *scripts)
    for tokenizer, use in zip(tokenizers, comparison.uses, strict=True):
        cells = [use.scripts.get(name) for name in scripts]
        table.add_row(tokenizer.name, *(ratio(cell.per_character if cell else None) for cell in cells))
    console.print(table)


def _print_prices(console: Console, tokenizers: list[Tokenizer], comparison: Comparison) -> None:
    console.print("\nHow prices are cut", style="bold")
    table = _table("", *comparison.prices[0], right=False)
    for tokenizer, prices in zip(tokenizers, comparison.prices, strict=True):
        table.add_row(tokenizer.name, *("│".join(cut) for cut in prices.values()))
    console.print(table)


def _print_dearness(console: Console, tokenizers: list[Tokenizer], comparison: Comparison) -> None:
    console.print("\nTokens for the same sentences, English being 1 (code: tokens per character)", style="bold")
    table = _table("", *(each.language for each in comparison.dearness[0]))
    for tokenizer, dear in zip(tokenizers, comparison.dearness, strict=True):
        table.add_row(tokenizer.name, *(f"{each.ratio:.2f}" for each in dear))
    console.print(table)


def _print_overlaps(console: Console, tokenizers: list[Tokenizer], comparison: Comparison) -> None:
    console.print("\nShare of the row's vocabulary that the column's has too", style="bold")
    table = _table("", *(tokenizer.name for tokenizer in tokenizers))
    for i, tokenizer in enumerate(tokenizers):
        cells = []
        for j in range(len(tokenizers)):
            found = comparison.overlaps.get((min(i, j), max(i, j)))
            of = 0 if found is None else found.first if i < j else found.second
            cells.append("" if found is None or not of else f"{found.common / of:.0%}")
        table.add_row(tokenizer.name, *cells)
    console.print(table)


def _table(*columns: str, right: bool = True) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if right and number else "left")
    return table
