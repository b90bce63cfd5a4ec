"""Strings that remember where each of their characters came from, through what a chat template does with them.

A chat template cuts, trims, joins and replaces what it is given, and nothing in its output says which character
somebody wrote and which the template added. So it is given strings that carry their origin and keep it through these
operations. What an operation does not know (formatting, for instance) loses its origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex

# A stretch of characters: how many, and what they came from (None: not known). Lengths instead of positions, so that
# nothing has to be moved when strings are joined, which is what templates do most.
Run = tuple[int, Any]


class TrackedStr(str):
    """A string with the origins of its characters. It equals, and behaves like, the plain string."""

    __slots__ = ("_runs",)  # with an underscore: a template must not find it
    _runs: tuple[Run, ...]

    @classmethod
    def of(cls, text: str, runs: Iterable[Run]) -> TrackedStr:
        """A string with these runs, whose lengths add up to its own."""
        made = cls(text)
        made._runs = tuple(runs)
        return made

    def __str__(self) -> str:
        return self

    def __reduce__(self) -> Any:
        return TrackedStr.of, (str.__str__(self), self._runs)

    def __add__(self, other: str) -> str:
        return TrackedStr.of(str.__add__(self, other), self._runs + runs_of(other))

    def __radd__(self, other: str) -> str:
        return TrackedStr.of(str.__add__(other, self), runs_of(other) + self._runs)

    def __mul__(self, times: SupportsIndex) -> str:
        return concat([self] * int(times))

    __rmul__ = __mul__

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        if not isinstance(key, slice):
            return self._cut(range(len(self))[key], 1)  # an IndexError beyond the ends
        start, stop, step = key.indices(len(self))
        if step == 1:
            return self._cut(start, max(0, stop - start))
        return concat(self[index] for index in range(start, stop, step))

    def __iter__(self) -> Iterator[str]:
        return (self._cut(index, 1) for index in range(len(self)))

    def _cut(self, start: int, length: int) -> TrackedStr:
        if start == 0 and length == len(self):
            return self
        runs: list[Run] = []
        skip, left = start, length
        for size, origin in self._runs:
            if skip >= size:
                skip -= size
                continue
            taken = min(size - skip, left)
            if taken <= 0:
                break
            runs.append((taken, origin))
            skip, left = 0, left - taken
        return TrackedStr.of(str.__getitem__(self, slice(start, start + length)), runs)

    def strip(self, chars: str | None = None, /) -> str:
        left = len(self) - len(str.lstrip(self, chars))
        return self._cut(left, len(str.strip(self, chars)))

    def lstrip(self, chars: str | None = None, /) -> str:
        kept = len(str.lstrip(self, chars))
        return self._cut(len(self) - kept, kept)

    def rstrip(self, chars: str | None = None, /) -> str:
        return self._cut(0, len(str.rstrip(self, chars)))

    def removeprefix(self, prefix: str, /) -> str:
        return self._cut(len(prefix), len(self) - len(prefix)) if self.startswith(prefix) else self

    def removesuffix(self, suffix: str, /) -> str:
        return self._cut(0, len(self) - len(suffix)) if suffix and self.endswith(suffix) else self

    def _found(self, pieces: Iterable[str]) -> list[str]:
        """The cuts of which these are the texts, in order and not overlapping."""
        found: list[str] = []
        position = 0
        for piece in pieces:
            position = str.index(self, piece, position)
            found.append(self._cut(position, len(piece)))
            position += len(piece)
        return found

    def _apart(self, pieces: Iterable[str], between: int) -> list[str]:
        """The cuts of which these are the texts, so many characters apart."""
        cuts: list[str] = []
        position = 0
        for piece in pieces:
            cuts.append(self._cut(position, len(piece)))
            position += len(piece) + between
        return cuts

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        pieces = str.split(self, sep, maxsplit)
        return self._found(pieces) if sep is None else self._apart(pieces, len(sep))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        pieces = str.rsplit(self, sep, maxsplit)
        return self._found(pieces) if sep is None else self._apart(pieces, len(sep))

    def splitlines(self, keepends: bool = False) -> list[str]:
        lines = self._apart(str.splitlines(self, keepends=True), 0)
        if keepends:
            return lines
        return [line[: len(bare)] for line, bare in zip(lines, str.splitlines(self), strict=True)]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        head, found, tail = str.partition(self, sep)
        return tuple(self._apart((head, found, tail), 0))  # type: ignore[return-value]

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        head, found, tail = str.rpartition(self, sep)
        return tuple(self._apart((head, found, tail), 0))  # type: ignore[return-value]

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if not old:
            return str.replace(self, old, new, count)
        return concat(_between(new, self.split(old, count)))

    def join(self, pieces: Iterable[str], /) -> str:
        return concat(_between(self, pieces))

    def _same_length(self, changed: str) -> str:
        return TrackedStr.of(changed, self._runs) if len(changed) == len(self) else changed

    def upper(self) -> str:
        return self._same_length(str.upper(self))

    def lower(self) -> str:
        return self._same_length(str.lower(self))

    def title(self) -> str:
        return self._same_length(str.title(self))

    def capitalize(self) -> str:
        return self._same_length(str.capitalize(self))


def tracked(text: str, origin: Any) -> str:
    """A string all of which came from one place; an empty one came from nowhere."""
    if not text:
        return text
    made = TrackedStr(text)
    made._runs = ((len(text), origin),)
    return made


def runs_of(text: str) -> tuple[Run, ...]:
    """The runs of a string; a plain one has one, of unknown origin."""
    if type(text) is TrackedStr:
        return text._runs
    return ((len(text), None),) if text else ()


def concat(pieces: Iterable[str]) -> str:
    """All pieces in one string, with their origins.

    Raises:
        TypeError: a piece is no string.
    """
    texts = pieces if type(pieces) is tuple else tuple(pieces)
    whole = "".join(texts)
    runs: list[Run] = []
    known = False
    for text in texts:
        if type(text) is TrackedStr:
            runs += text._runs
            known = True
        elif text:
            runs.append((len(text), None))
    if not known:
        return whole
    made = TrackedStr(whole)
    made._runs = tuple(runs)
    return made


def _between(separator: str, pieces: Iterable[str]) -> Iterator[str]:
    for number, piece in enumerate(pieces):
        if number:
            yield separator
        yield piece
