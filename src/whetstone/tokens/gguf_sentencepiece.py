"""A SentencePiece model from the metadata of a GGUF file (Llama 2, Phi-3, Gemma, Mistral).

llama.cpp's "llama" vocabularies are SentencePiece BPE models taken apart: pieces, scores and types, with
SentencePiece's own numbers for the types. Put together again, they are run by the `sentencepiece` library itself.
"""

from __future__ import annotations

from typing import Any

from whetstone.errors import ModelFileError
from whetstone.tokens.gguf_file import GgufHeader, read_array
from whetstone.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

KIND = "llama"  # what such a file calls its tokenizer
_BPE = 2  # sentencepiece.TrainerSpec.ModelType
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6  # types of pieces
_ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def sentencepiece_of(header: GgufHeader, name: str, source: str) -> SentencePieceTokenizer:
    """The tokenizer that a GGUF file with a SentencePiece vocabulary describes.

    Raises:
        ModelFileError: the vocabulary is damaged.
    """
    from sentencepiece import SentencePieceProcessor

    tokens: list[Any] = read_array(header, "tokenizer.ggml.tokens")
    scores: list[Any] = read_array(header, "tokenizer.ggml.scores")
    types: list[Any] = read_array(header, "tokenizer.ggml.token_type")
    if not tokens or not len(tokens) == len(scores) == len(types):
        raise ModelFileError(
            f"{header.path}: the GGUF file holds {len(tokens)} tokens, {len(scores)} scores and {len(types)} types, so "
            "it has no complete tokenizer"
        )
    try:
        processor = SentencePieceProcessor(model_proto=_proto(header, tokens, scores, types))
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(f"{header.path}: its vocabulary is no SentencePiece model: {error}") from None
    ids = {role: header.metadata.get(f"tokenizer.ggml.{key}_token_id") for role, key in _ROLES.items()}
    tokenizer = SentencePieceTokenizer(
        processor,
        name=name,
        source=source,
        special_tokens={role: tokens[int(number)] for role, number in ids.items() if number is not None},
        template=header.chat_template or None,
        stripping=_stripping(header, tokens, types),
        # As llama.cpp has it where the file does not say.
        add_bos=bool(header.metadata.get("tokenizer.ggml.add_bos_token", True)),
        add_eos=bool(header.metadata.get("tokenizer.ggml.add_eos_token", False)),
    )
    tokenizer.kind = "gguf"
    return tokenizer


def _stripping(header: GgufHeader, tokens: list[Any], types: list[Any]) -> set[str]:
    """Control tokens that swallow the white space on their right: those of Phi-3, which llama.cpp knows by its name."""
    name = header.text("general.name").lower()
    if "phi-3" not in name and "phi3" not in name:
        return set()
    control = {token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL}
    return control - {"<unk>", "<s>", "<|endoftext|>"}


def _proto(header: GgufHeader, tokens: list[Any], scores: list[Any], types: list[Any]) -> bytes:
    from sentencepiece import sentencepiece_model_pb2 as messages

    model: Any = messages.ModelProto()  # type: ignore[attr-defined]
    for token, score, kind in zip(tokens, scores, types, strict=True):
        model.pieces.add(piece=token, score=score, type=kind)
    trainer = model.trainer_spec
    trainer.model_type = _BPE
    trainer.vocab_size = len(tokens)
    trainer.byte_fallback = _BYTE in types
    unknown = header.metadata.get("tokenizer.ggml.unknown_token_id")
    trainer.unk_id = int(unknown) if unknown is not None else types.index(_UNKNOWN) if _UNKNOWN in types else 0
    for role in ("bos", "eos", "padding"):
        number = header.metadata.get(f"tokenizer.ggml.{role}_token_id")
        field = "pad" if role == "padding" else role
        setattr(trainer, f"{field}_id", -1 if number is None else int(number))
        if number is not None:
            setattr(trainer, f"{field}_piece", tokens[int(number)])
    trainer.unk_piece = tokens[trainer.unk_id]
    normalizer = model.normalizer_spec
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = bool(header.metadata.get("tokenizer.ggml.add_space_prefix", True))
    normalizer.remove_extra_whitespaces = bool(header.metadata.get("tokenizer.ggml.remove_extra_whitespaces", False))
    normalizer.escape_whitespaces = True
    data: bytes = model.SerializeToString()
    return data
