"""Token ids to text, piece by piece: never half a character, never a piece of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class TextAssembler:
    """The text of one reply while its tokens arrive.

    A character may be spread over several tokens, and some decoders write a token differently after another one. So the
    tokens since the last clean break are decoded together, with and without the new one; the difference is new text,
    held back while it ends in an unfinished character.

    Args:
        decode: the text of some token ids.
        stop: strings that end the reply; neither they nor what follows is shown.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = [text for text in stop if text]
        self._window: list[int] = []  # tokens since the break before last
        self._shown = 0  # of those, how many are in the text already
        self._held = ""  # decoded, but perhaps the beginning of a stop string
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Take one more token; the text that is certain now."""
        self._window.append(token_id)
        fresh = self._fresh()
        if not fresh or fresh.endswith("\ufffd"):
            return ""
        self._window, self._shown = self._window[self._shown :], len(self._window) - self._shown
        return self._release(fresh)

    def finish(self) -> str:
        """The rest, when no more tokens come: what looked like the beginning of a stop string was none."""
        if self.stopped:
            return ""
        text = self._release(self._fresh())
        if self.stopped:
            return text
        held, self._held = self._held, ""
        return text + held

    def _fresh(self) -> str:
        """The text that the tokens not yet shown add."""
        before = self._decode(self._window[: self._shown])
        return self._decode(self._window)[len(before) :]

    def _release(self, fresh: str) -> str:
        self._held += fresh
        found = [at for text in self._stop if (at := self._held.find(text)) >= 0]
        if found:
            self.stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        keep = max((_overlap(self._held, text) for text in self._stop), default=0)
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
