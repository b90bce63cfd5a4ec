"""Fields that the Tasks, Prompts, Compare and Tune tabs have in common, as plain HTML."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

ACCEPT = ".csv,.tsv,.json,.jsonl,.ndjson,.parquet,.gz"


def views_html(
    prefix: str, label: str, views: Sequence[tuple[str, str]], bodies: Mapping[str, str], *, above: str = ""
) -> str:
    """A tab's views, one of which is shown.

    Args:
        prefix: of all ids.
        label: what the views are for.
        views: (name, words) of each.
        bodies: what is in it, by name.
        above: what belongs to all views.
    """
    tabs = "".join(
        f'<button type="button" role="tab" id="{prefix}-tab-{name}" aria-controls="{prefix}-view-{name}" '
        f'aria-selected="{str(not n).lower()}" tabindex="{0 if not n else -1}">{escape(words)}</button>'
        for n, (name, words) in enumerate(views)
    )
    panels = "".join(
        f'<div role="tabpanel" id="{prefix}-view-{name}" aria-labelledby="{prefix}-tab-{name}"{" hidden" if n else ""}>'
        f"{bodies[name]}</div>"
        for n, (name, _) in enumerate(views)
    )
    return (
        f'<div class="wh-lab">{above}<div role="tablist" aria-label="{escape(label)}" class="wh-lab-tabs">{tabs}</div>'
        f'<div id="{prefix}-notice"></div>{panels}</div>'
    )


def field(id: str, words: str, placeholder: str = "", size: int = 12) -> str:
    """A field for a text."""
    return (
        f'<label><span class="wh-lab-label">{escape(words)}</span><input type="text" id="{id}" size="{size}" '
        f'placeholder="{escape(placeholder)}" autocomplete="off" spellcheck="false"></label>'
    )


def number_field(id: str, words: str, placeholder: str = "", value: int | str = "") -> str:
    """A field for a number; it is a text, so that what is wrong with it can be said."""
    return (
        f'<label><span class="wh-lab-label">{escape(words)}</span><input type="text" inputmode="decimal" id="{id}" '
        f'size="10" value="{value}" placeholder="{escape(placeholder)}" autocomplete="off"></label>'
    )


def listed(id: str, words: str, options: Sequence[tuple[str, str]]) -> str:
    """A list to choose from: (value, words) of each."""
    inner = "".join(f'<option value="{escape(value)}">{escape(shown)}</option>' for value, shown in options)
    return f'<label><span class="wh-lab-label">{escape(words)}</span><select id="{id}">{inner}</select></label>'


def chips(names: Sequence[str], chosen: Collection[str]) -> str:
    """Several to choose from, any number of them."""
    return "".join(
        f'<label><input type="checkbox" value="{escape(name)}"{" checked" if name in chosen else ""}>'
        f"<span>{escape(name)}</span></label>"
        for name in names
    )
