"""A price on a terminal: estimate, interval, the distribution as bars, known items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whetstone.workflows.price import PricedItem

_BAR = 40  # characters of the longest bar
_EXCERPT = 70


def dollars(value: float) -> str:
    """An amount: "$1,299", "$12.50"."""
    return f"${value:,.0f}" if value == int(value) else f"${value:,.2f}"


def show(found: PricedItem, model: str) -> None:
    """Print what an item costs."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.visible import visible
    from whetstone.numeric.bins import bins

    console = Console(highlight=False)
    low, high = found.interval
    console.print(
        f"[bold]{dollars(found.estimate)}[/]   {dollars(low)} to {dollars(high)} "
        f"with a probability of {found.level:.0%}"
    )
    console.print(f"{found.kind} of the distribution, {visible(model)}", style="dim", markup=False)
    bars = bins(found.distribution)
    highest = max(one.probability for one in bars)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(justify="right")
    for one in bars:
        holds = one.low <= found.estimate < one.high
        filled = "█" * round(_BAR * one.probability / highest) or ("▏" if one.probability > 0 else "")
        style = "bold green" if holds else ""
        last = max((value for value in found.distribution.values if one.low <= value < one.high), default=one.low)
        span = dollars(one.low) if last == one.low else f"{dollars(one.low)} to {dollars(float(last))}"
        table.add_row(Text(span, style), Text(filled, "green" if holds else "blue"), f"{one.probability:.1%}")
    console.print()
    console.print(table)
    console.print(f"\n{found.distribution.outside:.1%} of the probability is for something else than these prices.")
    if found.cut:
        console.print(f"The last {found.cut:,} characters of the text were left out: it is too long.", style="yellow")
    console.print(f"{found.note}.", style="dim", markup=False)
    if found.nearest:
        near = Table("known items like it", "price", "likeness", box=None, header_style="bold", pad_edge=False)
        near.columns[1].justify = "right"
        for known in found.nearest:
            words = " ".join(visible(known.text).split())
            shown = words if len(words) <= _EXCERPT else f"{words[:_EXCERPT]}…"
            near.add_row(Text(shown), dollars(known.price), f"{known.cosine:.2f}")
        console.print()
        console.print(near)


def row_of(line: dict[str, Any]) -> str:
    """A line of a file of prices, for people: row, price, interval."""
    name = f"row {line['row']}" + (f" ({line['id']})" if line["id"] else "")
    if "error" in line:
        return f"{name}: not priced: {line['error']}"
    low, high = line["interval"]
    return f"{name}: {dollars(line['estimate'])}, {dollars(low)} to {dollars(high)}; {line['inside']:.0%} on the grid"
