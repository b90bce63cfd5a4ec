"""`whet price`: what an item costs, or all items of a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whetstone.errors import UsageError

if TYPE_CHECKING:
    from whetstone.workflows.known_items import KnownItems
    from whetstone.workflows.price import EstimateName, Pricer

_MANY = "Many items"
_READING = "How the price is read"


def price(
    text: Annotated[
        str | None, typer.Argument(help="The item's text; `-`, or nothing behind a pipe, reads it.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model spec, see `whet models`. A model that runs here shows most.")
    ] = "smollm2",
    known: Annotated[
        str | None,
        typer.Option(help="File of items with prices (CSV, JSONL, Parquet): the nearest ones are shown beside."),
    ] = None,
    grid: Annotated[
        str, typer.Option(help="Candidates: 0..999, 0.00..99.99, 0..100:5, log:1..10000:60.", rich_help_panel=_READING)
    ] = "0..999",
    level: Annotated[
        float, typer.Option(help="Probability that the interval is to hold.", rich_help_panel=_READING)
    ] = 0.8,
    estimate: Annotated[
        Literal["auto", "mode", "median", "mean", "log_mean"],
        typer.Option(help="Which number of the distribution; auto is the median.", rich_help_panel=_READING),
    ] = "auto",
    form: Annotated[
        Literal["plain", "chat"] | None,
        typer.Option(
            help="Ask a model that runs here with plain text, or through its chat template. Default: plain, or as a "
            "tuned model was tuned. Endpoints are always asked in a chat.",
            rich_help_panel=_READING,
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="File of validation items with prices (at least 20) from which a correction is learnt, so that "
            "intervals hold what they say. Kept for the next time.",
            rich_help_panel=_READING,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most tokens of a prompt; what is longer loses the end of the item.", rich_help_panel=_READING
        ),
    ] = None,
    file: Annotated[str | None, typer.Option("--file", help="File of items to price.", rich_help_panel=_MANY)] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="Column of FILE to price; repeat to join several. Default: text, or title and description.",
            rich_help_panel=_MANY,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write a line of JSON per item to this file; what it holds already is not asked again.",
            rich_help_panel=_MANY,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; with --file, a line per item.")] = False,
) -> None:
    """Say what an item costs: one number, an interval, and how likely every price is.

    With --file, items are priced in their order; a row that cannot be priced keeps its line, with the reason, and the
    exit code is 1.
    """
    from whetstone.models import load_model
    from whetstone.numeric.grid import parse_grid
    from whetstone.prompting.price import PricePrompt
    from whetstone.workflows.price import Pricer

    if output is not None and file is None:
        raise UsageError("--output goes with --file; for one item, use --json > FILE")
    candidates = parse_grid(grid)
    item = None if file is not None else _item(text)
    if file is not None and text is not None:
        raise UsageError("give either a text or --file")
    loaded = load_model(model)
    try:
        prompt = None if form is None else PricePrompt(form=form)
        pricer = Pricer(loaded, grid=candidates, prompt=prompt, known=_known(known), limit=max_tokens)
        if calibrate is not None:
            _calibrate(pricer, calibrate)
        if item is not None:
            _one(pricer, item, level, estimate, json)
        else:
            _many(pricer, str(file), column or [], output, level, estimate, json)
    finally:
        loaded.close()


def _item(text: str | None) -> str:
    if text is None and sys.stdin.isatty():
        raise UsageError('what is to be priced? Write whet price "TEXT", or --file FILE')
    if text is None or text == "-":
        from whetstone.cli.tokens_input import text_of

        text = text_of("-", None)
    if not text.strip():
        raise UsageError("the text is empty")
    return text.strip("\n")


def _known(source: str | None) -> KnownItems | None:
    if source is None:
        return None
    from whetstone.cli.price_progress import counting
    from whetstone.workflows.known_items import KnownItems

    with counting("reading known items") as told:
        known, bad = KnownItems.read(source, progress=told)
    _mention(source, len(known), [row.reason for row in bad])
    return known


def _mention(source: str, good: int, reasons: list[str]) -> None:
    if reasons:
        typer.echo(f"{source}: {good:,} items; {len(reasons):,} rows left out, the first: {reasons[0]}", err=True)


def _calibrate(pricer: Pricer, source: str) -> None:
    from whetstone.cli.price_progress import counting
    from whetstone.workflows.known_items import priced_items
    from whetstone.workflows.price_calibration import learn_calibration

    good, bad = priced_items(source)
    _mention(source, len(good), [row.reason for row in bad])
    with counting("learning the correction") as told:
        pricer.calibration = learn_calibration(pricer, good, told)


def _one(pricer: Pricer, text: str, level: float, estimate: EstimateName, json: bool) -> None:
    from whetstone.errors import DataError
    from whetstone.workflows.price import Unpriced

    found = next(pricer.price([text], level=level, estimate=estimate))
    if isinstance(found, Unpriced):
        raise DataError(found.reason)
    if json:
        from whetstone.cli.output import as_json

        sys.stdout.write(as_json({"text": text, "model": pricer.model.identity.spec, **found.to_json()}))
        return
    from whetstone.cli.price_view import show

    show(found, pricer.model.identity.spec)


def _many(
    pricer: Pricer,
    source: str,
    columns: list[str],
    output: Path | None,
    level: float,
    estimate: EstimateName,
    json: bool,
) -> None:
    import json as library

    from whetstone.cli.price_progress import counting
    from whetstone.cli.price_view import row_of
    from whetstone.workflows.known_items import read_items
    from whetstone.workflows.price_file import price_rows, price_to_file

    rows = read_items(source, text=columns)
    if not rows:
        raise UsageError(f"{source} holds no items")
    lines = (
        price_rows(pricer, rows, level=level, estimate=estimate)
        if output is None
        else price_to_file(pricer, rows, output, level=level, estimate=estimate)
    )
    failed = 0
    with counting("pricing") as told:
        for done, line in enumerate(lines, start=1):
            failed += "error" in line
            if json:
                sys.stdout.write(library.dumps(line, ensure_ascii=True) + "\n")
            elif output is None:
                sys.stdout.write(row_of(line) + "\n")
            sys.stdout.flush()
            told(done, len(rows))
    if output is not None and not json:
        typer.echo(f"{len(rows) - failed:,} of {len(rows):,} items priced: {output}")
    if failed:
        typer.echo(f"{failed:,} of {len(rows):,} rows could not be priced; their lines say why", err=True)
        raise typer.Exit(1)
