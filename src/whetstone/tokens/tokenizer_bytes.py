"""The bytes that a token stands for, from how its vocabulary spells it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def byte_alphabet() -> Mapping[str, int]:
    """GPT-2's letters for bytes: printable Latin-1 characters stand for themselves, the rest for U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


@cache
def byte_letters() -> tuple[str, ...]:
    """The letter of each byte, 0 to 255."""
    letters = {byte: letter for letter, byte in byte_alphabet().items()}
    return tuple(letters[byte] for byte in range(256))


def steps_of(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The steps of a part of a tokenizer.json (a normaliser, a decoder, ...), with nested sequences laid flat."""
    if part is None:
        return
    inner = part.get("normalizers") or part.get("pretokenizers") or part.get("processors") or part.get("decoders")
    if inner is None:
        yield part
        return
    for step in inner:
        yield from steps_of(step)


def byte_reader(decoder: Mapping[str, Any] | None) -> Callable[[str], bytes]:
    """Reads the spelling of an ordinary token as bytes, as the given decoder of a tokenizer.json does.

    What a decoder does to a whole text, such as taking off its first space, is not done to a token.
    """
    steps = list(steps_of(decoder))
    kinds = {step["type"] for step in steps}
    if "ByteLevel" in kinds:
        return _byte_level
    fallback = "ByteFallback" in kinds
    replacements = [pair for step in steps for pair in _replacement(step)]
    prefixes = [str(step.get("prefix", "##")) for step in steps if step["type"] == "WordPiece"]

    def read(spelling: str) -> bytes:
        byte = _BYTE.fullmatch(spelling) if fallback else None
        if byte is not None:
            return bytes([int(byte[1], 16)])
        for old, new in replacements:
            spelling = spelling.replace(old, new)
        for prefix in prefixes:
            spelling = spelling.removeprefix(prefix)
        return spelling.encode()

    return read


def _byte_level(spelling: str) -> bytes:
    alphabet = byte_alphabet()
    try:
        return bytes([alphabet[letter] for letter in spelling])
    except KeyError:  # a token that was added with other letters stands for itself
        return spelling.encode()


def _replacement(step: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if step["type"] == "Metaspace":
        yield str(step["replacement"]), " "
    elif step["type"] == "BPEDecoder":
        yield str(step.get("suffix", "</w>")), " "
    elif step["type"] == "Replace" and "String" in step["pattern"]:
        yield str(step["pattern"]["String"]), str(step["content"])
