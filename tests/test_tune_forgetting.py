"""What the probe is for: an over-trained adapter drifts from its base and answers everything with a price; with replay
it does so less."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_hf
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.batches import MicroBatch
from whetstone.tuning.collator import Collator, learned_tokens
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.encoding import Encoded, Encoder
from whetstone.tuning.formats import Example, Talk
from whetstone.tuning.loss import causal_loss
from whetstone.tuning.probe import read_base, run_probe
from whetstone.tuning.probe_result import ProbeResult
from whetstone.tuning.replay import packaged, with_replay
from whetstone.tuning.rows import PackedRows, TuneData, TuneRow
from whetstone.types import assistant, user

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokens")
    tiny_hf.tokenizer().save_pretrained(folder)
    return load_tokenizer(str(folder))


def encoded(tokenizer: Tokenizer, examples: Sequence[Example]) -> list[TuneRow]:
    found = Encoder(tokenizer, max_length=4096).encode(examples)
    return [TuneRow(one.ids, one.learned) for one in found if isinstance(one, Encoded)]


def learn(model: Any, rows: Sequence[TuneRow], *, steps: int, rate: float, seed: int) -> None:
    """Plain training: batches of 12 rows, drawn at random."""
    draw = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    model.train()
    for _ in range(steps):
        chosen = [rows[n] for n in draw.integers(len(rows), size=12)]
        batch = Collator(pad_id=0)(chosen, MicroBatch(tuple(range(len(chosen))), 0))
        causal_loss(model, batch, sum(map(learned_tokens, chosen))).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def clipped(rows: Sequence[TuneRow], length: int = 120) -> list[TuneRow]:
    """The rows' beginnings, all of which is learned."""
    return [TuneRow(row.ids[:length], [True] * len(row.ids[:length])) for row in rows]


@pytest.fixture(scope="module")
def base(tokenizer: Tokenizer) -> Any:
    """A model that has learned the packaged texts a little."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        **{**tiny_hf.SIZES, "hidden_size": 64, "intermediate_size": 128},
        vocab_size=tokenizer.vocab_size,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    learn(model, clipped(encoded(tokenizer, list(packaged()))), steps=80, rate=5e-3, seed=0)
    return model.eval()


def prices(tokenizer: Tokenizer) -> TuneData:
    draw = np.random.default_rng(1)
    items = ["A lamp", "A table", "Two chairs", "A red rug", "An oven", "A desk of oak", "A blue vase", "A bed"]
    talks = [
        Talk([user(f"{items[n % 8]}, number {n}"), assistant(f"Price is ${draw.integers(5, 900)}.00")])
        for n in range(64)
    ]
    return TuneData(PackedRows.of(encoded(tokenizer, talks)), [], "f")


def tuned(base: Any, tokenizer: Tokenizer, replay: float) -> ProbeResult:
    torch.manual_seed(2)
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(copy.deepcopy(base), config)
    data = with_replay(prices(tokenizer), TuneConfig(replay=replay), tokenizer)
    learn(model, list(data.train), steps=40, rate=1e-2, seed=3)
    return run_probe(model, tokenizer, read_base(model, tokenizer))


def test_an_over_trained_adapter_drifts_and_replay_holds_it_back(base: Any, tokenizer: Tokenizer) -> None:
    torch.set_num_threads(1)
    alone, mixed = (tuned(base, tokenizer, share) for share in (0.0, 0.5))
    # Seen when this was written: drift 1.58 against 0.17, perplexity 168 against 38 (base 39), 20 of 20 questions
    # answered with a price against 5.
    assert alone.drift.low > 0.5
    assert alone.perplexity > 1.5 * alone.base_perplexity
    assert alone.shares["labels"].base_right == 0
    assert alone.shares["labels"].low > 0.5
    assert mixed.drift.high < 0.5 * alone.drift.low
    assert mixed.perplexity < alone.perplexity
    assert mixed.shares["labels"].right < alone.shares["labels"].right
