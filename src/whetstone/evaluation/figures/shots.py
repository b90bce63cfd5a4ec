"""The score against the number of examples in the prompt, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whetstone.evaluation.figures.parts import Figure, axis, metric_axis, metric_factor, safe, short
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import Report
from whetstone.evaluation.shots import ShotCurve, ShotPoint
from whetstone.evaluation.wording import with_interval

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def shot_figure(report: Report, curves: Sequence[ShotCurve]) -> Figure:
    """A line for each curve, every point with its interval; hovering tells the tokens."""
    metric = METRICS[report.problem.metric]
    told = [f"{curve.name}: {'; '.join(_told(report, point) for point in curve.points)}" for curve in curves]
    counts = sorted({point.shots for curve in curves for point in curve.points})
    return Figure(
        f"{metric.title[:1].upper()}{metric.title[1:]} against examples in the prompt",
        f"{'Higher' if metric.higher_is_better else 'Lower'} is better; whiskers are 95 % intervals. "
        + " ".join(f"{curve.name}: {curve.sentence}" if len(curves) > 1 else curve.sentence for curve in curves),
        f"Line plot. {'. '.join(told)}.",
        [_line(report, curve, number) for number, curve in enumerate(curves)],
        {
            "xaxis": axis("examples in the prompt", tickvals=counts, ticktext=[f"{count:,}" for count in counts]),
            "yaxis": metric_axis(metric, report.problem),
            "showlegend": len(curves) > 1,
            "legend": {"orientation": "h"},
            "hovermode": "closest",
        },
    )


def _line(report: Report, curve: ShotCurve, number: int) -> dict[str, Any]:
    factor = metric_factor(METRICS[report.problem.metric])
    points = [point for point in curve.points if point.value.value is not None]
    ends = [
        (
            point.value.value or 0.0,
            point.value.low or point.value.value or 0.0,
            point.value.high or point.value.value or 0.0,
        )
        for point in points
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": safe(curve.name),
        "x": [point.shots for point in points],
        "y": [short(factor * value) for value, _, _ in ends],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [short(factor * (high - value)) for value, _, high in ends],
            "arrayminus": [short(factor * (value - low)) for value, low, _ in ends],
            "color": "var(--accent)",
            "thickness": 1.2,
            "width": 3,
        },
        "line": {"width": 1.5, "dash": _DASHES[number % len(_DASHES)], "color": "var(--accent)"},
        "marker": {
            "size": 10,
            "color": ["var(--accent)" if point.shots == curve.advised else "var(--card)" for point in points],
            "line": {"width": 2, "color": "var(--accent)"},
        },
        "text": [safe(f"{curve.name}: {_told(report, point)}") for point in points],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _told(report: Report, point: ShotPoint) -> str:
    metric = METRICS[report.problem.metric]
    value = with_interval(metric, point.value, report.problem.unit)
    tokens = "" if point.prompt_tokens is None else f", {point.prompt_tokens:,.0f} tokens per prompt"
    return f"{point.shots:,} examples, {value}{tokens}"
