"""`hf:` specs: what is loaded, what is refused, and with which sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tiny_hf
from whetstone.errors import (
    ModelConnectionError,
    ModelFileError,
    UnknownModelError,
    UnknownNameError,
    UsageError,
    WhetstoneWarning,
)
from whetstone.models import BatchModel, ChatModel, LogitModel, RenderingModel, load_model, reply
from whetstone.models.hf_model import HfModel
from whetstone.types import Options, user

GREEDY_8 = Options(temperature=0, max_tokens=8)
CHAT = [user("What does this lamp cost?")]


def load(folder: Path, query: str = "") -> HfModel:
    model = load_model(f"hf:{folder}{query}")
    assert isinstance(model, HfModel)
    return model


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose rows are whole blocks of 64 weights, as 4 bits want them on some processors."""
    return tiny_hf.llama(tmp_path_factory.mktemp("wide"), sizes={"hidden_size": 64})


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(llama, tmp_path / "copy"))


@pytest.fixture(scope="module")
def adapter(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter with weights that are not zero."""
    return save_adapter(llama, tmp_path_factory.mktemp("adapter"))


def save_adapter(base: Path, folder: Path, **config: Any) -> Path:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    lora = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], **config)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    return folder


def test_it_is_every_kind_of_model(llama: Path) -> None:
    model = load(llama)
    assert isinstance(model, ChatModel)
    assert isinstance(model, RenderingModel)
    assert isinstance(model, BatchModel)
    assert isinstance(model, LogitModel)
    assert model.concurrency == 1


def test_loading_reads_no_weights_and_identity_neither(llama: Path) -> None:
    model = load(llama)
    assert model.identity.engine == "transformers"
    assert model.identity.spec == f"hf:{llama}"
    assert len(model.identity.template) == 64
    assert model._loaded is None
    reply(model, CHAT, GREEDY_8)
    assert model._loaded is not None


def test_identity_changes_with_the_weights_the_template_and_the_adapter(
    llama: Path, copy: Path, adapter: Path, tmp_path: Path
) -> None:
    original = load(llama).identity
    assert load(copy).identity.revision == original.revision, "the same files are the same model"
    (copy / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert load(copy).identity.template != original.template
    other = load(tiny_hf.llama(tmp_path / "other", sizes={"hidden_size": 64})).identity
    assert other.revision != original.revision
    adapted = load(llama, f"?adapter={adapter}").identity
    assert adapted.revision.startswith(original.revision + "+")


def test_closing_frees_the_weights_and_closing_twice_is_harmless(llama: Path) -> None:
    model = load(llama)
    reply(model, CHAT, GREEDY_8)
    model.close()
    model.close()
    assert model._loaded is None
    with pytest.raises(UsageError, match="was closed"):
        reply(model, CHAT, GREEDY_8)


def test_folders_that_hold_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no such folder"):
        load(tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelFileError, match=r"no config\.json"):
        load(empty)
    (empty / "config.json").write_text("{}")
    with pytest.raises(ModelFileError, match="there are no weights"):
        load(empty)
    (empty / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(ModelFileError, match=r"only pickled weights \(pytorch_model.bin\), which can run code"):
        load(empty)


def test_a_truncated_weight_file_is_named(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match="damaged or truncated"):
        reply(load(copy), CHAT, GREEDY_8)


def test_missing_weights_are_not_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelFileError, match=r"1 weights are missing .* model.layers.1.mlp.up_proj.weight"):
        reply(load(copy), CHAT, GREEDY_8)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden_size": 64}, "shapes"),
        ({"model_type": "no-such-model"}, "no-such-model"),
        ({"model_type": "x", "auto_map": {"AutoConfig": "code.Config"}}, "trust_remote_code"),
    ],
)
def test_a_config_that_does_not_fit_is_named(copy: Path, changes: dict[str, Any], reason: str) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelFileError, match=reason):
        reply(load(copy), CHAT, GREEDY_8)


def test_broken_json_is_named(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelFileError, match=r"config\.json"):
        reply(load(copy), CHAT, GREEDY_8)


def test_a_folder_without_a_tokenizer_is_refused(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer_config.json").unlink()
    with pytest.raises(ModelFileError, match="no tokenizer that can be read"):
        reply(load(copy), CHAT, GREEDY_8)


@pytest.mark.parametrize(
    ("query", "error", "reason"),
    [
        ("?quantise=nf4", UnknownNameError, "quantize"),
        ("?quantize=fp4", UsageError, "quantize"),
        ("?device=gpu", UsageError, "device"),
        ("?threads=0", UsageError, "threads"),
        ("?device=mps", UsageError, "no Apple GPU"),
        ("?device=cuda:7", UsageError, "PyTorch sees"),
    ],
)
def test_wrong_options_are_refused(llama: Path, query: str, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        reply(load(llama, query), CHAT, GREEDY_8)


def test_an_at_sign_in_a_path_is_no_revision(llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama, tmp_path / "model@home"))
    assert reply(load(folder), CHAT, GREEDY_8).usage.completion_tokens > 0


def test_precision_is_as_asked(llama: Path) -> None:
    import torch

    assert load(llama)._model.dtype == torch.float32
    assert load(llama, "?dtype=bfloat16")._model.dtype == torch.bfloat16
    assert reply(load(llama, "?dtype=bfloat16"), CHAT, GREEDY_8).usage.completion_tokens > 0


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantised_weights_answer_nearly_as_the_model_does(wide: Path, kind: str) -> None:
    import numpy as np

    plain, small = load(wide), load(wide, f"?quantize={kind}")
    prompt = plain.encode(plain.render(CHAT), special=True)
    (expected,), (found,) = plain.next_token([prompt]), small.next_token([prompt])
    assert "bitsandbytes" in type(small._model.model.layers[0].mlp.up_proj).__module__
    order = np.argsort(expected.ids), np.argsort(found.ids)
    assert np.corrcoef(expected.logprobs[order[0]], found.logprobs[order[1]])[0, 1] > 0.9
    assert reply(small, CHAT, GREEDY_8).usage.completion_tokens > 0


def test_an_adapter_changes_the_answer_as_peft_does(llama: Path, adapter: Path) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    plain, adapted = load(llama), load(llama, f"?adapter={adapter}")
    prompt = plain.encode(plain.render(CHAT), special=True)
    (before,), (after,) = plain.next_token([prompt]), adapted.next_token([prompt])
    assert not (before.ids == after.ids).all()
    own = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), str(adapter))
    with torch.inference_mode():
        expected = own(torch.tensor([prompt])).logits[0, -1].log_softmax(-1).numpy()
    assert expected[after.ids] == pytest.approx(after.logprobs, abs=1e-4)


def test_four_bits_are_refused_where_the_processor_would_read_them_wrongly(llama: Path) -> None:
    import torch

    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("rows of 32 weights are read rightly without AVX-512")
    with pytest.raises(UsageError, match=r"inputs are a multiple of 64 .* has 32; .*quantize=int8"):
        reply(load(llama, "?quantize=nf4"), CHAT, GREEDY_8)


def test_an_adapter_on_quantised_weights_is_not_merged(wide: Path, tmp_path: Path) -> None:
    model = load(wide, f"?adapter={save_adapter(wide, tmp_path / 'adapter')}&quantize=nf4")
    assert any("lora_A" in name for name, _ in model._model.named_parameters())
    assert reply(model, CHAT, GREEDY_8).usage.completion_tokens > 0


def test_a_pickled_adapter_is_refused(llama: Path, adapter: Path, tmp_path: Path) -> None:
    import torch

    pickled = Path(shutil.copytree(adapter, tmp_path / "pickled"))
    (pickled / "adapter_model.safetensors").unlink()
    torch.save({}, pickled / "adapter_model.bin")
    with pytest.raises(ModelFileError, match=r"pickled \(adapter_model.bin\), which can run code"):
        load(llama, f"?adapter={pickled}")


def test_an_adapter_that_does_not_fit_is_refused(llama: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no adapter_config\.json"):
        load(llama, f"?adapter={llama}")
    wider = tiny_hf.llama(tmp_path / "wider", sizes={"hidden_size": 64})
    with pytest.raises(ModelFileError, match="does not fit"):
        reply(load(wider, f"?adapter={adapter}"), CHAT, GREEDY_8)
    deeper = save_adapter(tiny_hf.llama(tmp_path / "deeper", sizes={"num_hidden_layers": 3}), tmp_path / "deep")
    with pytest.raises(ModelFileError, match=r"does not fit .* weights differ, .*layers\.2"):
        reply(load(llama, f"?adapter={deeper}"), CHAT, GREEDY_8)
    shallow = tiny_hf.llama(tmp_path / "shallow", sizes={"num_hidden_layers": 3})
    with pytest.raises(ModelFileError, match=r"does not fit .* weights differ, .*layers\.2"):
        reply(load(shallow, f"?adapter={adapter}"), CHAT, GREEDY_8)
    with pytest.raises(ModelFileError, match=r"is a PEFT adapter, not a model"):
        load(adapter)


def test_an_adapter_trained_on_another_model_of_the_hub_is_refused(adapter: Path, tmp_path: Path) -> None:
    from whetstone.models.hf_adapter import check_adapter

    folder = Path(shutil.copytree(adapter, tmp_path / "named"))
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "Qwen/Qwen2.5-0.5B"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    check_adapter(folder, "Qwen/Qwen2.5-0.5B")
    check_adapter(folder, "./a-copy-of-it")
    with pytest.raises(ModelFileError, match=r"trained on Qwen/Qwen2.5-0.5B, not on Qwen/Qwen2.5-1.5B"):
        check_adapter(folder, "Qwen/Qwen2.5-1.5B")


def test_settings_of_the_model_that_are_not_followed_are_said(tmp_path: Path) -> None:
    folder = tiny_hf.llama(tmp_path / "beams", num_beams=4, length_penalty=0.8)
    with pytest.warns(WhetstoneWarning, match="not followed from its generation_config.json: num_beams"):
        reply(load(folder), CHAT, GREEDY_8)


def test_a_model_of_the_hub_that_is_not_here_is_refused_without_a_network() -> None:
    with pytest.raises(ModelConnectionError, match=r"not in the hub's cache, .*HF_HUB_OFFLINE is set"):
        load_model("hf:nobody/no-such-model@main")
    with pytest.raises(UnknownModelError, match="organisation/name"):
        load_model("hf:not//a//name")
    with pytest.raises(UsageError, match="needs a model"):
        load_model("hf:")


def test_a_cached_model_of_the_hub_is_listed_and_answers_without_a_network(llama: Path, tmp_path: Path) -> None:
    commit = "a" * 40
    repository = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(llama, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    script = """
from whetstone.models import load_model, reply
from whetstone.models.hf import HfProvider
from whetstone.types import Options, user
print({line.spec: line.usable for line in HfProvider("hf").listing()}["hf:org/tiny"])
model = load_model("hf:org/tiny@main")
print(model.identity.revision, model.identity.name)
print(reply(model, [user("hi")], Options(temperature=0, max_tokens=3)).usage.completion_tokens)
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["True", commit, "org/tiny", "3"], done.stderr


def test_listing_needs_no_heavy_import() -> None:
    script = """
import sys
from whetstone.models.hf import HfProvider
print([line.spec for line in HfProvider("hf").listing()])
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
    listed, heavy = done.stdout.splitlines()
    assert "hf:NAME" in listed
    assert heavy == "[]"
