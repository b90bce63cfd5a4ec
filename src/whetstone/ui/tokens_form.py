"""The fields of the Tokens tab, as plain HTML: what is typed is heard at once, and answered in a pause."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from whetstone.ui.tokens_score import LEGEND
from whetstone.ui.tokens_vocabulary import WAYS

VIEWS = (
    ("text", "Text"),
    ("chat", "Conversation"),
    ("rows", "Training rows"),
    ("vocabulary", "Vocabulary"),
    ("score", "Probabilities"),
    ("check", "Check"),
)
_TEXT = "The price is $1,299.00, about 1.7 million won.\n안녕하세요! 넥타이가 얼마예요? 👔"
_MESSAGES = [
    {"role": "system", "content": "You sell ties. The shop sells no belts."},
    {"role": "user", "content": "I want to buy a tie"},
    {"role": "assistant", "content": "Which colour?"},
    {"role": "user", "content": "a red one"},
]
_ROWS = "\n".join(
    json.dumps(row)
    for row in (
        {"messages": [{"role": "user", "content": "How much is it?"}, {"role": "assistant", "content": "It is $42."}]},
        {"prompt": "Price of a sturdy oak table: $", "completion": "199"},
    )
)


def form_html(tokenizers: Sequence[str], chosen: str, models: Sequence[str], *, any_name: bool) -> str:
    """The whole tab before anything was answered.

    Args:
        tokenizers: the names that are offered.
        chosen: the one that is chosen at first.
        models: names of models that may score texts.
        any_name: whether a free name is taken.
    """
    tabs = "".join(
        f'<button type="button" role="tab" id="wh-tk-tab-{name}" aria-controls="wh-tk-view-{name}" '
        f'aria-selected="{str(not n).lower()}" tabindex="{0 if not n else -1}">{words}</button>'
        for n, (name, words) in enumerate(VIEWS)
    )
    bodies = {
        "text": _text(),
        "chat": _chat(),
        "rows": _rows(),
        "vocabulary": _vocabulary(),
        "score": _score(models),
        "check": _check(),
    }
    panels = "".join(
        f'<div role="tabpanel" id="wh-tk-view-{name}" aria-labelledby="wh-tk-tab-{name}"{" hidden" if n else ""}>'
        f"{bodies[name]}</div>"
        for n, (name, _) in enumerate(VIEWS)
    )
    return (
        f'<div class="wh-tk">{_tokenizers(tokenizers, chosen, any_name)}'
        f'<p id="wh-tk-notice" role="status" aria-live="polite"></p>'
        f'<div role="tablist" aria-label="What to look at" class="wh-tk-tabs">{tabs}</div>{panels}'
        '<div class="wh-tk-tip" id="wh-tk-tip" role="status" aria-live="polite" hidden></div></div>'
    )


def _tokenizers(names: Sequence[str], chosen: str, any_name: bool) -> str:
    chips = "".join(chip(name, name == chosen) for name in names)
    more = (
        '<span class="wh-tk-more"><input type="text" id="wh-tk-other" aria-label="Another tokenizer: a folder, a '
        'file or a hub id" placeholder="folder, file or hub id" autocomplete="off" spellcheck="false">'
        '<button type="button" class="wh-button wh-strong" id="wh-tk-add">Add</button></span>'
        if any_name
        else ""
    )
    return f'<fieldset class="wh-tk-chips" id="wh-tk-tokenizers"><legend>Tokenizers</legend>{chips}{more}</fieldset>'


def chip(name: str, checked: bool) -> str:
    """One tokenizer to choose."""
    on = " checked" if checked else ""
    return f'<label><input type="checkbox" value="{escape(name)}"{on}><span>{escape(name)}</span></label>'


def _checkbox(id: str, words: str, checked: bool = False) -> str:
    return (
        f'<label class="wh-tk-check"><input type="checkbox" id="{id}"{" checked" if checked else ""}> {words}</label>'
    )


def _text() -> str:
    return (
        '<label class="wh-tk-label" for="wh-tk-text">Text</label>'
        f'<textarea id="wh-tk-text" rows="5" spellcheck="false">{escape(_TEXT)}</textarea>'
        '<p class="wh-tk-options">'
        + _checkbox("wh-tk-special", "control tokens: their spellings become tokens")
        + _checkbox("wh-tk-around", "add what belongs around a text")
        + _checkbox("wh-tk-ids", "show ids")
        + '</p><div id="wh-tk-text-out"></div><div id="wh-tk-facts-out" aria-live="off"></div>'
    )


def _chat() -> str:
    return (
        '<div id="wh-tk-messages" role="group" aria-label="Messages"></div>'
        '<p class="wh-tk-options"><button type="button" class="wh-button wh-strong" id="wh-tk-message-add">'
        'Add a message</button><button type="button" class="wh-button" id="wh-tk-json-switch" aria-pressed="false">'
        "Edit as JSON</button>"
        + _checkbox("wh-tk-generation", "add the generation prompt", True)
        + '</p><div id="wh-tk-json-part" hidden><label class="wh-tk-label" for="wh-tk-json">Messages as JSON</label>'
        '<textarea id="wh-tk-json" rows="12" spellcheck="false">'
        f"{escape(json.dumps(_MESSAGES, indent=1))}</textarea></div>"
        '<details><summary>Tools</summary><label class="wh-tk-label" for="wh-tk-tools">Tools as JSON: a list of '
        'functions in the OpenAI form</label><textarea id="wh-tk-tools" rows="5" spellcheck="false"></textarea>'
        "</details>"
        '<div id="wh-tk-chat-out"></div>'
    )


def _rows() -> str:
    return (
        '<label class="wh-tk-label" for="wh-tk-rows">Training rows: JSONL with messages, or with prompt and completion'
        f'</label><textarea id="wh-tk-rows" rows="5" spellcheck="false">{escape(_ROWS)}</textarea>'
        '<p class="wh-tk-options"><label class="wh-button wh-strong wh-tk-file">Open a file<input type="file" '
        'id="wh-tk-rows-file" accept=".jsonl,.json,.txt"></label><button type="button" class="wh-button" '
        'id="wh-tk-rows-again">Draw other rows</button></p><p class="wh-note">What would be learned of five random '
        'rows by the first chosen tokenizer is underlined.</p><div id="wh-tk-rows-out"></div>'
    )


def _vocabulary() -> str:
    ways = "".join(f'<option value="{name}">{escape(words)}</option>' for name, (_, words) in WAYS.items())
    return (
        '<p class="wh-tk-options"><label class="wh-tk-grow"><span class="wh-tk-label">Look for</span>'
        '<input type="text" id="wh-tk-query" autocomplete="off" spellcheck="false" value="price"></label>'
        f'<label><span class="wh-tk-label">which is</span><select id="wh-tk-by">{ways}</select></label></p>'
        '<div id="wh-tk-vocabulary-out"></div>'
    )


def _score(models: Sequence[str]) -> str:
    listed = "".join(f"<option>{escape(name)}</option>" for name in models)
    if not listed:
        return (
            '<p class="wh-note">None of the models here shows its probabilities: serve one that runs on this machine, '
            "such as smollm2.</p>"
        )
    return (
        '<label class="wh-tk-label" for="wh-tk-score-text">Text</label>'
        '<textarea id="wh-tk-score-text" rows="4" spellcheck="false">The capital of France is Paris.</textarea>'
        '<p class="wh-tk-options"><label><span class="wh-tk-label">Model</span>'
        f'<select id="wh-tk-score-model">{listed}</select></label>'
        '<button type="button" class="wh-button wh-strong" id="wh-tk-score-start">Score</button>'
        '<button type="button" class="wh-button" id="wh-tk-score-stop" hidden>Stop</button></p>'
        f'<p class="wh-legend">Probability: {LEGEND}</p><div id="wh-tk-score-out"></div>'
    )


def _check() -> str:
    return (
        "<p>Does every path by which a conversation reaches the first chosen tokenizer’s model make the same of it? "
        "Texts, ids, begin tokens, loss masks and the stability of earlier turns are held against each other: template "
        "and tokenizer here, transformers, llama.cpp.</p>"
        '<p class="wh-tk-options"><button type="button" class="wh-button wh-strong" id="wh-tk-check-start">'
        "Check</button>"
        '<button type="button" class="wh-button" id="wh-tk-check-stop" hidden>Stop</button></p>'
        '<div id="wh-tk-check-out"></div>'
    )
