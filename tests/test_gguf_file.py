"""A GGUF's header is read without its weights, and whatever is wrong with the file is one sentence."""

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from tiny_gguf import CONTEXT, gguf, tiny_model
from whetstone.errors import ModelFileError
from whetstone.tokens.embedded import embedded_weights
from whetstone.tokens.gguf_file import read_header


def write(folder: Path, data: bytes, name: str = "model.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_header_tells_what_the_model_is(tmp_path: Path) -> None:
    metadata, tensors = tiny_model()
    header = read_header(write(tmp_path, gguf(metadata, tensors)))
    assert header.architecture == "llama"
    assert header.context_length == CONTEXT
    assert header.chat_template == metadata["tokenizer.chat_template"]
    assert header.metadata["tokenizer.ggml.add_bos_token"] is False
    assert header.metadata["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert header.lengths["tokenizer.ggml.tokens"] == 258
    assert [(t.name, t.shape) for t in header.tensors] == [(name, shape) for name, (shape, _) in tensors.items()]


def test_the_embedded_weights_are_whole() -> None:
    header = read_header(embedded_weights())
    assert header.context_length == 8192
    assert len(header.tensors) == 272
    assert header.lengths["tokenizer.ggml.tokens"] == 49152


def test_a_header_agrees_with_the_reference_reader(tmp_path: Path) -> None:
    path = write(tmp_path, gguf(*tiny_model()))
    reader = pytest.importorskip("gguf").GGUFReader(path)
    header = read_header(path)
    assert {t.name: (t.shape, t.type) for t in header.tensors} == {
        t.name: (tuple(int(n) for n in t.shape), int(t.tensor_type)) for t in reader.tensors
    }
    for key, value in header.metadata.items():
        assert reader.fields[key].contents() == value


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = gguf(*tiny_model())
    body = sum(len(data) for _, data in tiny_model()[1].values())
    for length in [*range(1, len(data) - body, 37), *range(len(data) - body, len(data), 997), len(data) - 1]:
        refusal(write(tmp_path, data[:length]))


def test_a_cut_off_file_says_how_much_is_missing(tmp_path: Path) -> None:
    data = gguf(*tiny_model())
    said = refusal(write(tmp_path, data[:-100]))
    assert "cut off" in said
    assert f"{len(data) - 100:,} bytes" in said
    assert f"{len(data):,}" in said


def test_random_bytes_after_the_magic_are_refused_or_read(tmp_path: Path) -> None:
    rng = random.Random(5)
    whole = bytearray(gguf(*tiny_model()))
    for _ in range(300):
        refusal(write(tmp_path, b"GGUF" + struct.pack("<I", 3) + rng.randbytes(rng.randrange(400))))
    for _ in range(300):
        data = bytearray(whole)
        at = rng.randrange(4, 6000)
        data[at : at + 8] = rng.choice([bytes(8), b"\xff" * 8, rng.randbytes(8)])
        with contextlib.suppress(ModelFileError):
            read_header(write(tmp_path, bytes(data)))


@pytest.mark.parametrize(
    ("beginning", "meaning"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"tjgg" + bytes(60), "GGJT"),
        (b"\x80\x04\x95hello", "begins with"),
        (b"GG", "begins with"),
    ],
)
def test_a_file_that_is_no_gguf_says_what_it_is(tmp_path: Path, beginning: bytes, meaning: str) -> None:
    assert meaning in refusal(write(tmp_path, beginning))


@pytest.mark.parametrize(
    ("version", "meaning"), [(1, "version 1"), (4, "version 4"), (3 << 24, "big-endian"), (0, "damaged|version 0|big")]
)
def test_other_versions_are_refused(tmp_path: Path, version: int, meaning: str) -> None:
    said = refusal(write(tmp_path, gguf(*tiny_model(), version=version)))
    assert any(word in said for word in meaning.split("|"))


def test_missing_empty_and_folder_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, gguf(*tiny_model()), "qwen-small.gguf")
    assert "qwen-small.gguf" in refusal(tmp_path / "qwen-smal.gguf")
    assert "folder" in refusal(tmp_path)
    assert "empty" in refusal(write(tmp_path, b"", "empty.gguf"))


@pytest.mark.parametrize(
    ("tensors", "offsets", "meaning"),
    [
        ({"a": ((2**40, 2**30), b"")}, {}, "shape"),
        ({"a": ((1000,), bytes(64))}, {}, "cut off"),
        ({"a": ((4,), bytes(16))}, {"a": 2**62}, "cut off"),
        ({"a": ((4,), bytes(16))}, {"a": 7}, "off the grid"),
        ({"a": ((1, 1, 1, 1, 1), bytes(4))}, {}, "5 dimensions"),
    ],
)
def test_a_tensor_outside_the_file_is_refused(
    tmp_path: Path, tensors: dict[str, Any], offsets: dict[str, int], meaning: str
) -> None:
    assert meaning in refusal(write(tmp_path, gguf(tiny_model()[0], tensors, offsets=offsets)))


def test_claims_beyond_the_file_cost_no_memory(tmp_path: Path) -> None:
    for tensors, settings in [(2**60, 1), (1, 2**60), (2**64 - 1, 2**64 - 1)]:
        said = refusal(write(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, tensors, settings) + bytes(100)))
        assert "claims" in said
    long_string = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63) + bytes(100)
    assert "cut off" in refusal(write(tmp_path, long_string))


def test_a_setting_given_twice_is_refused(tmp_path: Path) -> None:
    data = gguf({"general.architecture": "llama", "general.architecturf": "qwen2"}, {})
    assert "twice" in refusal(write(tmp_path, data.replace(b"architecturf", b"architecture")))


@pytest.mark.parametrize("alignment", [0, 3, "8"])
def test_an_impossible_alignment_is_refused(tmp_path: Path, alignment: int | str) -> None:
    metadata, tensors = tiny_model()
    assert "alignment" in refusal(write(tmp_path, gguf({**metadata, "general.alignment": alignment}, tensors)))
