"""What opens below a turn: an edit, the exact prompt with its figures, the probabilities of the tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from whetstone.types import TokenLogprob, Turn, text_of
from whetstone.ui.controls import button

# Bounds of the five steps of colour. Each step has a background in style.css on which its text can be read.
STEPS = (0.1, 0.3, 0.6, 0.9)


def edit_panel(turn: Turn) -> str:
    """A field with what was said, to say it differently."""
    text = text_of(turn.message)
    return (
        '<div class="wh-panel"><label>Another version of this message'
        f'<textarea data-field="text" rows="{min(10, text.count(chr(10)) + 2)}" data-focus>{escape(text)}</textarea>'
        f"</label>{button('Send', 'edit', turn=turn.id, kind='wh-strong')}{_close(turn)}</div>"
    )


def prompt_panel(turn: Turn, prompt: str) -> str:
    """The text that went into the model, and what is known of the answer."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(turn))
    return (
        f'<div class="wh-panel" tabindex="-1" data-focus><dl class="wh-facts">{rows}</dl>'
        f'<pre class="wh-prompt" tabindex="0" aria-label="The exact prompt">{escape(prompt)}</pre>'
        f"{button('Copy the prompt', 'copy', what='prompt')}{_close(turn)}</div>"
    )


def facts(turn: Turn) -> list[tuple[str, str]]:
    """Where an answer came from and what it took, as names and words; unknown things are left out."""
    origin = turn.origin
    if origin is None:
        return []
    usage = origin.usage
    options = origin.options.model_dump(exclude_defaults=True, mode="json")
    generating = origin.seconds - (origin.first_token_seconds or 0.0)
    listed = [
        ("model", origin.model.spec),
        ("engine", origin.model.engine),
        ("revision", origin.model.revision),
        ("system prompt", "" if origin.system is None else f"its own: {origin.system or 'none'}"),
        ("options", ", ".join(f"{name} {value}" for name, value in options.items()) or "the engine's own"),
        ("prompt", f"{usage.prompt_tokens:,} tokens" if usage.prompt_tokens else ""),
        ("of these from cache", f"{usage.cached_tokens:,} tokens" if usage.cached_tokens else ""),
        ("answer", f"{usage.completion_tokens:,} tokens" if usage.completion_tokens else ""),
        ("time", f"{origin.seconds:.2f} s" if origin.seconds else ""),
        ("to the first token", "" if origin.first_token_seconds is None else f"{origin.first_token_seconds:.2f} s"),
        (
            "speed",
            f"{usage.completion_tokens / generating:.1f} tokens/s"
            if usage.completion_tokens and generating > 0
            else "",
        ),
        ("cost", "" if origin.cost is None else f"${origin.cost:.6f}"),
        ("ended by", origin.finish_reason or "being cut off"),
        ("prompt hash", origin.prompt_hash),
    ]
    return [(name, value) for name, value in listed if value]


def tokens_panel(turn: Turn, tokens: Sequence[TokenLogprob], prefix: str, chosen: int | None, *, busy: bool) -> str:
    """The tokens of an answer, coloured by probability.

    Args:
        tokens: those that the engine told, in order; none when it was not asked.
        prefix: text before the first of them, which the model was given.
        chosen: index of the token whose alternatives are shown.
    """
    if not tokens:
        ask = button(
            "Answer again with probabilities", "retry", turn=turn.id, tokens=1, kind="wh-strong", disabled=busy
        )
        return (
            '<div class="wh-panel" tabindex="-1" data-focus><p>No probabilities are known of this answer: they are '
            "kept while the server runs, when they were asked for and the engine gives them.</p>"
            f"{ask}{_close(turn)}</div>"
        )
    spans = "".join(_token(turn, index, token, index == chosen) for index, token in enumerate(tokens))
    given = f'<span class="wh-given">{escape(prefix)}</span>' if prefix else ""
    alternatives = "" if chosen is None else _alternatives(turn, tokens, prefix, chosen, busy)
    legend = "".join(f'<span class="wh-token wh-p{step}">{words}</span>' for step, words in enumerate(_LEGEND))
    return (
        f'<div class="wh-panel" tabindex="-1" data-focus><p class="wh-legend">Probability: {legend}</p>'
        f'<div class="wh-tokens" role="group" aria-label="Tokens of the answer">{given}{spans}</div>'
        f"{alternatives}{_close(turn)}</div>"
    )


def text_before(turn: Turn, tokens: Sequence[TokenLogprob], prefix: str, index: int) -> str | None:
    """The answer's text up to a token; None where the tokens do not spell it (one of them is part of a character)."""
    before = prefix + "".join(token.text for token in tokens[:index])
    return before if text_of(turn.message).startswith(before) else None


def probability_step(logprob: float) -> int:
    """Which of the five colours, 0 for the least probable."""
    probability = math.exp(min(0.0, logprob))
    return sum(probability >= bound for bound in STEPS)


_LEGEND = ("under 10%", "10 to 30%", "30 to 60%", "60 to 90%", "over 90%")


def _token(turn: Turn, index: int, token: TokenLogprob, pressed: bool) -> str:
    percent = _percent(token.logprob)
    named = escape(f"{token.text.strip() or 'space'}, {percent}")
    return (
        f'<button type="button" class="wh-token wh-p{probability_step(token.logprob)}" data-do="panel" '
        f'data-panel="tokens" data-turn="{escape(turn.id)}" data-index="{index}" aria-pressed="{str(pressed).lower()}" '
        f'title="{percent}" aria-label="{named}">{_visible(token.text)}</button>'
    )


def _alternatives(turn: Turn, tokens: Sequence[TokenLogprob], prefix: str, chosen: int, busy: bool) -> str:
    if not 0 <= chosen < len(tokens):
        return ""
    token = tokens[chosen]
    before = text_before(turn, tokens, prefix, chosen)
    usable = before is not None and not busy
    buttons = "".join(
        f"<li>{_choice(turn, chosen, number, text, usable and bool(text) and '�' not in text)}"
        f'<span class="wh-share"><i style="width:{100 * math.exp(min(0.0, logprob)):.1f}%"></i></span>'
        f"<span>{_percent(logprob)}</span></li>"
        for number, (text, logprob) in enumerate(token.top)
    )
    note = "" if before is not None else "<p>This token is part of a character: the answer cannot go on from here.</p>"
    listed = f"<ol>{buttons}</ol>" if buttons else "<p>The engine named no alternatives.</p>"
    words = f"Instead of “{_visible(token.text)}”, go on with:"
    return f'<div class="wh-alternatives" role="group" aria-label="Alternatives"><p>{words}</p>{listed}{note}</div>'


def _choice(turn: Turn, index: int, number: int, text: str, usable: bool) -> str:
    off = "" if usable else " disabled"
    return (
        f'<button type="button" class="wh-button" data-do="continue" data-turn="{escape(turn.id)}" '
        f'data-index="{index}" data-choice="{number}"{off}>{_visible(text) or "the end"}</button>'
    )


def _visible(text: str) -> str:
    """Escaped, with line breaks and tabs drawn: a token that is only white space must be seen."""
    return escape(text).replace("\n", "⏎\n").replace("\t", "⇥")


def _percent(logprob: float) -> str:
    probability = math.exp(min(0.0, logprob))
    return f"{probability:.1%}" if probability >= 0.001 else "under 0.1%"


def _close(turn: Turn) -> str:
    return button("Close", "panel", panel="", turn=turn.id)
