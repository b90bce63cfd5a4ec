"""The fields of the Compare tab, as plain HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whetstone.datasets.catalogues import CATALOGUES
from whetstone.evaluation.metrics import METRICS
from whetstone.ui.compare_arms import options_html
from whetstone.ui.lab_form import ACCEPT, chips, field, listed, number_field, views_html

VIEWS = (("new", "Set up"), ("watch", "Run and result"), ("earlier", "Earlier"))
_KINDS = (("", "as seen"), ("number", "number"), ("label", "label"), ("text", "text"))
_TRAINING = 5_000  # of the packaged catalogue's 43,000 rows, so that the first comparison takes minutes


def form_html(models: Sequence[str], *, any_source: bool, any_model: bool) -> str:
    """The whole tab before anything was answered.

    Args:
        models: names of models that may answer.
        any_source: files of the server and hub ids may be named.
        any_model: model specs may be written.
    """
    bodies = {"new": _problem(any_source) + _arms(models, any_model), "watch": _watch(), "earlier": _earlier()}
    return views_html("wh-cm", "Compare techniques", VIEWS, bodies)


def _problem(any_source: bool) -> str:
    catalogues = "".join(
        f'<option value="{escape(name)}">{escape(name)}: {escape(one.origin)}</option>'
        for name, one in CATALOGUES.items()
    )
    path = (
        '<label class="wh-lab-grow"><span class="wh-lab-label">or a file on this server, or a hub id</span>'
        '<input type="text" id="wh-cm-path" placeholder="/home/me/items.csv" autocomplete="off" spellcheck="false">'
        '</label><button type="button" class="wh-button wh-strong" id="wh-cm-path-open">Open</button>'
        if any_source
        else ""
    )
    metrics = "".join(
        f'<option value="{metric.name}">{escape(metric.title)} ({", ".join(sorted(metric.kinds))})</option>'
        for metric in METRICS.values()
        if metric.decides
    )
    return (
        '<fieldset id="wh-cm-problem"><legend>1. The problem</legend><p class="wh-lab-options">'
        '<label><span class="wh-lab-label">Data</span><select id="wh-cm-source">'
        f'{catalogues}<option value="" id="wh-cm-own" hidden></option></select></label>'
        f'<label class="wh-button wh-strong wh-lab-file">Upload a file<input type="file" id="wh-cm-file" '
        f'accept="{ACCEPT}"></label>{path}</p><div id="wh-cm-columns"></div>'
        f'<p class="wh-lab-options">{number_field("wh-cm-test", "Test items", "as many as fit")}'
        f"{number_field('wh-cm-validation', 'Validation items', 'as many as fit')}"
        f"{number_field('wh-cm-train', 'Training items, at most', 'all', _TRAINING)}</p>"
        '<details id="wh-cm-more"><summary>More about the rows</summary><p class="wh-lab-options">'
        f"{listed('wh-cm-kind', 'An answer is a', _KINDS)}"
        '<label><span class="wh-lab-label">Decided by</span><select id="wh-cm-metric"><option value="">the usual metric'
        f"</option>{metrics}</select></label>"
        f"{field('wh-cm-unit', 'Unit', '$', 6)}{field('wh-cm-min', 'Least target', '', 6)}"
        f"{field('wh-cm-max', 'Largest target', '', 6)}"
        '<label><span class="wh-lab-label">Items are known by</span><select id="wh-cm-id"></select></label>'
        '<label><span class="wh-lab-label">Stay in one split</span><select id="wh-cm-group"></select></label>'
        f"{number_field('wh-cm-seed', 'Seed', '42')}"
        '<label class="wh-lab-check"><input type="checkbox" id="wh-cm-all"> every row is a test item: what trains '
        "answers each fold after training on the others</label></p></details>"
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-strong" id="wh-cm-look">See the problem'
        '</button><span class="wh-note" id="wh-cm-looking" role="status"></span></p>'
        '<div id="wh-cm-seen"></div></fieldset>'
    )


def _arms(models: Sequence[str], any_model: bool) -> str:
    other = (
        '<span class="wh-lab-more"><input type="text" id="wh-cm-model-other" aria-label="Another model, by its spec" '
        'placeholder="openai:gpt-4o-mini" autocomplete="off" spellcheck="false">'
        '<button type="button" class="wh-button wh-strong" id="wh-cm-model-add">Add</button></span>'
        if any_model
        else ""
    )
    return (
        '<fieldset id="wh-cm-arms"><legend>2. Its arms</legend><div id="wh-cm-rows"></div>'
        f'<template id="wh-cm-row"><div class="wh-lab-arm"><select aria-label="Technique">{options_html()}</select>'
        '<input type="text" aria-label="Arguments" autocomplete="off" spellcheck="false">'
        '<button type="button" class="wh-button" aria-label="Remove this arm" title="Remove this arm">✕</button>'
        '<p class="wh-note"></p></div></template>'
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-strong" id="wh-cm-add">Add an arm</button>'
        '<button type="button" class="wh-button" id="wh-cm-suit">All that suit the problem</button></p>'
        f'<div class="wh-lab-chips" id="wh-cm-models" role="group" aria-label="Models">'
        f'<span class="wh-lab-label">Models, for the arms that ask one</span>{chips(models, models[:1])}{other}</div>'
        '<p class="wh-lab-options">'
        f"{field('wh-cm-question', 'Question, instead of the usual one', 'What is the price in dollars?', 36)}"
        f"{field('wh-cm-grid', 'Candidate numbers', 'as seen', 12)}</p></fieldset>"
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-lab-go" id="wh-cm-start">Compare</button>'
        '<span class="wh-note">Answers are kept one by one: a comparison that is stopped goes on where it was.</span>'
        "</p>"
        '<div id="wh-cm-start-out"></div>'
    )


def _watch() -> str:
    return (
        '<div id="wh-cm-what"></div><p class="wh-lab-options" id="wh-cm-doing">'
        '<button type="button" class="wh-button wh-danger" id="wh-cm-stop" hidden>Stop</button>'
        '<button type="button" class="wh-button wh-strong" id="wh-cm-resume" hidden>Go on</button></p>'
        '<div id="wh-cm-links"></div><div id="wh-cm-live"></div>'
    )


def _earlier() -> str:
    return '<div id="wh-cm-earlier"><p class="wh-note" role="status">Looking …</p></div>'
