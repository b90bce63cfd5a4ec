"""Tokenizers of a few hundred tokens, trained in a blink, so that tests need no download."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "the old lamp on the table costs $42 and the new one $1,299",
    "price prices priced pricing 7 42 199 1299 2024",
    "def total(items):\n    return sum(item.price for item in items)\n",
    "한국어 문장과 세계지도 그리고 안녕하세요",
    "नमस्ते दुनिया, здравствуй мир, こんにちは世界",
    "e\u0301tude café naïve Ångström 👍🏽 😀",
] * 4
SPECIAL = ["<|end|>", "<|im_start|>", "<|im_end|>"]
CONFIG = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": None, "unk_token": "<|end|>"}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def byte_level(*, digits: bool = True, compose: bool = False, size: int = 420) -> tokenizers.Tokenizer:
    """Byte-level BPE; numbers cut into digits."""
    made = tokenizers.Tokenizer(models.BPE())
    if compose:
        made.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    made.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES, trainer)
    return made


def prepending(size: int = 500) -> tokenizers.Tokenizer:
    """BPE of the kind that Llama 2 has: `▁` before every text, bytes for what has no token."""
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]],
        show_progress=False,
    )
    made.train_from_iterator([text for text in SENTENCES if text.isascii()], trainer)
    state = json.loads(made.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if not token["content"].startswith("<0x")]
    made = tokenizers.Tokenizer.from_str(json.dumps(state))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return made


def word_piece() -> tokenizers.Tokenizer:
    """WordPiece of the kind that BERT has."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    made.train_from_iterator(SENTENCES, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made


def folder_of(path: Path, made: tokenizers.Tokenizer, **config: Any) -> Path:
    """A model folder with a tokenizer in it."""
    path.mkdir(parents=True, exist_ok=True)
    made.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({**CONFIG, "chat_template": TEMPLATE, **config}))
    return path


def sentence_piece(path: Path, kind: str = "unigram") -> Path:
    """A SentencePiece model file with byte fallback, a control token and one of the user's."""
    import sentencepiece

    corpus = path / "corpus.txt"
    corpus.write_text("\n".join(text.replace("\n", " ") for text in SENTENCES if text.isascii()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(path / kind),
        vocab_size=360,
        model_type=kind,
        byte_fallback=True,
        control_symbols=["<|sys|>"],
        user_defined_symbols=["<tool>"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return path / f"{kind}.model"


def random_ranks(seed: int, merges: int = 120) -> dict[bytes, int]:
    """Ranks that tiktoken could have: all bytes, then joins of two tokens, in the order they were made."""
    source = random.Random(seed)
    ranks = {bytes([byte]): byte for byte in range(256)}
    tokens = [b"a", b"b", b"c", b" "]
    while len(ranks) < 256 + merges:
        token = source.choice(tokens) + source.choice(tokens)
        if token not in ranks and len(token) <= 9:
            ranks[token] = len(ranks)
            tokens.append(token)
    return ranks


def ranks_file(path: Path, ranks: dict[bytes, int]) -> Path:
    """The file that tiktoken would write."""
    lines = [base64.b64encode(token) + b" " + str(rank).encode() + b"\n" for token, rank in ranks.items()]
    path.write_bytes(b"".join(lines))
    return path
