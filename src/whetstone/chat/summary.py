"""Summaries of turns that do not fit any more, written by the model, and continued instead of begun again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from whetstone.errors import BadReplyError
from whetstone.models import GREEDY, ChatModel, TokenizingModel, reply
from whetstone.types import Message, text_of, user

_INSTRUCTION = """\
Below is a part of a conversation{before}. Write down, in at most {words} words and as plain statements, what \
somebody who goes on with it must know: names, numbers, wishes, decisions, open questions. Write in the language of \
the conversation.

{text}"""


class Summaries:
    """Summaries by what they stand for. A longer stretch that begins with a known one is summed up from there."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def summarise(self, model: ChatModel, messages: Sequence[Message], tokens: int, limit: int) -> str:
        """A summary of at most so many tokens.

        Args:
            messages: what is to be summed up, in order. Read in several steps when it is longer than the context.
            tokens: most tokens of the summary.
            limit: tokens that the model's context holds.

        Raises:
            BadReplyError: the model writes nothing.
            ModelError: the model fails.
        """
        lines = [_line(message) for message in messages]
        keys = [self._key(model, lines[:count]) for count in range(len(lines) + 1)]
        done = max((count for count, key in enumerate(keys) if key in self._known), default=0)
        summary = self._known.get(keys[done], "")
        # A third of the context for what is read at a time: the instruction, the old and the new summary need room too.
        for count, step in _steps(model, lines[done:], max(32, limit // 3)):
            summary = self._continue(model, summary, step, tokens)
            self._known[keys[done + count]] = summary
        return summary

    def _continue(self, model: ChatModel, summary: str, text: str, tokens: int) -> str:
        before = f", which began like this: {summary}" if summary else ""
        asked = _INSTRUCTION.format(before=before, words=max(10, tokens // 2), text=text)
        told = reply(model, [user(asked)], GREEDY.model_copy(update={"max_tokens": tokens})).text.strip()
        if not told:
            raise BadReplyError(f"{model.identity.spec} wrote an empty summary; drop the oldest turns instead")
        return told

    def _key(self, model: ChatModel, lines: Sequence[str]) -> str:
        return hashlib.sha256(json.dumps([model.identity.spec, *lines]).encode()).hexdigest()


def _line(message: Message) -> str:
    calls = "".join(f" [calls {call['function']['name']}]" for call in message.get("tool_calls", ()))
    return f"{message['role']}: {text_of(message)}{calls}"


def _steps(model: ChatModel, lines: Sequence[str], most: int) -> list[tuple[int, str]]:
    """`(lines done after it, text)` of stretches of at most `most` tokens; a longer line is cut into several."""
    steps: list[tuple[int, str]] = []
    waiting: list[str] = []
    size = 0
    for number, line in enumerate(lines):
        for piece in _pieces(model, line, most):
            length = _length(model, piece)
            if waiting and size + length > most:
                steps.append((number, "\n".join(waiting)))
                waiting, size = [], 0
            waiting.append(piece)
            size += length
    if waiting:
        steps.append((len(lines), "\n".join(waiting)))
    return steps


def _pieces(model: ChatModel, line: str, most: int) -> list[str]:
    length = _length(model, line)
    if length <= most:
        return [line]
    width = max(1, len(line) * most // (length + 1))
    return [line[start : start + width] for start in range(0, len(line), width)]


def _length(model: ChatModel, text: str) -> int:
    return len(model.encode(text)) if isinstance(model, TokenizingModel) else len(text) // 4 + 1
