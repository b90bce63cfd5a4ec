"""Makes LoRA adapters with weights that are not zero, and loads GGUF files without a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whetstone.models.llamacpp_model import LlamaCppModel
from whetstone.models.llamacpp_server import ServerConfig
from whetstone.models.spec import ModelSpec
from whetstone.tokens.gguf_file import read_header

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def adapter(
    base: Path, folder: Path, targets: Any = "all-linear", *, seed: int = 0, std: float = 0.1, **config: Any
) -> Path:
    """A LoRA adapter for a model folder, whose B is random instead of zero."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    lora = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=targets, **{"r": 4, "lora_alpha": 6, **config})
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=std)
    model.save_pretrained(folder)
    return folder


def llamacpp(path: Path, lora: Path | None = None) -> LlamaCppModel:
    """A GGUF file in llama.cpp, in this process at once: what these tests write is not damaged."""
    files = [path] if lora is None else [path, lora]
    config = ServerConfig(path, context=256, slots=1, threads=1, lora=lora)
    return LlamaCppModel(ModelSpec("gguf", str(path)), read_header(path), files, config, try_first=False)
