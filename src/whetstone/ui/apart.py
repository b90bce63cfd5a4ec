"""What the workbench says of encoder-decoder models (T5 and its kin): why there is no chat, and what they cannot do."""

from __future__ import annotations

from html import escape

from whetstone.prompting.families import family_of
from whetstone.tasks import Card

_FAMILIES = ("t5", "bart")


def is_apart(spec: str) -> bool:
    """Whether a spec names an encoder-decoder, as far as can be told before it is loaded."""
    return family_of(spec) in _FAMILIES


def why_no_chat(name: str) -> str:
    """Why there is no chat with an encoder-decoder, and where it is asked instead.

    Args:
        name: of the model.
    """
    return f"{_what_it_is(name)} The Tasks tab asks it."


def apart_html(name: str, card: Card) -> str:
    """What an encoder-decoder is, and whether it can do a card.

    Args:
        name: of the model.
    """
    said = f"{_what_it_is(name)} Here it is asked once about each text, in words that suit its kind."
    html = f'<p class="wh-note">{escape(said)}</p>'
    if card.file.not_encoder_decoder:
        cannot = f"{name} cannot do {card.name}: {card.file.not_encoder_decoder}. Choose a chat model."
        html += f'<p class="wh-error">{escape(cannot)}</p>'
    return html


def _what_it_is(name: str) -> str:
    return (
        f"{name} is an encoder-decoder, as T5 is: it reads one text as a whole and writes one answer to it. It was "
        "trained on no conversations and has no chat template, so there is no chat with it."
    )
