"""A price as HTML: estimate, interval, the distribution as bars, known items; and rows of many."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from whetstone.numeric.bins import Bin, bins
from whetstone.workflows.price import PricedItem

_BARS = 36
_HEIGHT = 100.0
_EXCERPT = 140


def dollars(value: float) -> str:
    """An amount: "$1,299", "$12.50"."""
    return f"${value:,.0f}" if value == int(value) else f"${value:,.2f}"


def price_html(found: PricedItem, model: str) -> str:
    """What one item costs."""
    low, high = found.interval
    cut = (
        f'<p class="wh-note">The last {found.cut:,} characters of the text were left out: it is too long.</p>'
        if found.cut
        else ""
    )
    return (
        f'<p class="wh-pr-price"><strong>{dollars(found.estimate)}</strong> <span>{dollars(low)} to {dollars(high)} '
        f"with a probability of {found.level:.0%}</span></p>"
        f'<p class="wh-note">The {escape(found.kind.replace("_", " "))} of what {escape(model)} finds likely.</p>'
        f"{plot_html(found)}{cut}"
        f'<p class="wh-note">{found.distribution.outside:.1%} of the probability is for something else than these '
        f"prices; {escape(found.note)}.</p>{_nearest(found)}"
    )


def plot_html(found: PricedItem) -> str:
    """The distribution as bars, those within the interval in colour; a line marks the estimate."""
    made = bins(found.distribution, _BARS)
    inner = [one for one in made if one.high - one.low <= 1.01 * (made[len(made) // 2].high - made[len(made) // 2].low)]
    first, last = inner[0].low, inner[-1].high
    highest = max(one.probability for one in inner) or 1.0
    bars = "".join(_bar(one, first, last, highest, found) for one in inner)
    beyond = 1 - sum(one.probability for one in inner)
    told = ", ".join(f"{dollars(value)} {share:.1%}" for value, share in found.likeliest(3))
    low, high = found.interval
    words = f"Most likely: {told}. {found.level:.0%} lie from {dollars(low)} to {dollars(high)}."
    rest = f" {beyond:.1%} lie beyond this picture." if beyond > 5e-4 else ""
    mark = 100 * (min(max(found.estimate, first), last) - first) / (last - first)
    return (
        f'<figure class="wh-pr-plot"><svg viewBox="0 0 100 {_HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(words)}">{bars}<line x1="{mark:.2f}" x2="{mark:.2f}" y1="0" y2="{_HEIGHT:g}" '
        f'vector-effect="non-scaling-stroke"></line></svg>'
        f'<div class="wh-pr-scale" aria-hidden="true"><span>{dollars(first)}</span>'
        f"<span>{dollars((first + last) / 2)}</span><span>{dollars(last)}</span></div>"
        f"<figcaption>{escape(words + rest)}</figcaption></figure>"
    )


def _bar(one: Bin, first: float, last: float, highest: float, found: PricedItem) -> str:
    scale = 100 / (last - first)
    height = _HEIGHT * one.probability / highest
    low, high = found.interval
    kind = "in" if one.high > low and one.low <= high else "out"
    return (
        f'<rect class="{kind}" x="{(one.low - first) * scale:.2f}" y="{_HEIGHT - height:.2f}" '
        f'width="{(one.high - one.low) * scale * 0.9:.2f}" height="{height:.2f}">'
        f"<title>from {dollars(one.low)}, below {dollars(one.high)}: {one.probability:.1%}</title></rect>"
    )


def _nearest(found: PricedItem) -> str:
    if not found.nearest:
        return ""
    rows = "".join(
        f'<tr><td class="wh-pr-words">{escape(_excerpt(one.text))}</td><td>{dollars(one.price)}</td>'
        f"<td>{one.cosine:.2f}</td></tr>"
        for one in found.nearest
    )
    return (
        '<h3>Known items like it</h3><div class="wh-pr-scroll"><table class="wh-pr-table"><thead><tr>'
        f'<th scope="col">item</th><th scope="col">price</th><th scope="col">likeness</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def row_html(line: Mapping[str, Any], text: str) -> str:
    """One of many, as a row of a table."""
    words = f'<td>{line["row"]}</td><td class="wh-pr-words">{escape(_excerpt(text))}</td>'
    if "error" in line:
        return f'<tr>{words}<td class="wh-pr-bad" colspan="3">{escape(str(line["error"]))}</td></tr>'
    low, high = line["interval"]
    return (
        f"<tr>{words}<td><strong>{dollars(line['estimate'])}</strong></td><td>{dollars(low)} to {dollars(high)}</td>"
        f"<td>{line['inside']:.0%}</td></tr>"
    )


def _excerpt(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _EXCERPT else f"{words[:_EXCERPT]}…"
