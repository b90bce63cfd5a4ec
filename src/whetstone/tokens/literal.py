"""Text that spells a control token stays text.

A chat template is rendered to one text, in which `<|im_end|>` written by the template and `<|im_end|>` pasted by a user
look alike. So before messages are rendered, every spelling in them is replaced by a stand-in, a private-use character:
templates trim, join and test strings, and a stand-in passes through that as the text it stands for would. What the
rendered text then spells is the template's own. Engines turn those spellings into control tokens, and the text around
them, stand-ins put back, into ids that are no control tokens.

A spelling may also come about only where a message meets the template, or another part of the message (`<|im_` and
`end|>`). So ends of texts that could be a part of a spelling get a stand-in too; `Spellings.crosses` tells whether
the rendered text really holds such a spelling.

Where a text cannot be handed over as ids, `Spellings.parted` puts a WORD JOINER (U+2060, invisible) into it instead.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from whetstone.types import Message

JOINER = "\u2060"
# How the marks of chats are written: `<|im_end|>`, `<start_of_turn>`, `</think>`, `[INST]`.
MARK = re.compile(r"<[|｜\w/].*>|\[[A-Z_/]+\]", re.DOTALL)
_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))


@dataclass(frozen=True, slots=True)
class Concealed:
    """Messages in which stand-ins took the place of spellings.

    Attributes:
        messages: to be rendered.
        meanings: the text that each stand-in, one character, stands for.
        certain: whether a message spells a whole control token; otherwise one can only come about at its ends.
    """

    messages: list[Message]
    meanings: Mapping[str, str]
    certain: bool

    def restored(self, text: str) -> str:
        """A text with the stand-ins put back to what they stand for."""
        return text.translate({ord(stand_in): meaning for stand_in, meaning in self.meanings.items()})

    def count(self, text: str) -> int:
        """Stand-ins in a text."""
        return sum(text.count(stand_in) for stand_in in self.meanings)


class Spellings:
    """The spellings of a vocabulary's control tokens.

    Tags that come in pairs (`<think>` and `</think>`, `<tool_call>` and `</tool_call>`) are what a model writes into
    its replies: in the assistant's messages they are what they are, and templates look for them there.

    Args:
        spellings: how its control tokens are written.
    """

    def __init__(self, spellings: Iterable[str]) -> None:
        self.all = tuple(sorted({text for text in spellings if text}, key=lambda text: (-len(text), text)))
        self._pattern = re.compile("|".join(map(re.escape, self.all))) if self.all else None
        self._longest = len(self.all[0]) if self.all else 0
        self._beginnings = {text[:end] for text in self.all for end in range(1, len(text))}
        self._endings = {text[start:] for text in self.all for start in range(1, len(text))}
        unpaired = [text for text in self.all if not {text, _partner(text)} <= set(self.all)]
        self._in_replies = Spellings(unpaired) if len(unpaired) < len(self.all) else self

    def split(self, text: str) -> Iterator[tuple[str, bool]]:
        """`(part, whether it is a spelling)`, in order; the parts make up the text."""
        at = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            if match.start() > at:
                yield text[at : match.start()], False
            yield match[0], True
            at = match.end()
        if at < len(text):
            yield text[at:], False

    def conceal(self, messages: Sequence[Message]) -> Concealed | None:
        """The messages with stand-ins; None when nothing in them can become a control token."""
        texts = [(text, self._of(message)) for message in messages for text in _texts(message)]
        if not any(spellings._spans(text) for text, spellings in texts):
            return None
        certain = any(spellings._spelled(text) for text, spellings in texts)
        used = set().union(*(text for text, _ in texts))
        free = (chr(code) for codes in _PRIVATE_USE for code in codes if chr(code) not in used)
        stand_ins: dict[str, str] = {}

        def changed(text: str, spellings: Spellings) -> str:
            for start, end in reversed(spellings._spans(text)):
                meaning = text[start:end]
                if meaning not in stand_ins:
                    stand_ins[meaning] = next(free)
                text = text[:start] + stand_ins[meaning] + text[end:]
            return text

        concealed = [_mapped(message, functools.partial(changed, spellings=self._of(message))) for message in messages]
        return Concealed(concealed, {stand_in: meaning for meaning, stand_in in stand_ins.items()}, certain)

    def crosses(self, rendered: str, concealed: Concealed) -> bool:
        """Whether text of a message takes part in a control token's spelling, were the rendered text read as it is.

        Args:
            rendered: what the template made of `concealed.messages`.
            concealed: the messages.
        """
        parts: list[str] = []
        foreign: list[bool] = []  # of each character, whether it is a message's
        for character in rendered:
            parts.append(concealed.meanings.get(character, character))
            foreign += [character in concealed.meanings] * len(parts[-1])
        matches = self._pattern.finditer("".join(parts)) if self._pattern else ()
        return any(any(foreign[match.start() : match.end()]) for match in matches)

    def parted(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with an invisible WORD JOINER inside every spelling, and around ends that could make up one.

        A spelling of a single character cannot be parted.
        """
        return [_mapped(message, self._of(message)._parted) for message in messages]

    def _parted(self, text: str) -> str:
        for start, end in reversed(self._spans(text)):
            part = text[start:end]
            part = part[0] + JOINER + part[1:] if part in self.all else f"{JOINER}{part}{JOINER}"
            text = text[:start] + part + text[end:]
        # A joiner may leave a shorter spelling whole.
        longer = self._pattern and any(len(match) > 1 for match in self._pattern.findall(text))
        return self._parted(text) if longer else text

    def _of(self, message: Message) -> Spellings:
        """What must stay text in a message."""
        return self._in_replies if message["role"] == "assistant" else self

    def _spelled(self, text: str) -> bool:
        return self._pattern is not None and self._pattern.search(text) is not None

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where a text is, or at its ends may become, a spelling; in order, without overlap."""
        if self._pattern is None:
            return []
        spans = [match.span() for match in self._pattern.finditer(text)]
        bare = text.strip()
        if not bare:
            return spans
        start = text.index(bare)
        end = start + len(bare)
        if len(bare) < self._longest and any(bare in spelling for spelling in self.all):
            return spans or [(start, end)]
        reach = range(min(self._longest - 1, len(bare)), 0, -1)
        first = next((start + n for n in reach if bare[:n] in self._endings), None)
        last = next((end - n for n in reach if bare[-n:] in self._beginnings), None)
        if first is not None and not (spans and spans[0][0] < first):
            spans.insert(0, (start, first))
        if last is not None and not (spans and spans[-1][1] >= end):
            spans.append((max([last, *(taken for _, taken in spans)]), end))
        return spans


def _partner(tag: str) -> str:
    """`</think>` of `<think>` and the other way round; "" of what is no such tag."""
    found = re.fullmatch(r"<(/?)(\w+)>", tag)
    return f"<{'' if found[1] else '/'}{found[2]}>" if found else ""


def _texts(message: Message) -> list[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _mapped(message, note)
    return found


def _mapped(message: Message, change: Callable[[str], str]) -> Message:
    """The message with all its texts changed: contents, reasoning, name, and the calls of tools."""
    mapped = cast("dict[str, Any]", dict(message))
    for key in ("content", "reasoning_content", "name"):
        value = mapped.get(key)
        if isinstance(value, str):
            mapped[key] = change(value)
        elif isinstance(value, list):
            mapped[key] = [
                {**part, "text": change(part["text"])} if isinstance(part.get("text"), str) else part for part in value
            ]
    if mapped.get("tool_calls"):
        mapped["tool_calls"] = [_mapped_call(call, change) for call in mapped["tool_calls"]]
    return cast("Message", mapped)


def _mapped_call(call: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    for key in ("name", "arguments"):
        if isinstance(function.get(key), str):
            function[key] = change(function[key])
    return {**call, "function": function}
