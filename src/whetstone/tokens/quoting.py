"""Strangers' text as data in a prompt: quoted line by line, without what hides in it.

A line that begins with "> " cannot end the block that it stands in, nor open another turn. Marking every line of
untrusted text so that a model can tell it from instructions: Hines et al. 2024, "Defending Against Indirect Prompt
Injection Attacks With Spotlighting". It lowers the odds that instructions in a document are followed; that they stay
inside the block does not depend on the model.
"""

from __future__ import annotations

import re
import unicodedata

from whetstone.tokens.literal import JOINER

QUOTE = "> "
# The joiners that Persian, Indic scripts and emoji are written with; every other invisible format character goes.
_WRITTEN_WITH = {"\u200c", "\u200d"}
# How chat templates spell the marks between turns. Only for endpoints, which render a prompt themselves: engines of our
# own hand a spelling over as the text that it is.
_MARKS = re.compile(
    r"<[|｜][^<>\n]{1,60}[|｜]>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask)>|<</?SYS>>|\[/?[A-Z][A-Z_]{2,30}\]"
    r"|</?(?:think|tool_call|tool_response|tools|system|user|assistant)>|<(?:start|end)_header_id>|<eot_id>",
    re.IGNORECASE,
)


def visible(text: str) -> str:
    """A text without characters that a person would not see and a model would read.

    Zero-width and bidirectional marks, tag characters (U+E0000 and on) and control characters go; every way to end a
    line becomes a line feed.
    """
    if text.isascii() and text.isprintable():
        return text
    lines = ("".join(filter(_is_visible, line)) for line in text.splitlines())
    return "\n".join(lines)


def _is_visible(character: str) -> bool:
    return character == "\t" or character in _WRITTEN_WITH or unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def quoted(text: str, *, part_marks: bool = False) -> str:
    """A text as quoted lines.

    Args:
        part_marks: put an invisible WORD JOINER into what chat templates spell their marks like.
    """
    shown = visible(text)
    if part_marks:
        shown = _MARKS.sub(lambda match: match[0][0] + JOINER + match[0][1:], shown)
    return "\n".join(QUOTE + line for line in shown.split("\n"))
