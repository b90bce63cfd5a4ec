"""A SentencePiece vocabulary taken out of a GGUF file cuts texts as the model that it came from."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_gguf import gguf
from whetstone.errors import ModelFileError
from whetstone.tokens.sources import load_tokenizer

TEXTS = ["the tie is red and the shop sells ties", "Price is $1,299.00 or $42", "an assistant and a user", "  two  "]


def trained(folder: Path, **changes: Any) -> Path:
    """A SentencePiece BPE model, as Llama 2's is made."""
    import sentencepiece

    (folder / "corpus.txt").write_text("\n".join(TEXTS * 3))
    options: dict[str, Any] = {
        "model_type": "bpe",
        "vocab_size": 340,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "control_symbols": ["<|end|>"],
        "hard_vocab_limit": False,
        "minloglevel": 2,
        **changes,
    }
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"), model_prefix=str(folder / "sp"), **options
    )
    return folder / "sp.model"


def as_gguf(model: Path, **changes: Any) -> Path:
    """The model's vocabulary in a GGUF file, as llama.cpp's converters write it. None takes an entry out."""
    from sentencepiece import sentencepiece_model_pb2 as messages

    proto: Any = messages.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(model.read_bytes())
    scores = [piece.score for piece in proto.pieces]
    metadata: dict[str, Any] = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [piece.piece for piece in proto.pieces],
        "tokenizer.ggml.scores": struct.pack(f"<IIQ{len(scores)}f", 9, 6, len(scores), *scores),
        "tokenizer.ggml.token_type": [piece.type for piece in proto.pieces],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
    }
    metadata |= {key.replace("__", "."): change for key, change in changes.items()}
    path = model.with_suffix(".gguf")
    path.write_bytes(gguf({key: item for key, item in metadata.items() if item is not None}, {}))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    model = trained(tmp_path_factory.mktemp("sp"))
    return model, as_gguf(model)


@given(text=st.text(max_size=40) | st.sampled_from([*TEXTS, "한국어 👋🏽", " x", "\n\n", "<|end|>", "<s>"]))
def test_ids_and_decoding_are_those_of_the_model_it_came_from(files: tuple[Path, Path], text: str) -> None:
    from sentencepiece import SentencePieceProcessor

    model, file = files
    if any("\ud800" <= character <= "\udfff" for character in text):
        return
    theirs = SentencePieceProcessor(model_file=str(model))
    ours = load_tokenizer(str(file))
    ids = ours.encode(text).ids
    assert ids == theirs.encode(text)
    assert ours.decode(ids) == load_tokenizer(str(model)).decode(ids)


def test_what_the_file_says_of_its_tokens_is_kept(files: tuple[Path, Path]) -> None:
    tokenizer = load_tokenizer(str(files[1]))
    assert (tokenizer.kind, tokenizer.bos_id, tokenizer.eos_id) == ("gguf", 1, 2)
    assert (tokenizer.adds_bos, tokenizer.adds_eos) == (True, False)
    assert {"<s>", "</s>", "<|end|>"} <= set(tokenizer.control)
    assert tokenizer.template
    assert tokenizer.encode("a", add_special_tokens=True).ids[0] == 1


def test_a_file_without_the_leading_space_cuts_without_it(tmp_path: Path) -> None:
    model = trained(tmp_path, add_dummy_prefix=False)
    tokenizer = load_tokenizer(str(as_gguf(model, tokenizer__ggml__add_space_prefix=False)))
    assert tokenizer.encode("the tie").ids == load_tokenizer(str(model)).encode("the tie").ids
    assert tokenizer.decode(tokenizer.encode("the tie").ids) == "the tie"


def test_an_incomplete_vocabulary_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    model = tmp_path / "sp.model"
    model.write_bytes(files[0].read_bytes())
    with pytest.raises(ModelFileError, match="no complete tokenizer"):
        load_tokenizer(str(as_gguf(model, tokenizer__ggml__scores=None)))
