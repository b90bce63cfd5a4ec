"""What the page says above the message field: what went wrong, and what to choose."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whetstone.chat.context import DoesNotFitError
from whetstone.types import Message, text_of
from whetstone.ui.controls import button

_LISTED = 12  # dropped messages that are listed; the rest is counted
_EXCERPT = 90


def said(words: str) -> str:
    """A remark."""
    return f'<p class="wh-said" role="status">{escape(words)}</p>'


def failed(words: str, *, again: bool) -> str:
    """Something could not be done; `again` offers to try it once more."""
    offer = button("Try again", "again", kind="wh-strong") if again else ""
    return f'<p class="wh-error" role="alert">{escape(words)} {offer}{button("Dismiss", "dismiss")}</p>'


def does_not_fit(error: DoesNotFitError, messages: Sequence[Message]) -> str:
    """The conversation does not fit: which messages would be dropped, and the choice.

    Args:
        messages: those that the error's indices point into.
    """
    use = error.use
    start = (
        f"This does not fit: {use.used:,} tokens of prompt and {use.reply:,} reserved for the reply, but the model "
        f"holds {use.limit or 0:,}."
    )
    if not error.would_drop:
        words = f"{start} Dropping earlier turns would not help: shorten the message or choose another model."
        return f'<div class="wh-error" role="alert"><p>{escape(words)}</p>{button("Dismiss", "dismiss")}</div>'
    listed = "".join(f"<li>{_excerpt(messages[index])}</li>" for index in error.would_drop[:_LISTED])
    rest = len(error.would_drop) - _LISTED
    more = f"<li>and {rest} more</li>" if rest > 0 else ""
    count = len(error.would_drop)
    return (
        f'<div class="wh-error wh-choice" role="alertdialog" aria-label="The conversation does not fit">'
        f"<p>{escape(start)} These {count} oldest messages could be left out; they stay in the conversation:</p>"
        f"<ul>{listed}{more}</ul>"
        f'<button type="button" class="wh-button wh-strong" data-do="again" data-overflow="drop_oldest" data-focus>'
        f"Leave them out</button>{button('Summarise them', 'again', overflow='summarise')}{button('Cancel', 'dismiss')}"
        "</div>"
    )


def _excerpt(message: Message) -> str:
    who = {"user": "You", "assistant": "Answer"}.get(message["role"], message["role"])
    words = " ".join(text_of(message).split())
    shown = words if len(words) <= _EXCERPT else f"{words[:_EXCERPT]}…"
    return f"<b>{escape(who)}:</b> {escape(shown)}"
