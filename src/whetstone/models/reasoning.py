"""What a model thinks before it answers, taken apart from the answer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Generator, Iterator

from whetstone.types import Chunk, Reply

_OPENING = re.compile(r"\s*<(think|thinking)>\s*")
_BEGINS = re.compile(r"\s*(<(t(h(i(n(k(i(n(g)?)?)?)?)?)?)?)?)?$")  # perhaps the beginning of `_OPENING`
_TAGS = ("think", "thinking")


def opens_reasoning(prompt: str) -> bool:
    """Whether a rendered prompt ends inside a block that its template has opened."""
    return bool(closing_tag(prompt))


def closing_tag(prompt: str) -> str:
    """What ends the block that a rendered prompt ends inside; "" where it ends in none."""
    ending = prompt.rstrip()
    return next((f"</{tag}>" for tag in _TAGS if ending.endswith(f"<{tag}>")), "")


def separate_reasoning(chunks: Iterator[Chunk], *, starts_inside: bool = False) -> Generator[Chunk]:
    """The chunks with a `<think>` or `<thinking>` block at the beginning of the text moved to `Chunk.reasoning`.

    The tags, and the whitespace around the block and just inside it, go away. A block that is never closed is reasoning
    to its end. Log-probabilities stay with the chunk they came with, those of the tags included. Closing the iterator
    closes `chunks`.

    Args:
        chunks: a reply.
        starts_inside: the prompt has opened the block already.
    """
    separator = _Separator(starts_inside)
    try:
        for chunk in chunks:
            if separator.passes:
                yield chunk
                continue
            text, reasoning = separator.feed(chunk.text)
            if chunk.finish_reason is not None:
                rest = separator.finish()
                text, reasoning = text + rest[0], reasoning + rest[1]
            separated = dataclasses.replace(chunk, text=text, reasoning=chunk.reasoning + reasoning)
            if separated != Chunk():
                yield separated
        text, reasoning = separator.finish()
        if text or reasoning:
            yield Chunk(text=text, reasoning=reasoning)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def separate_reply(reply: Reply, *, starts_inside: bool = False) -> Reply:
    """A finished reply with its block moved to `Reply.reasoning`, as `separate_reasoning` does."""
    separator = _Separator(starts_inside)
    text, reasoning = separator.feed(reply.text)
    rest = separator.finish()
    return dataclasses.replace(reply, text=text + rest[0], reasoning=reply.reasoning + reasoning + rest[1])


class _Separator:
    """Text in, `(text, reasoning)` out; what may be a part of a tag is held back."""

    def __init__(self, inside: bool) -> None:
        self._held = ""
        self._state = "inside" if inside else "before"
        self._closings = tuple(f"</{tag}>" for tag in _TAGS)
        self._fresh = True  # nothing but whitespace has come since the state was entered

    @property
    def passes(self) -> bool:
        """Whether the block is over, or there was none, so that nothing changes any more."""
        return self._state == "after" and not self._fresh and not self._held

    def feed(self, text: str) -> tuple[str, str]:
        self._held += text
        reasoning = ""
        if self._state == "before":
            opening = _OPENING.match(self._held)
            if opening is not None:
                self._enter("inside", opening.end())
                self._closings = (f"</{opening[1]}>",)
            elif _BEGINS.match(self._held):
                return "", ""
            else:
                self._enter("after", 0)
                self._fresh = False  # what begins without a block keeps its whitespace
        if self._state == "inside":
            reasoning = self._thought()
        if self._state == "after":
            return self._said(), reasoning
        return "", reasoning

    def finish(self) -> tuple[str, str]:
        """What was held back, when no more comes."""
        held, self._held = self._held, ""
        return ("", held.rstrip()) if self._state == "inside" else (held if self._state == "before" else "", "")

    def _enter(self, state: str, at: int) -> None:
        self._state, self._held, self._fresh = state, self._held[at:], True

    def _thought(self) -> str:
        if self._fresh:
            self._held = self._held.lstrip()
            self._fresh = not self._held
        found = [(at, closing) for closing in self._closings if (at := self._held.find(closing)) >= 0]
        if found:
            at, closing = min(found)
            thought = self._held[:at].rstrip()
            self._enter("after", at + len(closing))
            return thought
        keep = max(_overlap(self._held, closing) for closing in self._closings)
        thought = self._held[: len(self._held) - keep].rstrip()
        self._held = self._held[len(thought) :]
        return thought

    def _said(self) -> str:
        if self._fresh:
            self._held = self._held.lstrip()
            self._fresh = not self._held
        said, self._held = self._held, ""
        return said


def _overlap(text: str, tag: str) -> int:
    """Length of the longest end of `text` that begins `tag`."""
    return next((length for length in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:length])), 0)
