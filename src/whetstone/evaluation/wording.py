"""How values of a metric are written in sentences: with their unit, and no more digits than they carry."""

from __future__ import annotations

import unicodedata

from whetstone.evaluation.intervals import Interval
from whetstone.evaluation.metrics import Metric


def with_unit(value: float, unit: str) -> str:
    """A number with its unit: "$126.55", "-$3.20", "12.50 kg", "4,200 items"."""
    size = abs(value)
    digits = f"{size:,.0f}" if size >= 10_000 else f"{size:,.2f}" if size >= 0.1 or size == 0 else f"{size:.3g}"
    sign = "-" if value < 0 and float(digits.replace(",", "")) != 0 else ""
    if len(unit) == 1 and unicodedata.category(unit) == "Sc":
        return f"{sign}{unit}{digits}"
    return f"{sign}{digits} {unit}".rstrip()


def metric_value(metric: Metric, value: float | None, unit: str) -> str:
    """A value of the metric: "$126.55", "32.0 %", "0.871"; "undefined" for None."""
    if value is None:
        return "undefined"
    if metric.scale == "unit":
        return with_unit(value, unit)
    if metric.scale == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.1f}" if metric.scale == "hundred" else f"{value:.3f}"


def metric_difference(metric: Metric, value: float, unit: str) -> str:
    """A difference of two values of the metric; shares differ by percentage points."""
    return f"{100 * value:.1f} points" if metric.scale == "share" else metric_value(metric, value, unit)


def with_interval(metric: Metric, interval: Interval, unit: str) -> str:
    """ "$126.55 (95 % interval $110.15 to $147.40)"."""
    text = metric_value(metric, interval.value, unit)
    if interval.low is None or interval.high is None:
        return text
    low, high = metric_value(metric, interval.low, unit), metric_value(metric, interval.high, unit)
    return f"{text} (95 % interval {low} to {high})"


def p_value(p: float) -> str:
    """ "p = 0.031"; "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def approximately(count: int) -> str:
    """A count with two significant digits: 4,137 is "4,100"."""
    magnitude = 10 ** max(0, len(str(count)) - 2)
    return f"{-(-count // magnitude) * magnitude:,}"


def seconds_in_words(seconds: float) -> str:
    """ "3.2 ms", "0.41 s", "2 min 5 s", "3 h 10 min"."""
    if seconds < 0.1:
        return f"{1e3 * seconds:.2g} ms" if seconds >= 1e-5 else "0 ms" if seconds == 0 else "under 10 µs"
    if seconds < 59.5:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def dollars(cost: float | None) -> str:
    """ "$0.012", "free", "unknown"."""
    if cost is None:
        return "unknown"
    return "free" if cost == 0 else f"${cost:,.2f}" if cost >= 0.1 else f"${cost:.2g}"
