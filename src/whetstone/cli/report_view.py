"""A report in the terminal: the table of all runs with intervals, the pairs, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import MIXED, Report
from whetstone.evaluation.shots import ShotCurve, shot_columns, shot_curves
from whetstone.evaluation.tables import (
    best_first,
    columns,
    dollars,
    fit_time,
    interval_cell,
    seconds_in_words,
    sureness_columns,
    telling_pairs,
    tokens,
    way_columns,
)

_WIDEST_LABEL = 30
_GAP = 3  # cells between two columns
_Column = tuple[str, list[str]]


def print_report(report: Report, console: Console) -> None:
    """Print a report. Columns that the terminal has no room for go into further tables below."""
    problem = report.problem
    console.print()
    for note in report.mixed:
        console.print(Text(f"{MIXED}{note}", style="bold yellow"))
    title = f"{problem.name}: {len(problem.test):,} items, decided by {METRICS[problem.metric].title}"
    console.print(Text(title, style="bold"))
    console.print(Text(f"fingerprint {problem.fingerprint[:12]}, intervals 95 %", style="dim"))
    _print_tables(report, console)
    _print_pairs(report, console)
    _print_verdict(report, console)
    if report.verdict.ways:
        _print_ways(report, console)
    for curve in shot_curves(report):
        _print_curve(report, curve, console)


def _print_tables(report: Report, console: Console) -> None:
    """All runs, the best first; the deciding metric and the parse rate begin the first table."""
    order = best_first(report)
    unit = report.problem.unit
    wanted: list[_Column] = [
        (metric.title, [interval_cell(metric, result.scores.metrics[metric.name], unit) for result in order])
        for metric in columns(report.problem)
    ]
    wanted += sureness_columns(order, unit)
    wanted += [
        ("time per item", [seconds_in_words(result.seconds_per_item) for result in order]),
        ("time to fit", [fit_time(result) for result in order]),
        ("tokens in + out", [tokens(result) for result in order]),
        ("cost", [dollars(result.cost) for result in order]),
    ]
    label_width = min(_WIDEST_LABEL, console.width // 3, max(cell_len(result.label) for result in order))
    for part in _parts(wanted, console.width - label_width - _GAP):
        table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        table.add_column("", width=label_width, overflow="fold")
        for name, _ in part:
            table.add_column(Text(name), justify="right", no_wrap=True)
        for row, result in enumerate(order):
            chosen = result.label == report.verdict.winner
            cells = [Text(cells[row], no_wrap=True) for _, cells in part]
            table.add_row(Text(result.label), *cells, style="bold green" if chosen else "")
        console.print()
        console.print(table)
    for result in order:
        for note in result.notes:
            console.print(Text(f"{result.label}: {note}", style="dim"))


def _parts(wanted: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """The columns, as many at a time as fit into `width`, at least one."""
    part: list[_Column] = []
    used = 0
    for column in wanted:
        needed = max(map(cell_len, (column[0], *column[1]))) + _GAP
        if part and used + needed > width:
            yield part
            part, used = [], 0
        part.append(column)
        used += needed
    if part:
        yield part


def _print_pairs(report: Report, console: Console) -> None:
    first, others = telling_pairs(report)
    if others:  # then too many for a terminal even of those that concern the verdict
        others = [*others, *(pair for pair in first if report.verdict.best not in (pair.a, pair.b))]
        first = [pair for pair in first if pair not in others]
    if first:
        console.print()
    for pair in first:
        mark, style = ("≠", "bold") if pair.distinguishable else ("≈", "")
        console.print(_bullet(mark, pair.sentence, style))
    if others:
        console.print(Text(f"{len(others)} other pairs are in the JSON and HTML forms of this report.", style="dim"))


def _print_verdict(report: Report, console: Console) -> None:
    console.print()
    console.print(Text.assemble(("Verdict  ", "bold green"), (report.verdict.sentence, "bold")))
    told = {pair.sentence for pair in report.pairs}
    for reason in report.verdict.reasons:
        if reason not in told:
            console.print(_bullet("·", reason, "dim"))
    for note in report.notes:
        if not note.startswith(MIXED):
            console.print(_bullet("·", note, "dim"))


def _print_ways(report: Report, console: Console) -> None:
    """Prompting, retrieval and fine-tuning side by side; what each needs when facts change stands below the table."""
    *shown, (_, keeps_up) = way_columns(report)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for number, (title, _) in enumerate(shown):
        table.add_column(Text(title), justify="left" if number < 2 else "right", overflow="fold")
    for row in range(len(keeps_up)):
        table.add_row(*(Text(cells[row]) for _, cells in shown))
    console.print()
    console.print(table)
    for way, needed in zip(shown[0][1], keeps_up, strict=True):
        console.print(_bullet("·", f"When facts change, {way}: {needed}", "dim"))


def _print_curve(report: Report, curve: ShotCurve, console: Console) -> None:
    """The score against the number of examples, with what these take."""
    titled = shot_columns(report, curve)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for title, _ in titled:
        table.add_column(Text(title), justify="right", overflow="fold")
    for row in range(len(curve.points)):
        chosen = curve.points[row].shots == curve.advised
        table.add_row(*(Text(cells[row]) for _, cells in titled), style="bold green" if chosen else "")
    console.print()
    console.print(table)
    console.print(Text.assemble((f"Examples ({curve.name})  ", "bold green"), (curve.sentence, "bold")))


def _bullet(mark: str, sentence: str, style: str) -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(Text(mark, style=style), Text(sentence, style=style))
    return row
