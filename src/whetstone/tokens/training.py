"""Rows of a training set as a model sees them: ids, and which of them it would learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whetstone.errors import DataError
from whetstone.tokens.chat import RenderedChat, render_chat
from whetstone.tokens.spans import Span
from whetstone.tokens.tokenizer import Tokenizer


def training_row(tokenizer: Tokenizer, row: Mapping[str, Any], where: str = "the row") -> RenderedChat:
    """One row, with its loss mask.

    Args:
        tokenizer: with a chat template where the row holds messages.
        row: `messages` (every answer is learned), or `prompt` and `completion`, both texts or both messages (only the
            completion is learned). After a text completion the end-of-sequence token is added, and learned.
        where: names the row in messages.

    Raises:
        DataError: the row has none of these forms.
        RequestRefusedError: the chat template refuses the messages.
        UsageError: the tokenizer has no chat template, and the row holds messages.
    """
    if isinstance(row.get("messages"), list):
        return render_chat(tokenizer, row["messages"], tools=row.get("tools"))
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return render_chat(tokenizer, [*prompt, *completion], tools=row.get("tools"), learn_from=len(prompt))
    if isinstance(prompt, str) and isinstance(completion, str):
        return _texts(tokenizer, prompt, completion)
    raise DataError(
        f"{where} holds {', '.join(map(repr, row)) or 'nothing'}; a training row holds messages, or prompt and "
        "completion"
    )


def _texts(tokenizer: Tokenizer, prompt: str, completion: str) -> RenderedChat:
    """Prompt and completion encoded apart, as they are at work: the model is given the one and writes the other."""
    first = tokenizer.encode(prompt, add_special_tokens=True)
    second = tokenizer.encode(completion)
    end = tokenizer.spelling(tokenizer.eos_id) if tokenizer.eos_id is not None else ""
    begun, said = len(prompt), len(prompt) + len(completion)
    ids, offsets = list(first.ids), list(first.offsets)
    if tokenizer.adds_eos and ids and ids[-1] == tokenizer.eos_id:
        ids.pop()
        offsets.pop()
    learned = [False] * len(ids)
    ids += second.ids
    offsets += [(begun + a, begun + b) for a, b in second.offsets]
    spans = [Span(0, begun, "content", 0), Span(begun, said, "content", 1)]
    if tokenizer.eos_id is not None:
        ids.append(tokenizer.eos_id)
        offsets.append((said, said + len(end)))
        spans.append(Span(said, said + len(end), "control"))
    learned += [True] * (len(ids) - len(learned))
    kept = tuple(span for span in spans if span.end > span.start)
    return RenderedChat(prompt + completion + end, kept, ids, offsets, learned)
