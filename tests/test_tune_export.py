"""Exports of tuned models: checked before they are there, complete or absent, with a card that says what they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import tiny_adapter
import tiny_hf
from whetstone.cli.tune_export import export as export_command
from whetstone.errors import ModelFileError, StorageError, UsageError
from whetstone.evaluation.techniques.tuned_model import Asked, keep_asked, tuned_model
from whetstone.models.base import NextToken
from whetstone.storage.revisions import Revision, run_folder
from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.export_merge import MergedWeights, write_merged
from whetstone.tuning.export_ollama import modelfile, turns_of
from whetstone.tuning.export_source import find_source
from whetstone.types import Case
from whetstone.workflows.export_check import ExportReport, export_run
from whetstone.workflows.export_compare import compare_answers

CONFIG = "base: hf:/home/somebody/models/tiny\ndata: ./private/prices.jsonl\nr: 4\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_adapter.adapter(base, tmp_path_factory.mktemp("adapters") / "prices")


@pytest.fixture
def run(base: Path, adapter: Path) -> str:
    """A run with one revision, as training leaves it."""
    folder = run_folder("prices")
    place = folder / "revisions" / "step-000120"
    place.mkdir(parents=True)
    for origin in (adapter, base):
        for path in origin.iterdir():
            if path.name.startswith(("adapter_", "tokenizer", "chat_template")):
                shutil.copyfile(path, place / path.name)
    facts = Revision("prices", 120, place, 0.5, 1.25, 88.5, "absolute error", f"hf:{base}")
    (place / "revision.json").write_text(json.dumps(facts.to_json()))
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "data.json").write_text(json.dumps({"fingerprint": "f00d", "train": 1200, "validation": 90}))
    validation = {"kind": "validation", "step": 120, "loss": 1.25, "metric": 88.5, "low": 80.0, "high": 97.5}
    lines = [{"kind": "step", "step": 120, "loss": 1.0}, {**validation, "metric_name": "absolute error"}]
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "prices@120"


def exported(text: str, kind: str, out: Path, **how: Any) -> ExportReport:
    report = export_run(text, kind, out, prompts=how.pop("prompts", 20), **how)
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == [], "nothing is left beside it"
    assert out.exists() == report.good
    return report


def test_a_peft_folder_has_everything_and_a_card(run: str, tmp_path: Path) -> None:
    report = exported(run, "peft", tmp_path / "out")
    assert report.good, report.faults
    assert (report.answers.agreement, report.answers.largest) == (1.0, 0.0)
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(report.files)
    assert load_tokenizer(str(tmp_path / "out")).template == tiny_hf.CHATML
    card = (tmp_path / "out" / "README.md").read_text()
    for said in ("library_name: peft", "f00d", "1,200", "| 120 (this) | 1.25 | 88.5 (80 to 97.5) |", "r: 4", "100.0%"):
        assert said in card
    for path in (tmp_path / "out").glob("*.*"):
        if path.suffix in (".md", ".json"):
            assert "/" + "home/" not in path.read_text(), f"{path.name} must not tell of folders"
            assert str(tmp_path.parent.parent) not in path.read_text()
    assert "base: hf:tiny" in card
    assert "data: prices.jsonl" in card


@pytest.mark.parametrize("kind", ["peft", "merged"])
def test_an_export_knows_how_it_was_asked_and_what_it_learned(run: str, tmp_path: Path, kind: str) -> None:
    keep_asked(run_folder("prices"), Asked("text", question="Whose is it?"), [Case("1", "the red tie", "Ann")])
    exported(run, kind, tmp_path / "out")
    specs = {"peft": f"hf:base?adapter={tmp_path / 'out'}", "merged": f"hf:{tmp_path / 'out'}"}
    known = tuned_model(specs[kind])
    assert known is not None
    assert known.question("ask", "") == "Whose is it?"
    assert known.texts is not None
    assert len(known.texts) == 1


def test_a_merged_folder_answers_alone(run: str, tmp_path: Path) -> None:
    report = exported(run, "merged", tmp_path / "out", quantize="f32")
    assert report.good, report.faults
    assert report.answers.largest < 1e-3
    assert report.conversations > 8
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


def test_shards_hold_the_same_weights(base: Path, adapter: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from whetstone.tuning.export_adapter import Lora

    weights = MergedWeights(base, Lora(adapter))
    files = write_merged(weights, tmp_path, shard_bytes=20_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    stored = {name: tensor for path in tmp_path.glob("*.safetensors") for name, tensor in load_file(path).items()}
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in stored.values())
    assert len(files) == len(set(index["weight_map"].values())) + 2
    import peft
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(tmp_path)
    own = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).merge_and_unload()
    assert whole.state_dict().keys() == own.state_dict().keys() == stored.keys()
    for name, weight in own.state_dict().items():
        torch.testing.assert_close(stored[name], weight)


@pytest.mark.parametrize(("quantize", "least"), [(None, 0.95)])
def test_a_gguf_file_is_written_and_loads(run: str, tmp_path: Path, quantize: str | None, least: float) -> None:
    report = exported(run, "gguf", tmp_path / "out.gguf", quantize=quantize)
    assert report.good, report.faults
    assert report.files == ["out.gguf"]
    assert report.answers.agreement >= least
    assert report.conversations > 20


def test_an_adapter_alone_is_checked_on_its_base(run: str, tmp_path: Path) -> None:
    report = exported(run, "gguf-lora", tmp_path / "out")
    assert report.good, report.faults
    assert sorted(report.files) == ["README.md", "prices-120-lora-f32.gguf"]


def test_ollama_gets_a_modelfile(run: str, tmp_path: Path) -> None:
    report = exported(run, "ollama", tmp_path / "out", quantize="f32")
    assert report.good, report.faults
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert text.startswith("FROM ./prices-120-f32.gguf\n")
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert (
        '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n{{ else if eq .Role "user" }}' in text
    )


def test_what_answers_otherwise_is_not_exported(run: str, tmp_path: Path) -> None:
    report = exported(run, "gguf", tmp_path / "out", quantize="q4_0", prompts=40)
    assert not report.good, "four bits must be too few for random weights"
    assert report.out is None
    assert "the most probable next token is the same after" in report.faults[0]


def test_an_export_that_is_made_wrong_is_told_and_leaves_nothing(run: str, tmp_path: Path, monkeypatch: Any) -> None:
    from whetstone.tuning import gguf_architecture, gguf_write

    wrong = gguf_architecture.Architecture(
        "llama", False, 0.0, "silu", gguf_architecture.ARCHITECTURES["llama"].further
    )
    monkeypatch.setattr(gguf_write, "architecture_of", lambda config: wrong)  # rows of queries and keys left in order
    report = exported(run, "gguf", tmp_path / "out")
    assert not report.good
    assert "and 99% are wanted: after" in report.faults[0]
    app = typer.Typer()
    app.command()(export_command)
    done = CliRunner().invoke(app, [run, "--to", "gguf", "-o", str(tmp_path / "out"), "--prompts", "10"])
    assert done.exit_code == 1
    assert "Not exported: there is nothing at" in done.output


def test_a_template_that_differs_is_told(run: str, tmp_path: Path, monkeypatch: Any) -> None:
    from whetstone.tuning import gguf_write

    wrong = load_tokenizer("smollm2")
    monkeypatch.setattr(gguf_write, "load_tokenizer", lambda source: wrong)
    report = exported(run, "gguf", tmp_path / "out")
    assert any("one question" in fault and "character" in fault for fault in report.faults)


def test_the_command_prints_a_report(run: str, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(export_command)
    runner = CliRunner()
    done = runner.invoke(app, [run, "--to", "merged", "-o", str(tmp_path / "out"), "--prompts", "5", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["good"], told["out"], told["answers"]["prompts"]) == (True, str(tmp_path / "out"), 5)


def test_requests_that_make_no_sense_are_refused_before_the_work(run: str, base: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").touch()
    for kind, out, quantize, reason in (
        ("peft", tmp_path / "a", "q8_0", "copied as it was trained"),
        ("merged", tmp_path / "a", "q8_0", "use --to gguf"),
        ("gguf-lora", tmp_path / "a", "q8_0", "f32 or f16"),
        ("gguf", tmp_path / "a", "q4_k_m", "cannot be written here"),
        ("ollama", tmp_path / "a.gguf", None, "writes several files"),
        ("onnx", tmp_path / "a", None, "is no kind of export"),
        ("peft", taken, None, "is there already"),
    ):
        with pytest.raises(UsageError, match=reason):
            export_run(run, kind, out, quantize=quantize)
    with pytest.raises(UsageError, match="no such revision; write best, last, or one of the steps 120"):
        export_run("prices@7", "peft", tmp_path / "a")
    with pytest.raises(UsageError, match="must be an hf: model"):
        export_run(run, "peft", tmp_path / "a", base="smollm2")
    assert not (tmp_path / "a").exists()


def test_a_target_that_cannot_be_written_gives_a_sentence(run: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/out: Not a directory"):
        export_run(run, "peft", tmp_path / "file" / "out")


def test_what_a_killed_export_left_is_removed(run: str, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".out.{ended.pid}-00aa11bb"
    left.mkdir()
    under_way = tmp_path / f".out.{os.getpid()}-00aa11bb"
    under_way.mkdir()
    export_run(run, "peft", tmp_path / "out", prompts=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [under_way.name, "out"]


def test_an_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = tiny_hf.llama(tmp_path / "other", sizes={"hidden_size": 48})
    for kind in ("merged", "gguf", "gguf-lora"):
        with pytest.raises(ModelFileError, match="does not fit"):
            export_run(str(adapter), kind, tmp_path / "out", base=f"hf:{other}", prompts=1)


def test_tied_weights_are_not_changed_in_two_places(tmp_path: Path) -> None:
    tied = tiny_hf.llama(tmp_path / "tied", sizes={"tie_word_embeddings": True})
    adapter = tiny_adapter.adapter(tied, tmp_path / "adapter", ["q_proj", "lm_head"])
    with pytest.raises(ModelFileError, match=r"lm_head|is not there"):
        export_run(str(adapter), "merged", tmp_path / "out", base=f"hf:{tied}", prompts=1)


def test_a_folder_without_a_run_takes_its_base_from_the_adapter(base: Path, adapter: Path) -> None:
    source = find_source(str(adapter))
    assert (source.folder, source.name, source.run) == (base, "prices", None)


class Fixed:
    """A model that expects the same of every prompt."""

    def __init__(self, *expected: tuple[int, float]) -> None:
        import numpy as np

        ids, logprobs = zip(*expected, strict=True)
        self.token = NextToken(np.array(ids), np.array(logprobs, dtype=np.float32))

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: Any) -> str:
        return "".join(map(chr, ids))

    def next_token(self, prompts: Any, top: int | None = None) -> Any:
        return (self.token for _ in prompts)


def test_answers_are_compared_by_token_and_probability() -> None:
    tuned, other = Fixed((65, -0.5), (66, -1.0)), Fixed((66, -0.6), (65, -0.9))
    asked = [("one", [1]), ("two", [2])]
    same = compare_answers(tuned, tuned, asked)
    assert (same.agreement, same.median, same.differing) == (1.0, 0.0, [])
    found = compare_answers(tuned, other, asked)
    assert (found.agreement, found.prompts) == (0.0, 2)
    assert found.median == pytest.approx(0.4)
    assert (found.differing[0].tuned, found.differing[0].exported) == ("A", "B")
    assert found.differing[0].lead == pytest.approx(0.5)


def test_near_ties_are_counted_apart() -> None:
    found = compare_answers(Fixed((65, -0.5), (66, -0.504)), Fixed((66, -0.5), (65, -0.504)), [("one", [1])])
    assert (found.agreement, found.ties, found.decided) == (0.0, 1, 1.0)


def test_a_template_of_fixed_texts_is_taken_apart(base: Path) -> None:
    smollm2 = turns_of(load_tokenizer("smollm2"))
    assert smollm2 is not None
    assert smollm2.default_system == "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert smollm2.around["user"] == ("<|im_start|>user\n", "<|im_end|>\n")
    tiny = turns_of(load_tokenizer(str(base)))
    assert tiny is not None
    assert tiny.default_system is None
    text, remarks = modelfile("x.gguf", load_tokenizer("smollm2"), base, 8192)
    assert 'SYSTEM """You are a helpful AI assistant named SmolLM' in text
    assert remarks == []


@pytest.mark.parametrize(
    "template",
    [
        tiny_hf.CHATML.replace("m['content']", "m['content'] | trim"),
        tiny_hf.CHATML.replace("m['role']", "loop.index | string + m['role']"),
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + tiny_hf.CHATML,
    ],
)
def test_a_template_that_does_more_is_left_to_ollama(base: Path, tmp_path: Path, template: str) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.template == template
    assert turns_of(tokenizer) is None
    text, remarks = modelfile("x.gguf", tokenizer, folder, 512)
    assert "\nTEMPLATE" not in text
    assert "no Go form of it can be proven equal" in remarks[0]
