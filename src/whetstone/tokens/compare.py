"""Several tokenizers side by side: how they cut a text and prices, what they share, and which languages cost more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from whetstone.tokens.corpus import CorpusUse, measure_corpus
from whetstone.tokens.pieces import visible_bytes
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.tokenizer_habits import DigitHabit, digit_habit
from whetstone.tokens.vocabulary import Overlap, byte_set, overlap

PRICES = ("$7", "$42", "$199", "$1,299")
ENGLISH = "english"


@cache
def sample_texts() -> Mapping[str, tuple[str, ...]]:
    """Language -> the same sentences in it, written for this comparison; and "code", which says the same to no one."""
    found = json.loads(files("whetstone.tokens").joinpath("compare_texts.json").read_text(encoding="utf-8"))
    return {language: tuple(sentences) for language, sentences in found.items()}


@dataclass(frozen=True, slots=True)
class Dearness:
    """How much more a language takes than English, for one tokenizer.

    Attributes:
        language: which.
        tokens: of its sample.
        per_character: tokens per character of its sample.
        ratio: its tokens for the same sentences as a multiple of the English ones. For code, which has no English
            twin: tokens per character as a multiple.
    """

    language: str
    tokens: int
    per_character: float
    ratio: float


def dearness(tokenizer: Tokenizer) -> list[Dearness]:
    """How much dearer other languages and code are than English."""
    counts: dict[str, tuple[int, int]] = {}
    for language, sentences in sample_texts().items():
        tokens = sum(len(ids) for ids in tokenizer.encode_ids_many(sentences))
        counts[language] = tokens, sum(map(len, sentences))
    english, characters = counts[ENGLISH]
    return [
        Dearness(
            language,
            tokens,
            tokens / length,
            (tokens / length) / (english / characters) if language == "code" else tokens / english,
        )
        for language, (tokens, length) in counts.items()
    ]


def cut_prices(tokenizer: Tokenizer, prices: Sequence[str] = PRICES) -> dict[str, list[str]]:
    """Price -> its pieces, with what is invisible shown."""
    return {
        price: [visible_bytes(tokenizer.token_bytes(id)) for id in encoding.ids]
        for price, encoding in zip(prices, tokenizer.encode_many(list(prices)), strict=True)
    }


@dataclass(frozen=True)
class Comparison:
    """Several tokenizers on one text.

    Attributes:
        uses: for each what the text takes.
        digits: how each cuts numbers.
        prices: how each cuts prices.
        dearness: for each how much dearer languages are than English.
        overlaps: (first, second) -> what their vocabularies share, by position in the list of tokenizers.
    """

    uses: list[CorpusUse]
    digits: list[DigitHabit]
    prices: list[dict[str, list[str]]]
    dearness: list[list[Dearness]]
    overlaps: dict[tuple[int, int], Overlap]


def compare_tokenizers(tokenizers: Sequence[Tokenizer], text: str) -> Comparison:
    """Everything there is to compare.

    Raises:
        RequestRefusedError: the text holds a lone surrogate.
    """
    for tokenizer in tokenizers[:1]:
        tokenizer.encode(text)  # a corpus would set a text without tokens aside
    sets = [byte_set(tokenizer) for tokenizer in tokenizers]
    pairs = [(i, j) for i in range(len(sets)) for j in range(i + 1, len(sets))]
    return Comparison(
        uses=measure_corpus(tokenizers, [text]),
        digits=[digit_habit(tokenizer) for tokenizer in tokenizers],
        prices=[cut_prices(tokenizer) for tokenizer in tokenizers],
        dearness=[dearness(tokenizer) for tokenizer in tokenizers],
        overlaps={(i, j): overlap(sets[i], sets[j]) for i, j in pairs},
    )
