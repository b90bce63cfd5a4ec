"""The curves of a tuning run: its loss, the task's error with its interval, and the drift from the base."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from whetstone.ui.lab_plot import Curve, number, plot_html
from whetstone.ui.tune_journal import Story

_BINS = 120  # of the training loss
_QUANTILE = 0.99  # of its highest values, which sets the scale: the first steps may be wild


def loss_plot(story: Story, end: float) -> str:
    """The loss of the steps, as mean and range of neighbouring ones, and of the validations."""
    steps = [(step, float(line["loss"])) for step, line in story.steps.items() if finite(line.get("loss"))]
    curves = []
    if len(steps) >= 2:
        bins = np.array_split(np.array(steps, dtype=np.float64), min(_BINS, len(steps)))
        curves.append(
            Curve(
                [float(part[:, 0].mean()) for part in bins],
                [float(part[:, 1].mean()) for part in bins],
                [float(part[:, 1].min()) for part in bins],
                [float(part[:, 1].max()) for part in bins],
                name="training rows, mean and range",
            )
        )
    validated = [(step, float(line["loss"])) for step, line in story.validations.items() if finite(line.get("loss"))]
    if validated:
        curves.append(Curve(*_columns(validated), name="validation rows", kind="b", dots=True))
    if not curves:
        return ""
    values = np.array([value for curve in curves for value in (*curve.low, *curve.high, *curve.y)])
    scale = (float(values.min()), float(np.quantile(values, _QUANTILE)))
    last = f"; the last validation {validated[-1][1]:.3f} at step {validated[-1][0]:,}" if validated else ""
    words = f"Loss over {len(steps):,} steps{last}"
    return plot_html(curves, x=(0, end), y=_room(scale), label=words, x_title="step")


def metric_plot(story: Story, end: float) -> str:
    """The task's own error at each validation, with its interval."""
    points = [line for line in story.validations.values() if finite(line.get("metric"))]
    if not points:
        return ""
    name = str(points[-1].get("metric_name") or "error of the task")
    curve = _with_ends([(int(line["step"]), line["metric"], line.get("low"), line.get("high")) for line in points])
    best = min(points, key=lambda line: float(line["metric"]))
    words = f"{name}: {number(float(best['metric']))} at best, at step {int(best['step']):,}"
    return f"<h4>{escape(name)}, with its 95 % interval</h4>" + plot_html(
        [curve], x=(0, end), y=_room(_ends(curve)), label=words, x_title="step", marks=[(float(best["step"]), words)]
    )


def drift_plot(story: Story, end: float) -> str:
    """How far the model went from its base on neutral text."""
    points = list(drifts_of(story))
    if not points:
        return ""
    curve = _with_ends(points, kind="c")
    words = f"Drift: {number(float(points[-1][1]))} nats a token at step {points[-1][0]:,}"
    return "<h4>Drift from the base on neutral text, nats a token</h4>" + plot_html(
        [curve], x=(0, end), y=_room((0.0, _ends(curve)[1])), label=words, x_title="step"
    )


def tradeoff_plot(story: Story) -> str:
    """Every probed revision: drift to the right, the task's error upwards; "" without both."""
    drifts = {step: value for step, value, _, _ in drifts_of(story)}
    both = [
        (float(drifts[step]), float(line["metric"]), line.get("low"), line.get("high"))
        for step, line in story.validations.items()
        if step in drifts and finite(line.get("metric"))
    ]
    if len(both) < 2:
        return ""
    curve = _with_ends(both, kind="d")
    name = str(next(iter(story.validations.values())).get("metric_name") or "error")
    words = f"{name} against drift at {len(both)} revisions; the lower left corner is best"
    right = max(curve.x) * 1.05 or 1.0
    plot = plot_html([curve], x=(0, right), y=_room(_ends(curve)), label=words, x_title="drift, nats a token")
    return f'{plot}<p class="wh-note">{escape(words)}.</p>'


def drifts_of(story: Story) -> Iterator[tuple[int, float, float | None, float | None]]:
    """(step, drift, low, high) of each probe."""
    for step, line in sorted(story.probes.items()):
        drift = (line.get("texts") or {}).get("drift")
        if isinstance(drift, Mapping) and finite(drift.get("value")):
            yield step, float(drift["value"]), drift.get("low"), drift.get("high")


def _with_ends(points: Sequence[tuple[float, Any, Any, Any]], kind: str = "a") -> Curve:
    points = sorted(points, key=lambda point: point[0])
    x, y = [float(point[0]) for point in points], [float(point[1]) for point in points]
    known = all(finite(low) and finite(high) for _, _, low, high in points)
    low = [float(point[2]) for point in points] if known else []
    high = [float(point[3]) for point in points] if known else []
    return Curve(x, y, low, high, kind=kind, dots=True)


def _ends(curve: Curve) -> tuple[float, float]:
    values = [*curve.y, *curve.low, *curve.high]
    return min(values), max(values)


def _room(scale: tuple[float, float]) -> tuple[float, float]:
    low, high = scale
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    return (0.0 if 0 <= low <= margin else low - margin), high + margin


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [float(x) for x, _ in points], [y for _, y in points]


def finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
