"""Words looked up instead of worked out: tokens, part numbers and hashes of every distinct word, found once.

A catalogue repeats its words. How many tokens one has, whether it is a part number and what it hashes to are worked out
at its first appearance; the rest is numpy on arrays of word numbers. A "word" here is what stands between blanks. One
that begins a line has the line end as its first character.

The tokens of a text are the sum of its words' tokens wherever no token of the vocabulary reaches over a blank: then no
merge crosses one, and each word, with the blank before it, is split up by itself. `adds_up` tells whether that holds,
`breaks_lines` whether it holds for line ends too; where not, a line end stays inside its word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import polars as pl

from whetstone.curation.word_index import WordIndex
from whetstone.tokens.tokenizer import Tokenizer

Codes = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

# Capital letters and digits, seven characters or more with a digit among them, or digits alone; not the punctuation
# around them.
_PART = re.compile(
    r"(?<![^\s(\[{\"',;:/#*])(?=\S*\d)[A-Z0-9](?:[A-Z0-9]|[-./_#+](?=[A-Z0-9])){5,}[A-Z0-9](?=[)\]}\"',;:.!?*]*(?:\s|$))"
)
_MAY_HOLD_PART = r"[A-Z0-9][A-Z0-9\-./_#+]{5,}[A-Z0-9]"
# 12X14X16, 1920X1080P, 2009-2014, 100/240V: sizes and years, which a price depends on.
_MEASURE = re.compile(r"\d+(?:[.,]\d+)?(?:[X/]\d+(?:[.,]\d+)?)*[A-Z]{0,3}|(?:19|20)\d\d-(?:19|20)\d\d")
_LONGEST_NUMBER = 6  # digits alone that are more are no measure
# A run of letters and digits; where a script has no blanks between words, each of its characters.
_CHARACTER = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}"
_SAYS_SOMETHING = re.compile(r"[^\s()\[\]{},;:.\-/]")
_TERM = rf"[{_CHARACTER}]|[[\p{{L}}\p{{N}}]--[{_CHARACTER}]]+(?:[.,]\p{{N}}+)*"
# So many words are encoded as one text: the call costs nothing then, and no tokenizer minds the length.
_AT_ONCE = 200
# With so many distinct words a new table is begun, so that memory stays bounded: a word takes about 100 bytes.
MOST_WORDS = 2_000_000


def without_part_numbers(text: str) -> str:
    """The text without words that are part numbers; the blanks around them stay."""
    return _PART.sub(lambda found: found[0] if _is_measure(found[0]) else "", text)


def _is_measure(word: str) -> bool:
    return _MEASURE.fullmatch(word) is not None and not (word.isdigit() and len(word) > _LONGEST_NUMBER)


@dataclass(frozen=True)
class _Known:
    """What is known of words, by their numbers; nothing in it is changed once it is here.

    Attributes:
        index: their numbers.
        tokens: tokens of the word with the blank before it.
        characters: its length.
        part: whether it holds a part number.
        first_term, terms: where its terms are in `hashes`, and how many.
        hashes: of terms (letters and digits in lower case, without the punctuation around them).
    """

    index: WordIndex
    tokens: Counts
    characters: Counts
    part: Flags
    first_term: Positions
    terms: Counts
    hashes: Hashes

    @staticmethod
    def nothing() -> _Known:
        counts = np.empty(0, np.int32)
        return _Known(
            WordIndex(1 << 16), counts, counts, np.empty(0, bool), np.empty(0, np.int64), counts, np.empty(0, np.uint64)
        )


class WordTable:
    """What is known of every word that has appeared. Threads may share one.

    Args:
        tokenizer: counts the tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.breaks_lines = not _reaches_over(tokenizer, rb"\S\n")
        self.adds_up = tokens_add_up(tokenizer)
        self._lock = Lock()
        self._known = _Known.nothing()
        self._leading: dict[int, int] = {}
        self._scrubbed: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._known.index)

    def codes(self, texts: pl.Series) -> pl.Series:
        """The words of each text by their numbers: a list of UInt32."""
        lists = self._split(texts)
        words = lists.explode()
        hashes = words.hash().to_numpy()
        codes = self._known.index.find(hashes)
        if codes.min(initial=0) < 0:
            self._learn(words, hashes, np.flatnonzero(codes < 0))
            codes = self._known.index.find(hashes)
        starts = np.concatenate([[0], np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)])
        return as_lists(codes.astype(np.uint32), starts)

    def _split(self, texts: pl.Series) -> pl.Series:
        if self.breaks_lines:
            texts = texts.str.replace_all("\n", " \n", literal=True)
        return texts.str.split(" ")

    def leading(self, texts: pl.Series) -> pl.Series:
        """The first word of each text."""
        return texts.str.extract(r"^([^ \n]*)" if self.breaks_lines else "^([^ ]*)")

    def tokens(self, codes: Codes) -> Counts:
        """Tokens of each word, the blank before it included."""
        return self._known.tokens.take(codes)

    def leading_tokens(self, codes: Codes, words: pl.Series) -> Counts:
        """Tokens of words that begin a text, so have no blank before them.

        Args:
            codes: their numbers.
            words: the words themselves.
        """
        with self._lock:
            missing, at = np.unique(codes, return_index=True)
            new = [
                (int(code), int(row)) for code, row in zip(missing, at, strict=True) if int(code) not in self._leading
            ]
            ids = self.tokenizer.encode_ids_many([words[row] for _, row in new])
            self._leading.update({code: len(each) for (code, _), each in zip(new, ids, strict=True)})
            return np.fromiter(map(self._leading.__getitem__, codes.tolist()), np.int32, len(codes))

    def holds_part(self, codes: Codes) -> Flags:
        """Whether each word holds a part number."""
        return self._known.part.take(codes)

    def characters(self, codes: Codes) -> Counts:
        """The length of each word, with the blank before it if there is one."""
        return self._known.characters.take(codes)

    def without_parts(self, text: str, codes: Sequence[int]) -> str:
        """A text without its part numbers; `codes` are those of its words that hold one."""
        text = f" {text} ".replace("\n", " \n") if self.breaks_lines else f" {text} "
        for code in codes:
            word, left = self._scrubbed[code]
            text = text.replace(f" {word} ", f" {left} " if left else " ")
        # A part number may have shared its word with the end of a line.
        return text.replace(" \n", "\n").replace("\n ", "\n").replace("\n\n", "\n").strip()

    def terms(self, codes: Codes) -> tuple[Hashes, Counts]:
        """The hashes of all terms of these words, and how many each word has."""
        known = self._known
        counts = known.terms.take(codes)
        begins = np.cumsum(counts, dtype=np.int64) - counts
        places = np.repeat(known.first_term.take(codes) - begins, counts)
        places += np.arange(len(places))
        return known.hashes.take(places), counts

    def _learn(self, words: pl.Series, hashes: Hashes, unknown: Positions) -> None:
        with self._lock:
            known = self._known
            # Another thread may have learnt some of them meanwhile.
            unknown = unknown[known.index.find(hashes[unknown]) < 0]
            new, at = np.unique(hashes[unknown], return_index=True)
            if not len(new):
                return
            texts = words.gather(unknown[at])
            found = texts.str.to_lowercase().str.extract_all(_TERM)
            terms = found.list.len().to_numpy().astype(np.int32)
            codes = np.arange(len(known.index), len(known.index) + len(new))
            self._known = _Known(
                known.index.extended(new),
                np.concatenate([known.tokens, _word_tokens(self.tokenizer, texts.to_list())]),
                np.concatenate([known.characters, _lengths(texts)]),
                np.concatenate([known.part, self._parts_in(codes, texts)]),
                np.concatenate([known.first_term, len(known.hashes) + np.cumsum(terms, dtype=np.int64) - terms]),
                np.concatenate([known.terms, terms]),
                np.concatenate([known.hashes, found.explode().drop_nulls().hash().to_numpy()]),
            )

    def _parts_in(self, codes: Positions, words: pl.Series) -> Flags:
        """Whether each word holds a part number; those that do are kept with what is left of them."""
        flags = words.str.contains(_MAY_HOLD_PART).to_numpy().copy()
        for row in np.flatnonzero(flags):
            word = words[int(row)]
            left = without_part_numbers(word)
            flags[row] = left != word
            if left != word:
                # Brackets that held nothing else go too.
                kept = left if _SAYS_SOMETHING.search(left) else "\n" * ("\n" in left)
                self._scrubbed[int(codes[row])] = (word, kept)
        return flags


