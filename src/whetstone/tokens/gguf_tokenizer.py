"""A tokenizer.json from the metadata of a GGUF file, with exact ids.

A GGUF file holds vocabulary and merges, and only the *name* of the rule that splits text before merging. transformers
knows some of the names and takes GPT-2's rule for all others: SmolLM2's "smollm", which cuts numbers into digits, comes
out wrong. So byte-level vocabularies are built here, from the names in `_RULES`; an unknown name is refused. The
splitting patterns are those of the models' own tokenizer.json files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from whetstone.errors import ModelFileError
from whetstone.tokens.gguf_file import GgufHeader, read_array

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace("{1,3}", "")  # every digit on its own
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_CONTROL, _USER_DEFINED = 3, 4  # token types of the GGUF format
_ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


class _Rule(NamedTuple):
    """How a byte-level vocabulary splits text before it merges.

    Attributes:
        pattern: pieces of text; None is GPT-2's own pattern.
        digits: every digit is a piece first.
        whole_words: a piece that is in the vocabulary is not built from merges.
        compose: text is brought to its composed Unicode form (NFC).
    """

    pattern: str | None = None
    digits: bool = False
    whole_words: bool = False
    compose: bool = False


_DIGITS = _Rule(digits=True)
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("gpt-2", "gpt2", "phi-2", "olmo", "roberta-bpe"), _Rule()),
    **dict.fromkeys(("smollm", "starcoder", "codeshell", "exaone"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe"), _Rule(_LLAMA3, whole_words=True)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _Rule(_QWEN2, compose=True)),
    "tekken": _Rule(_TEKKEN, whole_words=True),
    "gpt-4o": _Rule(_GPT4O, whole_words=True),
}


def splitting_rule(engine: Any) -> str | None:
    """The name that GGUF files have for the rule by which a byte-level tokenizer splits text; None where none is known.

    Args:
        engine: a `tokenizers.Tokenizer`.
    """
    splitter, normalizer = _state(engine.pre_tokenizer), _state(engine.normalizer)
    steps = splitter["pretokenizers"] if splitter.get("type") == "Sequence" else [splitter]
    kinds = [step.get("type") for step in steps]
    if kinds not in (["ByteLevel"], ["Digits", "ByteLevel"], ["Split", "ByteLevel"]):
        return None
    first, last = steps[0], steps[-1]
    pattern = first.get("pattern", {}).get("Regex") if kinds[0] == "Split" else None
    if (
        last.get("add_prefix_space")
        or bool(last.get("use_regex", True)) != (kinds[0] != "Split")
        or (kinds[0] == "Split" and (first.get("behavior") != "Isolated" or first.get("invert")))
        or (kinds[0] == "Digits" and not first.get("individual_digits"))
        or normalizer not in ({}, {"type": "NFC"})
    ):
        return None
    wanted = _Rule(pattern, kinds[0] == "Digits", bool(engine.model.ignore_merges), bool(normalizer))
    return next((name for name, rule in _RULES.items() if rule == wanted), None)


def _state(part: Any) -> dict[str, Any]:
    """A part of a tokenizer as tokenizer.json writes it; {} where there is none."""
    found: dict[str, Any] = {} if part is None else json.loads(part.__getstate__())
    return found


def byte_level_tokenizer(header: GgufHeader) -> tuple[Any, dict[str, str]]:
    """The tokenizer that a GGUF file with a byte-level vocabulary describes.

    Returns:
        A `tokenizers.Tokenizer`, and the tokens with a role: {"eos_token": "<|im_end|>", ...}.

    Raises:
        ModelFileError: the splitting rule is not known here, or the vocabulary is damaged.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    path, name = header.path, header.text("tokenizer.ggml.pre")
    rule = _RULES.get(name)
    if rule is None:
        raise ModelFileError(
            f"{path}: its tokenizer splits text by the rule {name!r}, which is not known here, so its token ids would "
            f"be wrong; use gguf:{path}, or the model's own folder"
        )
    tokens, types, lines = (_array(header, name) for name in ("tokens", "token_type", "merges"))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(line.split(" ", 1)) for line in lines]
    merges = [pair for pair in pairs if {*pair, "".join(pair)} <= vocabulary.keys()]  # others never make a token
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=rule.whole_words))
    if rule.compose:
        tokenizer.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if rule.digits else []
    if rule.pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(rule.pattern), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule.pattern is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    for kind in (_CONTROL, _USER_DEFINED):
        special = kind == _CONTROL
        spellings = [token for token, found in zip(tokens, types, strict=True) if found == kind]
        added = [AddedToken(token, normalized=False, special=special) for token in spellings]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(added)
    ids = {role: header.metadata.get(f"tokenizer.ggml.{key}_token_id") for role, key in _ROLES.items()}
    roles = {role: tokens[int(number)] for role, number in ids.items() if number is not None}
    if header.metadata.get("tokenizer.ggml.add_bos_token") and "bos_token" in roles:
        bos = roles["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, vocabulary[bos])]
        )
    return tokenizer, roles


def _array(header: GgufHeader, name: str) -> list[Any]:
    """An array of the tokenizer's metadata."""
    found: list[Any] = read_array(header, f"tokenizer.ggml.{name}")
    if not found:
        key = f"tokenizer.ggml.{name}"
        raise ModelFileError(f"{header.path}: the GGUF file holds no {key}, so it has no complete tokenizer")
    return found
