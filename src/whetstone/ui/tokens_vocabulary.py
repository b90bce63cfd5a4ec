"""A search in vocabularies as HTML."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from html import escape

from whetstone.errors import UsageError
from whetstone.tokens.pieces import visible_text
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.vocabulary import By, Entry, search

SHOWN = 200
_COUNTED = 100_000
_MARKS = {"control": "c", "added": "a", "bytes": "b"}
# No regular expressions: one that takes for ever cannot be stopped, and would hold up everybody.
WAYS: dict[str, tuple[By, str]] = {
    "text": ("text", "a part of the token"),
    "id": ("id", "ids, such as 42 or 0-16,100"),
    "bytes": ("bytes", "bytes, such as F0 9F"),
}


def found_html(tokenizers: Mapping[str, Tokenizer], query: str, by: str) -> str:
    """The tokens that a query finds, in each vocabulary.

    Raises:
        UsageError: the query cannot be read.
        RequestRefusedError: an id is out of range.
    """
    if by not in WAYS:
        raise UsageError(f"tokens are searched by {', '.join(WAYS)}, not by {by}")
    if not query:
        return '<p class="wh-note">Write what to look for.</p>'
    return "".join(_section(name, each, query, WAYS[by][0]) for name, each in tokenizers.items())


def _section(name: str, tokenizer: Tokenizer, query: str, by: By) -> str:
    found = list(itertools.islice(search(tokenizer, query, by=by), _COUNTED))
    rows = "".join(map(_row, found[:SHOWN]))
    rest = f'<p class="wh-note">The first {SHOWN} are shown.</p>' if len(found) > SHOWN else ""
    table = (
        '<div class="wh-tk-scroll"><table class="wh-tk-table"><thead><tr><th scope="col">id</th><th scope="col">token'
        '</th><th scope="col">in the vocabulary</th><th scope="col">bytes</th><th scope="col">kind</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{rest}"
        if found
        else ""
    )
    words = "token" if len(found) == 1 else "tokens"
    return (
        f'<section data-name="{escape(name)}"><h3>{escape(name)}</h3>'
        f'<p class="wh-note"><b class="wh-tk-count">{len(found):,}</b> {words} found</p>{table}</section>'
    )


def _row(entry: Entry) -> str:
    mark = _MARKS.get(entry.kind, "")
    kind = "" if entry.kind == "text" else "part of a character" if entry.kind == "bytes" else f"{entry.kind} token"
    return (
        f'<tr><th scope="row">{entry.id}</th><td><i class="wh-tk-one {mark}">{escape(entry.shown) or "∅"}</i></td>'
        f"<td>{escape(visible_text(entry.spelling))}</td><td>{entry.bytes.hex(' ').upper()}</td><td>{kind}</td></tr>"
    )
