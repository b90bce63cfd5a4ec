"""`whet report`: a report on stored runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.evaluation.report import Report


def report(
    run: Annotated[list[str], typer.Argument(help="Runs, by id or its beginning (see `whet runs`).")],
    json: Annotated[str | None, typer.Option("--json", help="Write the report as JSON to this file, or - .")] = None,
    html: Annotated[str | None, typer.Option(help="Write the report as one HTML file.")] = None,
    csv: Annotated[str | None, typer.Option(help="Write every answer as CSV to this file, or - .")] = None,
    mix: Annotated[
        bool,
        typer.Option(
            "--mix",
            help="Compare runs on different frozen items all the same, on the items they share. The report says so.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 42,
) -> None:
    """Report on stored runs: table, pairs, verdict."""
    from rich.console import Console

    from whetstone.cli.tester import print_report
    from whetstone.workflows.stored import report_on_runs

    console = Console(stderr="-" in (json, csv))
    result = report_on_runs(run, mix=mix, seed=seed)
    print_report(result, console)
    write_reports(result, console, json=json, html=html, csv=csv)


def write_reports(report: Report, console: Console, *, json: str | None, html: str | None, csv: str | None) -> None:
    """Write a report in the forms that were asked for, and say where it is."""
    from whetstone.cli.output import as_json, write_result

    def rendered() -> str:
        from whetstone.evaluation.html import render_html

        return render_html(report)

    def plain() -> str:
        return as_json(report.to_json())

    for path, content in ((json, plain), (csv, report.to_csv), (html, rendered)):
        if path is not None:
            write_result(path, content())
            if path != "-":
                console.print(f"Written: {path}", markup=False, highlight=False)
