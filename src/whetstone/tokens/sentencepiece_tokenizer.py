"""SentencePiece models (`tokenizer.model`), run by the `sentencepiece` library itself.

SentencePiece never reads a control token's spelling as that token, and knows nothing of the tokens that a model folder
adds to its vocabulary. Where such spellings are to be read, the text is cut at them and each part between is encoded as
a text of its own, as llama.cpp and `transformers` do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from whetstone.errors import MissingPackageError, ModelFileError
from whetstone.tokens.tokenizer import AddedToken, Encoding, Kind, check_text, unknown_id

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

INSTALL = "pip install sentencepiece"
_SPACE = "▁"


def read_sentencepiece(path: Path) -> SentencePieceProcessor:
    """The model in a SentencePiece file.

    Raises:
        ModelFileError: it is missing, or no SentencePiece model.
        MissingPackageError: the package sentencepiece is needed.
    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise MissingPackageError("sentencepiece", f"Reading {path}", INSTALL) from None
    try:
        proto = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        return SentencePieceProcessor(model_proto=proto)
    except (RuntimeError, OSError, ValueError):
        raise ModelFileError(f"{path} is no SentencePiece model: it is damaged, or a file of another kind") from None


class SentencePieceTokenizer:
    """A SentencePiece model.

    Args:
        processor: the model.
        name: short, for headings.
        source: what it was asked for by.
        special_tokens: role -> spelling; by default those that the model itself marks.
        template: the chat template.
        further: tokens that a model folder adds to the vocabulary.
        stripping: control tokens of the model itself that swallow the white space on their right.
        add_bos: whether `add_special_tokens` puts a BOS before a text.
        add_eos: whether it puts an EOS after it.
    """

    kind: Kind = "sentencepiece"

    def __init__(
        self,
        processor: SentencePieceProcessor,
        *,
        name: str,
        source: str,
        special_tokens: Mapping[str, str] | None = None,
        template: str | None = None,
        further: Sequence[AddedToken] = (),
        stripping: Collection[str] = (),
        add_bos: bool = False,
        add_eos: bool = False,
    ) -> None:
        self.processor = processor
        self.name = name
        self.source = source
        self.template = template
        self._size = processor.get_piece_size()
        self._stripping = frozenset(stripping)
        self._further = {token.id: token for token in further if token.id >= self._size}
        own = {
            "bos_token": processor.bos_id(),
            "eos_token": processor.eos_id(),
            "unk_token": processor.unk_id(),
            "pad_token": processor.pad_id(),
        }
        marked = {role: processor.id_to_piece(id) for role, id in own.items() if id >= 0}
        self.special_tokens: Mapping[str, str] = dict(special_tokens) if special_tokens else marked
        self._prefix = (self.bos_id,) if add_bos and self.bos_id is not None else ()
        self._suffix = (self.eos_id,) if add_eos and self.eos_id is not None else ()

    @property
    def vocab_size(self) -> int:
        return self._size + len(self._further)

    @cached_property
    def added(self) -> tuple[AddedToken, ...]:
        """Control tokens of the model, and what the folder adds."""
        own = [
            AddedToken(id, text, special=True, rstrip=text in self._stripping)
            for id in range(self._size)
            if self.processor.is_control(id) or self.processor.is_unknown(id)
            for text in [self.processor.id_to_piece(id)]
        ]
        return (*own, *sorted(self._further.values(), key=lambda token: token.id))

    @cached_property
    def control(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.added if token.special)

    @cached_property
    def bos_id(self) -> int | None:
        return self._role("bos_token")

    @cached_property
    def eos_id(self) -> int | None:
        return self._role("eos_token")

    @cached_property
    def unk_id(self) -> int | None:
        found = self.processor.unk_id()
        return found if found >= 0 else None

    def _role(self, role: str) -> int | None:
        spelling = self.special_tokens.get(role)
        if spelling is None:
            return None
        for token in self._further.values():
            if token.text == spelling:
                return token.id
        id = self.processor.piece_to_id(spelling)
        return id if self.processor.id_to_piece(id) == spelling else None

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        return self._prefix

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        return self._suffix

    @property
    def adds_bos(self) -> bool:
        return bool(self._prefix)

    @property
    def adds_eos(self) -> bool:
        return bool(self._suffix)

    def encode(self, text: str, *, special: bool = False, add_special_tokens: bool = False) -> Encoding:
        check_text(text)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, part, token in self._parts(text, special):
            if token is not None:
                ids.append(token.id)
                offsets.append((start, start + len(part)))
                continue
            found = self.processor.encode(part, return_type="offset_mapping")
            ids += found["ids"]
            offsets += [(start + first, start + last) for first, last in self._shared(found["ids"], found["offsets"])]
        if add_special_tokens:
            ids = [*self._prefix, *ids, *self._suffix]
            offsets = [(0, 0)] * len(self._prefix) + offsets + [(len(text), len(text))] * len(self._suffix)
        return Encoding(ids, offsets)

    def encode_many(
        self, texts: Sequence[str], *, special: bool = False, add_special_tokens: bool = False
    ) -> list[Encoding]:
        return [self.encode(text, special=special, add_special_tokens=add_special_tokens) for text in texts]

    def encode_ids_many(
        self, texts: Sequence[str], *, special: bool = False, add_special_tokens: bool = False
    ) -> list[list[int]]:
        for text in texts:
            check_text(text)
        pattern = self._pattern(special)
        if any(pattern.search(text) for text in texts):
            encodings = self.encode_many(texts, special=special, add_special_tokens=add_special_tokens)
            return [encoding.ids for encoding in encodings]
        found: list[list[int]] = self.processor.encode(list(texts), return_type=int)
        if add_special_tokens and (self._prefix or self._suffix):
            return [[*self._prefix, *ids, *self._suffix] for ids in found]
        return found

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        texts: list[str] = []
        run: list[int] = []
        marks = {token.id: token for token in self.added if token.id != self.unk_id}
        for id in ids:
            if not 0 <= id < self._size and id not in self._further:
                raise unknown_id(id, self.name, self.vocab_size)
            if id not in marks:
                run.append(id)
                continue
            texts.append(self.processor.decode(run))
            run = []
            if not (skip_special and marks[id].special):
                texts.append(marks[id].text)
        texts.append(self.processor.decode(run) if run else "")
        return "".join(texts)

    def token_bytes(self, id: int) -> bytes:
        spelling = self.spelling(id)
        if id in self._further or self.processor.is_control(id) or self.processor.is_unknown(id):
            return spelling.encode()
        if self.processor.is_byte(id):
            return bytes([int(spelling[3:5], 16)])
        return spelling.replace(_SPACE, " ").encode()

    def spelling(self, id: int) -> str:
        if id in self._further:
            return self._further[id].text
        if not 0 <= id < self._size:
            raise unknown_id(id, self.name, self.vocab_size)
        return self.processor.id_to_piece(id)

    def _pattern(self, special: bool) -> re.Pattern[str]:
        """Finds the tokens that are looked for before SentencePiece sees the text."""
        return self._with_special if special else self._without_special

    @cached_property
    def _with_special(self) -> re.Pattern[str]:
        return _any_of(token.text for token in self.added)

    @cached_property
    def _without_special(self) -> re.Pattern[str]:
        return _any_of(token.text for token in self.added if not token.special)

    @cached_property
    def _by_spelling(self) -> dict[str, AddedToken]:
        return {token.text: token for token in self.added}

    def _parts(self, text: str, special: bool) -> Iterator[tuple[int, str, AddedToken | None]]:
        """(start, part, the token that it spells or None), in order."""
        at = 0
        for match in self._pattern(special).finditer(text):
            token = self._by_spelling[match[0]]
            start, end = match.span()
            while token.lstrip and start > at and text[start - 1].isspace():
                start -= 1
            while token.rstrip and end < len(text) and text[end].isspace():
                end += 1
            if start > at:
                yield at, text[at:start], None
            yield max(at, start), text[max(at, start) : end], token
            at = end
        if at < len(text):
            yield at, text[at:], None

    def _shared(self, ids: list[int], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Offsets in which the bytes of a character share its span; SentencePiece gives it to the last of them."""
        shared = list(offsets)
        following: tuple[int, int] | None = None
        for index in range(len(ids) - 1, -1, -1):
            start, end = shared[index]
            byte = self.processor.is_byte(ids[index])
            if byte and start == end and following is not None and following[0] == start:
                shared[index] = following
            else:
                following = (start, end) if byte else None
        return shared


def _any_of(spellings: Iterator[str]) -> re.Pattern[str]:
    longest_first = sorted({spelling for spelling in spellings if spelling}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
