"""`whet data`: product data curated into data sets, and two sets compared for leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="Curate product data for price prediction, and find leaks.", no_args_is_help=True)

_RULES, _SPLIT, _OUTPUT = "Rules", "Split", "Output"


@app.command("curate")
def curate(
    source: Annotated[
        str,
        typer.Argument(
            help="A file (JSONL, CSV, Parquet, .gz too), a folder of them, or a hub id such as "
            "McAuley-Lab/Amazon-Reviews-2023."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the data set.")],
    category: Annotated[
        list[str] | None, typer.Option(help="Category of the Amazon reviews on the hub; repeat for several.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--map", help="Columns of a source in another layout: title=name,price=cost,text=description."),
    ] = None,
    min_price: Annotated[float, typer.Option(help="Smallest price, dollars.", rich_help_panel=_RULES)] = 0.5,
    max_price: Annotated[float, typer.Option(help="Largest price, dollars.", rich_help_panel=_RULES)] = 999.49,
    min_characters: Annotated[int, typer.Option(help="Shorter texts are rejected.", rich_help_panel=_RULES)] = 50,
    max_tokens: Annotated[int, typer.Option(help="Longer texts are cut.", rich_help_panel=_RULES)] = 180,
    tokenizer: Annotated[
        str, typer.Option(help="Whose tokens: as in `whet tokens`, the model to be trained.", rich_help_panel=_RULES)
    ] = "smollm2",
    own_price: Annotated[
        Literal["mask", "drop"],
        typer.Option(
            help="Where a text states its own price: mask the amount, or drop the row.", rich_help_panel=_RULES
        ),
    ] = "mask",
    test_size: Annotated[
        float | None, typer.Option(help="Test rows: a count, or a fraction below 1.", rich_help_panel=_SPLIT)
    ] = None,
    validation_size: Annotated[
        float | None, typer.Option(help="Validation rows, likewise.", rich_help_panel=_SPLIT)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.", rich_help_panel=_SPLIT)] = 42,
    look_alikes: Annotated[
        int,
        typer.Option(
            help="Compare so many training rows with the test rows by embedding too; 0 for none.",
            rich_help_panel=_SPLIT,
        ),
    ] = 0,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Threads of this machine, or Ray (extra scale).")
    ] = "local",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another data set in the folder.", rich_help_panel=_OUTPUT)
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(help="Upload it to the hub as ORG/NAME (private, if that is new).", rich_help_panel=_OUTPUT),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", help="Write the report as JSON to this file, or - .", rich_help_panel=_OUTPUT),
    ] = None,
) -> None:
    """Curate product data: every row is kept, or rejected with its one reason.

    Stopped at any moment, the same command goes on where it was.
    """
    from rich.console import Console

    from whetstone.cli.data_view import CurationProgress, print_curation
    from whetstone.cli.output import as_json, write_result
    from whetstone.curation.job import curate as run
    from whetstone.curation.options import Options
    from whetstone.curation.push import check_name
    from whetstone.curation.push import push as upload

    if push is not None:
        check_name(push)
    console = Console(stderr=json == "-")
    options = Options(
        min_price=min_price,
        max_price=max_price,
        min_characters=min_characters,
        max_tokens=max_tokens,
        tokenizer=tokenizer,
        own_price=own_price,
        test=_size(test_size),
        validation=_size(validation_size),
        seed=seed,
        mapping=_mapping(columns),
        look_alikes=look_alikes,
    )
    with CurationProgress(Console(stderr=True)) as progress:
        report = run(
            source,
            output,
            options,
            categories=category or [],
            engine=engine,
            overwrite=overwrite,
            progress=progress,
        )
    print_curation(report, output, console)
    if json is not None:
        write_result(json, as_json(report.to_json()))
    if push is not None:
        console.print(f"Uploaded: {upload(output, push)}", markup=False, highlight=False)


@app.command("leaks")
def leaks(
    train: Annotated[str, typer.Argument(help="Training rows: a file, or a curated folder for both.")],
    test: Annotated[str | None, typer.Argument(help="Test rows; left out for a curated folder.")] = None,
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    price: Annotated[str, typer.Option(help="Column with the price.")] = "price",
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Compare by embedding too; takes minutes for thousands of rows.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find test rows that a training row gives away, and texts that state their own price; exit 1 if there are any."""
    from rich.console import Console

    from whetstone.cli.data_view import print_leaks
    from whetstone.cli.output import as_json, write_result
    from whetstone.curation.check import check_leaks

    found = check_leaks(train, test, text=text, price=price, embeddings=embeddings)
    if json:
        write_result("-", as_json(found.to_json()))
    else:
        print_leaks(found, Console())
    if found.any:
        raise typer.Exit(1)


def _size(value: float | None) -> int | float | None:
    """A count when it is whole, a fraction when it is below 1."""
    return int(value) if value is not None and value >= 1 and value == int(value) else value


def _mapping(columns: str | None) -> dict[str, str]:
    from whetstone.errors import UsageError

    mapping = {}
    for pair in columns.split(",") if columns else ():
        name, equals, column = pair.partition("=")
        if not equals or not name.strip() or not column.strip():
            raise UsageError(f"--map takes pairs such as title=name,price=cost; {pair!r} is none")
        mapping[name.strip()] = column.strip()
    return mapping
