"""In which encoding a text file is written.

A byte order mark settles it, and so does valid UTF-8. Everything else is an assumption, which `Encoding.note` states.
The assumptions rest on which scripts the bytes would spell, by the layout of the code tables. A general detector was
tried first: charset-normalizer 3.5 took "Café crème" for cp1250, "Müller größer" for Urdu, and a Korean sentence with a
company's name in Latin letters for nothing at all; with texts as short as a note, knowing the tables does better.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from whetstone.errors import DataError

_PIECE = 1 << 20
_HEAD = 1 << 16
_MARKS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SIGNATURES = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\xd0\xcf\x11\xe0": "an old office document",
    b"\x1f\x8b": "gzip-compressed data",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}
# Control characters that no text holds: all but backspace, tab, line feed, vertical tab, form feed, return, escape.
_CONTROLS = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the bytes of a text are to be decoded.

    Attributes:
        codec, errors: as for `open`.
        note: what was assumed; "" where the file itself says it.
    """

    codec: str
    errors: str = "strict"
    note: str = ""


def encoding_of(rewind: Callable[[], BinaryIO], path: str) -> Encoding:
    """The encoding of a text file, after looking at all of it: no byte comes as a surprise later.

    Args:
        rewind: gives the file's bytes from the start.
        path: what messages call it.

    Raises:
        DataError: it is no text.
    """
    head = rewind().read(_HEAD)
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return _marked(codec, rewind)
    _refuse_binary(head, path)
    wide = _wide(head)
    if wide:
        return Encoding(wide, "replace", f"{wide} (assumed)")
    bad, nulls = _fits("utf-8", rewind)
    if not bad:
        return Encoding("utf-8", note="utf-8 with null bytes, shown as �" if nulls else "")
    sample = _sample(rewind())
    if _is_damaged_utf8(sample):
        return Encoding("utf-8", "replace", "utf-8 with damaged characters, shown as �")
    for codec, looks_right in _GUESSES:
        if looks_right(sample) and not _fits(codec, rewind)[0]:
            return Encoding(codec, note=f"{codec} (assumed)")
    return Encoding("latin-1", note="latin-1 (assumed)")


def _marked(codec: str, rewind: Callable[[], BinaryIO]) -> Encoding:
    bad, _ = _fits(codec, rewind)
    name = "utf-8" if codec == "utf-8-sig" else codec
    return Encoding(codec, "replace", f"{name} with damaged characters, shown as �") if bad else Encoding(codec)


def _refuse_binary(head: bytes, path: str) -> None:
    for signature, what in _SIGNATURES.items():
        if head.startswith(signature):
            raise DataError(f"{path} is {what}, whatever its name says; give it the right name")
    if not _wide(head) and len(_CONTROLS.findall(head)) * 100 > len(head):
        raise DataError(f"{path} is no text: more than one byte in a hundred is a control character")


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: ASCII characters in it have a null byte at every other place."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd * 3 > len(head) // 2 and even * 20 < odd:
        return "utf-16-le"
    return "utf-16-be" if even * 3 > len(head) // 2 and odd * 20 < even else ""


def _fits(codec: str, rewind: Callable[[], BinaryIO]) -> tuple[bool, bool]:
    """Whether something in the file is not in this encoding; whether there are null bytes."""
    decoder = codecs.getincrementaldecoder(codec)()
    nulls = False
    for piece in _pieces(rewind()):
        nulls = nulls or b"\0" in piece
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError:
            return True, nulls
    return False, nulls


def _pieces(reader: BinaryIO) -> Iterator[bytes]:
    """The bytes, and an empty piece at the end."""
    while piece := reader.read(_PIECE):
        yield piece
    yield b""


def _sample(reader: BinaryIO) -> bytes:
    """The first stretch in which there is more than ASCII, ended at a line where there is one."""
    for piece in _pieces(reader):
        if not piece.isascii():
            end = piece.rfind(b"\n") + 1 if len(piece) == _PIECE else len(piece)
            return piece[: end or len(piece)]
    return b""


def _is_damaged_utf8(sample: bytes) -> bool:
    text = sample.decode("utf-8", "replace")
    damaged = text.count("�")
    return sum(character > "\x7f" for character in text) - damaged >= 10 * damaged


def _pairs(sample: bytes) -> list[bytes]:
    """Bytes above ASCII, two by two, as the double-byte sets of East Asia in their EUC form pair them."""
    return re.findall(rb"[\x81-\xfe][\x41-\xfe]", sample)


def _is_korean(sample: bytes) -> bool:
    """cp949: nearly all pairs are syllables of KS X 1001 (rows B0 to C8) or its symbols; of Chinese, only half are."""
    pairs = [pair for pair in _pairs(sample) if not 0xA1 <= pair[0] <= 0xAC]
    syllables = sum(0xB0 <= pair[0] <= 0xC8 and pair[1] >= 0xA1 for pair in pairs)
    return bool(pairs) and syllables * 10 >= 9 * len(pairs)


def _is_japanese(sample: bytes) -> bool:
    """cp932: kana (lead bytes 82 and 83) make up a good part of any Japanese text."""
    text = sample.decode("cp932", "replace")
    wide = [character for character in text if character > "\x7f"]
    return sum("぀" <= character <= "ヿ" for character in wide) * 4 >= len(wide)


def _is_chinese(sample: bytes) -> bool:
    """gb18030: the everyday characters are rows B0 to D7; Cyrillic and Latin letters would fall outside of them."""
    pairs = [pair for pair in _pairs(sample) if not 0xA1 <= pair[0] <= 0xA9]
    common = sum(0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1 for pair in pairs)
    return bool(pairs) and common * 10 >= 9 * len(pairs)


def _is_cyrillic(sample: bytes) -> bool:
    """cp1251: letters above ASCII stand in words of several of them, which they do not in Western languages."""
    high = sum(byte > 0x7F for byte in sample)
    in_words = sum(len(word) for word in re.findall(rb"[\xc0-\xff\xa8\xb8]{3,}", sample))
    return in_words * 10 >= 8 * high


# In this order: each rule is stricter than those after it.
_GUESSES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("cp949", _is_korean),
    ("cp932", _is_japanese),
    ("gb18030", _is_chinese),
    ("cp1251", _is_cyrillic),
    ("cp1252", lambda sample: True),
)
