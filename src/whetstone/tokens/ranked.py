"""Ids in bulk from `tiktoken`, for pipelines of the `tokenizers` library that were proven to give the same ids.

tiktoken knows one kind of tokenizer: a text is cut by a regular expression, and in each part the two neighbours whose
union has the lowest id are joined, again and again. `ranked` looks whether a pipeline is of this kind, part by part:

- it cuts by one of the expressions in `_CUTS`, which mean the same to both libraries, given the same classes of
  characters. Those are compared for every character; a text with one on which the libraries differ is left alone.
- its merges are those of ranks. They are in the order of the ids that they make, and either every way to cut a token
  in two is a merge, or the merges lead from the bytes of every token to that token. Inside the bytes of a token,
  whatever text they stand in, joins come in the same order as in the token by itself, as long as none crosses its
  borders. So only one pair ever comes up that makes a given token, and in both cases that pair is a merge.
- its normaliser is NFC, which is Python's for characters that both know alike, or is itself called beforehand.

What cannot be proven is left to the pipeline: texts that spell an added token, or have a character whose bytes the
vocabulary lacks, or more white space in one place than tiktoken's stack holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Any
from unicodedata import category, is_normalized, normalize

import tiktoken
import tokenizers

from whetstone.tokens.compare import sample_texts
from whetstone.tokens.tiktoken_names import ENCODINGS
from whetstone.tokens.tokenizer_bytes import byte_alphabet, byte_letters, steps_of
from whetstone.tokens.unicode_versions import Finder, class_differs, digits_differ, nfc_differs, ranges_of

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Digits are cut off one by one first: white space before one ends a part, so that none of it is kept for the digit.
_GPT2_DIGITS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# None of these has a match with a letter or digit before a space; `_cut` relies on that.
_CUTS = {_LLAMA3, _QWEN2, *(encoding.pattern for encoding in ENCODINGS.values())}

_CLASS = re.compile(r"\\p\{\w+\}|\\s")
_CHUNK = 100_000  # characters; a job of milliseconds
_SEAM = re.compile(r"\w(?= )")
_BLANK = re.compile(r"\s{10000}")  # tiktoken's stack overflows somewhere above 200,000


class Ranked:
    """A pipeline's vocabulary in tiktoken.

    Args:
        encoding: tiktoken's.
        normalizing: what the pipeline does to a text first; None for nothing.
        left_alone: find what a text must not have, before and after normalising.
    """

    def __init__(
        self,
        encoding: tiktoken.Encoding,
        normalizing: Callable[[str], str] | None,
        left_alone: Sequence[Callable[[str], object]],
    ) -> None:
        self._encode = encoding.encode_ordinary
        self._normalizing = normalizing
        self._left_alone = left_alone

    def encode_many(self, texts: Sequence[str]) -> list[list[int] | None]:
        """The ids of each text, on all cores; None for a text that is left to the pipeline."""
        chunks = list(_chunks(texts))
        workers = min(_cores(), len(chunks))
        if workers < 2:
            return self._chunk(texts)
        # A job is many texts: handing one over costs as much as encoding a short text.
        with ThreadPoolExecutor(workers) as pool:
            return list(chain.from_iterable(pool.map(self._chunk, chunks)))

    def _chunk(self, texts: Sequence[str]) -> list[list[int] | None]:
        return [self._ids(text) for text in texts]

    def _ids(self, text: str) -> list[int] | None:
        if not self._fine(text):
            return None
        if self._normalizing is not None:
            normalized = self._normalizing(text)
            if normalized != text and not self._fine(normalized):
                return None
            text = normalized
        if len(text) <= 2 * _CHUNK:
            return self._encode(text)
        return list(chain.from_iterable(map(self._encode, _cut(text))))

    def _fine(self, text: str) -> bool:
        if any(found(text) for found in self._left_alone):
            return False
        return len(text) < _CHUNK or _BLANK.search(text) is None


def ranked(engine: tokenizers.Tokenizer, pipeline: Mapping[str, Any], model: Mapping[str, Any]) -> Ranked | None:
    """The same tokenizer in tiktoken; None where it is not proven to be the same.

    Takes about a second.

    Args:
        engine: the pipeline, without cutting and padding.
        pipeline: its normalizer and pre_tokenizer, as tokenizer.json writes them.
        model: its model, likewise.
    """
    pattern = _pattern(pipeline["pre_tokenizer"])
    if pattern is None or any(model.get(option) for option in _OTHER_KINDS):
        return None
    added = {token.content for token in engine.get_added_tokens_decoder().values()}
    ranks = _ranks(engine, model, added)
    lacking = None if ranks is None else _lacking(ranks)
    if ranks is None or lacking is None:
        return None
    normalizing = _normalizing(engine, pipeline["normalizer"])
    differing = set().union(*map(class_differs, set(_CLASS.findall(pattern))))
    differing |= digits_differ() if pattern == _GPT2_DIGITS else set()
    differing |= nfc_differs() if normalizing is _nfc else set()
    added |= set() if normalizing is None else set(map(normalizing, added))
    spelled = "|".join(map(re.escape, sorted(filter(None, added), key=len, reverse=True)))
    left_alone: list[Callable[[str], object]] = [Finder([*lacking, *ranges_of(differing)])]
    if spelled:
        left_alone.append(re.compile(spelled).search)
    encoding = tiktoken.Encoding("ranked", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    made = Ranked(encoding, normalizing, left_alone)
    return made if _agrees(made, engine) else None


_OTHER_KINDS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


def _normalizing(engine: tokenizers.Tokenizer, normalizer: Any) -> Callable[[str], str] | None:
    if normalizer == {"type": "NFC"}:
        return _nfc  # twice as fast as the library's
    return None if normalizer is None else engine.normalizer.normalize_str


def _nfc(text: str) -> str:
    return text if is_normalized("NFC", text) else normalize("NFC", text)


def _pattern(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    """How the pipeline cuts a text, for tiktoken."""
    match list(steps_of(pre_tokenizer)):
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:
            return _GPT2
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        ]:
            return _GPT2_DIGITS
        case [
            {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ] if pattern in _CUTS:
            return pattern
    return None


def _ranks(engine: tokenizers.Tokenizer, model: Mapping[str, Any], added: set[str]) -> dict[bytes, int] | None:
    """Ids by the bytes of tokens, where joining by ids is the same as joining by the list of merges."""
    if model["type"] != "BPE":
        return None
    vocabulary: Mapping[str, int] = model["vocab"]
    letters = [letter for letter in byte_letters() if letter in vocabulary]
    pairs = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    joined = [left + right for left, right in pairs]
    ids = [vocabulary[token] for token in joined]
    if any(one > two for one, two in pairwise(ids)):
        return None
    tokens = {*letters, *joined}
    if not set("".join(tokens)) <= byte_alphabet().keys():
        return None
    if model.get("ignore_merges"):
        # A part that is a token is taken whole by both, so that a token without merges would be one more of tiktoken's.
        if not vocabulary.keys() - tokens <= added or not _complete(tokens, set(pairs)):
            return None
    elif not _reached(engine, vocabulary, tokens):
        return None
    as_bytes = str.maketrans({letter: chr(byte) for letter, byte in byte_alphabet().items()})
    return {token.translate(as_bytes).encode("latin-1"): vocabulary[token] for token in tokens}


def _complete(tokens: set[str], pairs: set[tuple[str, ...]]) -> bool:
    """Whether every way to cut a token into two tokens is a merge."""
    return not any(
        token[:cut] in tokens and token[cut:] in tokens and (token[:cut], token[cut:]) not in pairs
        for token in tokens
        for cut in range(1, len(token))
    )


def _reached(engine: tokenizers.Tokenizer, vocabulary: Mapping[str, int], tokens: set[str]) -> bool:
    """Whether the merges lead from the bytes of every token to that token."""
    alone = tokenizers.Tokenizer(engine.model)
    ordered = list(tokens)
    found = alone.encode_batch_fast(ordered, add_special_tokens=False)
    return all(each.ids == [vocabulary[token]] for token, each in zip(ordered, found, strict=True))


def _lacking(ranks: Mapping[bytes, int]) -> list[tuple[int, int]] | None:
    """Code points of which the vocabulary lacks a byte, as ranges; None where most are of that kind."""
    ranges: list[tuple[int, int]] = []
    for byte in range(256):
        if bytes([byte]) in ranks:
            continue
        if byte < 0x80:
            ranges.append((byte, byte))
        elif byte < 0xC0:  # it continues characters of every kind
            return None
        elif 0xC2 <= byte < 0xF5:  # others are in no UTF-8
            mask, bits, least = (0x1F, 6, 0) if byte < 0xE0 else (0x0F, 12, 0x800) if byte < 0xF0 else (7, 18, 0x10000)
            first = (byte & mask) << bits
            ranges.append((max(first, least), min(first + (1 << bits) - 1, 0x10FFFF)))
    return ranges


def _agrees(made: Ranked, engine: tokenizers.Tokenizer) -> bool:
    """Whether both give the same ids for texts that try what goes wrong: the proof should not rest on itself alone."""
    samples = [*chain.from_iterable(sample_texts().values()), *_odd_texts()]
    expected = engine.encode_batch_fast(samples, add_special_tokens=False)
    return all(
        ids is None or ids == theirs.ids for ids, theirs in zip(made.encode_many(samples), expected, strict=True)
    )


def _odd_texts() -> Iterator[str]:
    yield from (
        "",
        " ",
        "\x00",
        "a\x00b",
        " \n \r\n\t x",
        "a  1  b   2\n\n3",
        "½ ²Ⅷ ٣٤٥ 12345678",
        "e\u0301 \u1e9b\u0323",
    )
    yield from (
        "'s'S'T'RE'Ll'd 'x",
        "\u200d\ufeff\u00a0\u3000x\u2028 y",
        "!!!\n\n ...\r\n",
        "👩‍👩‍👧 🇰🇷 \U000e0041",
        "a" * 999,
    )
    # Characters that letters of the short forms stand for, or are part of, when case is put aside.
    folding = [
        letter for letter in map(chr, range(0x80, 0xFB10)) if set(letter.casefold()) & set("sdmtlver") or letter in "’ʼ"
    ]
    yield "".join(f"x'{letter} '{letter}'r{letter} {letter}s " for letter in folding)
    for wanted in ("Lu", "Lm", "Lo", "Mn", "Mc", "Nd", "Nl", "No", "Zs", "Cf", "Sk", "Pc"):
        found = [letter for letter in map(chr, range(0x3000)) if category(letter) == wanted][:200]
        yield "".join(f"a{letter} {letter}1{letter}{letter}\n{letter}" for letter in found)


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Neighbouring texts, of `_CHUNK` characters together where none is longer by itself."""
    start = size = 0
    for end, text in enumerate(texts, 1):
        size += len(text)
        if size >= _CHUNK:
            yield texts[start:end]
            start, size = end, 0
    if start < len(texts):
        yield texts[start:]


def _cut(text: str) -> Iterator[str]:
    """A long text in parts that are encoded by themselves: no match goes across a letter and the space after it."""
    start = 0
    while start + _CHUNK < len(text) and (seam := _SEAM.search(text, start + _CHUNK)) is not None:
        yield text[start : seam.end()]
        start = seam.end()
    yield text[start:]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
