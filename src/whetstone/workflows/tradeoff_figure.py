"""The trade-off of a tuning run as a figure: the task's error against the drift from the base, a point per revision."""

from __future__ import annotations

from typing import Any

from whetstone.evaluation.figures.parts import Figure, axis, safe, short
from whetstone.tuning.probe_result import Estimate
from whetstone.tuning.tradeoff import SINGLE_PURPOSE, Tradeoff, TradeoffPoint


def tradeoff_figure(tradeoff: Tradeoff) -> Figure | None:
    """Points with their 95 % intervals, in the order of training; None where fewer than two states were measured."""
    measured = [(point, point.task) for point in tradeoff.points if point.task is not None]
    if len(measured) < 2:
        return None
    told = [_told(point, task, tradeoff.task_name) for point, task in measured]
    marks: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": [short(point.drift.value) for point, _ in measured],
        "y": [short(task.value) for _, task in measured],
        "error_x": _whiskers([point.drift for point, _ in measured]),
        "error_y": _whiskers([task for _, task in measured]),
        "line": {"width": 1, "dash": "dot", "color": "var(--muted)"},
        "marker": {
            "size": 10,
            "color": ["var(--accent)" if point.on_frontier else "var(--card)" for point, _ in measured],
            "line": {"width": 2, "color": "var(--accent)"},
        },
        "text": [_name(point) for point, _ in measured],
        "textposition": "top right",
        "textfont": {"size": 11},
        "cliponaxis": False,
        "customdata": [safe(line) for line in told],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    return Figure(
        "What training bought, and what it cost",
        f"Down is a better task, left is nearer to the base; the dotted line follows the training. Filled points are "
        f"beaten by no other in both. Whiskers are 95 % intervals. {SINGLE_PURPOSE}",
        f"Scatter plot. {'; '.join(told)}.",
        [marks],
        {
            "xaxis": axis("drift from the base: KL in nats per token of neutral text", rangemode="tozero"),
            "yaxis": axis(f"{tradeoff.task_name} on validation items"),
            "showlegend": False,
            "hovermode": "closest",
        },
    )


def _name(point: TradeoffPoint) -> str:
    return "base" if point.step == 0 else f"{point.step:,}"


def _told(point: TradeoffPoint, task: Estimate, name: str) -> str:
    return f"{_name(point) if point.step == 0 else f'step {_name(point)}'}: {name} {task.value:.4g}, drift " + (
        f"{point.drift.value:.3g} nats per token, {point.lost} of {point.known} abilities lost"
    )


def _whiskers(estimates: list[Estimate]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [short(one.high - one.value) for one in estimates],
        "arrayminus": [short(one.value - one.low) for one in estimates],
        "color": "var(--accent)",
        "thickness": 1.2,
        "width": 3,
    }
