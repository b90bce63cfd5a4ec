"""What is so of tokenizers whatever the text: how they cut prices, what vocabularies share, which texts are dear."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from html import escape
from weakref import WeakKeyDictionary

from whetstone.tokens.compare import PRICES, Dearness, cut_prices, dearness
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.tokenizer_habits import boundary_habit, digit_habit
from whetstone.tokens.vocabulary import byte_set, overlap


class VocabularySets:
    """What the tokens of tokenizers stand for, each worked out once, since it takes up to a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[Tokenizer, frozenset[bytes]] = WeakKeyDictionary()

    def of(self, tokenizer: Tokenizer) -> frozenset[bytes]:
        """The `byte_set` of a tokenizer."""
        with self._lock:
            found = self._known.get(tokenizer)
            if found is None:
                found = self._known[tokenizer] = byte_set(tokenizer)
            return found


def facts_html(tokenizers: Mapping[str, Tokenizer], sets: VocabularySets) -> str:
    """Tables on tokenizers, by the names that are shown."""
    parts = [_habits(tokenizers), _prices(tokenizers), _dearness(tokenizers)]
    if len(tokenizers) > 1:
        parts.append(_overlaps(tokenizers, sets))
    return "".join(parts)


def table(head: list[str], rows: list[tuple[str, list[str]]]) -> str:
    """A table of words; everything in it is escaped here."""
    top = "".join(f'<th scope="col">{escape(words)}</th>' for words in head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, cells in rows
    )
    return (
        f'<div class="wh-tk-scroll"><table class="wh-tk-table"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _habits(tokenizers: Mapping[str, Tokenizer]) -> str:
    rows = [
        (
            name,
            [
                f"{each.vocab_size:,}",
                each.kind,
                str(digit_habit(each)),
                boundary_habit(each),
                "yes" if each.template else "none",
            ],
        )
        for name, each in tokenizers.items()
    ]
    head = ["tokenizer", "vocabulary", "read from", "numbers are cut", "around a text", "chat template"]
    return f"<section><h3>Habits</h3>{table(head, rows)}</section>"


def _prices(tokenizers: Mapping[str, Tokenizer]) -> str:
    rows = []
    for name, each in tokenizers.items():
        cut = cut_prices(each)
        cells = "".join(
            f"<td>{''.join(f'<i>{escape(part)}</i>' for part in cut[price])} <small>{len(cut[price])}</small></td>"
            for price in PRICES
        )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(price)}</th>' for price in PRICES)
    return (
        '<section><h3>How prices are cut</h3><div class="wh-tk-scroll"><table class="wh-tk-table wh-tk-prices">'
        f'<thead><tr><th scope="col">tokenizer</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        "</section>"
    )


def _dearness(tokenizers: Mapping[str, Tokenizer]) -> str:
    found: dict[str, list[Dearness]] = {name: dearness(each) for name, each in tokenizers.items()}
    head = ["tokenizer", *(each.language for each in next(iter(found.values()), []))]
    rows = [(name, [f"{each.ratio:.2f}" for each in dear]) for name, dear in found.items()]
    return (
        "<section><h3>How dear languages are</h3>"
        '<p class="wh-note">Tokens for the same sentences, English being 1; for code, tokens per character.</p>'
        f"{table(head, rows)}</section>"
    )


def _overlaps(tokenizers: Mapping[str, Tokenizer], sets: VocabularySets) -> str:
    known = {name: sets.of(each) for name, each in tokenizers.items()}
    rows = []
    for name, own in known.items():
        cells = []
        for other, theirs in known.items():
            shared = overlap(own, theirs)
            cells.append("" if other == name else f"{shared.common / max(1, shared.first):.0%} ({shared.common:,})")
        rows.append((name, cells))
    return (
        "<section><h3>What vocabularies share</h3>"
        '<p class="wh-note">The share of the row’s tokens that the column has too, and how many these are.</p>'
        f"{table(['tokenizer', *known], rows)}</section>"
    )
