"""The tokenizer inside a GGUF file: copied from the base's own file, or made of a byte-level tokenizer.json.

A GGUF file holds vocabulary and merges, and the *name* of the rule that splits text. Which name is right is found out
by trying: `tokens.gguf_tokenizer` is given a file with each name that it knows, and the name is right whose splitting
pattern is the tokenizer's own. Whether llama.cpp then makes the same ids is checked after the export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError
from whetstone.tokens.gguf_file import read_header
from whetstone.tokens.gguf_tokenizer import splitting_rule
from whetstone.tokens.json_tokenizer import JsonTokenizer
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.tokenizer_folder import read_folder

# What is said anew of every file, or belongs to the weights of the file that is copied from.
_NOT_COPIED = ("GGUF.", "split.", "quantize.", "general.", "tokenizer.chat_template")
_KEPT_FACTS = ("general.license", "general.languages", "general.size_label")
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5

Entry = tuple[str, Any, Any, Any]  # key, value, gguf.GGUFValueType, and that of an array's elements


def copied_settings(gguf: Path) -> Iterator[Entry]:
    """Settings and tokenizer of a GGUF file, to be written into another with the same architecture.

    Raises:
        ModelFileError: the file cannot be read.
    """
    import gguf as library

    read_header(gguf)  # says in a sentence what is wrong with a file
    for key, field in library.GGUFReader(gguf).fields.items():
        if not key.startswith(_NOT_COPIED) or key in _KEPT_FACTS:
            kind = field.types[0]
            yield key, field.contents(), kind, field.types[-1] if kind == library.GGUFValueType.ARRAY else None


def made_settings(folder: Path, rows: int) -> Iterator[Entry]:
    """The tokenizer of a folder with a byte-level tokenizer.json.

    Args:
        folder: tokenizer.json and what lies beside it.
        rows: of the model's embeddings; ids without a token get a placeholder that is never produced from text.

    Raises:
        ModelFileError: the tokenizer is of another kind, or splits text by a rule without a name.
    """
    from gguf import GGUFValueType as Kind

    tokenizer = load_tokenizer(str(folder))
    model = _byte_level_model(folder, tokenizer)
    tokens, types = _tokens(folder, tokenizer, model, rows)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    yield "tokenizer.ggml.model", "gpt2", Kind.STRING, None
    yield "tokenizer.ggml.pre", _rule_name(folder, tokenizer), Kind.STRING, None
    yield "tokenizer.ggml.tokens", tokens, Kind.ARRAY, Kind.STRING
    yield "tokenizer.ggml.token_type", types, Kind.ARRAY, Kind.INT32
    yield "tokenizer.ggml.merges", merges, Kind.ARRAY, Kind.STRING
    for key, number in _roles(folder, tokenizer).items():
        yield f"tokenizer.ggml.{key}_token_id", number, Kind.UINT32, None
    if tokenizer.suffix_ids or len(tokenizer.prefix_ids) > 1:
        raise ModelFileError(
            f"{folder}: its tokenizer puts more around a text than a BOS, which a GGUF file cannot say of a byte-level "
            "vocabulary"
        )
    yield "tokenizer.ggml.add_bos_token", bool(tokenizer.prefix_ids), Kind.BOOL, None
    yield "tokenizer.ggml.add_space_prefix", False, Kind.BOOL, None


def _byte_level_model(folder: Path, tokenizer: Tokenizer) -> Mapping[str, Any]:
    if isinstance(tokenizer, JsonTokenizer):
        model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        decoder = tokenizer.pipeline["decoder"] or {}
        if model.get("type") == "BPE" and decoder.get("type") == "ByteLevel":
            return dict(model)
    raise ModelFileError(
        f"{folder}: its tokenizer is no byte-level BPE, and only such a one can be written into a GGUF file from a "
        "folder; take a GGUF file of the base as base (hf:BASE.gguf), whose tokenizer is copied"
    )


def _rule_name(folder: Path, tokenizer: Tokenizer) -> str:
    assert isinstance(tokenizer, JsonTokenizer)
    name = splitting_rule(tokenizer.engine)
    if name is None:
        raise ModelFileError(
            f"{folder}: its tokenizer splits text by a rule for which no name in GGUF files is known here; take a GGUF "
            "file of the base as base (hf:BASE.gguf), whose tokenizer is copied"
        )
    return name


def _tokens(folder: Path, tokenizer: Tokenizer, model: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Spellings by id, and what each is."""
    tokens = {number: spelling for spelling, number in model["vocab"].items()}
    types = dict.fromkeys(tokens, _NORMAL)
    for added in tokenizer.added:
        tokens[added.id] = added.text
        types[added.id] = _CONTROL if added.special else _USER_DEFINED
    if tokens and max(tokens) >= rows:
        raise ModelFileError(
            f"{folder}: the tokenizer has the id {max(tokens)}, and the model's embeddings have only {rows} rows; the "
            "tokenizer belongs to another model, or the training added tokens"
        )
    return (
        [tokens.get(number, f"[PAD{number}]") for number in range(rows)],
        [types.get(number, _UNUSED) for number in range(rows)],
    )


def _roles(folder: Path, tokenizer: Tokenizer) -> dict[str, int]:
    """Tokens with a role, by the key that a GGUF file has for them."""
    facts = read_folder(folder)
    roles = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "unknown": tokenizer.unk_id}
    if (padding := facts.special_tokens.get("pad_token")) is not None:
        roles["padding"] = next((added.id for added in tokenizer.added if added.text == padding), None)
    # Further tokens that end an answer: llama.cpp knows the ends of a turn and of a message.
    further = [number for number in facts.ids.get("eos_token_id", ()) if number != tokenizer.eos_id]
    roles |= dict(zip(("eot", "eom"), further, strict=False))
    return {key: number for key, number in roles.items() if number is not None}
