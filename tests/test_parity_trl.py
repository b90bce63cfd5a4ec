"""What TRL's SFTTrainer would train on, held against what we would."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from test_tokenizers_real import FAMILIES
from tiny_tokenizer import CHATML, tokenizer_folder
from whetstone.errors import MissingPackageError, UsageError
from whetstone.tokens.parity import Finding
from whetstone.workflows.parity import check_parity

MARKED = CHATML.replace(
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}",
    "{{- '<|im_start|>' + message['role'] + '\n' }}{%- if message.role == 'assistant' %}"
    "{%- generation %}{{- message['content'] + '<|im_end|>' }}{%- endgeneration %}"
    "{%- else %}{{- message['content'] + '<|im_end|>' }}{%- endif %}{{- '\n' }}",
)


def of_trl(model: Path | str, *against: str) -> list[Finding]:
    return [finding for finding in check_parity(str(model), against) if finding.path.startswith("trl")]


def bad(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.path, finding.check) for finding in findings if not finding.good}


@pytest.fixture(autouse=True)
def _installed() -> None:
    if importlib.util.find_spec("trl") is None:
        pytest.skip("trl is not installed")


def test_both_forms_agree_where_the_template_marks_answers(tmp_path: Path) -> None:
    findings = of_trl(tokenizer_folder(tmp_path / "marked", MARKED), "trl")
    assert bad(findings) == set()
    assert {finding.path for finding in findings} == {"trl (messages)", "trl (completion)"}
    assert {"mask", "stop trained", "something trained"} <= {finding.check for finding in findings}


def test_a_template_that_trl_cannot_mark_is_refused_for_messages_alone(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "plain")
    assert bad(of_trl(folder, "trl:completion")) == set()
    findings = of_trl(folder, "trl")
    assert bad(findings) == {("trl (messages)", "mask")}
    assert "generation" in next(finding.detail for finding in findings if not finding.good)


def test_several_answers_are_each_a_completion(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path / "plain")
    said = ["a tie?", "Which colour?", "red", "$42", "and two?"]
    talk = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"messages": talk, "input_ids": [1], "labels": [1]}))
    findings = [one for one in of_trl(folder, str(rows), "trl:completion") if one.conversation == "row 1"]
    assert {finding.check for finding in findings} >= {"mask", "stop trained"}
    assert bad(findings) == set()


def test_an_end_outside_of_the_generation_block_is_caught(tmp_path: Path) -> None:
    unmarked = MARKED.replace("+ '<|im_end|>' }}{%- endgeneration %}", "}}{%- endgeneration %}{{- '<|im_end|>' }}")
    assert unmarked != MARKED
    findings = of_trl(tokenizer_folder(tmp_path / "unmarked", unmarked), "trl:messages")
    assert ("trl (messages)", "stop trained") in bad(findings)


def test_a_file_is_not_for_trl() -> None:
    with pytest.raises(UsageError, match="trl reads a folder"):
        list(check_parity("smollm2", ["trl"]))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "trl" else known(name, *rest))
    with pytest.raises(MissingPackageError, match="pip install"):
        list(check_parity(str(tokenizer_folder(tmp_path / "plain")), ["trl"]))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "starcoder2"])  # a base model
def test_real_families_agree_with_trl_but_for_the_rebuilt_one(shared_data: Path, family: str) -> None:
    folder = shared_data / "tokenizers" / family
    if not folder.is_dir():
        pytest.skip(f"needs the tokenizer of {family}, which is not at {folder}")
    found = bad(of_trl(folder, "trl:completion"))
    # TRL asks AutoTokenizer, which rebuilds SmolLM2's pipeline without its step for digits.
    assert found == ({("trl (completion)", "mask")} if family == "smollm2" else set())
