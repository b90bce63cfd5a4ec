"""The terms by which keyword search finds a text, in any script: one analysis for every store, written and asked alike.

- Compatibility forms are made one (NFKC), case and accents are folded; commas within numbers go ("1,200" is "1200").
- English words give their stem (see `stemming`).
- A word joined by dots, dashes, underscores or apostrophes gives itself and its parts: "AB-1234" gives "ab1234", "ab"
  and "1234", so that "AB 1234" and "ab1234" find it too; dots stay in the whole ("v2.1.3", "v2", "1", "3").
- Scripts that put no space between words, or particles behind them (Han, Kana, Hangul, Thai, Lao, Khmer, Burmese),
  give every two characters that stand side by side: 환불정책을 gives 환불, 불정, 정책, 책을.

A term holds letters, digits, marks and dots, never a blank. What is written in an index was made by `VERSION`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import lru_cache

from whetstone.retrieval.stemming import stem
from whetstone.retrieval.stop_words import ENGLISH, KOREAN, KOREAN_ASKING

VERSION = 1
"""Raise it with every change that gives other terms: keyword indexes are then built anew."""

_LONGEST = 64  # characters; what is longer is no word (base64, hashes joined by dots), its beginning tells it apart

# What Python's \w leaves out, although it stands within words: vowel signs of the scripts from India to Burma.
_MARKS = (
    "\u0300-\u036f\u0900-\u0963\u0966-\u0df3\u0e31-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc\u0ec8-\u0ece\u0f18-\u0fbc"
    "\u102b-\u103e\u1056-\u1099\u17b4-\u17d3"
)
_WORD = re.compile(rf"\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?(?!\w)|[\w{_MARKS}]+(?:[.\-'’‐][\w{_MARKS}]+)*")
_ASCII_WORD = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)|\w+(?:[.\-']\w+)*", re.ASCII)  # the same, twice as fast
_PARTS = re.compile(r"[.\-_'’‐]")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\U00020000-\U0003ffff]+"
)
_ENGLISH_WORD = re.compile(f"[a-z]{{1,{_LONGEST}}}")
_SHORT = 5  # letters; the stem of a word that has as many begins with the same two letters, but for these endings
_CHANGED_WITHIN = ("ying", "edly", "ingly")
_HANGUL = re.compile("[\uac00-\ud7a3]+")
_IGNORED = re.compile(  # soft hyphen and joiners of no width; accents; Hebrew points; Arabic vowel signs and stretching
    "[\u00ad\u200b-\u200f\u2060\ufeff\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    "\u064b-\u065f\u0670]"
)

_SYLLABLE_AND_PARTICLE = re.compile("[가-힣][은는이가을를의에와과도로]")
_KOREAN_PARTICLES = re.compile("(?<=[가-힣]{2})(?:에서|에게|으로|까지|부터|은|는|이|가|을|를|의|에|와|과|도|로)$")


def index_terms(text: str) -> list[str]:
    """The terms of a text in their order, each as often as it stands there."""
    return [term for word in _words(text) for term in _terms(word)]


def query_terms(text: str) -> list[str]:
    """The terms to look for when asked a text: each once, in order, without stop words (English, Korean).

    A text of stop words only ("who is it?") keeps them all. Of a Korean word the particle behind it is left out.
    """
    words = _words(text)
    wanted = [word for word in words if not _is_stop_word(word)]
    return list(dict.fromkeys(term for word in wanted or words for term in _asked(word)))


def terms_held(text: str, wanted: Collection[str]) -> set[str]:
    """Those of the terms that stand in a text, as `index_terms` has them, without making all others.

    An English word that begins otherwise than every wanted term needs no stem, which would begin likewise.
    """
    beginnings = {term[:2] for term in wanted}
    held: set[str] = set()
    for word in set(_words(text)):
        begins_otherwise = word[:2] not in beginnings and len(word) >= _SHORT and word.isascii() and word.isalpha()
        if not begins_otherwise or word.endswith(_CHANGED_WITHIN):
            held.update(_terms(word))
    return held.intersection(wanted)


def _words(text: str) -> list[str]:
    """Words as they stand in a text, folded."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    # Decomposed so that accents stand alone; composed again for the Korean syllables.
    text = unicodedata.normalize("NFKC", _IGNORED.sub("", unicodedata.normalize("NFKD", text.casefold())))
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=1 << 15)
def _terms(word: str) -> tuple[str, ...]:
    if not word.isascii() and _UNSPACED.search(word):
        return tuple(term for run, unspaced in _runs(word) for term in (_pairs(run) if unspaced else _terms(run)))
    word = word.replace(",", "").removesuffix("'s").removesuffix("’s")
    parts = [part for part in _PARTS.split(word) if part]
    terms = parts if len(parts) < 2 else [re.sub(r"[^\w.]|_", "", word), *parts]
    return tuple(stem(term) if _ENGLISH_WORD.fullmatch(term) else term[:_LONGEST] for term in terms)


def _runs(word: str) -> Iterator[tuple[str, bool]]:
    """A word cut where the script changes between those with spaces and those without (True)."""
    end = 0
    for match in _UNSPACED.finditer(word):
        if rest := word[end : match.start()].strip(".-_'’‐"):
            yield rest, False
        yield match.group(), True
        end = match.end()
    if rest := word[end:].strip(".-_'’‐"):
        yield rest, False


def _pairs(run: str) -> list[str]:
    pairs = [run[at : at + 2] for at in range(len(run) - 1)] or [run]
    # Nouns of one syllable (값, 책, 집) would be hidden in the pair that they make with their particle.
    return [*pairs, run[0]] if _SYLLABLE_AND_PARTICLE.fullmatch(run) else pairs


def _asked(word: str) -> tuple[str, ...]:
    if not _HANGUL.fullmatch(word):
        return _terms(word)
    return _terms(_KOREAN_PARTICLES.sub("", word))


def _is_stop_word(word: str) -> bool:
    return word.removesuffix("'s").removesuffix("’s") in ENGLISH or word in KOREAN or word.startswith(KOREAN_ASKING)
