"""`whet tune curve`: what tuning gives with an eighth of the rows, with more, and what twice as many would bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.cli.interrupts import interrupts
from whetstone.cli.tune_options import Base, Config, Setting, Target, TestData, Text, configuration

if TYPE_CHECKING:
    from fractions import Fraction

    from rich.console import Console

    from whetstone.cli.tune_live import LiveTraining
    from whetstone.workflows.learning_curve import LearningCurve
    from whetstone.workflows.tune import Prepared


def curve(
    data: Annotated[
        str,
        typer.Argument(help="Problem to tune on and to test with, as for whet tune; the configuration's if left out."),
    ] = "",
    config: Config = None,
    setting: Setting = None,
    base: Base = None,
    run: Annotated[
        str | None, typer.Option(help="The name of the run on all rows. Default: made of the data's.")
    ] = None,
    text: Text = None,
    target: Target = None,
    test_data: TestData = None,
    shares: Annotated[str, typer.Option(help="Shares of the training rows, each a run of its own.")] = "1/8,1/4,1/2,1",
    how: Annotated[
        str,
        typer.Option(
            help="How the tuned models are asked: mean, median, nearest:3, calibrated:median. Default: as suits."
        ),
    ] = "",
    json: Annotated[
        str | None, typer.Option("--json", help="Write the curve and its report as JSON to this file, or - .")
    ] = None,
    html: Annotated[str | None, typer.Option(help="Write the report on all sizes as one HTML file.")] = None,
) -> None:
    """Tune on parts of the rows, test every part on the same items, and say what more rows would bring.

    Every part is a tuning run of its own (RUN-1of8, ...). Stopped at any moment, the same command goes on where it was.
    """
    from rich.console import Console

    from whetstone.cli.data_view import CurationProgress
    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tester import TesterView, print_report
    from whetstone.cli.tune_live import LiveTraining
    from whetstone.workflows.learning_curve import learning_curve
    from whetstone.workflows.tune import prepare

    console = Console(stderr=json == "-")
    asked = configuration(config, setting, data=data, base=base, run=run, text=text, target=target, test_data=test_data)

    parts = _shares(shares)

    @contextmanager
    def watching(part: Prepared) -> Iterator[LiveTraining]:
        console.print(f"{part.config.run}: {len(part.data.train):,} rows", markup=False, highlight=False)
        with LiveTraining(console, part.plan) as live:
            yield live

    found: LearningCurve | None = None
    try:
        with interrupts():
            with CurationProgress(Console(stderr=True)) as progress:
                whole = prepare(asked, progress=progress)
            found = learning_curve(
                whole,
                shares=parts,
                how=how,
                watching=watching,
                answering=lambda problem: TesterView(problem, console, verbose=False),
            )
    except KeyboardInterrupt:
        found = None
    if found is None:
        console.print("\nStopped. What was trained and answered is kept: the same command goes on from here.")
        raise typer.Exit(1)
    print_report(found.report, console)
    _print_curve(found, console)
    if json is not None:
        write_result(json, as_json(found.to_json()))
    if html is not None:
        from whetstone.evaluation.html import render_html

        write_result(html, render_html(found.report))


def _shares(written: str) -> list[Fraction]:
    from fractions import Fraction

    from whetstone.errors import UsageError

    try:
        return [Fraction(share.strip()) for share in written.split(",")]
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--shares {written}: write fractions with commas between, such as 1/8,1/4,1/2,1") from None


def _print_curve(curve: LearningCurve, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from whetstone.evaluation.metrics import METRICS
    from whetstone.evaluation.tables import interval_cell
    from whetstone.evaluation.wording import metric_value

    metric, unit = METRICS[curve.report.problem.metric], curve.report.problem.unit
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title in ("rows", metric.title, "on the curve", "run"):
        table.add_column(title, justify="left" if title == "run" else "right")
    for point in curve.points:
        on_curve = "" if point.on_curve is None else metric_value(metric, point.on_curve, unit)
        table.add_row(
            f"{point.rows:,}", Text(interval_cell(metric, point.value, unit)), Text(on_curve), Text(point.run)
        )
    console.print()
    console.print(table)
    console.print(Text.assemble(("Learning curve  ", "bold green"), (curve.sentence, "bold")))
