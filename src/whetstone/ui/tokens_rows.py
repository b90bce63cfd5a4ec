"""Rows of a training set as HTML: what a model would learn of them."""

from __future__ import annotations

import json
import random
from html import escape
from typing import Any

from whetstone.errors import DataError
from whetstone.tokens.chat import RenderedChat
from whetstone.tokens.spans import MEANINGS
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.training import training_row
from whetstone.ui.tokens_conversation import legend, painted
from whetstone.ui.tokens_pieces import Facts

MOST_CHARACTERS = 2_000_000  # of the rows that a page sends
SHOWN = 5


def rows_view(tokenizer: Tokenizer, text: str, seed: int) -> tuple[str, dict[str, Facts]]:
    """Five rows drawn at random, with what is learned underlined; all rows are counted.

    Args:
        tokenizer: whose template renders them.
        text: JSONL with messages, or with prompt and completion.
        seed: of the draw.

    Raises:
        DataError: a line is no such row, or nothing would be learned from one; the sentence names it.
        WhetstoneError: as `training_row`.
    """
    if len(text) > MOST_CHARACTERS:
        raise DataError(f"the rows have over {MOST_CHARACTERS:,} characters: use `whet tokens mask FILE`")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError("there are no rows: paste JSONL, one row of training data a line")
    chats = [
        (number, training_row(tokenizer, row := _row(number, line), f"line {number}"), row) for number, line in lines
    ]
    drawn = sorted(random.Random(seed).sample(range(len(chats)), min(SHOWN, len(chats))))
    html, facts, kinds = [], {}, set()
    for index in drawn:
        number, chat, row = chats[index]
        shown = painted(chat, row.get("messages") or [], f"Line {number}")
        facts[f"line {number}"] = shown.facts
        kinds |= {span.kind for span in chat.spans}
        html.append(
            f"<section><h3>Line {number}: {sum(chat.trained):,} of {len(chat.ids):,} tokens are learned</h3>"
            f'<div data-facts="line {number}">{shown.html}</div></section>'
        )
    return _summary([chat for _, chat, _ in chats], [n for n, chat, _ in chats if not any(chat.trained)]) + legend(
        [kind for kind in MEANINGS if kind in kinds], True
    ) + "".join(html), facts


def _row(number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number} is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"line {number} holds no object: a row has messages, or prompt and completion")
    return row


def _summary(chats: list[RenderedChat], empty: list[int]) -> str:
    learned, total = sum(sum(chat.trained) for chat in chats), sum(len(chat.ids) for chat in chats)
    words = (
        f"{len(chats):,} rows, {total:,} tokens, of which {learned:,} would be learned ({learned / max(1, total):.0%})."
    )
    refused = ""
    if empty:
        named = ", ".join(map(str, empty[:10])) + (", …" if len(empty) > 10 else "")
        refused = (
            f'<p class="wh-error" role="status">{escape(f"Nothing would be learned from {len(empty):,} of the rows")} '
            f"(lines {named}): there is no answer in them. Training on this file would be refused.</p>"
        )
    return f'<p class="wh-note">{words}</p>{refused}'
