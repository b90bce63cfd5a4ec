"""A curation in the terminal: progress while it runs, the report when it is done."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from whetstone.curation.check import LeakCheck
    from whetstone.curation.report import CurationReport
    from whetstone.curation.tally import Histogram

_BARS = " ▁▂▃▄▅▆▇█"
_REASONS = 4
_CATEGORIES = 8
_SHOWN = 5


class CurationProgress:
    """A line for the step that is running."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("reading", total=None)

    def __call__(self, step: str, done: int, of: int) -> None:
        self._progress.update(self._task, description=step, completed=done, total=of or None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def print_curation(report: CurationReport, folder: Path, console: Console) -> None:
    """The report on one screen."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False)

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("rule")
    table.add_column("rejected", justify="right")
    table.add_column("changed", justify="right")
    table.add_column("most frequent reasons", overflow="fold")
    for rule in report.rules:
        reasons = "; ".join(f"{rows:,} × {reason}" for reason, rows in list(rule.reasons.items())[:_REASONS])
        table.add_row(rule.name, f"{rule.rejected:,}", f"{rule.changed:,}", _plain(reasons))
    console.print(table)
    say(f"\n{report.rows:,} rows = {report.kept:,} kept + {report.rejected:,} rejected", "bold")
    splits = ", ".join(f"{rows:,} {split}" for split, rows in report.splits.items())
    say(f"{splits}; {report.groups:,} product groups, none of them in two splits")
    leaks = report.leaks
    say(
        f"{leaks.alike_pairs:,} pairs of kept rows are alike; {leaks.straddling:,} straddle the splits; "
        f"{leaks.stated_prices:,} held-out texts state their price"
    )
    if leaks.compared:
        say(f"by embedding, {len(leaks.look_alikes):,} test texts look like one of {leaks.compared:,} training texts")
    say(f"prices before {_bars(report.histograms.prices_before)}  after {_bars(report.histograms.prices_after)}")
    categories = Table(box=None, header_style="bold", pad_edge=False)
    categories.add_column("category")
    for name in ("rows", "kept", "median price", "weight"):
        categories.add_column(name, justify="right")
    for each in report.categories[:_CATEGORIES]:
        median = "–" if each.median_price is None else f"${each.median_price:,.2f}"
        weight = "–" if each.mean_weight is None else f"{each.mean_weight:.2f}"
        categories.add_row(_plain(each.name or "(none)"), f"{each.rows:,}", f"{each.kept:,}", median, weight)
    console.print(categories)
    for note in report.notes:
        say(note, "dim")
    say(f"\nThe data set: {folder} (report.html shows all of it, rejects.parquet has every rejected row)")


def print_leaks(found: LeakCheck, console: Console) -> None:
    """What leaks, the worst first."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    say(f"{found.train_rows:,} training rows, {found.test_rows:,} test rows")
    for kind, leaks in (("text", found.by_text), ("embedding", found.by_embedding)):
        if leaks is None:
            continue
        say(f"alike by {kind}: {len(leaks):,} test rows")
        for leak in leaks[:_SHOWN]:
            say(f"  test row {leak.test + 1} and training row {leak.train + 1}: {leak.similarity:.2f}")
    for name, rows in (("training", found.stated_in_train), ("test", found.stated_in_test)):
        shown = ", ".join(str(row + 1) for row in rows[:_SHOWN])
        say(f"state their own price: {len(rows):,} {name} rows" + (f" (rows {shown}…)" if rows else ""))


def _bars(counts: Histogram) -> str:
    """A histogram in one line, without its empty ends."""
    filled = [place for place, count in enumerate(counts) if count]
    if not filled:
        return "(none)"
    shown = counts[filled[0] : filled[-1] + 1]
    most = max(shown)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in shown)


def _plain(text: str) -> str:
    """Text of a data file, in which rich reads no markup."""
    from rich.markup import escape

    from whetstone.cli.visible import visible

    return escape(visible(text))
