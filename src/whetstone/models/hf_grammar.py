"""Replies that obey a JSON Schema: which tokens may come next, by llguidance's grammars (the library of vLLM's and
llama.cpp's constrained replies)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whetstone.errors import MissingPackageError, ModelError, RequestRefusedError

# The blanks of llama.cpp's grammars: lines and indents as models like to write them, and never without an end.
_SPACING: Any = {"whitespace_flexible": True, "whitespace_pattern": r" |\n{1,2}[ \t]{0,20}"}
_INSTALL = "pip install 'whetstone-llm[transformers]'"


class Vocabulary:
    """A model's tokens as llguidance knows them. Making one takes half a second.

    Args:
        description: the tokenizer, as a tokenizer.json has it.
        end_ids: the tokens that end a reply.
        decode: the text of token ids.

    Raises:
        RequestRefusedError: llguidance does not know the bytes of such tokens (those of T5, which cannot spell `{`).
        MissingPackageError: it is not installed.
    """

    def __init__(self, description: str, end_ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> None:
        try:
            from llguidance import LLTokenizer
        except ModuleNotFoundError as error:
            raise MissingPackageError("llguidance", "Constraining a transformers model", _INSTALL) from error
        try:
            self._tokens: Any = LLTokenizer(description, eos_token=sorted(end_ids) or None)
        except ValueError as error:
            raise RequestRefusedError(
                f"replies of this model cannot be constrained to a JSON schema: its tokenizer spells no bytes ({error})"
            ) from None
        self._decode = decode

    def grammar(self, schema: Mapping[str, Any]) -> Grammar:
        """What a schema allows.

        Raises:
            RequestRefusedError: no grammar can be made of the schema.
        """
        from llguidance import LLMatcher

        written = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_SPACING)
        matcher = LLMatcher(self._tokens, written, log_level=0)
        if matcher.is_error():
            problem = " ".join(matcher.get_error().split())
            raise RequestRefusedError(f"a reply cannot be constrained to the JSON schema: {problem}")
        return Grammar(matcher, self._decode)


class Grammar:
    """A schema in the tokens of a model, from which each reply gets a guide."""

    def __init__(self, matcher: Any, decode: Callable[[Sequence[int]], str]) -> None:
        self._matcher = matcher
        self._decode = decode

    def guide(self, after: str = "") -> Guide:
        """A new reply's guide.

        Args:
            after: text that ends what the reply may begin with freely: `</think>`.
        """
        return Guide(self._matcher.deep_copy(), self._decode, after)


class Guide:
    """What one reply may go on with."""

    def __init__(self, matcher: Any, decode: Callable[[Sequence[int]], str], after: str) -> None:
        self._matcher = matcher
        self._decode = decode
        self._after = after
        self._free: list[int] = []

    def allowed(self, size: int) -> Any | None:
        """Which token may come next: booleans (size,); None where any may.

        Raises:
            ModelError: the schema asks for more than can be followed.
        """
        import numpy as np
        import torch

        if self._after:
            return None
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")[:size]
        if self._matcher.is_error() or not bits.any():
            raise ModelError(f"no token of the model goes on with what the JSON schema wants: {self._problem}")
        return torch.from_numpy(np.pad(bits, (0, size - len(bits))).astype(bool))

    def take(self, token_id: int) -> bool:
        """Go on by a token that was allowed; whether the reply is complete with it."""
        if self._after:
            self._free.append(token_id)
            if self._after in self._decode(self._free):
                self._after = ""
            return False
        if not self._matcher.consume_token(token_id):
            raise ModelError(f"the token {token_id} is not what the JSON schema wants: {self._problem}")
        return bool(self._matcher.is_stopped())

    @property
    def _problem(self) -> str:
        said = self._matcher.get_error() or self._matcher.stop_reason()
        return str(said).splitlines()[0]
