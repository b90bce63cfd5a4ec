"""The fields of the Price tab, as plain HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

VIEWS = (("one", "One item"), ("many", "From a file"), ("guess", "Guess yourself"))
_ITEM = "Round table lamp with a brass foot and a linen shade, 45 cm high, bulb included"
_ACCEPT = ".csv,.tsv,.json,.jsonl,.ndjson,.parquet"
_ESTIMATES = (
    ("auto", "median (smallest error on average)"),
    ("mean", "mean (punishes large errors)"),
    ("log_mean", "mean of the logarithm (relative errors)"),
    ("mode", "most likely price"),
)


def form_html(models: Sequence[str]) -> str:
    """The whole tab before anything was answered.

    Args:
        models: names of the models that may price.
    """
    tabs = "".join(
        f'<button type="button" role="tab" id="wh-pr-tab-{name}" aria-controls="wh-pr-view-{name}" '
        f'aria-selected="{str(not n).lower()}" tabindex="{0 if not n else -1}">{words}</button>'
        for n, (name, words) in enumerate(VIEWS)
    )
    bodies = {"one": _one(), "many": _many(), "guess": _guess()}
    panels = "".join(
        f'<div role="tabpanel" id="wh-pr-view-{name}" aria-labelledby="wh-pr-tab-{name}"{" hidden" if n else ""}>'
        f"{bodies[name]}</div>"
        for n, (name, _) in enumerate(VIEWS)
    )
    return (
        f'<div class="wh-pr"><div role="tablist" aria-label="How to price" class="wh-pr-tabs">{tabs}</div>'
        f"{_settings(models)}{panels}</div>"
    )


def _settings(models: Sequence[str]) -> str:
    listed = "".join(f"<option>{escape(name)}</option>" for name in models)
    estimates = "".join(f'<option value="{name}">{words}</option>' for name, words in _ESTIMATES)
    return (
        '<p class="wh-pr-options" id="wh-pr-settings">'
        f'<label><span class="wh-pr-label">Model</span><select id="wh-pr-model">{listed}</select></label>'
        f'<label><span class="wh-pr-label">Estimate</span><select id="wh-pr-estimate">{estimates}</select></label>'
        '<label><span class="wh-pr-label">Interval</span><select id="wh-pr-level"><option value="0.5">50%</option>'
        '<option value="0.8" selected>80%</option><option value="0.95">95%</option></select></label>'
        '<label><span class="wh-pr-label">Prices</span><input type="text" id="wh-pr-grid" value="0..999" size="12" '
        'autocomplete="off" spellcheck="false" title="0..999, 0.00..99.99, 0..100:5, log:1..10000:60"></label>'
        f"{_file('correct', 'Correct by known prices')}</p>"
    )


def _file(id: str, words: str) -> str:
    return (
        f'<label class="wh-button wh-strong wh-pr-file">{words}<input type="file" id="wh-pr-{id}" '
        f'accept="{_ACCEPT}"></label><span class="wh-note" id="wh-pr-{id}-name" role="status"></span>'
    )


def _buttons(id: str, words: str) -> str:
    return (
        f'<button type="button" class="wh-button wh-strong" id="wh-pr-{id}-start">{words}</button>'
        f'<button type="button" class="wh-button" id="wh-pr-{id}-stop" hidden>Stop</button>'
        f'<span class="wh-note" id="wh-pr-{id}-progress" role="status"></span>'
    )


def _one() -> str:
    return (
        '<label class="wh-pr-label" for="wh-pr-text">Item</label>'
        f'<textarea id="wh-pr-text" rows="4">{escape(_ITEM)}</textarea>'
        f'<p class="wh-pr-options">{_buttons("one", "Price it")}{_file("known", "Add known items")}</p>'
        '<div id="wh-pr-one-out"></div>'
    )


def _many() -> str:
    return (
        '<p class="wh-note">CSV, JSONL, JSON or Parquet with a column text, or title and description.</p>'
        f'<p class="wh-pr-options">{_file("many", "Choose a file")}</p>'
        f'<p class="wh-pr-options">{_buttons("many", "Price all")}'
        '<button type="button" class="wh-button" id="wh-pr-many-download" hidden>Download</button></p>'
        '<div id="wh-pr-many-out"></div><div class="wh-pr-scroll">'
        '<table class="wh-pr-table" id="wh-pr-many-table" hidden><thead>'
        '<tr><th scope="col">row</th><th scope="col">item</th><th scope="col">price</th>'
        '<th scope="col">interval</th><th scope="col">on the grid</th></tr></thead><tbody></tbody></table></div>'
    )


def _guess() -> str:
    return (
        '<div id="wh-pr-guess-begin"><p class="wh-note">Choose a file of items with prices. You see the items of its '
        "test split without their prices, as the models do; your guesses become a technique in a comparison. They are "
        "kept one by one, so that you can stop and go on.</p>"
        f'<p class="wh-pr-options">{_file("guess", "Choose a file")}</p>'
        '<p class="wh-pr-options"><label><span class="wh-pr-label">Your name</span>'
        '<input type="text" id="wh-pr-person" size="16" autocomplete="off" spellcheck="false"></label>'
        '<label><span class="wh-pr-label">Items</span>'
        '<input type="number" id="wh-pr-items" value="50" min="1" max="250"></label>'
        '<button type="button" class="wh-button wh-strong" id="wh-pr-guess-start">Begin</button></p></div>'
        '<form id="wh-pr-guess-ask" hidden><p class="wh-note" id="wh-pr-guess-progress" role="status"></p>'
        '<div class="wh-pr-item" id="wh-pr-guess-item" tabindex="-1"></div>'
        '<p class="wh-pr-options"><label>'
        '<span class="wh-pr-label">What does it cost? <i id="wh-pr-guess-unit"></i></span>'
        '<input type="text" inputmode="decimal" id="wh-pr-guess-written" size="12" autocomplete="off"></label>'
        '<button type="submit" class="wh-button wh-strong">Next</button>'
        '<button type="button" class="wh-button" id="wh-pr-guess-back">Back</button></p></form>'
        '<p id="wh-pr-guess-out" role="status"></p>'
        '<button type="button" class="wh-button" id="wh-pr-guess-download" hidden>Download the guesses</button>'
    )
