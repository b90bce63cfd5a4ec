"""A training run: what it learns, what it refuses, what it leaves, and what stops it."""

from __future__ import annotations

import dataclasses
import gc
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import tiny_hf
import tiny_run
from whetstone.errors import DataError, MissingPackageError, ModelError, ModelFileError, UsageError
from whetstone.models import load_model
from whetstone.storage.revisions import history, revisions
from whetstone.tuning.rows import TuneData
from whetstone.tuning.run_state import TuneOutcome
from whetstone.types import Options, user


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Every run begins with a collection of garbage, which need not look through the libraries again."""
    import whetstone.tuning.trainer  # noqa: F401

    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_THREADS", "1")


def run(model: Path, data: TuneData | None = None, seen: tiny_run.Seen | None = None, **changed: Any) -> TuneOutcome:
    from whetstone.tuning.train import tune

    known = {key: changed.pop(key) for key in ("metric", "resume", "overwrite") if key in changed}
    return tune(tiny_run.config(model, **changed), data or tiny_run.rows(), watch=seen, **known)


def losses(seen: tiny_run.Seen) -> list[float]:
    return [event["loss"] for event in seen.of("step")]


def test_a_run_learns_and_its_best_revision_answers_by_its_spec(model: Path) -> None:
    seen = tiny_run.Seen()
    outcome = run(model, seen=seen, max_steps=24, eval_steps=8, r=16, target_modules="all-linear", learning_rate=0.02)
    validated = [event["loss"] for event in seen.of("validation")]
    assert (outcome.ended, outcome.steps, outcome.total_steps) == ("done", 24, 24)
    assert validated[-1] < 0.5 * validated[0]
    assert [revision.step for revision in outcome.revisions] == [8, 16, 24]
    assert outcome.tokens == sum(event["tokens"] for event in seen.of("step"))
    base = load_model(f"hf:{model}?device=cpu")
    tuned = load_model(f"hf:{model}?device=cpu&adapter=tiny@best")
    prompt, options = tiny_run.rows().train[0].ids[:-3], Options(temperature=0, max_tokens=3)
    answer = tuned.decode([260])  # the second of three tokens that every row ends with
    assert answer in text(tuned.complete(prompt, options))
    assert answer not in text(base.complete(prompt, options))
    assert tuned.identity.revision != base.identity.revision


def text(chunks: Any) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_nothing_that_is_kept_is_a_pickle(model: Path) -> None:
    folder = run(model, max_steps=3).folder
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".jsonl", ".yaml", ".safetensors", ".jinja", ".lock"}


def test_an_encoder_decoder_is_tuned_by_the_same_call(tmp_path: Path) -> None:
    seen = tiny_run.Seen()
    outcome = run(tiny_hf.t5(tmp_path / "t5"), tiny_run.rows(encoder_decoder=True), seen, learning_rate=0.03)
    validated = [event["loss"] for event in seen.of("validation")]
    assert validated[-1] < validated[0]
    settings = json.loads((outcome.best.folder / "adapter_config.json").read_text())
    assert settings["target_modules"] == ["k", "o", "q", "v"]
    assert load_model(f"hf:{tmp_path / 't5'}?adapter=tiny").identity.revision


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(model: Path) -> None:
    whole = tiny_run.Seen()
    run(model, seen=whole, run="whole", lora_dropout=0.2)
    first, second = tiny_run.Seen(stop_behind=5), tiny_run.Seen()
    outcome = run(model, seen=first, lora_dropout=0.2)
    assert (outcome.ended, outcome.steps, outcome.finished) == ("stopped", 5, False)
    assert revisions(outcome.folder)[-1].step == 5
    assert run(model, seen=second, lora_dropout=0.2).ended == "done"
    assert losses(first) + losses(second) == pytest.approx(losses(whole), abs=1e-6)
    steps = [line["step"] for line in history(outcome.folder) if line["kind"] == "step"]
    assert steps == list(range(1, 13))


def test_a_finished_run_is_left_as_it_is_and_another_of_its_name_is_refused(model: Path) -> None:
    outcome = run(model, max_steps=3)
    seen = tiny_run.Seen()
    assert run(model, seen=seen, max_steps=3) == outcome
    assert not seen.events
    with pytest.raises(UsageError, match=r"max_steps: 4, not 3 there.*--overwrite"):
        run(model, max_steps=4)
    with pytest.raises(UsageError, match="other training rows"):
        run(model, tiny_run.rows(20), max_steps=3)
    with pytest.raises(UsageError, match="exists already"):
        run(model, max_steps=3, resume=False)
    assert run(model, tiny_run.rows(20), max_steps=4, overwrite=True).steps == 4


class Scripted:
    """A task's error that goes down and up again."""

    name = "mae"

    def __init__(self, values: list[float]) -> None:
        self._values = iter(values)

    def __call__(self, model: Any) -> Mapping[str, float]:
        value = next(self._values)
        return {"metric": value, "low": value - 1, "high": value + 1}


