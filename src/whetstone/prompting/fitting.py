"""A text cut at its end so that the prompt around it stays within a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from whetstone.errors import UsageError
from whetstone.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class PromptIds:
    """A prompt as token ids.

    Attributes:
        ids: token ids, what the tokenizer puts before any text included.
        cut: characters of the item's text that were left out at its end, to stay within the limit.
    """

    ids: list[int]
    cut: int = 0


def fitted(encode: Callable[[str], list[int]], tokenizer: Tokenizer, text: str, limit: int | None) -> PromptIds:
    """A prompt in tokens, with as much of the text as fits.

    Args:
        encode: the whole prompt's token ids, given the text.
        tokenizer: what `encode` uses; it says where tokens of the text end.
        text: what may be cut.
        limit: most tokens; None for no limit.

    Raises:
        UsageError: what stands around the text is longer than the limit alone.
    """
    whole = encode(text)
    if limit is None or len(whole) <= limit:
        return PromptIds(whole)
    room = limit - len(encode(""))
    if room < 0:
        raise UsageError(
            f"question, label and examples take {len(encode('')):,} tokens alone, and the limit is {limit:,}"
        )
    offsets = tokenizer.encode(text).offsets
    for kept in range(min(room, len(offsets)), -1, -1):  # a cut word may take a token more than it had
        end = offsets[kept - 1][1] if kept else 0
        shorter = text[:end].rstrip()
        found = encode(shorter)
        if len(found) <= limit:
            return PromptIds(found, len(text) - len(shorter))
    raise UsageError(f"nothing of the item fits {limit:,} tokens")
