"""GGUF files become safetensors folders: once, whole, with exact weights and token ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tiny_gguf
from whetstone import settings
from whetstone.errors import ModelFileError, UsageError
from whetstone.models import load_model, replies, reply
from whetstone.models.hf import HfProvider
from whetstone.models.hf_convert import converted_folder
from whetstone.models.hf_model import HfModel
from whetstone.types import Options, Reply, user

TEXTS = [
    "The price is $1,299.99 for 12345 items  in 2024\n\n\tÜber naïve 안녕하세요 🎉👩‍👩‍👧 don't 'LL x²  ",
    " leading and trailing ",
    "<|im_start|>user\nhello<|im_end|>\n<|endoftext|>",
    "a\r\n\r\nb   c",
    "e\u0301 ½ ① １２３",
]


def load(spec: str) -> HfModel:
    model = load_model(spec)
    assert isinstance(model, HfModel)
    return model


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf.gguf(*tiny_gguf.tiny_model()))
    return path


def test_the_weights_are_those_of_the_file(tiny: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    _, tensors = tiny_gguf.tiny_model()
    weights = load_file(converted_folder(tiny) / "model.safetensors")
    shape, data = tensors["blk.0.ffn_up.weight"]
    expected = np.frombuffer(data, dtype="<f4").reshape(shape[::-1])
    assert np.array_equal(weights["model.layers.0.mlp.up_proj.weight"], expected)
    assert {str(weight.dtype) for weight in weights.values()} == {"float32"}


def test_the_converted_model_answers_like_llama_cpp(tiny: Path) -> None:
    import numpy as np

    mine, peer = load(f"hf:{tiny}"), load_model(f"gguf:{tiny}")
    try:
        ids = mine.encode("What does it cost?")
        assert ids == peer.encode("What does it cost?")  # type: ignore[attr-defined]
        (found,), (expected,) = mine.next_token([ids]), peer.next_token([ids])  # type: ignore[attr-defined]
        by_id = dict(zip(expected.ids.tolist(), expected.logprobs.tolist(), strict=True))
        assert np.allclose([by_id[n] for n in found.ids.tolist()], found.logprobs, atol=2e-2)
        assert mine.identity.revision == peer.identity.revision
        assert mine.render([user("hi")]) == "<|start|>hi<|end|>"
    finally:
        peer.close()


def test_a_file_is_converted_once(tiny: Path) -> None:
    folder = converted_folder(tiny)
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert converted_folder(tiny) == folder
    copy = tiny.with_name("copy.gguf")
    copy.write_bytes(tiny.read_bytes())
    assert converted_folder(copy) == folder, "the same content is the same model"
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def test_a_folder_of_an_older_version_is_made_anew(tiny: Path) -> None:
    folder = converted_folder(tiny)
    (folder / "whetstone.json").write_text(json.dumps({"version": 0}))
    (folder / "config.json").unlink()
    assert (converted_folder(tiny) / "config.json").is_file()


CONVERT = "import sys; from pathlib import Path; from whetstone.models.hf_convert import converted_folder; " + (
    "print(converted_folder(Path(sys.argv[1])))"
)


def test_a_killed_conversion_leaves_nothing_that_is_used_and_two_at_once_agree(tiny: Path) -> None:
    cache = settings.home() / "cache" / "gguf-to-hf"
    killed = subprocess.Popen([sys.executable, "-c", CONVERT, str(tiny)])
    deadline = time.monotonic() + 200
    while not list(cache.glob(".*/tokenizer.json")):
        assert time.monotonic() < deadline, "the conversion never began"
        assert killed.poll() is None, "the conversion ended before it was killed"
        time.sleep(0.001)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert [path.name[0] for path in cache.iterdir() if path.is_dir()] == ["."], "what it left has a temporary name"

    both = [subprocess.Popen([sys.executable, "-c", CONVERT, str(tiny)], stdout=subprocess.PIPE) for _ in range(2)]
    said = {process.communicate(timeout=200)[0].decode().strip() for process in both}
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    assert said == {str(folder)}
    assert list(load(f"hf:{tiny}").next_token([[3, 4]], top=1))


def test_a_disk_that_is_full_gives_one_sentence_and_leaves_nothing(tiny: Path) -> None:
    room = 40_000  # bytes of a file: the tokenizer fits, the weights do not
    limited = f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {CONVERT}".replace(
        "print(", f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); print("
    )
    done = subprocess.run([sys.executable, "-c", limited, str(tiny)], capture_output=True, text=True, timeout=200)
    assert "whetstone.errors.StorageError: " in done.stderr.splitlines()[-1], done.stderr
    assert "too large" in done.stderr.splitlines()[-1]
    assert not [path for path in (settings.home() / "cache" / "gguf-to-hf").iterdir() if path.is_dir()]


def test_files_that_are_no_model_are_refused(tmp_path: Path, tiny: Path) -> None:
    web_page = tmp_path / "page.gguf"
    web_page.write_text("<html>please log in</html>")
    with pytest.raises(ModelFileError, match="web page"):
        load(f"hf:{web_page}")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny.read_bytes()[:-2000])
    with pytest.raises(ModelFileError, match="cut off"):
        load(f"hf:{cut}")
    with pytest.raises(ModelFileError, match="no model file"):
        load(f"hf:{tmp_path / 'absent.gguf'}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokenizer__ggml__pre": "newer-than-this"}, "rule 'newer-than-this', which is not known"),
        ({"tokenizer__ggml__merges": None}, "no tokenizer.ggml.merges"),
        ({"general__architecture": "mystery"}, "transformers cannot read this GGUF file"),
    ],
)
def test_what_would_come_out_wrong_is_refused_and_leaves_nothing(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(tiny_gguf.gguf(*tiny_gguf.tiny_model(**changes)))
    with pytest.raises(ModelFileError, match=reason):
        load(f"hf:{path}")
    assert not [found for found in (settings.home() / "cache" / "gguf-to-hf").iterdir() if found.is_dir()]


def test_a_missing_weight_is_not_made_up(tmp_path: Path) -> None:
    metadata, tensors = tiny_gguf.tiny_model()
    del tensors["blk.0.ffn_up.weight"]
    path = tmp_path / "holes.gguf"
    path.write_bytes(tiny_gguf.gguf(metadata, tensors))
    with pytest.raises(ModelFileError, match="up_proj"):
        load(f"hf:{path}")


def test_a_conversion_has_no_revisions(tiny: Path) -> None:
    with pytest.raises(UsageError, match="only models on the hub have revisions"):
        load(f"hf:{tiny}@main")


def test_every_token_that_ends_a_turn_ends_a_reply(tmp_path: Path) -> None:
    path = tmp_path / "ends.gguf"
    path.write_bytes(tiny_gguf.gguf(*tiny_gguf.tiny_model(tokenizer__ggml__eot_token_id=256)))
    config = json.loads((converted_folder(path) / "generation_config.json").read_text())
    assert config["eos_token_id"] == [256, 257]


def test_the_embedded_model_answers_and_its_numbers_are_single_digits(converted_smollm2: Path) -> None:
    model = load(f"hf:{converted_smollm2}")
    answer = reply(model, [user("What is the capital of France?")], Options(temperature=0, max_tokens=20))
    assert answer.text == "The capital of France is Paris."
    assert answer.usage.completion_tokens == 8
    assert [model.encode(digit) for digit in "1299"] == [[token] for token in model.encode("1299")]


def test_the_embedded_model_streams_whole_characters(converted_smollm2: Path) -> None:
    model = load(f"hf:{converted_smollm2}")
    chat = [user("Say hello in Korean, with an emoji.")]
    options = Options(temperature=0.8, seed=3, max_tokens=24)
    pieces = [chunk.text for chunk in model.stream(chat, options)]
    whole = [answer for _, answer in replies(model, [chat], options)]
    assert isinstance(whole[0], Reply)
    assert "".join(pieces) == whole[0].text
    assert not any("\ufffd" in piece for piece in pieces[:-1])
    assert any(ord(character) > 0x1000 for character in whole[0].text), "the reply must hold a character of many bytes"


def test_token_ids_are_those_of_the_models_own_tokenizer(converted_smollm2: Path, shared_data: Path) -> None:
    from tokenizers import Tokenizer

    own = Tokenizer.from_file(str(shared_data / "tokenizers" / "smollm2" / "tokenizer.json"))
    model = load(f"hf:{converted_smollm2}")
    documents = sorted((shared_data / "insurellm").rglob("*.md"))[:3]
    for text in [*TEXTS, *(path.read_text(encoding="utf-8") for path in documents)]:
        assert model.encode(text, special=True) == own.encode(text, add_special_tokens=False).ids


def test_the_embedded_model_is_listed() -> None:
    listed = {line.spec: line for line in HfProvider("hf").listing()}
    assert listed["hf:smollm2"].usable
