"""The fields of the Tasks tab, as plain HTML: which card, which model, and what the card takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from whetstone.errors import UsageError
from whetstone.tasks import Card, Input
from whetstone.tasks.languages import LANGUAGES
from whetstone.types import Options
from whetstone.ui.asked import Asked
from whetstone.ui.lab_form import listed, number_field, views_html

VIEWS = (("do", "Do it"), ("cases", "Cases"))
ACCEPT = ".txt,.md,.log,.srt,.vtt,.py,.sql,.tex,.rst,.pdf,.docx,.pptx,.xlsx,.html,.htm,.epub,.rtf,.odt"
_MOST_SHOTS = 8
_NUMBERS = {"temperature": "Temperature", "max_tokens": "Most tokens of a reply", "seed": "Seed"}


def form_html(models: Sequence[str], cards: Iterable[Card]) -> str:
    """The whole tab before anything was done.

    Args:
        models: names of the models that may be asked.
        cards: that are offered.
    """
    chosen = listed("wh-ta-card", "Task", [(card.name, card.title) for card in cards])
    model = listed("wh-ta-model", "Model", [(name, name) for name in models])
    languages = "".join(f'<option value="{escape(language.name)}"></option>' for language in LANGUAGES)
    do = (
        '<div id="wh-ta-about"></div><div id="wh-ta-apart" role="status"></div>'
        '<div id="wh-ta-form"></div>'
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-lab-go" id="wh-ta-go">Do it</button>'
        '<button type="button" class="wh-button wh-danger" id="wh-ta-stop" hidden>Stop</button>'
        '<span class="wh-note">Ctrl + Enter does it too.</span></p><div id="wh-ta-out"></div>'
    )
    cases = '<div id="wh-ta-cases"><p class="wh-note" role="status">Looking …</p></div>'
    return views_html(
        "wh-ta",
        "Tasks",
        VIEWS,
        {"do": do, "cases": cases},
        above=f'<p class="wh-lab-options" id="wh-ta-chosen">{chosen}{model}</p>'
        f'<datalist id="wh-ta-languages">{languages}</datalist>',
    )


def about_html(card: Card, source: str) -> str:
    """What a card does, and what is known to go wrong.

    Args:
        source: how the command line names it.
    """
    failures = "".join(f"<li>{escape(failure)}</li>" for failure in card.file.known_failures)
    count = len(card.cases())
    scored = (
        f"Scored by <code>{escape(card.file.metric)}</code> on "
        f'<button type="button" class="wh-lab-link" data-cases>its {count} cases</button>; '
        f"to compare models on them: <code>whet compare {escape(source)} -m MODEL -m MODEL</code>"
        if count
        else "It has no cases yet, which its file cases.jsonl would hold; models and prompts are compared on them."
    )
    return (
        f'<p class="wh-ta-says">{escape(card.file.description)}</p>'
        f'<details id="wh-ta-failures" open><summary>Known failures ({len(card.file.known_failures)})</summary>'
        f'<ul class="wh-lab-notes">{failures}</ul></details>'
        f'<p class="wh-note">{scored}</p>'
    )


def inputs_html(card: Card, *, run_code: bool) -> str:
    """A field for each of a card's inputs, the main one first, and how the model is asked.

    Args:
        run_code: code may be run.
    """
    main = card.input(card.file.main)
    small = [one for one in card.inputs if one is not main and not _is_long(one)]
    long = [one for one in card.inputs if one is not main and _is_long(one)]
    fields = "".join(_small(one) for one in small)
    return (
        f"{_main(main)}{f'<div class=wh-ta-grid>{fields}</div>' if fields else ''}"
        f"{''.join(_long(one) for one in long)}{_asked_how(card, run_code)}"
    )


def _is_long(one: Input) -> bool:
    return one.type in ("text", "list", "glossary")


def _field(one: Input) -> str:
    """The attributes that every field of an input has."""
    needed = " required" if one.required else ""
    return f'id="wh-ta-in-{one.name}" data-input="{one.name}" aria-describedby="wh-ta-says-{one.name}"{needed}'


def _says(one: Input, more: str = "") -> str:
    words = f"{one.description[0].upper()}{one.description[1:]}{more}"
    return f'<small class="wh-ta-hint" id="wh-ta-says-{one.name}">{escape(words)}.</small>'


def _label(one: Input) -> str:
    needed = " <em>needed</em>" if one.required else ""
    return f'<label class="wh-lab-label" for="wh-ta-in-{one.name}">{escape(one.label)}{needed}</label>'


def _main(one: Input) -> str:
    return (
        f'<div class="wh-ta-field">{_label(one)}<textarea {_field(one)} rows="8" dir="auto"></textarea>'
        f'<div class="wh-ta-below">{_says(one)}<span class="wh-note" id="wh-ta-length" role="status"></span>'
        f'<label class="wh-button wh-strong wh-lab-file">Read a file<input type="file" id="wh-ta-file" '
        f'accept="{ACCEPT}"></label></div></div>'
    )


def _small(one: Input) -> str:
    if one.type == "choice":
        options = "".join(
            f"<option{' selected' if choice == one.unsaid else ''}>{escape(choice)}</option>" for choice in one.choices
        )
        field = f"<select {_field(one)}>{options}</select>"
    elif one.type == "language":
        field = (
            f'<input type="text" {_field(one)} list="wh-ta-languages" autocomplete="off" spellcheck="false" '
            'placeholder="Korean, de, …">'
        )
    else:
        bounds = " to ".join(f"{bound:,}" for bound in (one.least, one.most) if bound is not None)
        value = "" if one.default is None else str(one.default)
        field = (
            f'<input type="text" inputmode="numeric" {_field(one)} value="{escape(value)}" '
            f'placeholder="{escape(bounds)}" autocomplete="off">'
        )
    return f'<div class="wh-ta-field">{_label(one)}{field}{_says(one)}</div>'


def _long(one: Input) -> str:
    more = {"list": "; with commas or line ends between", "glossary": "; each as term=translation, in a line"}
    value = ", ".join(one.default) if isinstance(one.default, list | tuple) else str(one.default or "")
    return (
        f'<div class="wh-ta-field">{_label(one)}<textarea {_field(one)} rows="2" dir="auto">{escape(value)}</textarea>'
        f"{_says(one, more.get(one.type, ''))}</div>"
    )


def _asked_how(card: Card, run_code: bool) -> str:
    options = card.file.options
    usual = {"temperature": options.temperature, "max_tokens": options.max_tokens, "seed": options.seed}
    numbers = "".join(
        number_field(f"wh-ta-{name}", words, "by its length" if usual[name] is None else f"{usual[name]:g}")
        for name, words in _NUMBERS.items()
    )
    most = min(_MOST_SHOTS, len(card.cases("train")))
    shots = listed("wh-ta-shots", "Solved cases shown first", [(str(n), str(n)) for n in range(most + 1)])
    parts = "" if card.file.beyond == "refuse" else number_field("wh-ta-part_tokens", "Tokens of a part", "as they fit")
    run = (
        '<label class="wh-lab-check"><input type="checkbox" id="wh-ta-run"> run it, contained</label>'
        f"{number_field('wh-ta-repairs', 'Repairs, at most', '2')}"
        if card.output == "code" and run_code
        else ""
    )
    return (
        f"{f'<p class=wh-lab-options>{run}</p>' if run else ''}"
        '<details id="wh-ta-how"><summary>How the model is asked</summary>'
        f'<p class="wh-lab-options">{shots}{numbers}{parts}</p></details>'
    )


def asked_inputs(card: Card, asked: Asked) -> dict[str, Any]:
    """What the fields of a card hold, read and checked.

    Raises:
        UsageError: a field holds what cannot be meant; the sentence names it.
    """
    fields = asked.get("inputs")
    given: Mapping[str, Any] = fields if isinstance(fields, Mapping) else {}
    values: dict[str, Any] = {}
    for one in card.inputs:
        said = given.get(one.name)
        if isinstance(said, str) and said.strip():
            values[one.name] = one.read(said if one.type == "text" else said.strip())
    card.check(values)
    return values


def asked_options(asked: Asked) -> Options:
    """How the model is to be asked.

    Raises:
        UsageError: a field holds no number, or one that is out of range.
    """
    temperature = _number(asked, "temperature", _NUMBERS["temperature"], whole=False)
    most, seed = (_number(asked, name, _NUMBERS[name]) for name in ("max_tokens", "seed"))
    if temperature is not None and not 0 <= temperature <= 5:
        raise UsageError(f"Temperature: {temperature:g} is not between 0 and 5")
    if most is not None and most < 1:
        raise UsageError(f"{_NUMBERS['max_tokens']}: {most:g} is less than 1")
    given = {"temperature": temperature, "max_tokens": most, "seed": seed}
    return Options.model_validate({name: value for name, value in given.items() if value is not None})


def asked_count(asked: Asked, name: str, words: str, usual: int) -> int:
    """A number from 0 up.

    Raises:
        UsageError: the field holds something else.
    """
    value = _number(asked, name, words)
    if value is not None and value < 0:
        raise UsageError(f"{words}: {value:g} is less than 0")
    return usual if value is None else int(value)


def _number(asked: Asked, name: str, words: str, *, whole: bool = True) -> float | None:
    text = str(asked.get(name) or "").strip()
    if not text:
        return None
    try:
        return int(text) if whole else float(text.replace(",", "."))
    except ValueError:
        raise UsageError(f"{words}: {text[:40]!r} is no {'whole ' if whole else ''}number") from None
