"""What every character of a rendered chat is: a message's text, or what the template put around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from whetstone.tokens.tracked import runs_of

Kind = Literal[
    "content",  # what a message says
    "reasoning",  # what a model thought before it answered
    "tool_calls",  # calls that a message asks for
    "tools",  # descriptions of tools
    "documents",
    "role",  # who speaks
    "control",  # a control token that the template wrote
    "template",  # spacing and other marks of the template
    "unwritten",  # words that nobody wrote: a default system prompt, a date, instructions on tools
    "generation",  # what begins the assistant's answer
]


# What each kind is, in a few words for a legend.
MEANINGS: Mapping[str, str] = {
    "content": "what somebody said",
    "reasoning": "a thought",
    "tool_calls": "a call of a tool",
    "tools": "descriptions of tools",
    "documents": "documents",
    "role": "who speaks",
    "control": "control token",
    "template": "the template's spacing",
    "unwritten": "words that nobody wrote",
    "generation": "what begins the answer",
}


class Source(NamedTuple):
    """Which value of a conversation a text came from; `message` is its index, None for what belongs to no message."""

    kind: Kind
    message: int | None = None


class Span(NamedTuple):
    """Neighbouring characters of one kind.

    Attributes:
        start: first character.
        end: one past the last.
        kind: what they are.
        message: index of the message that they came from; None for what belongs to no message.
    """

    start: int
    end: int
    kind: Kind
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered chat.

    Attributes:
        text: the whole text.
        spans: what each character is; in order, without gaps.
        generation_blocks: (start, end) of what the template says a model is to be trained on, if it says so.
    """

    text: str
    spans: tuple[Span, ...]
    generation_blocks: tuple[tuple[int, int], ...] = ()


_ROLE = re.compile(r"\s*(system|developer|user|assistant|model|tool|ipython|human|ai|bot|function)(?=[\s:]|$)", re.I)
# What remains of the template's own words once marks such as <|end|>, [INST], <<SYS>> and "### Response:" are gone.
_MARKS = re.compile(r"<[^<>\n]{1,40}>|\[/?[A-Z_ ]{1,30}\]|^#+ [\w ]{1,30}:?$|[|<>\[\]]+", re.M)
_WORDS = re.compile(r"[^\W\d_]{2,}.*?[^\W\d_]{2,}", re.S)


def label(text: str, control: tuple[str, ...]) -> tuple[Span, ...]:
    """What each character of a tracked text is.

    Args:
        text: whose origins are `Source`s; what has none is the template's own.
        control: spellings of the vocabulary's control tokens.
    """
    spans: list[Span] = []
    position, own = 0, 0  # from `own` to `position` the template speaks
    for length, source in runs_of(text):
        if source is not None:
            if own < position:
                spans += _own(str.__getitem__(text, slice(own, position)), own, control)
            kind, message = source
            last = spans[-1] if spans else None
            if last is not None and last.end == position and last.kind == kind and last.message == message:
                spans[-1] = Span(last.start, position + length, kind, message)
            else:
                spans.append(Span(position, position + length, kind, message))
            own = position + length
        position += length
    if own < position:
        spans += _own(str.__getitem__(text, slice(own, position)), own, control)
    return tuple(spans)


def _own(text: str, offset: int, control: tuple[str, ...]) -> list[Span]:
    return [Span(offset + start, offset + end, kind) for start, end, kind in _of_template(text, control)]


@lru_cache(maxsize=4096)  # a template says the same few things between all messages
def _of_template(text: str, control: tuple[str, ...]) -> tuple[tuple[int, int, Kind], ...]:
    found: list[tuple[int, int, Kind]] = []
    position, after_control = 0, False
    pattern = control_pattern(control)
    for match in pattern.finditer(text) if pattern else ():
        found += _of_words(text, position, match.start(), after_control)
        found.append((match.start(), match.end(), "control"))
        position, after_control = match.end(), True
    return (*found, *_of_words(text, position, len(text), after_control))


def _of_words(text: str, start: int, end: int, after_control: bool) -> Iterator[tuple[int, int, Kind]]:
    role = _ROLE.match(text, start, end) if after_control else None
    if role is not None:
        yield start, role.end(), "role"
        start = role.end()
    if start < end:
        words = _WORDS.search(_MARKS.sub("", text[start:end]))
        yield start, end, "unwritten" if words else "template"


@lru_cache(maxsize=32)
def control_pattern(control: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds control tokens in a text, the longest first; None when there are none."""
    spellings = sorted({spelling for spelling in control if spelling}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spellings))) if spellings else None
