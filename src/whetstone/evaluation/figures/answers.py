"""Figures of the single answers of one run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whetstone.evaluation.bands import FAR, GOOD, GOOD_SCORE, NEAR, NEAR_SCORE, Band, describe
from whetstone.evaluation.excerpt import head
from whetstone.evaluation.figures.parts import Figure, axis, counted, safe, short, unit_axis
from whetstone.evaluation.item_scores import item_score
from whetstone.evaluation.judged import Judged
from whetstone.evaluation.running import running_interval, steps_of
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem

_MOST_BARS = 400  # points of one plot beyond which the bars of their intervals would be one grey cloud
MOST_POINTS = 1_500  # of one plot: SVG stays quick, and eight runs on 10,000 items stay below 3 MB

Floats = NDArray[np.float64]


def truth_against_guess(problem: Problem, items: Sequence[Judged], worst: Sequence[Judged]) -> Figure:
    """Every answer as a point, with the line on which guess and truth agree. Guesses off the frame sit at its edge."""
    readable = [item for item in items if item.error is not None]
    shown = _sample(readable, len(problem.test), worst)
    truth = np.array([float(item.case.expected) for item in shown])
    guess = np.array([_guess(item) for item in shown])
    low, high = _frame(truth, guess)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "guess = truth",
        "x": [low, high],
        "y": [low, high],
        "line": {"color": "var(--muted)", "width": 1.2, "dash": "4px,3px"},
        "hoverinfo": "skip",
    }
    points = [_points(problem, band, readable, shown, low, high) for band in (GOOD, NEAR, FAR)]
    caption = ["On the dashed line a guess is right; above it, too high."]
    barred = len(shown) <= _MOST_BARS and any(item.prediction.distribution is not None for item in shown)
    if barred:
        caption.append("Bars are 80 % intervals.")
    if outside := int(np.sum((guess > high) | (guess < low))):
        caption.append(f"{counted(outside, 'guess')} beyond the frame drawn at its edge.")
    if len(shown) < len(readable):
        caption.append(
            f"Drawn: {len(shown):,} of {len(readable):,} answers, a random sample and the worst; "
            "every number in this report is computed on all."
        )
    if unreadable := len(items) - len(readable):
        caption.append(f"{counted(unreadable, 'unreadable answer')} not drawn.")
    counts = (
        f"{sum(item.band is band for item in readable):,} {band.letter} ({describe(band, problem)})"
        for band in (GOOD, NEAR, FAR)
    )
    return Figure(
        "Truth against guess",
        " ".join(caption),
        f"Scatter plot of {counted(len(readable), 'answer')}: {', '.join(counts)}.",
        [line, *points],
        {
            "xaxis": unit_axis("truth", problem, range=_padded(low, high)),
            "yaxis": unit_axis("guess", problem, range=_padded(low, high)),
            "hovermode": "closest",
        },
        logarithmic=low > 0,
    )


def _sample(readable: Sequence[Judged], cases: int, worst: Sequence[Judged]) -> list[Judged]:
    """The answers to draw: all, or those to a random sample of the cases, the same for every run, and the worst."""
    if len(readable) <= MOST_POINTS:
        return list(readable)
    drawn = {*random.Random(0).sample(range(1, cases + 1), MOST_POINTS), *(item.number for item in worst)}
    return [item for item in readable if item.number in drawn]


def _points(
    problem: Problem, band: Band, readable: Sequence[Judged], shown: Sequence[Judged], low: float, high: float
) -> dict[str, Any]:
    members = [item for item in shown if item.band is band]
    crowded = len(shown) > 400
    total = sum(item.band is band for item in readable)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"<b>{band.letter}</b> {safe(describe(band, problem))}: {total:,}",
        "x": [short(float(item.case.expected)) for item in members],
        "y": [short(min(max(_guess(item), low), high)) for item in members],
        "text": [_hover(problem, item) for item in members],
        "hovertemplate": "%{text}<extra></extra>",
        **(_interval_bars(members, low, high) if len(shown) <= _MOST_BARS else {}),
        "marker": {
            "symbol": band.symbol,
            "size": 6 if crowded else 8,
            "color": f"var(--{band.key})",
            "opacity": 0.6 if crowded else 0.8,
        },
    }


def _interval_bars(members: Sequence[Judged], low: float, high: float) -> dict[str, Any]:
    """The 80 % interval of each answer as a bar within the frame, from the lower end to the upper; {} without any."""
    if not any(item.prediction.distribution is not None for item in members):
        return {}
    above, below = [], []
    for item in members:
        guess = min(max(_guess(item), low), high)
        known = item.prediction.distribution
        bottom, top = (guess, guess) if known is None else known.interval(0.8)
        above.append(short(max(0.0, min(top, high) - guess)))
        below.append(short(max(0.0, guess - max(bottom, low))))
    ends = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    return {"error_y": {**ends, "color": "var(--band)", "thickness": 1.5, "width": 0}}


def _guess(item: Judged) -> float:
    return float(item.prediction.reading.value or 0.0)


def _hover(problem: Problem, item: Judged) -> str:
    values = (_guess(item), float(item.case.expected), item.error or 0.0)
    guess, truth, error = (safe(with_unit(value, problem.unit)) for value in values)
    known = item.prediction.distribution
    interval = ""
    if known is not None:
        low, high = (safe(with_unit(end, problem.unit)) for end in known.interval(0.8))
        interval = f"<br>80 % interval {low} to {high}"
    shown = f"<b>{item.number:,}</b> {safe(head(item.case.text))}"
    return f"{shown}<br>guess {guess} · truth {truth} · error {error}{interval}"


def _frame(truth: Floats, guess: Floats) -> tuple[float, float]:
    """The range of both axes: every truth, and the guesses but for absurd ones."""
    if not len(truth):
        return 0.0, 1.0
    low, high = float(truth.min()), float(truth.max())
    span = (high - low) or abs(high) or 1.0
    # A logarithmic axis is worth keeping possible: prices are above 0, and a few guesses of 0 sit at the edge.
    least, most = (low / 3 if low > 0 else low - span), high + span
    near = guess[(guess >= least) & (guess <= most)]
    if not len(near):
        return low, high
    bottom, top = np.quantile(near, 0.005, method="lower"), np.quantile(near, 0.995, method="higher")
    return min(low, float(bottom)), max(high, float(top))


def _padded(low: float, high: float) -> list[float]:
    margin = 0.04 * ((high - low) or 1.0)
    return [short(low - margin), short(high + margin)]


def running_mean(problem: Problem, items: Sequence[Judged]) -> Figure:
    """The mean error after each answer with its 95 % band: whether the items were enough."""
    values, name = _followed(problem, items)
    means, low_ends, high_ends, method = running_interval(values, share=problem.kind == "label")
    steps = steps_of(len(values))
    x = [step + 1 for step in steps]
    y = [short(means[step]) for step in steps]
    low = [short(low_ends[step]) for step in steps]
    high = [short(high_ends[step]) for step in steps]
    late = len(steps) // 10  # the first steps are too wild to set the scale
    scale = _padded(min(low[late:], default=0.0), max(high[late:], default=1.0))
    suffix = " %" if problem.kind == "label" else ""
    band = {
        "type": "scatter",
        "mode": "lines",
        "name": "95 % band",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": "var(--band)",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "customdata": [list(ends) for ends in zip(low, high, strict=True)],
        "hovertemplate": f"after %{{x:,}} answers: %{{y:,.4~g}}{suffix}<br>"
        f"95 % band %{{customdata[0]:,.4~g}} to %{{customdata[1]:,.4~g}}{suffix}<extra></extra>",
        "line": {"color": "var(--accent)", "width": 2},
    }
    last = f"{y[-1]:,.4g}{suffix}" if y else "undefined"
    if y and problem.kind == "number":
        last = with_unit(y[-1], problem.unit)
    vertical = unit_axis(name, problem) if problem.kind == "number" else axis(name, ticksuffix=suffix)
    return Figure(
        f"Running {name}",
        f"{method} Where it has become flat and narrow, more items would change little.",
        f"Line plot of the {name} over {counted(len(values), 'answer')}. It ends at {last}.",
        [band, line],
        {
            "xaxis": axis("answers, in the order of the test items", rangemode="tozero"),
            "yaxis": {**vertical, "range": scale},
            "showlegend": False,
            "hovermode": "x",
        },
    )


def _followed(problem: Problem, items: Sequence[Judged]) -> tuple[Floats, str]:
    """What the running mean is of, per answer, and its name."""
    if problem.kind == "number":
        return np.array([item.error for item in items if item.error is not None], dtype=np.float64), "mean error"
    scores = np.array([0.0 if item.error is None else 1 - item.error for item in items])
    return (
        (100 * scores, "accuracy") if problem.kind == "label" else (scores, f"mean {item_score(problem.metric).title}")
    )


def score_histogram(problem: Problem, items: Sequence[Judged]) -> Figure:
    """How the scores of single texts are spread."""
    title = item_score(problem.metric).title
    scores = np.array([0.0 if item.error is None else 1 - item.error for item in items])
    counts, edges = np.histogram(scores, bins=20, range=(0.0, 1.0))
    middles = [short(float(middle)) for middle in (edges[:-1] + edges[1:]) / 2]
    bands = [GOOD if middle >= GOOD_SCORE else NEAR if middle >= NEAR_SCORE else FAR for middle in middles]
    lower, upper = (f"{float(np.quantile(scores, q)):.2f}" if len(scores) else "undefined" for q in (0.25, 0.75))
    return Figure(
        "Spread of the scores",
        f"{title} of every answer; an unreadable one scores 0.",
        f"Histogram of {title} over {counted(len(items), 'answer')}; the middle half is from {lower} to {upper}.",
        [
            {
                "type": "bar",
                "x": middles,
                "y": counts.tolist(),
                "width": 0.044,
                "marker": {"color": [f"var(--{band.key})" for band in bands]},
                "hovertemplate": "%{y:,} answers around %{x:.2f}<extra></extra>",
            }
        ],
        {"xaxis": axis(title, range=[0, 1]), "yaxis": axis("answers"), "showlegend": False},
    )
