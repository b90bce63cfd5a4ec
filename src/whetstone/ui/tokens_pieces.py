"""Pieces of a text as HTML: compact, since there are thousands, with what is known of each told apart from them.

Each piece is an `<i data-k="KEY">`; `tokens_page.js` shows the facts of a key beside the piece that is pointed at,
touched, or reached by arrow keys.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from whetstone.tokens.pieces import Piece, aligned, describe, visible_text
from whetstone.tokens.tokenizer import Encoding, Tokenizer

Facts = dict[str, list[tuple[str, str]]]  # key of a piece -> what is said of it: (name, value)

_CLASSES = {"control": "c", "added": "a", "bytes": "b"}
_KINDS = {
    "control": "control token",
    "added": "added token",
    "bytes": "part of a character",
    "text": "ordinary token",
}
LEGEND = "".join(
    f'<span class="wh-tk-key"><i class="{name}">{words}</i></span>'
    for name, words in (("c", "control token"), ("a", "added token"), ("b", "part of a character"))
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """HTML, and the facts of the pieces in it."""

    html: str
    facts: Facts = field(default_factory=dict)


def encoding_html(name: str, tokenizer: Tokenizer, encoding: Encoding, most: int) -> Drawn:
    """The first `most` tokens, in a box that is scrolled and walked through by arrow keys."""
    shown = describe(tokenizer, Encoding(encoding.ids[:most], encoding.offsets[:most]))
    drawn: dict[int, str] = {}
    facts: Facts = {}
    parts: list[str] = []
    for piece in shown:
        html = drawn.get(piece.id)
        if html is None:
            text = piece.shown or "∅"
            kind = _CLASSES.get(piece.kind)
            named = f' class="{kind}"' if kind else ""
            after = "<br>" if piece.bytes.endswith(b"\n") else ""
            html = drawn[piece.id] = f'<i{named} data-k="{piece.id}">{escape(text)}</i>{after}'
            facts[str(piece.id)] = _facts(piece, text)
        parts.append(html)
    count = len(encoding.ids)
    rest = (
        f'<p class="wh-note">The first {most:,} of {count:,} tokens are drawn; all are counted.</p>'
        if count > most
        else ""
    )
    return Drawn(box(f"Tokens of {name}", "".join(parts)) + rest, facts)


def box(label: str, content: str, kind: str = "") -> str:
    """A box of pieces, which takes part in the order of the Tab key once."""
    return (
        f'<div class="wh-tk-pieces {kind}" tabindex="0" role="group" '
        f'aria-label="{escape(label)}; arrow keys go from piece to piece">{content}</div>'
    )


def _facts(piece: Piece, text: str) -> list[tuple[str, str]]:
    return [
        ("token", text),
        ("id", str(piece.id)),
        ("in the vocabulary", visible_text(piece.spelling)),
        ("bytes", piece.bytes.hex(" ").upper()),
        ("kind", _KINDS[piece.kind]),
    ]


def aligned_html(text: str, encodings: Mapping[str, Encoding], most: int) -> str:
    """Tokenizers below each other, so that the same character stands in the same column.

    Args:
        text: the text of all encodings.
        encodings: name of a tokenizer -> how it cuts the text.
        most: so many characters are shown.
    """
    part = text[:most]
    kept = [_until(encoding, len(part)) for encoding in encodings.values()]
    rows = aligned(part, kept)
    cuts = sorted({0, *(n for row in rows for n, cell in enumerate(row) if cell.cut), *_line_starts(part)})
    columns: list[str] = []
    for start, end in zip(cuts, [*cuts[1:], len(part)], strict=True):
        segment = part[start:end]
        if not segment:
            continue
        shown = escape(visible_text(segment))
        if unicodedata.combining(segment[0]):
            shown = f"◌{shown}"
        cells = "".join(_cell(row[start].cut, row[start].token, row[start].tokens, shown) for row in rows)
        columns.append(f"<span>{cells}</span>{'<br>' if segment.endswith(chr(10)) else ''}")
    names = "".join(f"<li>{escape(name)}</li>" for name in encodings)
    rest = (
        f'<p class="wh-note">The first {most:,} of {len(text):,} characters are shown side by side.</p>'
        if len(text) > most
        else ""
    )
    return (
        f'<p class="wh-note">Rows from top to bottom; a bar stands where a token begins, a small number tells of how '
        f'many tokens a character is made.</p><ol class="wh-tk-names">{names}</ol>'
        f'<div class="wh-tk-aligned" tabindex="0" role="group" aria-label="Tokenizers aligned by character">'
        f"{''.join(columns)}</div>{rest}"
    )


def _line_starts(text: str) -> set[int]:
    return {n + 1 for n, character in enumerate(text) if character == "\n" and n + 1 < len(text)}


def _cell(cut: bool, token: int | None, tokens: int, shown: str) -> str:
    classes = ["n" if token is None else "eo"[token % 2]]
    if cut:
        classes.append("s")
    count = f"<sup>{tokens}</sup>" if tokens > 1 else ""
    return f'<i class="{" ".join(classes)}">{shown}{count}</i>'


def _until(encoding: Encoding, length: int) -> Encoding:
    """The tokens within the first characters; one that reaches beyond them is cut there."""
    kept = [
        (id, (start, min(end, length)))
        for id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        if start < length
    ]
    return Encoding([id for id, _ in kept], [offset for _, offset in kept])
