"""`whet tokens mask`: what would be learned from a training set."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any

import typer

from whetstone.errors import DataError


def mask(
    file: Annotated[Path, typer.Argument(help="JSONL with messages, or with prompt and completion.")],
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", "-t", help="Folder, tokenizer.json, GGUF file, hub id, or smollm2.")
    ] = "smollm2",
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows to show, drawn at random.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Show what would be learned from random rows of a training set. Refuses a set of which a row has nothing to learn.

    What is learned is underlined; the rest is only read. Every row is checked, not only those that are shown.
    """
    from rich.console import Console

    from whetstone.cli.tokens_chat import painted
    from whetstone.tokens.sources import load_tokenizer
    from whetstone.tokens.training import training_row

    loaded = load_tokenizer(tokenizer)
    lines = _lines(file)
    shown = set(random.Random(seed).sample(range(len(lines)), min(rows, len(lines))))
    console = Console(highlight=False)
    empty, learned, total = [], 0, 0
    for index, (number, row) in enumerate(lines):
        chat = training_row(loaded, row, f"{file}, line {number}")
        learned, total = learned + sum(chat.trained), total + len(chat.ids)
        if not any(chat.trained):
            empty.append(number)
        if index in shown:
            console.rule(f"line {number}: {sum(chat.trained)} of {len(chat.ids)} tokens are learned", style="dim")
            console.print(painted(chat), soft_wrap=True)
    console.rule(style="dim")
    console.print(f"{len(lines)} rows, {total} tokens, of which {learned} are learned ({learned / max(1, total):.0%})")
    if empty:
        named = ", ".join(map(str, empty[:10])) + (", ..." if len(empty) > 10 else "")
        raise DataError(f"{file}: nothing would be learned from {len(empty)} rows (lines {named}): no answer in them")


def _lines(file: Path) -> list[tuple[int, dict[str, Any]]]:
    from whetstone.cli.tokens_chat import read_json_lines

    rows = list(read_json_lines(str(file)))
    if not rows:
        raise DataError(f"{file} is empty; write one row of training data a line")
    return rows
