"""The plan says what a run takes before it begins, and learns from the runs before it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import tiny_hf
from whetstone.errors import UsageError
from whetstone.storage.journal import JournalWriter
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.estimate import Speed, base_shapes, keep_speed, known_speed
from whetstone.tuning.load import Base, add_adapter, find_base, load_base
from whetstone.tuning.plan import Plan, make_plan, read_plan, settle, write_plan
from whetstone.tuning.rows import TuneData, TuneRow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return find_base(f"hf:{folder}")


def rows(count: int) -> TuneData:
    """Prompts of 4 to 23 tokens, each with an answer of 3."""
    dice = random.Random(7)
    lengths = [dice.randrange(4, 24) for _ in range(count + 8)]
    every = [TuneRow([5] * (length + 3), [False] * length + [True] * 3) for length in lengths]
    return TuneData(every[:count], every[count:], fingerprint="rows")


def planned(folder: Path, base: Base, **changed: Any) -> Plan:
    values: dict[str, Any] = {"base": f"hf:{folder}", "run": "r", "batch_size": 8, "r": 4, "device": "cpu", **changed}
    return make_plan(TuneConfig(**values), rows(48), base)


def test_the_adapter_has_the_weights_that_peft_gives_it(folder: Path, base: Base) -> None:
    import torch

    for targets in ("attention", "all-linear", ["q_proj"]):
        config = TuneConfig(base=f"hf:{folder}", r=4, target_modules=targets)
        adapted = add_adapter(load_base(base, config, torch.device("cpu")), config)
        trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
        assert base_shapes(base, targets, 4).adapter == trained


def test_a_layer_that_the_base_does_not_have_is_refused_before_anything_is_loaded(folder: Path, base: Base) -> None:
    with pytest.raises(UsageError, match="q_porj"):
        planned(folder, base, target_modules=["q_porj"])


def test_tokens_and_steps_are_those_of_the_rows(folder: Path, base: Base) -> None:
    data = rows(48)
    plan = planned(folder, base, num_train_epochs=2.5)
    assert plan.rows == 48
    assert plan.tokens == sum(row.tokens for row in data.train)
    assert plan.learned == sum(row.learns for row in data.train)
    assert plan.longest == max(row.tokens for row in data.train)
    assert plan.steps == 15
    assert planned(folder, base, max_steps=4).steps == 4
    assert 0 <= plan.padding < 0.5
    assert plan.computed >= 2.5 * plan.tokens


def test_less_memory_is_planned_where_less_is_computed_at_a_time(folder: Path, base: Base) -> None:
    assert planned(folder, base, micro_batch_tokens=64).memory < planned(folder, base, micro_batch_tokens=65_536).memory


def test_what_does_not_fit_is_said(folder: Path, base: Base) -> None:
    plan = planned(folder, base, micro_batch_tokens=10**12, gradient_checkpointing=False)
    assert any("lower micro_batch_tokens" in warning for warning in plan.warnings)


def test_a_machine_that_has_tuned_nothing_gets_a_guess_that_is_called_one(folder: Path, base: Base) -> None:
    plan = planned(folder, base, price_per_hour=60.0)
    assert "guess" in plan.minutes_from
    assert plan.minutes > 0
    assert plan.cost == pytest.approx(plan.minutes)
    assert planned(folder, base).cost is None


def test_the_speed_of_a_run_is_what_the_next_plan_rests_on(folder: Path, base: Base, tmp_path: Path) -> None:
    plan = planned(folder, base, max_steps=6, dtype="float32")
    with JournalWriter(tmp_path / "journal.jsonl") as journal:
        journal.append({"kind": "note", "step": 0, "resumed": True})
        for step in (1, 2, 3):
            journal.append({"kind": "step", "step": step, "loss": 1.0, "tokens": 100, "seconds": 20.0})
        # Killed here; the third step is done again.
        journal.append({"kind": "note", "step": 2, "resumed": True})
        for step in (3, 4, 5, 6):
            journal.append({"kind": "step", "step": step, "loss": 1.0, "tokens": 100, "seconds": 20.0})
        journal.append({"kind": "validation", "step": 6, "loss": 1.0})
        journal.append({"kind": "end", "step": 6, "ended": "done", "total_steps": 6, "seconds": 110.0, "memory": 5e8})
    write_plan(tmp_path, plan)
    actual = settle(tmp_path, plan)
    assert actual is not None
    assert (actual.steps, actual.tokens, actual.memory) == (6, 600, 5e8)
    assert actual.training_minutes == pytest.approx(2.0)
    assert actual.minutes == pytest.approx((60 + 110) / 60)
    assert actual.tokens_per_second == pytest.approx(5.0)
    assert actual.off == pytest.approx(actual.minutes / plan.minutes - 1)
    assert read_plan(tmp_path)["actual"]["steps"] == 6
    again = planned(folder, base, max_steps=6, eval_steps=6, dtype="float32")
    assert again.minutes_from == "the speed of the run r"
    assert again.minutes == pytest.approx((120 + 30) / 60)
    twice_as_long = planned(folder, base, max_steps=12, eval_steps=6, dtype="float32")
    assert twice_as_long.minutes == pytest.approx((240 + 60) / 60)


def test_the_speed_of_a_model_of_like_size_is_better_than_a_guess_and_is_called_so(folder: Path, base: Base) -> None:
    size = planned(folder, base).working
    keep_speed(Speed("hf:other", "cpu", "float32", 1e9, 2 * size, 1.0, "before"))
    assert planned(folder, base, dtype="float32").minutes_from.startswith("the speed of the run before, with another")
    assert "guess" in planned(folder, base, dtype="bfloat16").minutes_from
    keep_speed(Speed("hf:other", "cpu", "float32", 2e9, 2 * size, 1.0, "later"))
    assert known_speed("hf:other", "cpu", "float32", size).operations == 2e9
    keep_speed(Speed("hf:other", "cpu", "float32", 2e9, 1000 * size, 1.0, "large"))
    assert "guess" in planned(folder, base, dtype="float32").minutes_from


def test_a_damaged_file_of_speeds_is_only_forgotten(folder: Path, base: Base) -> None:
    from whetstone import settings

    settings.home().mkdir(parents=True, exist_ok=True)
    (settings.home() / "tuning-speed.json").write_text('[{"base": 1')
    assert "guess" in planned(folder, base).minutes_from


def test_a_plan_is_kept_as_json(folder: Path, base: Base, tmp_path: Path) -> None:
    plan = planned(folder, base)
    write_plan(tmp_path, plan)
    assert json.loads((tmp_path / "plan.json").read_text()) == read_plan(tmp_path) == plan.to_json()
    assert settle(tmp_path, plan) is None
