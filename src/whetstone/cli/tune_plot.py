"""A run's losses as a plot of characters."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

Points = Sequence[tuple[float, float]]

_TRAINING, _VALIDATION = "·", "●"


def loss_plot(training: Points, validation: Points, *, width: int = 64, height: int = 12) -> Text:
    """Training loss as the mean of each column's steps, and validation losses as they were measured.

    Args:
        training: (step, loss) of each step.
        validation: (step, loss) of each validation.
        width, height: in characters, without the axes.
    """
    last = max(step for step, _ in [*training, *validation])
    columns = _columns(training, last, width)
    marks = [*columns, *((_column(step, last, width), loss) for step, loss in validation)]
    low, high = min(loss for _, loss in marks), max(loss for _, loss in marks)
    cells = [[" "] * width for _ in range(height)]
    for symbol, points in ((_TRAINING, columns), (_VALIDATION, marks[len(columns) :])):
        for column, loss in points:
            cells[round((high - loss) / ((high - low) or 1.0) * (height - 1))][column] = symbol
    plot = Text()
    for number, line in enumerate(cells):
        scale = f"{high - (high - low) * number / (height - 1):9.3f} " if number in (0, height // 2, height - 1) else ""
        plot.append(f"{scale:>10}", "dim").append("│", "dim")
        for cell in line:
            plot.append(cell, "bold green" if cell == _VALIDATION else "cyan")
        plot.append("\n")
    plot.append(" " * 10 + "└" + "─" * width + "\n", "dim")
    plot.append(" " * 11 + "0" + f"{last:,.0f} steps".rjust(width - 1) + "\n", "dim")
    plot.append(" " * 11 + _TRAINING, "cyan").append(" training loss   ", "dim")
    return plot.append(_VALIDATION, "bold green").append(" validation loss", "dim")


def _columns(points: Points, last: float, width: int) -> list[tuple[int, float]]:
    """The mean of the points in each column that has any."""
    sums: dict[int, tuple[float, int]] = {}
    for step, loss in points:
        column = _column(step, last, width)
        total, count = sums.get(column, (0.0, 0))
        sums[column] = total + loss, count + 1
    return [(column, total / count) for column, (total, count) in sorted(sums.items())]


def _column(step: float, last: float, width: int) -> int:
    return min(width - 1, int(step / (last or 1) * width))
