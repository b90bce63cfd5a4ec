r"""Where libraries of other Unicode versions see other characters: NFC here and in `tokenizers`; classes in `tiktoken`.

Everything is asked of the libraries, for every character, since none says which version of Unicode it follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Literal
from unicodedata import combining, normalize

import tiktoken
from tokenizers import Regex, normalizers, pre_tokenizers

_LAST = "\u0345"  # its combining class, 240, is the highest


@cache
def every_character() -> str:
    """Every character of the planes in which Unicode has any but private ones."""
    return "".join(map(chr, chain(range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))))


@cache
def class_differs(name: str) -> frozenset[str]:
    r"""Characters that are of a class (`\s`, `\p{L}`) for `tokenizers` alone, or for tiktoken alone."""
    split = pre_tokenizers.Split(Regex(f"{name}+"), behavior="removed", invert=True)
    here = {*chain.from_iterable(run for run, _ in split.pre_tokenize_str(every_character()))}
    every_byte = {bytes([byte]): byte for byte in range(256)}
    # tiktoken passes over what its expression does not match.
    other = tiktoken.Encoding("class", pat_str=f"{name}+", mergeable_ranks=every_byte, special_tokens={})
    there = bytes(other.encode_ordinary(every_character())).decode()
    return frozenset(here.symmetric_difference(there))


@cache
def digits_differ() -> frozenset[str]:
    r"""Characters that are a digit for the `Digits` step of `tokenizers` alone, or in its class `\p{N}` alone."""
    split = pre_tokenizers.Split(Regex(r"\p{N}+"), behavior="removed", invert=True)
    numbers = {*chain.from_iterable(run for run, _ in split.pre_tokenize_str(every_character()))}
    # Runs of digits and of others take turns, and the first character is no digit.
    runs = pre_tokenizers.Digits(individual_digits=False).pre_tokenize_str(every_character())[1::2]
    return frozenset(numbers.symmetric_difference(chain.from_iterable(run for run, _ in runs)))


@cache
def nfc_differs() -> frozenset[str]:
    """Characters without which every text has the same NFC in `tokenizers` as in Python's `unicodedata`.

    NFC follows from how each character decomposes, which of them it recomposes to, and how marks sort. The latter is
    tried with one mark of each combining class on either side.
    """
    characters = every_character().replace("\n", "")
    differing = _nfc_differs(characters, "", "", "NFD") | _nfc_differs(characters, "", "", "NFC")
    # A mark that only one of the two knows does not move before the mark that sorts last.
    differing |= _nfc_differs(characters, f"a{_LAST}", "", "NFD")
    marks = "".join(filter(combining, characters))
    one_of_each = {combining(mark): mark for mark in marks if mark not in differing}
    for mark in one_of_each.values():
        differing |= _nfc_differs(marks, f"a{mark}", "", "NFD") | _nfc_differs(marks, "a", mark, "NFD")
    return differing


def _nfc_differs(characters: str, before: str, after: str, form: Literal["NFC", "NFD"]) -> frozenset[str]:
    library = normalizers.NFC() if form == "NFC" else normalizers.NFD()
    lines = "\n".join(f"{before}{character}{after}" for character in characters)
    ours, theirs = normalize(form, lines), library.normalize_str(lines)
    if ours == theirs:
        return frozenset()
    pairs = zip(characters, ours.split("\n"), theirs.split("\n"), strict=True)
    return frozenset(character for character, one, two in pairs if one != two)


class Finder:
    """Finds whether a text has one of many characters.

    `re` looks through all ranges above U+FFFF for every character that is not in a class. So a text is first searched
    for any character up there, which takes a tenth of the time.

    Args:
        ranges: code points, (first, last) of each range.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        listed = sorted(ranges)
        low = [(first, min(last, 0xFFFF)) for first, last in listed if first <= 0xFFFF]
        high = [(0x10000, 0x10FFFF)] if listed and listed[-1][1] > 0xFFFF else []
        self._suspected = _class(low + high)
        self._found = _class(listed)

    def __call__(self, text: str) -> bool:
        return self._suspected.search(text) is not None and self._found.search(text) is not None


def _class(ranges: Iterable[tuple[int, int]]) -> re.Pattern[str]:
    inside = "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)
    return re.compile(f"[{inside}]" if inside else r"\Z(?!\Z)")


def ranges_of(characters: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Characters as ranges of code points, neighbours together."""
    first = last = -2
    for code in sorted(map(ord, characters)):
        if code != last + 1:
            if last >= 0:
                yield first, last
            first = code
        last = code
    if last >= 0:
        yield first, last
