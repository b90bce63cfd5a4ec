"""Configurations are short, say what is wrong in them, and come back from the disk as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from whetstone.errors import UsageError
from whetstone.tuning.config import TuneConfig, default_run, read_config


def test_a_file_is_read_and_some_keys_are_changed(tmp_path: Path) -> None:
    path = tmp_path / "tune.yaml"
    path.write_text("base: hf:./model\nr: 8\nlearning_rate: 1e-4\ntarget_modules: [q_proj, v_proj]\n")
    config = read_config(path, {"r": "32", "packing": "true", "max_steps": "null"})
    assert (config.r, config.learning_rate, config.packing, config.max_steps) == (32, 1e-4, True, None)
    assert config.target_modules == ["q_proj", "v_proj"]
    assert read_config(None) == TuneConfig()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = TuneConfig(data="shop.jsonl", lora_dropout=0.1, report_to=["wandb"], eval_steps=7, replay=0.1)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("learning_rat: 1", "Did you mean learning_rate"),
        ("lora_r: 8", "lora_r is called r here"),
        ("base_model: hf:x", "base_model is called base here"),
        ("r: many", "r: 'many' is wrong"),
        ("method: full", "method: 'full' is wrong"),
        ("base: smollm2", "write hf:smollm2"),
        ("base: hf:x?quantize=nf4", "method: qlora"),
        ("eval_steps: 0", "eval_steps: 0 is too few"),
        ("replay_data: a.jsonl", "write replay: 0.1"),
        ("raft_error: crps", "raft_error is for loss: raft"),
        ("loss: raft\nraft_error: cubed", "raft_error: 'cubed' is wrong"),
        ("run: ../elsewhere", "run: '../elsewhere' is wrong"),
        ("- r", "not a list"),
        ("r: [", "not YAML"),
        ("report_to: [tensorflow]", "report_to: ['tensorflow'] is wrong"),
    ],
)
def test_a_mistake_gives_a_sentence_with_file_and_key(tmp_path: Path, written: str, said: str) -> None:
    path = tmp_path / "tune.yaml"
    path.write_text(written + "\n")
    with pytest.raises(UsageError, match=r"tune\.yaml") as raised:
        read_config(path)
    assert said in str(raised.value)


def test_a_run_is_named_after_data_and_model() -> None:
    assert default_run("/data/My Shop.v2.jsonl", "hf:Qwen/Qwen2.5-0.5B@main") == "my-shop-qwen2.5-0.5b"
    assert TuneConfig(data="shop.jsonl").run == "shop-smollm2"


def test_only_what_changes_the_learning_makes_a_run_another_one() -> None:
    one = TuneConfig(run="a", r=8, micro_batch_tokens=100)
    assert one.differences(TuneConfig(run="a", r=16, micro_batch_tokens=200)) == ["r: 8, not 16"]