def test_a_run_stops_early_by_the_tasks_own_error_and_not_by_loss(model: Path) -> None:
    seen = tiny_run.Seen()
    metric = Scripted([9.0, 5.0, 6.0, 7.0, 1.0])
    outcome = run(model, seen=seen, eval_steps=2, early_stopping_patience=2, metric=metric, save_total_limit=1)
    assert (outcome.ended, outcome.steps) == ("early", 6)
    assert (outcome.best.step, outcome.best.metric, outcome.best.metric_name) == (2, 5.0, "mae")
    assert [revision.step for revision in outcome.revisions] == [2, 6]
    assert [event["low"] for event in seen.of("validation")] == [8.0, 4.0, 5.0, 6.0]
    assert run(model, eval_steps=2, early_stopping_patience=2, save_total_limit=1).finished


@pytest.mark.parametrize("more", [{}, {"raft_error": "crps", "raft_cross_entropy": 0.5}])
def test_the_error_of_numbers_can_be_learned_instead_of_their_spelling(
    more: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    from whetstone.tokens.sources import load_tokenizer
    from whetstone.tuning.data import load_data

    path = tmp_path / "shop.jsonl"
    shop = [{"text": f"A {word} lamp of size {n}", "price": 10 + 5 * n} for n in range(8) for word in ("red", "blue")]
    path.write_text("\n".join(map(json.dumps, shop)))
    asked: dict[str, Any] = {"data": str(path), "text": "text", "target": "price", "loss": "raft", **more}
    config = tiny_run.config(model, **asked, max_steps=6, micro_batch_tokens=2048)
    data = load_data(config, load_tokenizer(str(model)), encoder_decoder=False)
    from whetstone.tuning.train import tune

    seen = tiny_run.Seen()
    outcome = tune(config, data, watch=seen)
    validated = [event["loss"] for event in seen.of("validation")]
    assert outcome.ended == "done"
    assert validated[-1] < validated[0]
    with pytest.raises(UsageError, match="loss: raft needs rows that ask for a number"):
        run(model, dataclasses.replace(data, form=None), loss="raft", overwrite=True)


def test_a_row_with_nothing_to_learn_stops_the_run_with_its_number(model: Path) -> None:
    data = tiny_run.rows()
    train = list(data.train)
    train[30] = dataclasses.replace(train[30], learned=[False] * len(train[30].ids))
    with pytest.raises(DataError, match=r"rows\.jsonl:31: nothing of it is learned"):
        run(model, dataclasses.replace(data, train=train))


def test_a_loss_that_is_no_number_stops_the_run_with_the_step_and_the_rows(model: Path) -> None:
    data = tiny_run.rows()
    train = [dataclasses.replace(row, weight=float("nan")) if row.where.endswith(":7") else row for row in data.train]
    with pytest.raises(ModelError, match=r"step \d: the loss is nan, in one of the rows .*rows\.jsonl:7\b"):
        run(model, dataclasses.replace(data, train=train))


def test_a_weight_without_a_gradient_stops_the_run_with_its_name() -> None:
    import torch

    from whetstone.tuning.gradients import check_connected, check_gradients

    layer = torch.nn.ParameterDict(
        {"lora_A": torch.nn.Parameter(torch.ones(2, 2)), "lora_B": torch.nn.Parameter(torch.zeros(2, 2))}
    )
    with pytest.raises(ModelError, match="lora_A and 1 others of 2 received no gradient on the first step"):
        check_connected(layer)
    (layer["lora_B"] @ layer["lora_A"]).sum().backward()
    assert not check_gradients(layer, 0)  # A's is 0 as long as B is
    with torch.no_grad():
        layer["lora_B"].fill_(1.0)
    with pytest.raises(ModelError, match=r"lora_A received a gradient of exactly 0 on step 2"):
        check_gradients(layer, 1)
    layer["lora_A"].grad.fill_(float("inf"))
    with pytest.raises(ModelError, match="not finite"):
        check_gradients(layer, 1)
    layer["lora_A"].grad.fill_(0.5)
    assert check_gradients(layer, 1)


def test_four_bits_under_checkpointing_on_a_cpu_give_every_weight_a_gradient(tmp_path: Path) -> None:
    model = tiny_hf.llama(tmp_path / "wide", sizes={"hidden_size": 64})
    seen = tiny_run.Seen()
    outcome = run(model, seen=seen, method="qlora", gradient_checkpointing=True, max_steps=4, eval_steps=4)
    assert outcome.ended == "done"
    assert all(event["grad_norm"] > 0 for event in seen.of("step"))
    assert outcome.best.base == f"hf:{model}?quantize=nf4"
    assert load_model(f"hf:{model}?quantize=nf4&adapter=tiny").next_token([[3, 4, 5]])


def test_checkpointing_changes_no_loss(model: Path) -> None:
    plain, twice = tiny_run.Seen(), tiny_run.Seen()
    run(model, seen=plain, run="plain", max_steps=3, gradient_checkpointing=False, lora_dropout=0.2)
    run(model, seen=twice, run="twice", max_steps=3, gradient_checkpointing=True, lora_dropout=0.2)
    assert losses(twice) == pytest.approx(losses(plain), abs=1e-6)


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A loss of ours that has no room for more than 40 tokens at a time."""
    import torch

    from whetstone.tuning.objective import Objective

    whole = Objective.__call__

    def limited(self: Objective, model: Any, batch: Mapping[str, Any], shares: tuple[float, float]) -> Any:
        if batch["input_ids"].numel() > 40 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, model, batch, shares)

    monkeypatch.setattr(Objective, "__call__", limited)
    return None


@pytest.mark.usefixtures("small_memory")
def test_a_full_memory_says_what_to_lower(model: Path) -> None:
    with pytest.raises(ModelError, match=r"step 1: the memory is full with micro_batch_tokens: 256; set 128"):
        run(model, micro_batch_tokens=256)


def test_a_full_memory_can_be_helped_without_a_change_of_what_is_learned(
    model: Path, request: pytest.FixtureRequest
) -> None:
    plain, halved = tiny_run.Seen(), tiny_run.Seen()
    run(model, seen=plain, run="plain", max_steps=4, micro_batch_tokens=256)
    request.getfixturevalue("small_memory")
    run(model, seen=halved, run="halved", max_steps=4, micro_batch_tokens=256, auto_batch=True)
    assert losses(halved) == pytest.approx(losses(plain), abs=1e-4)
    notes = " ".join(event["text"] for event in halved.of("note"))
    assert "from here on micro_batch_tokens is 32" in notes
    assert "activations are computed twice" not in notes


def test_a_logger_that_is_not_installed_is_named(model: Path) -> None:
    with pytest.raises(MissingPackageError, match="report_to: trackio needs the package trackio"):
        run(model, report_to=["trackio"])


def test_an_adapter_that_does_not_belong_to_the_model_is_refused(model: Path, tmp_path: Path) -> None:
    folder = run(model, max_steps=3).best.folder
    other = shutil.copytree(model, tmp_path / "other")
    shift_weights(other)
    with pytest.raises(ModelFileError, match=r"was trained on hf:.*, whose weights are not those of"):
        load_model(f"hf:{other}?adapter=tiny")
    rank = shutil.copytree(folder, tmp_path / "rank")
    settings = json.loads((rank / "adapter_config.json").read_text())
    (rank / "adapter_config.json").write_text(json.dumps({**settings, "r": 8}))
    with pytest.raises(ModelFileError, match="does not fit"):
        list(load_model(f"hf:{model}?adapter={rank}").stream([user("Hi")]))
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(ModelFileError, match="pickled"):
        load_model(f"hf:{model}?adapter={pickled}")


def shift_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file({name: value + 0.001 for name, value in load_file(path).items()}, path, {"format": "pt"})


def test_layers_are_found_by_the_names_they_have() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GPT2Config, GPTNeoXConfig, T5Config

    from whetstone.tuning.targets import find_targets

    with torch.device("meta"):
        gpt2 = AutoModelForCausalLM.from_config(GPT2Config(n_layer=1))
        neox = AutoModelForCausalLM.from_config(GPTNeoXConfig(num_hidden_layers=1))
        t5 = AutoModelForSeq2SeqLM.from_config(T5Config(num_layers=1))
    assert find_targets(gpt2, "attention") == ["attn.c_proj", "c_attn"]
    assert find_targets(neox, "attention") == ["dense", "query_key_value"]
    assert find_targets(t5, "attention") == ["k", "o", "q", "v"]
    assert find_targets(t5, "all-linear") == ["k", "o", "q", "v", "wi", "wo"]
    with pytest.raises(UsageError, match=r"c_atn.*Did you mean c_attn"):
        find_targets(gpt2, ["c_atn"])
