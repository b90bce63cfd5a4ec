"""What all figures are made of."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

from whetstone.evaluation.metrics import Metric
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem


@dataclass(frozen=True)
class Figure:
    """A figure and what stands around it.

    Attributes:
        title: its heading.
        caption: how to read it, below.
        alternative: what it shows, in words, for readers who do not see it.
        data, layout: plotly's.
        logarithmic: whether the page may offer logarithmic axes: every coordinate is above 0.
    """

    title: str
    caption: str
    alternative: str
    data: list[dict[str, Any]] = field(repr=False)
    layout: dict[str, Any] = field(repr=False)
    logarithmic: bool = False


def safe(text: str) -> str:
    """Text that plotly shows as it is, and reads neither as HTML nor, between two dollars, as a formula."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def short(value: float) -> float:
    """Six significant digits: more cannot be seen, and make the file larger."""
    return float(f"{value:.6g}")


def counted(number: int, thing: str) -> str:
    """ "1 guess", "2 guesses"."""
    plural = f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def axis(title: str, **more: Any) -> dict[str, Any]:
    """A plain axis."""
    return {"title": {"text": safe(title), "standoff": 10}, **more}


def unit_axis(title: str, problem: Problem, **more: Any) -> dict[str, Any]:
    """An axis in the problem's unit, which stands before every tick where it is a currency sign."""
    if is_prefix(problem.unit):
        return axis(title, tickprefix=safe(problem.unit), **more)
    return axis(f"{title} ({problem.unit})" if problem.unit else title, **more)


def metric_axis(metric: Metric, problem: Problem, **more: Any) -> dict[str, Any]:
    """An axis of values of this metric, which are multiplied by `metric_factor`."""
    if metric.scale == "unit":
        return unit_axis(metric.title, problem, **more)
    return axis(metric.title, ticksuffix=" %" if metric.scale == "share" else "", **more)


def metric_factor(metric: Metric) -> float:
    """Shares are drawn in percent."""
    return 100.0 if metric.scale == "share" else 1.0


def is_prefix(unit: str) -> bool:
    """Whether a unit is written before numbers."""
    return bool(unit) and with_unit(1, unit).startswith(unit)


def compact(value: float, unit: str) -> str:
    """A number with its unit and about three digits: "$1,240", "4.5 kg"."""
    digits = f"{abs(value):,.0f}" if abs(value) >= 100 else f"{abs(value):.3g}"
    sign = "-" if value < 0 else ""
    return f"{sign}{unit}{digits}" if is_prefix(unit) else f"{sign}{digits} {unit}".rstrip()


def label(name: str, *, bold: bool) -> str:
    """A run's name at an axis or a point."""
    shown = safe(name if len(name) <= 34 else name[:33] + "…")
    return f"<b>{shown}</b>" if bold else shown