def hashed_terms(texts: pl.Series) -> tuple[Hashes, Positions]:
    """The hashes of the terms of texts, one text after the other, and where each begins; one longer than the texts.

    A text without terms has one that stands for nothing.
    """
    found = texts.str.to_lowercase().str.extract_all(_TERM)
    counts = np.maximum(found.list.len().to_numpy(), 1)
    return found.explode().hash().to_numpy(), np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def as_lists(values: npt.NDArray[np.uint32], starts: Positions) -> pl.Series:
    """Values cut into lists, none of them empty, where `starts` says; it is one longer than the lists."""
    owner = np.repeat(np.arange(len(starts) - 1, dtype=np.uint32), np.diff(starts))
    # Told that they are sorted, polars cuts instead of gathering: a sixth of the time.
    frame = pl.DataFrame({"owner": owner, "value": values}).set_sorted("owner")
    return frame.group_by("owner", maintain_order=True).agg("value")["value"]


def _lengths(words: pl.Series) -> Counts:
    """Characters of each word, with the blank before it; before a line end there is none."""
    return (words.str.len_chars() + (~words.str.starts_with("\n")).cast(pl.Int32)).to_numpy().astype(np.int32)


def _word_tokens(tokenizer: Tokenizer, words: Sequence[str]) -> Counts:
    """Tokens of each word with what stands before it; at least 1."""
    counts = np.ones(len(words), np.int32)
    texts, starts = [], []
    for begin in range(0, len(words), _AT_ONCE):
        parts = [word if word.startswith("\n") else f" {word}" for word in words[begin : begin + _AT_ONCE]]
        # The letter in front is what the first word follows.
        texts.append("a" + "".join(parts))
        starts.append(1 + np.cumsum([0, *map(len, parts)]))
    for number, (encoding, edges) in enumerate(zip(tokenizer.encode_many(texts), starts, strict=True)):
        # A token belongs to the word that its last character stands in.
        last = np.array([end - 1 for _, end in encoding.offsets])
        word = np.searchsorted(edges, last, side="right") - 1
        found = np.bincount(word[word >= 0], minlength=len(edges) - 1)[: len(edges) - 1]
        counts[number * _AT_ONCE : number * _AT_ONCE + len(found)] = np.maximum(found, 1)
    return counts


def _reaches_over(tokenizer: Tokenizer, pattern: bytes) -> bool:
    """Whether a token of the vocabulary holds this."""
    found = re.compile(pattern)
    return any(found.search(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size))


def tokens_add_up(tokenizer: Tokenizer) -> bool:
    """Whether the tokens of a tidy text (no runs of white space) are the sum of its words'.

    They are where no token holds a blank behind a character that is not white space.
    """
    if _reaches_over(tokenizer, rb"\S "):
        return False
    first, *others = _PROBE.split(" ")
    whole, begin = map(len, tokenizer.encode_ids_many([_PROBE, first]))
    return whole == begin + int(_word_tokens(tokenizer, others).sum())


_PROBE = (
    "Stainless 18/10 steel, 12.5 x 3\" (pack of 2)\nIncludes: 1,000 W motor & 3-year warranty... It's naïve – “new”!\n"
    "Größe: 42 £5 ½ カメラ 카메라 👍🏽 http://a.b/c?d=e_f#g C++ I'LL re-use @home 100% ~ <b> {x} [y]"
)
