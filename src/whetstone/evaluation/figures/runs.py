"""Figures that hold all runs of a report against one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from whetstone.evaluation.figures.parts import Figure, label, metric_axis, metric_factor, safe, short
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import Report, RunResult
from whetstone.evaluation.wording import metric_value

_WIDE = 30  # from this ratio of the largest to the smallest value on, an axis is logarithmic


def forest(report: Report, order: Sequence[RunResult]) -> Figure:
    """The deciding metric of every run with its interval, in this order from the top."""
    metric, unit = METRICS[report.problem.metric], report.problem.unit
    factor = metric_factor(metric)
    rows = [
        (result, interval) for result in order if (interval := result.scores.metrics[metric.name]).value is not None
    ]
    xs, above, below, told = [], [], [], []
    for result, interval in rows:
        value = interval.value or 0.0
        xs.append(short(factor * value))
        above.append(0.0 if interval.high is None else short(factor * (interval.high - value)))
        below.append(0.0 if interval.low is None else short(factor * (value - interval.low)))
        line = f"{result.label}: {metric_value(metric, value, unit)}"
        if interval.low is not None:
            ends = (metric_value(metric, end, unit) for end in (interval.low, interval.high))
            line += f", 95 % interval {' to '.join(ends)}"
        told.append(line)
    chosen = [result.label == report.verdict.winner for result, _ in rows]
    wide = _spans_widely(xs) and all(x - less > 0 for x, less in zip(xs, below, strict=True))
    frame, cut = ([0.0, 0.0], False) if wide else _frame(xs, above, below)
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": xs,
        "y": list(range(len(rows))),
        "marker": {
            "size": 11,
            "color": _fill(chosen),
            "line": {"width": 2, "color": "var(--accent)"},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": "var(--accent)",
            "thickness": 1.8,
            "width": 0,
        },
        "text": [safe(line).replace(", 95", "<br>95") for line in told],
        "hovertemplate": "%{text}<extra></extra>",
    }
    return Figure(
        f"{metric.title[:1].upper()}{metric.title[1:]} with 95 % intervals",
        f"{'Higher' if metric.higher_is_better else 'Lower'} is better. The filled point is the verdict's choice. "
        "Intervals that overlap are no proof of a tie: the pairs below compare item by item."
        + (" An interval that is cut off at the edge is in the table." if cut else ""),
        f"Forest plot. {'; '.join(told)}.",
        [points],
        {
            "xaxis": metric_axis(metric, report.problem, **({"type": "log"} if wide else {"range": frame})),
            "yaxis": {
                "tickvals": list(range(len(rows))),
                "ticktext": [label(result.label, bold=bold) for (result, _), bold in zip(rows, chosen, strict=True)],
                "range": [len(rows) - 0.4, -0.6],
                "showgrid": False,
            },
            "showlegend": False,
            "hovermode": "closest",
            "height": 110 + 36 * max(2, len(rows)),
        },
    )


def price_against_metric(report: Report, order: Sequence[RunResult], by: Literal["seconds", "cost"]) -> Figure | None:
    """What an answer takes (seconds per item, or dollars per 1,000) against how good it is.

    None where fewer than two runs have both: a cost that is unknown or 0 has no place on a logarithmic axis.
    """
    metric = METRICS[report.problem.metric]
    points: list[tuple[RunResult, float, float]] = []
    for result in order:
        value = result.scores.metrics[metric.name].value
        price = result.seconds_per_item if by == "seconds" else result.cost_per_thousand
        if value is not None and price:
            points.append((result, short(price), short(metric_factor(metric) * value)))
    if len(points) < 2:
        return None
    title = "seconds per item" if by == "seconds" else "US dollars per 1,000 items"
    exponents = [math.log10(price) for _, price, _ in points]
    low, high = min(exponents), max(exponents)
    margin = 0.1 * (high - low) + 0.2
    chosen = report.verdict.winner
    names = [label(result.label, bold=result.label == chosen) for result, _, _ in points]
    marks: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [price for _, price, _ in points],
        "y": [value for _, _, value in points],
        "text": names,
        "customdata": names,
        # A narrow screen has no room for every name; a tap on a point shows it.
        "meta": {
            "narrow": [
                name if result.label == chosen else "" for name, (result, _, _) in zip(names, points, strict=True)
            ]
        },
        "textposition": _beside(points, (low + high) / 2),
        "textfont": {"size": 11},
        "cliponaxis": False,
        "marker": {
            "size": 10,
            "color": _fill([result.label == chosen for result, _, _ in points]),
            "line": {"width": 2, "color": "var(--accent)"},
        },
        "hovertemplate": f"%{{customdata}}<br>%{{x:.3~g}} {title}<br>%{{y:,.4~g}}<extra></extra>",
    }
    told = "; ".join(
        f"{result.label}: {price:.3g} {title}, {metric.title} {value:.4g}" for result, price, value in points
    )
    left_out = (
        "Time to fit is not counted."
        if by == "seconds"
        else "Runs that are free, or at an unknown price, are left out."
    )
    return Figure(
        f"{'Time' if by == 'seconds' else 'Cost'} against {metric.title}",
        f"Further left is {'faster' if by == 'seconds' else 'cheaper'}. {left_out}",
        f"Scatter plot. {told}.",
        [marks],
        {
            "xaxis": {
                "title": {"text": f"{'time per item' if by == 'seconds' else title}, logarithmic"},
                "type": "log",
                "range": [low - margin, high + margin],
                **(_time_ticks(low, high) if by == "seconds" else {"tickprefix": "&#36;"}),
            },
            "yaxis": metric_axis(
                metric, report.problem, **({"type": "log"} if _spans_widely([y for *_, y in points]) else {})
            ),
            "showlegend": False,
            "hovermode": "closest",
        },
    )


def _spans_widely(values: Sequence[float]) -> bool:
    """Whether one wild run would press all others into a corner of a linear axis."""
    return min(values) > 0 and max(values) > _WIDE * min(values)


def _frame(values: Sequence[float], above: Sequence[float], below: Sequence[float]) -> tuple[list[float], bool]:
    """The range of the axis, and whether a wild interval is cut off, which would press all else into a corner."""
    low = min(value - less for value, less in zip(values, below, strict=True))
    high = max(value + more for value, more in zip(values, above, strict=True))
    reach = 1.5 * (max(values) - min(values) or max(map(abs, values)) or 1.0)
    least, most = max(low, min(values) - reach), min(high, max(values) + reach)
    margin = 0.04 * ((most - least) or 1.0)
    return [short(least - margin), short(most + margin)], low < least or high > most


def _fill(chosen: Sequence[bool]) -> list[str]:
    """The verdict's choice is a filled point."""
    return ["var(--accent)" if filled else "var(--card)" for filled in chosen]


def _time_ticks(low: float, high: float) -> dict[str, Any]:
    """A tick at every power of ten between these exponents, in the unit that one would say."""
    units = {0: "s", -3: "ms", -6: "µs", -9: "ns"}
    exponents = range(max(-9, math.floor(low)), math.ceil(high) + 1)
    names = []
    for exponent in exponents:
        base = min(0, 3 * (exponent // 3))
        names.append(f"{10 ** (exponent - base):,} {units[base]}")
    return {"tickvals": [10.0**exponent for exponent in exponents], "ticktext": names}


def _beside(points: Sequence[tuple[RunResult, float, float]], middle: float) -> list[str]:
    """Where each name stands: towards the middle of the plot, above and below in turn where two are near in height."""
    by_height = sorted(range(len(points)), key=lambda i: points[i][2])
    turn = {index: "top" if rank % 2 else "bottom" for rank, index in enumerate(by_height)}
    sides = ("right" if math.log10(price) < middle else "left" for _, price, _ in points)
    return [f"{turn[index]} {side}" for index, side in enumerate(sides)]
