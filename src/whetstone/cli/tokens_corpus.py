"""`whet tokens corpus`: what a file of texts takes in tokens, what a limit would cut, what it would cost."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.tokens_input import Json, Tokenizers

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.models.catalogue import Price
    from whetstone.tokens.corpus import CorpusUse

_TABLES = {".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".parquet", ".pq"}
_REFUSED_SHOWN = 3


def corpus(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="CSV, TSV, JSON, JSONL or Parquet; or a text file, a text on each line."),
    ],
    tokenizer: Tokenizers = None,
    column: Annotated[
        str | None, typer.Option("--column", "-c", help="Column with the texts. Default: text, or the longest texts.")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="A text file is one text, not one on each line.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Say what would be cut at so many tokens.")] = None,
    price: Annotated[
        str | None, typer.Option(help="Say what the texts cost as input of this model: openai:gpt-4o-mini.")
    ] = None,
    add_special_tokens: Annotated[
        bool, typer.Option("--add-special-tokens", "-a", help="Count what the tokenizer puts around each text.")
    ] = False,
    encoding: Annotated[str | None, typer.Option(help="Encoding of a text file. Default: UTF-8.")] = None,
    json: Json = False,
) -> None:
    """Measure a file of texts: lengths, what a limit cuts, tokens per word and character by script, cost."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tokens_input import tokenizers_of
    from whetstone.errors import DataError
    from whetstone.tokens.corpus import measure_corpus

    paid = None if price is None else _price(price)
    tokenizers = tokenizers_of(tokenizer)
    texts, chosen, empty = _texts(source, column, whole, encoding)
    columns = (TextColumn("{task.completed:,} texts"), *Progress.get_default_columns())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(texts) if isinstance(texts, list) else None)
        uses = measure_corpus(
            tokenizers,
            texts,
            add_special_tokens=add_special_tokens,
            progress=lambda done: progress.update(task, completed=done),
        )
    if not uses[0].lengths:
        refused = f": {uses[0].refused[0].reason}" if uses[0].refused else ""
        raise DataError(f"{source} holds no text that could be measured{refused}")
    if json:
        views = [_as_values(use, limit, paid) for use in uses]
        refused_rows = [{"row": each.row, "reason": each.reason} for each in uses[0].refused]
        write_result(
            "-",
            as_json(
                {
                    "source": source,
                    "column": chosen,
                    "empty": empty,
                    "price": price,
                    "tokenizers": views,
                    "refused": refused_rows,
                }
            ),
        )
        return
    console = Console(highlight=False)
    if chosen is not None:
        from whetstone.cli.tokens_render import counted

        without = f"; {counted(empty, 'row')} without one left out" if empty else ""
        console.print(f"Texts of the column {chosen}{without}", style="dim", markup=False)
    _print(console, uses, limit, price, paid)


def _texts(source: str, column: str | None, whole: bool, encoding: str | None) -> tuple[Any, str | None, int]:
    """The texts of a file, the column that they are from, and how many rows of a table have none."""
    from whetstone.errors import UsageError

    path = Path(source).expanduser()
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    if suffix.lower() in _TABLES:
        if whole:
            raise UsageError(f"{source} is a table, whose rows are texts: leave --whole out")
        return _of_table(path, column, encoding)
    if column is not None:
        raise UsageError(f"{source} is a text file and has no columns: leave --column out")
    return _of_text_file(path, whole, encoding or "utf-8-sig"), None, 0


def _of_text_file(path: Path, whole: bool, encoding: str) -> Iterator[str]:
    from whetstone.errors import DataError

    try:
        with path.open(encoding=encoding, newline="" if whole else None) as file:
            if whole:
                yield file.read()
                return
            for line in file:
                if line.strip():
                    yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no {encoding.removesuffix('-sig')} text ({error.reason}): say its --encoding"
        ) from None
    except LookupError:
        raise DataError(f"There is no encoding named {encoding!r}: write utf-8, cp1252, …") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _of_table(path: Path, column: str | None, encoding: str | None) -> tuple[list[str], str, int]:
    import polars as pl

    from whetstone.datasets.readers import ReadOptions, read_rows
    from whetstone.datasets.rejects import Rejects
    from whetstone.errors import DataError

    def choose(first: pl.DataFrame) -> list[str]:
        if column is not None:
            if column not in first.columns:
                raise DataError(f"{path} has no column {column!r}; it has {', '.join(first.columns)}")
            return [column]
        texts = [name for name in first.columns if first[name].dtype == pl.String]
        if not texts:
            raise DataError(f"{path} has no column of texts; it has {', '.join(first.columns)}")
        if "text" in texts:
            return ["text"]
        return [max(texts, key=lambda name: int(first[name].str.len_chars().sum()))]

    rejects = Rejects(str(path))
    frame = read_rows(path, choose, rejects, ReadOptions(encoding=encoding))
    if rejects:
        first = next(iter(rejects)).sentence
        raise DataError(f"{first} ({len(rejects):,} such rows): correct the file first")
    chosen = next(name for name in frame.columns if not name.startswith("whetstone:"))
    texts = [text for text in frame[chosen].cast(pl.String).to_list() if text]
    return texts, chosen, frame.height - len(texts)


