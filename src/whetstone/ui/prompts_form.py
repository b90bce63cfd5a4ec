"""The fields of the Prompts tab, as plain HTML: the library, the editor, a trial on values, scores on cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from whetstone.tasks import Card
from whetstone.ui.lab_form import listed, number_field, views_html

VIEWS = (("library", "Library"), ("edit", "Edit and try"), ("scores", "Scores on cases"))

NEW = """---
name: reply
version: 1
variables: [text]
description: What it is for, in a sentence.
system: You answer briefly.
---
{{ text }}
"""


def form_html(models: Sequence[str], cards: Iterable[Card], *, may_save: bool) -> str:
    """The whole tab before a prompt was opened.

    Args:
        models: names of the models that may be asked.
        cards: that are offered.
        may_save: whether prompts may be kept from here.
    """
    bodies = {"library": _library(), "edit": _edit(may_save) + _try(models), "scores": _scores(models, cards)}
    return views_html("wh-pp", "Prompts", VIEWS, bodies)


def _library() -> str:
    return (
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-strong" id="wh-pp-new">Write a new prompt'
        '</button></p><div id="wh-pp-list"><p class="wh-note" role="status">Looking …</p></div>'
    )


def _edit(may_save: bool) -> str:
    save = (
        '<button type="button" class="wh-button wh-lab-go" id="wh-pp-save" disabled>Save</button>'
        if may_save
        else '<span class="wh-note">Prompts are saved by the server\'s own user; you can try yours here, and copy it.'
        "</span>"
    )
    return (
        '<p class="wh-lab-options"><label><span class="wh-lab-label">Name</span><input type="text" id="wh-pp-name" '
        'size="24" autocomplete="off" spellcheck="false" placeholder="reply, mail/reply, reply.t5"></label>'
        '<label><span class="wh-lab-label">Version</span><select id="wh-pp-version"></select></label></p>'
        '<label class="wh-lab-label" for="wh-pp-source">Prompt: a head of YAML between lines of ---, then the text, '
        "with {{ variables }}</label>"
        '<textarea id="wh-pp-source" class="wh-pp-source" rows="16" spellcheck="false"></textarea>'
        '<div id="wh-pp-state" role="status"></div>'
        f'<p class="wh-lab-options">{save}<button type="button" class="wh-button" id="wh-pp-back" hidden>'
        'Undo all changes</button><span id="wh-pp-saved" role="status"></span></p><div id="wh-pp-diff"></div>'
    )


def _try(models: Sequence[str]) -> str:
    return (
        '<fieldset id="wh-pp-try"><legend>Try it on values</legend><div id="wh-pp-values"></div>'
        '<details id="wh-pp-seen"><summary>What the model is asked</summary><div id="wh-pp-messages"></div></details>'
        f'<p class="wh-lab-options">{listed("wh-pp-model", "Model", [(name, name) for name in models])}'
        f"{number_field('wh-pp-temperature', 'Temperature', '0')}"
        f"{number_field('wh-pp-max_tokens', 'Most tokens of a reply', '512')}"
        '<button type="button" class="wh-button wh-strong" id="wh-pp-run">Run</button>'
        '<button type="button" class="wh-button wh-danger" id="wh-pp-run-stop" hidden>Stop</button></p>'
        '<div id="wh-pp-reply"></div></fieldset>'
    )


def _scores(models: Sequence[str], cards: Iterable[Card]) -> str:
    return (
        '<p class="wh-note">The card is asked with your prompt in place of its own, on all of its test cases, and with '
        "the version before beside it. Answers are kept one by one: what is stopped goes on where it was, and a draft "
        "that is saved keeps its answers. Wording that was tuned on these cases does a little better on them than on "
        "others.</p>"
        '<p class="wh-lab-options"><span class="wh-ta-what"><span class="wh-lab-label">Prompt</span>'
        '<b id="wh-pp-what">none</b></span>'
        f"{listed('wh-pp-card', 'On the cases of', [(card.name, card.title) for card in cards])}"
        f"{listed('wh-pp-beside', 'Beside', [])}"
        f"{listed('wh-pp-judged', 'Model', [(name, name) for name in models])}</p>"
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-lab-go" id="wh-pp-score">Score</button>'
        '<button type="button" class="wh-button wh-danger" id="wh-pp-score-stop" hidden>Stop</button></p>'
        '<div id="wh-pp-scores"></div>'
    )


def values_html(variables: Sequence[str]) -> str:
    """A field for each variable of a prompt."""
    if not variables:
        return '<p class="wh-note">The prompt has no variables.</p>'
    return "".join(
        f'<div class="wh-ta-field"><div class="wh-pp-value"><label class="wh-lab-label" '
        f'for="wh-pp-value-{escape(name)}">{escape(name)}</label><label class="wh-lab-check wh-pp-json" '
        f'title="A list, a number or an object, written as JSON"><input type="checkbox" data-json="{escape(name)}"> '
        f'is JSON</label></div><textarea id="wh-pp-value-{escape(name)}" data-value="{escape(name)}" dir="auto" '
        f'rows="{4 if name == "text" else 1}"></textarea></div>'
        for name in variables
    )
