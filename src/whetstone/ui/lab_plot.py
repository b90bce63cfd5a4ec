"""Curves with their bands as small SVG figures, for pages that are redrawn while something runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

_WIDTH, _HEIGHT = 100.0, 40.0


@dataclass(frozen=True)
class Curve:
    """A line, with a band around it where its ends are known.

    Attributes:
        x, y: its points.
        low, high: the ends of the band at each x; [] for none.
        name: in the legend; "" for none.
        kind: its colour: "a", "b", "c" ...
        dots: draw the points too.
    """

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    name: str = ""
    kind: str = "a"
    dots: bool = field(default=False)


def plot_html(
    curves: Sequence[Curve],
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    label: str,
    unit: str = "",
    x_title: str = "",
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """A figure of curves over the same axes.

    Args:
        x, y: ends of the axes; what lies beyond is cut off.
        label: the figure in words, read out in its place.
        unit: of y.
        x_title: what the horizontal axis is.
        marks: vertical lines: (x, what they say).
    """
    parts = "".join(_curve_html(curve, x, y) for curve in curves)
    lines = "".join(
        f'<line x1="{_across(at, x):.2f}" x2="{_across(at, x):.2f}" y1="0" y2="{_HEIGHT:g}" '
        f'vector-effect="non-scaling-stroke"><title>{escape(words)}</title></line>'
        for at, words in marks
    )
    named = "".join(
        f'<span class="wh-lab-key {curve.kind}">{escape(curve.name)}</span>' for curve in curves if curve.name
    )
    ends = f"<span>{number(x[0])}</span><span>{escape(x_title)}</span><span>{number(x[1])}</span>"
    below = f'<div class="wh-lab-x" aria-hidden="true">{ends}</div>' if x_title else ""
    legend = f'<figcaption class="wh-lab-legend">{named}</figcaption>' if named else ""
    return (
        f'<figure class="wh-lab-plot"><div class="wh-lab-axes"><div class="wh-lab-y" aria-hidden="true">'
        f"<span>{_with(y[1], unit)}</span><span>{_with(y[0], unit)}</span></div>"
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f"{parts}{lines}</svg></div>{below}{legend}</figure>"
    )


def _curve_html(curve: Curve, x: tuple[float, float], y: tuple[float, float]) -> str:
    band = ""
    if curve.low:
        upper = _points(curve.x, curve.high, x, y)
        lower = reversed(_points(curve.x, curve.low, x, y))
        band = f'<polygon class="{curve.kind}" points="{" ".join([*upper, *lower])}"></polygon>'
    line = (
        f'<polyline class="{curve.kind}" points="{" ".join(_points(curve.x, curve.y, x, y))}" '
        'vector-effect="non-scaling-stroke"></polyline>'
    )
    # A line of no length with round ends: a circle would be stretched with the figure.
    dots = "".join(
        f'<path class="{curve.kind}" d="M{point.replace(",", " ")}h0" vector-effect="non-scaling-stroke"></path>'
        for point in (_points(curve.x, curve.y, x, y) if curve.dots else ())
    )
    return band + line + dots


def _points(xs: Sequence[float], ys: Sequence[float], x: tuple[float, float], y: tuple[float, float]) -> list[str]:
    return [f"{_across(at, x):.2f},{_down(value, y):.2f}" for at, value in zip(xs, ys, strict=True)]


def _across(at: float, x: tuple[float, float]) -> float:
    return _WIDTH * (at - x[0]) / ((x[1] - x[0]) or 1.0)


def _down(value: float, y: tuple[float, float]) -> float:
    place = _HEIGHT * (1 - (value - y[0]) / ((y[1] - y[0]) or 1.0))
    return min(max(place, -_HEIGHT), 2 * _HEIGHT)  # far outside the figure; SVG cuts it off


def _with(value: float, unit: str) -> str:
    """A number at an axis, with its unit before or after it."""
    return escape(f"{unit}{number(value)}" if unit in ("$", "€", "£", "¥", "₩") else f"{number(value)}{unit}")


def number(value: float) -> str:
    """A number at an axis: three digits, and thousands with a comma."""
    size = abs(value)
    if value == int(value) or size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.3g}"
