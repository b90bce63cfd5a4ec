"""`whet tune curve`: what tuning gives with an eighth of the rows, with more, and what twice as many would bring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.interrupts import interrupts

if TYPE_CHECKING:
    from fractions import Fraction

    from rich.console import Console

    from whetstone.workflows.learning_curve import LearningCurve


def curve(
    data: Annotated[
        str,
        typer.Argument(help="Problem to tune on and to test with, as for whet tune; the configuration's if left out."),
    ] = "",
    config: Annotated[Path | None, typer.Option(help="Configuration of the run (YAML).")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the configuration; repeat for several."),
    ] = None,
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

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tester import print_report
    from whetstone.tuning.config import read_config
    from whetstone.workflows.learning_curve import learning_curve

    console = Console(stderr=json == "-")
    settings = _settings(setting or [])
    asked = read_config(config, {**settings, **({"data": data} if data else {})})
    with _View(console) as view:
        try:
            with interrupts():
                found = learning_curve(
                    asked,
                    shares=_shares(shares),
                    how=how,
                    watcher=view,
                    answers=view,
                    progress=view.preparing,
                    beginning=view.beginning,
                )
        except KeyboardInterrupt:
            console.print("\nStopped. What was trained and answered is kept: the same command goes on from here.")
            raise typer.Exit(1) from None
    print_report(found.report, console)
    _print_curve(found, console)
    if json is not None:
        write_result(json, as_json(found.to_json()))
    if html is not None:
        from whetstone.evaluation.html import render_html

        write_result(html, render_html(found.report))


def _settings(written: list[str]) -> dict[str, str]:
    from whetstone.errors import UsageError

    settings = {}
    for each in written:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {each}: write KEY=VALUE, such as --set r=32")
        settings[key.strip()] = value
    return settings


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


class _View:
    """One line that tells what is going on; validations stay."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Any = None
        self._run = ""
        self._done = self._total = 0

    def __enter__(self) -> _View:
        from rich.status import Status

        self._status = Status("", console=self._console)
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def _tell(self, text: str) -> None:
        from rich.text import Text

        self._status.update(Text(text))

    def beginning(self, run: str, rows: int) -> None:
        """A run begins."""
        self._run = run
        self._console.print(f"{run}: {rows:,} rows", markup=False, highlight=False)

    def told(self, event: Mapping[str, Any]) -> None:
        """A line of a run's journal."""
        if event.get("kind") == "step":
            self._tell(f"{self._run}: step {event['step']:,}, loss {event.get('loss', float('nan')):.4f}")
        elif event.get("kind") == "validation":
            named = event.get("metric_name") or "loss"
            value = event.get("metric") if event.get("metric") is not None else event.get("loss")
            self._console.print(
                f"{self._run}: step {event['step']:,}, validation {named} {value:.4g}", markup=False, highlight=False
            )

    def stopped(self) -> bool:
        """Ctrl-C stops."""
        return False

    def preparing(self, what: str, done: int, total: int) -> None:
        """Something is being read."""
        self._tell(f"{what}: {done:,}/{total:,}" if total else f"{what}: {done:,}")

    def start(self, label: str, total: int, already: int) -> None:
        """A technique begins to answer."""
        self._run, self._done, self._total = label, already, total

    def item(self, case: Any, prediction: Any) -> None:
        """An answer."""
        self._done += 1
        self._tell(f"{self._run}: {self._done:,}/{self._total:,} items")

    def finish(self) -> None:
        """A technique is through."""
