"""The tokenizer inside a GGUF file: copied from the base's own file, or made of a tokenizer.json.

Of a byte-level vocabulary a GGUF file holds tokens and merges, and the *name* of the rule that splits text; of one in
SentencePiece's way, pieces and scores. Whether llama.cpp then makes the same ids is checked after the export.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError
from whetstone.tokens.gguf_file import read_header
from whetstone.tokens.gguf_tokenizer import splitting_rule
from whetstone.tokens.json_tokenizer import JsonTokenizer
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer_folder import read_folder

# What is said anew of every file, or belongs to the weights of the file that is copied from.
_NOT_COPIED = ("GGUF.", "split.", "quantize.", "general.", "tokenizer.chat_template")
_KEPT_FACTS = ("general.license", "general.languages", "general.size_label")
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
_BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")

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
    """The tokenizer of a folder with a tokenizer.json.

    Args:
        folder: tokenizer.json and what lies beside it.
        rows: of the model's embeddings; ids without a token get a placeholder that is never produced from text.

    Raises:
        ModelFileError: the tokenizer is of another kind, or splits text by a rule without a name.
    """
    from gguf import GGUFValueType as Kind

    tokenizer = load_tokenizer(str(folder))
    if not isinstance(tokenizer, JsonTokenizer):
        raise ModelFileError(
            f"{folder}: it has no tokenizer.json, of which the tokenizer in a GGUF file could be made; take a GGUF "
            "file of the base as base (hf:BASE.gguf), whose tokenizer is copied"
        )
    model = dict(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"])
    tokens, types = _tokens(folder, tokenizer, model, rows)
    yield from _rule(folder, tokenizer, model, tokens, types)
    yield "tokenizer.ggml.tokens", tokens, Kind.ARRAY, Kind.STRING
    yield "tokenizer.ggml.token_type", types, Kind.ARRAY, Kind.INT32
    for key, number in _roles(folder, tokenizer).items():
        yield f"tokenizer.ggml.{key}_token_id", number, Kind.UINT32, None
    if tokenizer.suffix_ids or len(tokenizer.prefix_ids) > 1:
        raise ModelFileError(f"{folder}: its tokenizer puts more around a text than a BOS, which is not written here")
    yield "tokenizer.ggml.add_bos_token", bool(tokenizer.prefix_ids), Kind.BOOL, None


def _rule(
    folder: Path, tokenizer: JsonTokenizer, model: Mapping[str, Any], tokens: Sequence[str], types: list[int]
) -> Iterator[Entry]:
    """How text becomes tokens: merges in an order, or scores of pieces."""
    from gguf import GGUFValueType as Kind

    pairs = [tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair) for pair in model.get("merges", ())]
    name = splitting_rule(tokenizer.engine) if model.get("type") == "BPE" else None
    if name is not None:
        yield "tokenizer.ggml.model", "gpt2", Kind.STRING, None
        yield "tokenizer.ggml.pre", name, Kind.STRING, None
        yield "tokenizer.ggml.merges", [" ".join(pair) for pair in pairs], Kind.ARRAY, Kind.STRING
        yield "tokenizer.ggml.add_space_prefix", False, Kind.BOOL, None
        return
    prefix = _space_prefix(tokenizer)
    if model.get("type") != "BPE" or not model.get("byte_fallback") or prefix is None:
        raise ModelFileError(
            f"{folder}: its tokenizer splits text by a rule for which no name in GGUF files is known here; take a GGUF "
            "file of the base as base (hf:BASE.gguf), whose tokenizer is copied"
        )
    # SentencePiece joins the neighbours whose piece has the highest score: the order of the merges, told as scores.
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(pairs):
        ranks.setdefault("".join(pair), rank)
    for number, token in enumerate(tokens):
        if types[number] == _NORMAL and _BYTE_PIECE.fullmatch(token):
            types[number] = _BYTE
    if tokenizer.unk_id is not None:
        types[tokenizer.unk_id] = _UNKNOWN
    yield "tokenizer.ggml.model", "llama", Kind.STRING, None
    yield "tokenizer.ggml.pre", "default", Kind.STRING, None
    scores = [-float(ranks.get(token, len(pairs))) for token in tokens]
    yield "tokenizer.ggml.scores", scores, Kind.ARRAY, Kind.FLOAT32
    yield "tokenizer.ggml.add_space_prefix", prefix, Kind.BOOL, None


def _space_prefix(tokenizer: JsonTokenizer) -> bool | None:
    """Whether a text gets a space in front, with spaces written as SentencePiece does; None for any other rule."""
    normalizer, splitter = tokenizer.pipeline["normalizer"] or {}, tokenizer.pipeline["pre_tokenizer"]
    steps = normalizer.get("normalizers", [normalizer])
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    if steps == [prepend, replace] and splitter is None:
        return True
    if steps == [replace] and (splitter is None or splitter.get("pattern") == {"String": " "}):  # no space is left
        return False
    return None


def _tokens(folder: Path, tokenizer: JsonTokenizer, model: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Spellings by id, and what each is."""
    vocabulary = model.get("vocab")
    tokens = {number: spelling for spelling, number in vocabulary.items()} if isinstance(vocabulary, dict) else {}
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


def _roles(folder: Path, tokenizer: JsonTokenizer) -> dict[str, int]:
    """Tokens with a role, by the key that a GGUF file has for them."""
    facts = read_folder(folder)
    roles = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "unknown": tokenizer.unk_id}
    if (padding := facts.special_tokens.get("pad_token")) is not None:
        roles["padding"] = next((added.id for added in tokenizer.added if added.text == padding), None)
    # Further tokens that end an answer: llama.cpp knows the ends of a turn and of a message.
    further = [number for number in facts.ids.get("eos_token_id", ()) if number != tokenizer.eos_id]
    roles |= dict(zip(("eot", "eom"), further, strict=False))
    return {key: number for key, number in roles.items() if number is not None}
