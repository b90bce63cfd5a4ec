"""Tuned models as GGUF files: each architecture that is offered answers alike through llama.cpp and transformers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_adapter
import tiny_gguf
import tiny_hf
from whetstone.errors import ModelFileError, UsageError
from whetstone.models import load_model
from whetstone.models.hf_load import load_config
from whetstone.models.hf_model import HfModel
from whetstone.tokens.gguf_file import read_array, read_header
from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.export_adapter import Lora
from whetstone.tuning.export_source import ExportSource, find_source
from whetstone.tuning.gguf_architecture import ARCHITECTURES, settings_of
from whetstone.tuning.gguf_precision import PRECISIONS, encode, kind_of, precision_named
from whetstone.tuning.gguf_write import write_lora, write_model

PROMPTS = [[5, 6, 7], [30, 31, 32, 33, 34, 35, 36, 37], list(range(40, 90)), [3]]
TEXTS = ["Price is $1,299.00\n\n\tnaïve 안녕 🎉  don't", " 12 345 ", "<|im_start|>user\nhi<|im_end|>"]


LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
# A tiny configuration of each architecture, with what each has of its own.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama, tied, wide heads": (
        "LlamaConfig",
        {"tie_word_embeddings": True, "head_dim": 16, "attention_bias": True},
    ),
    "llama, Llama 3.1's positions": ("LlamaConfig", {"rope_parameters": LLAMA3}),
    "llama, stretched positions": (
        "LlamaConfig",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    ),
    "mistral": ("MistralConfig", {"sliding_window": None, "head_dim": 16}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
    "phi3": ("Phi3Config", {"original_max_position_embeddings": 512, "sliding_window": None}),
    "gemma": ("GemmaConfig", {"head_dim": 16}),
    "gemma2": ("Gemma2Config", {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16}),
}


def config_of(name: str) -> Any:
    import transformers

    kind, settings = CONFIGS[name]
    return getattr(transformers, kind)(**{**tiny_hf.SIZES, **settings})


def source_of(base: Path, adapter: Path) -> ExportSource:
    return find_source(str(adapter), f"hf:{base}")


def spoken(model: Any) -> list[dict[int, float]]:
    """Log-probabilities by token after each prompt."""
    try:
        return [dict(zip(t.ids.tolist(), t.logprobs.tolist(), strict=True)) for t in model.next_token(PROMPTS)]
    finally:
        model.close()


def assert_alike(one: list[dict[int, float]], two: list[dict[int, float]], tolerance: float = 0.02) -> None:
    for first, second in zip(one, two, strict=True):
        likely = sorted(first, key=first.__getitem__)[-50:]
        assert np.allclose([first[n] for n in likely], [second[n] for n in likely], atol=tolerance)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_llama_cpp_answers_like_transformers(name: str, tmp_path: Path) -> None:
    base = tiny_hf.save(tmp_path / "base", config_of(name))
    adapter = tiny_adapter.adapter(base, tmp_path / "adapter")
    source, f32 = source_of(base, adapter), precision_named("f32")
    write_model(source, Lora(adapter), tmp_path / "merged.gguf", f32)
    tuned = spoken(load_model(source.adapted))
    assert_alike(tuned, spoken(tiny_adapter.llamacpp(tmp_path / "merged.gguf")))
    if name == "llama":
        assert not np.allclose(list(tuned[0].values()), list(spoken(load_model(source.base))[0].values()), atol=0.1)
    if name in ("llama", "gemma2"):  # the adapter alone: rows in another order, and names
        write_model(source, None, tmp_path / "base.gguf", f32)
        write_lora(source, Lora(adapter), tmp_path / "lora.gguf", f32)
        assert_alike(tuned, spoken(tiny_adapter.llamacpp(tmp_path / "base.gguf", tmp_path / "lora.gguf")))


def test_every_architecture_that_is_offered_is_proven() -> None:
    assert {config_of(name).model_type for name in CONFIGS} == set(ARCHITECTURES)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def adapter(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_adapter.adapter(llama, tmp_path_factory.mktemp("adapter"))


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"rank_pattern": {"k_proj": 2}, "alpha_pattern": {"v_proj": 1.0}},
    ],
)
def test_scales_of_their_own_are_kept(llama: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    adapter = tiny_adapter.adapter(llama, tmp_path / "adapter", **settings)
    source, f32 = source_of(llama, adapter), precision_named("f32")
    tuned = spoken(load_model(source.adapted))
    write_model(source, None, tmp_path / "base.gguf", f32)
    write_lora(source, Lora(adapter), tmp_path / "lora.gguf", f32)
    assert_alike(tuned, spoken(tiny_adapter.llamacpp(tmp_path / "base.gguf", tmp_path / "lora.gguf")))


def test_a_base_from_a_gguf_file_goes_back_into_it_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf.gguf(*tiny_gguf.tiny_model(llama__rope__freq_base=5000.0, general__license="mit")))
    from whetstone.models.hf_convert import converted_folder

    adapter = tiny_adapter.adapter(converted_folder(path), tmp_path / "adapter")
    source = source_of(path, adapter)
    assert source.gguf == path
    write_model(source, None, tmp_path / "again.gguf", precision_named("f32"))
    before, after = read_header(path), read_header(tmp_path / "again.gguf")
    kept = {key for key in before.metadata if not key.startswith("general.")}
    assert {key: before.metadata[key] for key in kept} == {key: after.metadata[key] for key in kept}
    assert after.metadata["general.license"] == "mit"
    for key in ("tokens", "token_type", "merges"):
        assert read_array(before, f"tokenizer.ggml.{key}") == read_array(after, f"tokenizer.ggml.{key}")
    assert weights_of(path) == weights_of(tmp_path / "again.gguf")


def weights_of(path: Path) -> dict[str, tuple[list[int], bytes]]:
    from gguf import GGUFReader

    return {t.name: (t.shape.tolist(), t.data.tobytes()) for t in GGUFReader(path).tensors}


def test_the_tokenizer_of_a_folder_is_written_whole(llama: Path, adapter: Path, tmp_path: Path) -> None:
    named = replace(source_of(llama, adapter), name="my-phi3-prices")  # a word that llama.cpp looks for
    write_model(named, None, tmp_path / "base.gguf", precision_named("f16"))
    mine, own = load_tokenizer(str(tmp_path / "base.gguf")), load_tokenizer(str(llama))
    model = tiny_adapter.llamacpp(tmp_path / "base.gguf")
    try:
        for text in TEXTS:
            for special in (False, True):
                wanted = own.encode(text, special=special).ids
                assert mine.encode(text, special=special).ids == wanted
                assert model.encode(text, special=special) == wanted
    finally:
        model.close()
    assert (mine.template, mine.eos_id, mine.special_tokens["pad_token"]) == (own.template, own.eos_id, "<|pad|>")


def test_a_vocabulary_in_sentencepieces_way_is_written_with_scores(llama: Path, adapter: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    made.train_from_iterator(tiny_hf.SENTENCES, trainer)
    state = json.loads(made.to_str())
    state["added_tokens"] = state["added_tokens"][:4]  # bytes are pieces like others
    base = Path(shutil.copytree(llama, tmp_path / "base"))
    (base / "tokenizer.json").write_text(json.dumps(state))
    write_model(source_of(base, adapter), None, tmp_path / "base.gguf", precision_named("f16"))
    own, model = load_tokenizer(str(base)), tiny_adapter.llamacpp(tmp_path / "base.gguf")
    try:
        for text in (*TEXTS, *tiny_hf.SENTENCES, "  What does  this table cost?\n"):
            assert model.encode(text, special=True) == own.encode(text, special=True).ids
    finally:
        model.close()


@pytest.mark.parametrize(("family", "rule"), [("llama-3.1", "llama-bpe"), ("qwen2", "qwen2"), ("smollm2", "smollm")])
def test_the_splitting_rule_of_real_tokenizers_is_found(family: str, rule: str, shared_data: Path) -> None:
    from tokenizers import Tokenizer

    from whetstone.tokens.gguf_tokenizer import splitting_rule

    assert splitting_rule(Tokenizer.from_file(str(shared_data / "tokenizers" / family / "tokenizer.json"))) == rule


def test_a_tokenizer_that_a_gguf_file_cannot_describe_is_refused(llama: Path, adapter: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(llama, tmp_path / "base"))
    state = json.loads((base / "tokenizer.json").read_text())
    state["pre_tokenizer"]["add_prefix_space"] = True
    (base / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(ModelFileError, match="splits text by a rule for which no name"):
        write_model(source_of(base, adapter), None, tmp_path / "x.gguf", precision_named("f16"))


@pytest.mark.parametrize("name", list(PRECISIONS))
def test_a_precision_loses_no_more_than_it_must(name: str) -> None:
    from gguf import quants

    weight = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    kind = kind_of("blk.0.ffn_up.weight", weight.shape, PRECISIONS[name])
    back = quants.dequantize(encode(weight, kind, "w"), kind)
    lost = float(np.abs(back - weight).max())
    bits = {"f32": 0.0, "f16": 2e-3, "bf16": 2e-2, "q8_0": 2e-2}.get(name, 0.4)
    assert lost <= bits
    assert (lost == 0) == (name == "f32")


def test_vectors_stay_exact_and_odd_rows_are_not_quantised() -> None:
    q4 = PRECISIONS["q4_0"]
    assert kind_of("output_norm.weight", (64,), q4).name == "F32"
    assert kind_of("blk.0.ffn_up.weight", (8, 60), q4).name == "F16"
    assert kind_of("token_embd.weight", (8, 64), q4).name == "Q8_0"


def test_precisions_that_cannot_be_written_are_named() -> None:
    with pytest.raises(UsageError, match=r"Q4_K_M cannot be written here.*llama-quantize"):
        precision_named("Q4_K_M")
    with pytest.raises(UsageError, match="q8_0"):
        precision_named("q8")
    large = np.full((2, 2), 1e6, dtype=np.float32)
    with pytest.raises(ModelFileError, match="too large for f16"):
        encode(large, kind_of("x", (2, 2), PRECISIONS["f16"]), "x")
    with pytest.raises(ModelFileError, match="NaN"):
        encode(large * np.float32("nan"), kind_of("x", (2, 2), PRECISIONS["f32"]), "x")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "positions scaled by yarn"),
        ({"mlp_bias": True}, "biases in its feed-forward"),
        ({"hidden_act": "gelu"}, "the activation gelu"),
    ],
)
def test_what_is_not_proven_is_refused(changes: dict[str, Any], reason: str) -> None:
    from transformers import LlamaConfig

    with pytest.raises(ModelFileError, match=reason):
        settings_of(LlamaConfig(**{**tiny_hf.SIZES, **changes}))


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    base = tiny_hf.t5(tmp_path / "t5")
    with pytest.raises(ModelFileError, match="kind t5 cannot be written as GGUF here, only llama"):
        settings_of(load_config(base))


def test_an_adapter_that_is_more_than_a_lora_is_refused(llama: Path, tmp_path: Path) -> None:
    adapter = tiny_adapter.adapter(llama, tmp_path / "dora", use_dora=True)
    with pytest.raises(ModelFileError, match="DoRA, which cannot be merged"):
        Lora(adapter)


def test_an_adapter_is_named_as_the_option_lora(llama: Path, adapter: Path, tmp_path: Path) -> None:
    source = source_of(llama, adapter)
    write_model(source, None, tmp_path / "base.gguf", precision_named("f32"))
    write_lora(source, Lora(adapter), tmp_path / "lora.gguf", precision_named("f32"))
    plain = load_model(f"gguf:{tmp_path / 'base.gguf'}")
    adapted = load_model(f"gguf:{tmp_path / 'base.gguf'}?lora={tmp_path / 'lora.gguf'}")
    assert plain.identity.revision != adapted.identity.revision
    with pytest.raises(ModelFileError, match=r"is a LoRA adapter and no model: name the base"):
        load_model(f"gguf:{tmp_path / 'lora.gguf'}")
    with pytest.raises(ModelFileError, match="is no LoRA adapter"):
        load_model(f"gguf:{tmp_path / 'base.gguf'}?lora={tmp_path / 'base.gguf'}")
    assert isinstance(load_model(source.adapted), HfModel)
