"""Tiny models of several architectures, rows for them, and a plain loss with its gradients to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tiny_hf
from whetstone.tuning.batches import MicroBatch
from whetstone.tuning.collator import learned_tokens
from whetstone.tuning.rows import TuneRow


def tiny(kind: str) -> Any:
    """A model with random weights, of an architecture that treats its logits in its own way."""
    import torch
    import transformers

    small = {**tiny_hf.SIZES, "vocab_size": 97, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = {
        "llama": lambda: transformers.LlamaConfig(**small),
        "gemma2": lambda: transformers.Gemma2Config(
            **small, head_dim=8, final_logit_softcapping=3.0, attn_implementation="eager"
        ),
        "cohere": lambda: transformers.CohereConfig(**small, logit_scale=0.25),
        "granite": lambda: transformers.GraniteConfig(**small, logits_scaling=4.0),
        "gpt2": lambda: transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, vocab_size=97),
        "mamba": lambda: transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=8, vocab_size=97),
        "t5": lambda: transformers.T5Config(
            d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=97, decoder_start_token_id=0
        ),
    }[kind]()
    torch.manual_seed(3)
    family = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
    model = family.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and not name.endswith("A_log"):
                parameter.normal_(std=0.3)
    return model.eval()


def adapted(model: Any) -> Any:
    """With a LoRA adapter that changes something already."""
    import torch
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    torch.manual_seed(4)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return tuned


def rows(count: int = 5, seed: int = 0) -> list[TuneRow]:
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        ids = random.integers(3, 97, int(random.integers(6, 30))).tolist()
        learned = (random.random(len(ids)) < 0.3).tolist()
        learned[-1] = True
        made.append(TuneRow(ids=ids, learned=learned, weight=float(random.uniform(0.5, 2))))
    return made


def plain_loss(model: Any, made: list[TuneRow], *, kl_weight: float = 0.0) -> Any:
    """Row by row, without padding, over all logits."""
    import torch

    total = torch.zeros(())
    for row in made:
        ids = torch.tensor([row.ids])
        logprobs = torch.log_softmax(model(ids).logits[0].float(), -1)
        if kl_weight:
            with torch.no_grad(), model.disable_adapter():
                base = torch.log_softmax(model(ids).logits[0].float(), -1)
        for place in range(1, len(row.ids)):
            if row.learned[place]:
                total = total - row.weight * logprobs[place - 1, row.ids[place]]
                if kl_weight:
                    near, away = base[place - 1], logprobs[place - 1]
                    total = total + row.weight * kl_weight * (near.exp() * (near - away)).sum()
    return total / sum(map(learned_tokens, made))


def gradients(model: Any, loss: Any) -> dict[str, Any]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def same(model: Any, ours: Any, plain: Any) -> None:
    import torch

    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)
    mine, theirs = gradients(model, ours), gradients(model, plain)
    assert mine.keys() == theirs.keys()
    assert len(mine) > 3
    for name, gradient in mine.items():
        torch.testing.assert_close(
            gradient, theirs[name], atol=2e-5, rtol=1e-3, msg=lambda text, n=name: f"{n}: {text}"
        )


def whole(made: list[TuneRow]) -> MicroBatch:
    return MicroBatch(tuple(range(len(made))), 0)
