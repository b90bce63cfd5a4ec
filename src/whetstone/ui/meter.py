"""The context meter: how much of what the model can read is taken, part by part."""

from __future__ import annotations

from html import escape

from whetstone.chat.context import ContextUse

# Field of ContextUse, words; in the order in which the parts stand in the bar.
PARTS = (
    ("system", "system"),
    ("history", "history"),
    ("message", "new message"),
    ("template", "template"),
    ("reply", "reserved reply"),
)


def meter_html(use: ContextUse) -> str:
    """A bar with its numbers. The numbers are text, so the bar itself says nothing that is not also written."""
    whole = max(use.total, use.limit or 0, 1)
    sizes = [(name, words, int(getattr(use, name))) for name, words in PARTS]
    bar = "".join(
        f'<span class="wh-part wh-{name}" style="width:{100 * size / whole:.2f}%"></span>'
        for name, _, size in sizes
        if size
    )
    numbers = "".join(_number(name, words, size) for name, words, size in sizes)
    if use.free is not None:
        numbers += _number("free", "free", use.free)
    return (
        f'<section class="wh-meter{"" if use.fits else " wh-over"}" aria-label="Context">'
        f'<details data-keep="meter"><summary>{escape(summary(use))}</summary><ul>{numbers}</ul></details>'
        f'<div class="wh-bar" aria-hidden="true">{bar}</div></section>'
    )


def summary(use: ContextUse) -> str:
    """One line: how much of how much, and what it means."""
    about = "" if use.exact else "about "
    if use.limit is None:
        return f"Context: {about}{use.total:,} tokens; the model does not say how many it can hold"
    if not use.fits:
        return f"Context: {about}{use.total:,} of {use.limit:,} tokens: {use.total - use.limit:,} too many"
    return f"Context: {about}{use.total:,} of {use.limit:,} tokens, {use.free:,} free"


def _number(name: str, words: str, size: int) -> str:
    return f'<li><i class="wh-part wh-{name}" aria-hidden="true"></i>{escape(words)} <b>{size:,}</b></li>'