def _price(model: str) -> Price:
    from whetstone.errors import UsageError
    from whetstone.models.catalogue import price_of, user_prices_path
    from whetstone.models.spec import parse_spec
    from whetstone.types import ModelIdentity

    spec = parse_spec(model)
    found = price_of(ModelIdentity(spec=model, engine="openai", name=spec.name))
    if found is None:
        raise UsageError(
            f"no price is known for {model}: write it as openai:gpt-4o-mini, or add its price to {user_prices_path()}"
        )
    return found


def _cost(use: CorpusUse, price: Price | None) -> float | None:
    from whetstone.types import Usage

    return None if price is None else sum(price.of(Usage(prompt_tokens=length)) for length in use.lengths)


def _as_values(use: CorpusUse, limit: int | None, price: Price | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "tokenizer": use.tokenizer,
        "texts": len(use.lengths),
        "tokens": use.tokens,
        "characters": use.characters,
        "bytes": use.bytes,
        "words": use.words,
        "mean": use.tokens / len(use.lengths),
        "shortest": min(use.lengths),
        "longest": max(use.lengths),
        "percentiles": use.percentiles(),
        "limit": None if limit is None else asdict(use.cut_by(limit)),
        "cost": _cost(use, price),
        "scripts": {
            name: {**asdict(script), "per_word": script.per_word, "per_character": script.per_character}
            for name, script in sorted(use.scripts.items())
        },
    }


def _print(console: Console, uses: list[CorpusUse], limit: int | None, model: str | None, price: Price | None) -> None:
    from rich.table import Table

    from whetstone.cli.tokens_render import ratio
    from whetstone.tokens.corpus import PERCENTILES

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for use in uses:
        table.add_column(use.tokenizer, justify="right")
    lines: dict[str, list[str]] = {
        "texts": [f"{len(use.lengths):,}" for use in uses],
        "tokens": [f"{use.tokens:,}" for use in uses],
        "per word": [ratio(use.tokens / use.words if use.words else None) for use in uses],
        "per character": [ratio(use.tokens / use.characters if use.characters else None) for use in uses],
        "mean of a text": [ratio(use.tokens / len(use.lengths), 1) for use in uses],
        "shortest": [f"{min(use.lengths):,}" for use in uses],
        **{f"{percent}% have at most": [f"{use.percentiles()[percent]:,}" for use in uses] for percent in PERCENTILES},
        "longest": [f"{max(use.lengths):,}" for use in uses],
    }
    for name, cells in lines.items():
        table.add_row(name, *cells)
    console.print(table)
    for use in uses:
        if limit is not None:
            cut = use.cut_by(limit)
            console.print(
                f"{use.tokenizer}: a limit of {limit:,} tokens cuts {cut.texts:,} of {cut.of_texts:,} texts "
                f"({cut.texts / cut.of_texts:.1%}) and loses {cut.tokens:,} of {cut.of_tokens:,} tokens "
                f"({cut.tokens / max(cut.of_tokens, 1):.1%})",
                markup=False,
            )
        if (cost := _cost(use, price)) is not None:
            dollars = f"{cost:,.2f}" if cost >= 1 else format(Decimal(f"{cost:.2g}"), "f")
            console.print(f"{use.tokenizer}: ${dollars} as input of {model}", markup=False)
    scripts = sorted({name for use in uses for name in use.scripts}, key=lambda name: -uses[0].scripts[name].characters)
    console.print("\nTokens per character and, in brackets, per word, by script", style="bold")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("characters", justify="right")
    for use in uses:
        table.add_column(use.tokenizer, justify="right")
    for name in scripts:
        found = [use.scripts[name] for use in uses]
        shown = [f"{ratio(script.per_character)} ({ratio(script.per_word)})" for script in found]
        table.add_row(name, f"{found[0].characters:,}", *shown)
    console.print(table)
    refused = uses[0].refused
    if refused:
        console.print(f"\n{len(refused):,} texts have no tokens and are left out:", style="yellow")
        for each in refused[:_REFUSED_SHOWN]:
            console.print(f"  text {each.row}: {each.reason}", style="yellow", markup=False)
