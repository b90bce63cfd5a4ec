"""A text under several tokenizers: its pieces, counts, and the tokenizers aligned. Called at every pause in typing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from whetstone.errors import UsageError
from whetstone.tokens.pieces import visible_text
from whetstone.tokens.tokenizer import Encoding, Tokenizer
from whetstone.tokens.tokenizer_roundtrip import RoundTrip, round_trips
from whetstone.ui.tokens_pieces import LEGEND, Drawn, Facts, aligned_html, encoding_html

MOST_CHARACTERS = 200_000  # of a text that is counted while it is typed
DRAWN = 3_000  # pieces of each tokenizer
ALIGNED = 600  # characters
_COMPARED = 1_000  # characters up to which it is told how decoding changes a text


def text_view(
    tokenizers: Mapping[str, Tokenizer], text: str, *, special: bool = False, add_special_tokens: bool = False
) -> tuple[list[str], dict[str, Facts]]:
    """Parts of HTML, the counts first, which the page draws one after the other; and for each tokenizer the facts of
    its tokens.

    Args:
        tokenizers: by the names that are shown.
        text: the text.
        special: whether spellings of control tokens become these tokens.
        add_special_tokens: whether to add what a tokenizer puts around texts.

    Raises:
        UsageError: the text is too long to be counted while it is typed.
        RequestRefusedError: the text holds a lone surrogate.
    """
    if len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"the text has {len(text):,} characters; at most {MOST_CHARACTERS:,} are counted here: "
            "`whet tokens corpus FILE` counts any number"
        )
    encodings = {
        name: tokenizer.encode(text, special=special, add_special_tokens=add_special_tokens)
        for name, tokenizer in tokenizers.items()
    }
    rows = "".join(_row(name, tokenizers[name], text, encoding, special) for name, encoding in encodings.items())
    drawn = {name: encoding_html(name, tokenizers[name], encoding, DRAWN) for name, encoding in encodings.items()}
    sections = [_section(name, tokenizers[name], text, part, special) for name, part in drawn.items()]
    together = ""
    if len(encodings) > 1 and text:
        plain = (
            encodings if not add_special_tokens else {n: t.encode(text, special=special) for n, t in tokenizers.items()}
        )
        together = f"<section><h3>Side by side</h3>{aligned_html(text, plain, ALIGNED)}</section>"
    parts = [f"{_sizes(text)}{_table(rows)}", *sections, _legend("".join(sections)), together]
    return parts, {name: part.facts for name, part in drawn.items()}


def _sizes(text: str) -> str:
    words = len(text.split())
    size = len(text.encode())
    return f'<p class="wh-note">{len(text):,} characters, {words:,} words, {size:,} bytes</p>'


def _table(rows: str) -> str:
    return (
        '<div class="wh-tk-scroll"><table class="wh-tk-table"><thead><tr><th scope="col">tokenizer</th>'
        '<th scope="col">tokens</th><th scope="col">per word</th><th scope="col">per character</th>'
        '<th scope="col">decoded again</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(name: str, tokenizer: Tokenizer, text: str, encoding: Encoding, special: bool) -> str:
    count, words = len(encoding.ids), len(text.split())
    return (
        f'<tr data-name="{escape(name)}"><th scope="row">{escape(name)}</th><td class="wh-tk-count">{count:,}</td>'
        f"<td>{_ratio(count, words)}</td><td>{_ratio(count, len(text))}</td>"
        f'<td class="wh-tk-words">{escape(_round_trip(tokenizer, text, special))}</td></tr>'
    )


def _ratio(count: int, of: int) -> str:
    return f"{count / of:.2f}" if of else "–"


def _round_trip(tokenizer: Tokenizer, text: str, special: bool) -> str:
    """Whether the text comes back; where it does not, what changes, in a few words."""
    if len(text) > _COMPARED:
        ids = tokenizer.encode(text, special=special).ids
        return "the same" if tokenizer.decode(ids) == text else "another text"
    return _told(round_trips(tokenizer, text, special=special))


def _told(trip: RoundTrip) -> str:
    if trip.exact:
        return "the same"
    first = trip.changes[0]
    before, after = (visible_text(part[:12]) or "nothing" for part in (first.before, first.after))
    why = f" ({', '.join(trip.reasons)})" if trip.reasons else ""
    return f"another text{why}: at character {first.start} {before} becomes {after}"


def _section(name: str, tokenizer: Tokenizer, text: str, drawn: Drawn, special: bool) -> str:
    note = ""
    if not special and any(spelling in text for spelling in tokenizer.control):
        note = (
            '<p class="wh-note">The text spells a control token, which is text here, as it is in a chat; tick '
            "“control tokens” to make tokens of such spellings.</p>"
        )
    body = drawn.html if drawn.facts else '<p class="wh-note">No tokens yet.</p>'
    return f'<section data-facts="{escape(name)}"><h3>{escape(name)}</h3>{body}{note}</section>'


def _legend(sections: str) -> str:
    return f'<p class="wh-tk-legend">{LEGEND}</p>' if '<i class="' in sections else ""
