"""Buttons inside the HTML that we write ourselves. `act.js` sends what they carry to the server."""

from __future__ import annotations

from html import escape


def button(words: str, do: str, *, title: str = "", kind: str = "", disabled: bool = False, **carried: object) -> str:
    """A button.

    Args:
        words: what is written on it.
        do: the action, looked up by `ChatActions.act`; "copy", "download" and "sidebar" are done by the page.
        title: what it does, where the words do not say it; read out in their place.
        kind: an additional class.
        carried: what the action is told; names of several words are written with underscores.
    """
    data = "".join(f' data-{name.replace("_", "-")}="{escape(str(value))}"' for name, value in carried.items())
    named = f' title="{escape(title)}" aria-label="{escape(title)}"' if title else ""
    off = " disabled" if disabled else ""
    return f'<button type="button" class="wh-button {kind}" data-do="{do}"{data}{named}{off}>{escape(words)}</button>'
