"""What every tokenizer can do, whichever kind of file it was read from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from whetstone.errors import RequestRefusedError

Kind = Literal["tokenizer.json", "sentencepiece", "gguf", "tiktoken"]

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """The tokens of one text.

    Attributes:
        ids: token ids.
        offsets: (start, end) of each token, in characters of the text that was given. A token that is a part of a
            character has the whole character's span; one that no text stands behind (a BOS) has (n, n).
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is looked for in the text before it is split.

    Attributes:
        id: its id.
        text: its spelling.
        special: it is a control token: no text but a mark, left out when asked for text alone.
        lstrip: it swallows the white space on its left.
        rstrip: it swallows the white space on its right.
        normalized: it is looked for in the normalised text.
        single_word: it is found only where no letter or digit touches it.
    """

    id: int
    text: str
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    single_word: bool = False


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back, exactly as the model's own files say.

    Attributes:
        name: short, for headings.
        kind: what it was read from.
        source: what it was asked for by.
        vocab_size: tokens, added ones included.
        template: the model's chat template (Jinja), None where it has none.
        special_tokens: role -> spelling, as templates are given them: {"bos_token": "<s>", ...}.
        added: added tokens by rising id.
        control: spellings of all control tokens.
        bos_id: begin of text; None where the vocabulary has none.
        eos_id: end of text, likewise.
        unk_id: what stands for text that the vocabulary has no token for, likewise.
        prefix_ids: what `add_special_tokens` puts before a text.
        suffix_ids: what it puts after it.
        adds_bos: whether it puts something before.
        adds_eos: whether it puts something after.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def source(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def template(self) -> str | None: ...
    @property
    def special_tokens(self) -> Mapping[str, str]: ...
    @property
    def added(self) -> Sequence[AddedToken]: ...
    @property
    def control(self) -> tuple[str, ...]: ...
    @property
    def bos_id(self) -> int | None: ...
    @property
    def eos_id(self) -> int | None: ...
    @property
    def unk_id(self) -> int | None: ...
    @property
    def prefix_ids(self) -> tuple[int, ...]: ...
    @property
    def suffix_ids(self) -> tuple[int, ...]: ...
    @property
    def adds_bos(self) -> bool: ...
    @property
    def adds_eos(self) -> bool: ...

    def encode(self, text: str, *, special: bool = False, add_special_tokens: bool = False) -> Encoding:
        """The tokens of a text.

        Args:
            text: any text; NUL and texts of many megabytes included.
            special: whether the spelling of a control token in the text becomes that token. Otherwise it is text.
            add_special_tokens: whether what the tokenizer puts around any text (a BOS, an EOS) is put around this one.

        Raises:
            RequestRefusedError: the text holds a lone surrogate, which is no character.
        """
        ...

    def encode_many(
        self, texts: Sequence[str], *, special: bool = False, add_special_tokens: bool = False
    ) -> list[Encoding]:
        """The tokens of many texts, on all cores where the library can."""
        ...

    def encode_ids_many(
        self, texts: Sequence[str], *, special: bool = False, add_special_tokens: bool = False
    ) -> list[list[int]]:
        """The ids of many texts without offsets, which takes half the time, or a quarter of many megabytes."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """The text of token ids. Bytes that are no whole character show as U+FFFD.

        Raises:
            RequestRefusedError: an id is out of range.
        """
        ...

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token stands for within a text; a control token's are its spelling.

        Raises:
            RequestRefusedError: the id is out of range.
        """
        ...

    def spelling(self, id: int) -> str:
        """A token as the vocabulary spells it ("Ġthe", "▁the", "<0x0A>").

        Raises:
            RequestRefusedError: the id is out of range.
        """
        ...


def check_text(text: str) -> None:
    """A sentence for what no tokenizer can read.

    Raises:
        RequestRefusedError: the text holds a lone surrogate.
    """
    if text.isascii():
        return
    found = _SURROGATE.search(text)
    if found is not None:
        raise RequestRefusedError(
            f"the text holds half a character (the lone surrogate U+{ord(found[0]):04X} at character {found.start()}), "
            "which has no bytes and so no tokens: remove it or replace it by U+FFFD"
        )


def unknown_id(id: int, name: str, size: int) -> RequestRefusedError:
    """The error for an id that stands for no token."""
    return RequestRefusedError(f"{id} is no token id of {name}: its vocabulary has {size:,} tokens, 0 to {size - 1:,}")
