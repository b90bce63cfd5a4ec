"""What a body of texts costs in tokens: lengths, what a limit would cut, tokens per word and character by script."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from whetstone.errors import RequestRefusedError
from whetstone.tokens.tokenizer import Tokenizer, check_text

PERCENTILES = (5, 25, 50, 75, 90, 95, 99)

_BATCH = 256  # texts that are encoded at once
_BATCH_CHARACTERS = 2_000_000
# What a character that is no letter counts as, by the first letter of its Unicode category.
_OTHERS = {"N": "digits", "Z": "spacing", "C": "spacing", "P": "punctuation", "S": "symbols"}
_CJK = {"IDEOGRAPHIC", "CJK", "KANGXI"}


@lru_cache(maxsize=65536)
def script_of(character: str) -> str:
    """The script of a letter in words ("latin", "hangul", "han"), or "digits", "spacing", "punctuation", "symbols".

    Goes by the character's Unicode name; letters that have none count as "other".
    """
    category = unicodedata.category(character)
    if category[0] in _OTHERS:
        return _OTHERS[category[0]]
    first = unicodedata.name(character, "OTHER").split()[0].split("-")[0]
    if first in _CJK:
        return "han"
    if first in ("HALFWIDTH", "FULLWIDTH"):
        first = unicodedata.name(unicodedata.normalize("NFKC", character)[0], "OTHER").split()[0].split("-")[0]
    return {"COMBINING": "marks", "VARIATION": "marks", "MICRO": "greek"}.get(first, first.lower())


@dataclass
class ScriptUse:
    """Tokens, characters and words of one script. A word is what stands between white space, and of the script of its
    first letter; a token is of the script of its first letter, or of its first character where it has no letter."""

    tokens: int = 0
    characters: int = 0
    words: int = 0

    @property
    def per_character(self) -> float | None:
        """Tokens per character."""
        return self.tokens / self.characters if self.characters else None

    @property
    def per_word(self) -> float | None:
        """Tokens per word."""
        return self.tokens / self.words if self.words else None


@dataclass(frozen=True, slots=True)
class Refused:
    """A text that has no tokens."""

    row: int
    reason: str


@dataclass
class CorpusUse:
    """What texts cost with one tokenizer.

    Attributes:
        tokenizer: its name.
        lengths: tokens of each text, in order; without those that were refused.
        characters: of all texts.
        bytes: of all texts in UTF-8.
        words: of all texts.
        scripts: script -> what it takes.
        refused: texts that hold no text, with the reason.
    """

    tokenizer: str
    lengths: list[int] = field(default_factory=list)
    characters: int = 0
    bytes: int = 0
    words: int = 0
    scripts: dict[str, ScriptUse] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Of all texts."""
        return sum(self.lengths)

    def percentiles(self) -> dict[int, int]:
        """Percentile -> the least length that so many percent of the texts do not exceed."""
        if not self.lengths:
            return {}
        values = np.percentile(np.asarray(self.lengths), PERCENTILES, method="inverted_cdf")
        return {percent: int(value) for percent, value in zip(PERCENTILES, values, strict=True)}

    def cut_by(self, limit: int) -> Cut:
        """What would be lost if every text ended at `limit` tokens."""
        over = [length - limit for length in self.lengths if length > limit]
        return Cut(limit, len(over), len(self.lengths), sum(over), self.tokens)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a limit cuts.

    Attributes:
        limit: tokens that a text may have.
        texts: texts that have more.
        of_texts: all texts.
        tokens: tokens beyond the limit.
        of_tokens: all tokens.
    """

    limit: int
    texts: int
    of_texts: int
    tokens: int
    of_tokens: int


def measure_corpus(
    tokenizers: Sequence[Tokenizer],
    texts: Iterable[str],
    *,
    add_special_tokens: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[CorpusUse]:
    """What texts cost with each of several tokenizers. The texts are read once and not kept.

    Args:
        tokenizers: to compare.
        texts: the texts; a control token's spelling in them counts as text.
        add_special_tokens: whether each text gets what the tokenizer puts around texts.
        progress: told the number of texts done.
    """
    uses = [CorpusUse(tokenizer.name) for tokenizer in tokenizers]
    done = 0
    for batch in _batches(texts):
        good: list[str] = []
        for row, text in enumerate(batch, done + 1):
            try:
                check_text(text)
                good.append(text)
            except RequestRefusedError as error:
                for use in uses:
                    use.refused.append(Refused(row, str(error)))
        anatomies = [_Anatomy(text) for text in good]
        for tokenizer, use in zip(tokenizers, uses, strict=True):
            encodings = tokenizer.encode_many(good, add_special_tokens=add_special_tokens)
            for anatomy, encoding in zip(anatomies, encodings, strict=True):
                use.lengths.append(len(encoding.ids))
                use.characters += anatomy.characters
                use.bytes += anatomy.bytes
                use.words += anatomy.words
                anatomy.add_to(use.scripts, encoding.offsets)
        done += len(batch)
        if progress is not None:
            progress(done)
    return uses


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if len(batch) >= _BATCH or size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Anatomy:
    """The scripts of a text's characters and words, computed once for all tokenizers."""

    def __init__(self, text: str) -> None:
        self.characters = len(text)
        self.bytes = len(text) if text.isascii() else len(text.encode())
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        distinct, where = np.unique(points, return_inverse=True)
        named = [script_of(chr(int(point))) for point in distinct]
        self._names = sorted(set(named))
        numbers = np.array([self._names.index(name) for name in named], dtype=np.int64)
        self._script: NDArray[np.int64] = numbers[where] if len(text) else np.zeros(0, dtype=np.int64)
        letter = np.array([name not in {*_OTHERS.values(), "marks"} for name in named], dtype=bool)
        # For each position that of the next letter, or the text's length.
        at = np.arange(len(text))
        positions = np.where(letter[where], at, len(text)) if len(text) else at
        self._next_letter = np.minimum.accumulate(positions[::-1])[::-1] if len(text) else positions
        self._characters = np.bincount(self._script, minlength=len(self._names))
        white = np.array([chr(int(point)).isspace() for point in distinct], dtype=bool)
        inside = ~white[where] if len(text) else np.zeros(0, dtype=bool)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], inside.astype(np.int8), [0]))))
        starts, ends = edges[::2], edges[1::2]
        self.words = len(starts)
        self._words = np.bincount(self._of(starts, ends), minlength=len(self._names))

    def _of(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """The script of each part of the text; parts are not empty."""
        if not len(starts):
            return np.zeros(0, dtype=np.int64)
        letters = self._next_letter[starts]
        return self._script[np.where(letters < ends, letters, starts)]

    def add_to(self, scripts: dict[str, ScriptUse], offsets: list[tuple[int, int]]) -> None:
        """Count this text and its tokens."""
        spans = np.array(offsets, dtype=np.int64).reshape(-1, 2)
        spans = spans[spans[:, 1] > spans[:, 0]]
        tokens = np.bincount(self._of(spans[:, 0], spans[:, 1]), minlength=len(self._names))
        for number, name in enumerate(self._names):
            use = scripts.setdefault(name, ScriptUse())
            use.tokens += int(tokens[number])
            use.characters += int(self._characters[number])
            use.words += int(self._words[number])
