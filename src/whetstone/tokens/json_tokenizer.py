"""Tokenizers that run in the `tokenizers` library: tokenizer.json, and what else was brought into its form.

The pipeline is taken from the file as it is. Two settings of a file are put aside, neither of which changes a token:
cutting and padding (a tokenizer saved from a training run would silently cut long texts), and the trimming of offsets
(a token's span would leave out the space that the token begins with).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import is_normalized

import tokenizers
from tokenizers import processors

from whetstone.errors import ModelFileError
from whetstone.tokens.tokenizer import AddedToken, Encoding, Kind, check_text, unknown_id
from whetstone.tokens.tokenizer_bytes import byte_reader, steps_of
from whetstone.tokens.tokenizer_offsets import cover_marks, release_prepended, settle_suffix

if TYPE_CHECKING:
    from whetstone.tokens.ranked import Ranked

_COMPOSES = {"NFC", "NFKC", "Precompiled", "BertNormalizer"}
_BULK = 12_000_000  # characters after which it pays to prepare a faster way to ids; that takes a second
_PIPELINE = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def read_tokenizer_json(path: Path) -> tokenizers.Tokenizer:
    """The pipeline in a tokenizer.json.

    Raises:
        ModelFileError: it is missing, or no tokenizer.
    """
    try:
        return tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except FileNotFoundError:
        raise ModelFileError(f"There is no file {path}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the library raises bare Exceptions and ValueErrors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFileError(f"{path} is no tokenizer.json that can be read: {reason}") from None


def pipeline(engine: tokenizers.Tokenizer) -> dict[str, Any]:
    """The parts of a pipeline but for its vocabulary, as tokenizer.json writes them; None for a part it lacks."""
    return {name: _state(getattr(engine, name)) for name in _PIPELINE}


def _state(part: Any) -> Any:
    return None if part is None else json.loads(part.__getstate__())


class JsonTokenizer:
    """A tokenizer of the `tokenizers` library.

    Args:
        engine: the pipeline; it is this object's from now on.
        name: short, for headings.
        source: what it was asked for by.
        kind: what it was read from.
        special_tokens: role -> spelling.
        template: the chat template.
        end_ids: ids of which any ends an answer, where the folder names them.
    """

    def __init__(
        self,
        engine: tokenizers.Tokenizer,
        *,
        name: str,
        source: str,
        kind: Kind = "tokenizer.json",
        special_tokens: Mapping[str, str] | None = None,
        template: str | None = None,
        end_ids: Sequence[int] = (),
    ) -> None:
        engine.no_truncation()
        engine.no_padding()
        self.engine = engine
        self.name = name
        self.source = source
        self.kind: Kind = kind
        self.special_tokens: Mapping[str, str] = dict(special_tokens or {})
        self.template = template
        self.end_ids = tuple(end_ids)
        self.pipeline = pipeline(engine)
        self._in_bulk = 0  # characters of which ids alone were asked for
        _keep_spaces_in_offsets(engine, self.pipeline["post_processor"])

    @cached_property
    def vocab_size(self) -> int:
        return int(self.engine.get_vocab_size())

    @cached_property
    def added(self) -> tuple[AddedToken, ...]:
        roles = set(self.special_tokens.values())
        found = sorted(self.engine.get_added_tokens_decoder().items())
        return tuple(
            AddedToken(
                id,
                token.content,
                special=token.special or token.content in roles,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=token.normalized,
                single_word=token.single_word,
            )
            for id, token in found
        )

    @cached_property
    def control(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.added if token.special)

    @cached_property
    def bos_id(self) -> int | None:
        return self._role("bos_token")

    @cached_property
    def eos_id(self) -> int | None:
        found = self._role("eos_token")
        return self.end_ids[0] if found is None and self.end_ids else found

    @cached_property
    def unk_id(self) -> int | None:
        spelling = getattr(self.engine.model, "unk_token", None)
        return self._role("unk_token") if spelling is None else self.engine.token_to_id(spelling)

    def _role(self, role: str) -> int | None:
        spelling = self.special_tokens.get(role)
        return None if spelling is None else self.engine.token_to_id(spelling)

    @cached_property
    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What is put before and after any text."""
        probe = self.engine.encode("a", add_special_tokens=True)
        ids, mask = probe.ids, probe.special_tokens_mask
        if not any(mask) or all(mask):
            return (), ()
        first = mask.index(0)
        last = len(mask) - mask[::-1].index(0)
        return tuple(ids[:first]), tuple(ids[last:])

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        return self._around[0]

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        return self._around[1]

    @property
    def adds_bos(self) -> bool:
        return bool(self.prefix_ids)

    @property
    def adds_eos(self) -> bool:
        return bool(self.suffix_ids)

    def encode(self, text: str, *, special: bool = False, add_special_tokens: bool = False) -> Encoding:
        check_text(text)
        found = self._engine_for((text,), special).encode(text, add_special_tokens=add_special_tokens)
        return self._encoding(text, found, add_special_tokens)

    def encode_many(
        self, texts: Sequence[str], *, special: bool = False, add_special_tokens: bool = False
    ) -> list[Encoding]:
        for text in texts:
            check_text(text)
        found = self._engine_for(texts, special).encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return [self._encoding(text, each, add_special_tokens) for text, each in zip(texts, found, strict=True)]

    def encode_ids_many(
        self, texts: Sequence[str], *, special: bool = False, add_special_tokens: bool = False
    ) -> list[list[int]]:
        for text in texts:
            check_text(text)
        self._in_bulk += sum(map(len, texts))
        if self._in_bulk < _BULK or self._ranked is None:
            return self._pipeline_ids(texts, special, add_special_tokens)
        found = self._ranked.encode_many(texts)
        left = [text for text, ids in zip(texts, found, strict=True) if ids is None]
        others = iter(self._pipeline_ids(left, special, add_special_tokens) if left else ())
        before, after = map(list, self._around) if add_special_tokens else ([], [])
        return [next(others) if ids is None else before + ids + after if before or after else ids for ids in found]

    def _pipeline_ids(self, texts: Sequence[str], special: bool, add_special_tokens: bool) -> list[list[int]]:
        engine = self._engine_for(texts, special)
        return [each.ids for each in engine.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)]

    @cached_property
    def _ranked(self) -> Ranked | None:
        from whetstone.tokens.ranked import ranked

        return ranked(self.engine, self.pipeline, _state(self.engine.model))

    def decode(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        listed = list(ids)
        if listed and (min(listed) < 0 or max(listed) >= self._contiguous):
            for id in listed:
                self.spelling(id)
        return self.engine.decode(listed, skip_special_tokens=skip_special)

    def token_bytes(self, id: int) -> bytes:
        spelling = self.spelling(id)
        return spelling.encode() if id in self._added_ids else self._read(spelling)

    def spelling(self, id: int) -> str:
        found = self.engine.id_to_token(id) if 0 <= id < 2**32 else None
        if found is None:
            raise unknown_id(id, self.name, self.vocab_size)
        return found

    @cached_property
    def _contiguous(self) -> int:
        """Ids from 0 up to here are all tokens; there may be more above gaps."""
        size = self.vocab_size
        return size if size and max(self.engine.get_vocab().values()) == size - 1 else 0

    @cached_property
    def _added_ids(self) -> frozenset[int]:
        return frozenset(token.id for token in self.added)

    @cached_property
    def _read(self) -> Any:
        return byte_reader(self.pipeline["decoder"])

    @cached_property
    def _spelled(self) -> re.Pattern[str] | None:
        """Finds the spelling of a control token; None where it can come about in ways that a search cannot see."""
        if any(token.special and token.normalized for token in self.added):
            return None
        longest_first = sorted(self.control, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def _engine_for(self, texts: Sequence[str], special: bool) -> tokenizers.Tokenizer:
        if special:
            return self.engine
        pattern = self._spelled
        # The twin costs as much memory again, and most texts spell no control token.
        if pattern is not None and not any(pattern.search(text) for text in texts):
            return self.engine
        return self._literal

    @cached_property
    def _literal(self) -> tokenizers.Tokenizer:
        """A twin that reads the spelling of a control token as text."""
        twin = tokenizers.Tokenizer.from_str(self.engine.to_str())
        plain = {token.content for token in twin.get_added_tokens_decoder().values() if not token.special}
        promoted = [token for token in self.added if token.special and token.text in plain]
        twin.add_special_tokens([tokenizers.AddedToken(token.text, special=True) for token in promoted])
        twin.encode_special_tokens = True
        return twin

    def _encoding(self, text: str, found: tokenizers.Encoding, add_special_tokens: bool) -> Encoding:
        ids, offsets = found.ids, found.offsets
        if add_special_tokens:
            settle_suffix(offsets, len(self.suffix_ids), len(text))
        if self._prepended is not None:
            release_prepended(ids, offsets, self._prepended)
        if self._composes and not is_normalized(self._composes, text):
            cover_marks(text, offsets)
        return Encoding(ids, offsets)

    @cached_property
    def _prepended(self) -> int | None:
        """The id of the space that is put before a text or a word, where the tokenizer does so."""
        for step in [*steps_of(self.pipeline["normalizer"]), *steps_of(self.pipeline["pre_tokenizer"])]:
            if step["type"] == "Prepend":
                return self.engine.token_to_id(str(step["prepend"]))
            if step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never":
                return self.engine.token_to_id(str(step["replacement"]))
        return None

    @cached_property
    def _composes(self) -> Literal["NFC", "NFKC"] | None:
        """The Unicode form in which a text is as it would be after normalising, as far as marks go."""
        kinds = {step["type"] for step in steps_of(self.pipeline["normalizer"])}
        return None if not kinds & _COMPOSES else "NFC" if kinds & _COMPOSES == {"NFC"} else "NFKC"


def _keep_spaces_in_offsets(engine: tokenizers.Tokenizer, state: Any) -> None:
    trimming = [step for step in steps_of(state) if step.get("trim_offsets")]
    if not trimming:
        return
    changed = json.loads(json.dumps(state))
    for step in steps_of(changed):
        if "trim_offsets" in step:
            step["trim_offsets"] = False  # type: ignore[index]
    processor = processors.ByteLevel()
    processor.__setstate__(json.dumps(changed).encode())
    engine.post_processor = processor
