"""`whet tune probe`: revisions are measured once, and any adapter can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny_hf
import tuning_runs
from whetstone.cli.main import app
from whetstone.errors import UsageError
from whetstone.storage.journal import read_journal
from whetstone.workflows.probe_run import probe

pytest.importorskip("peft")

run = CliRunner().invoke


def test_revisions_are_probed_once_and_the_journal_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_THREADS", "1")  # a model this small has no work for two
    folder = tuning_runs.run(tiny_hf.llama(tmp_path / "model"), errors=(30.0, 20.0))
    first = run(app, ["tune", "probe", "shop@20", "--json"])
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert list(told["results"]) == ["20"]
    assert told["results"]["20"]["texts"]["drift"]["value"] > 0.01
    lines = [line for line in read_journal(folder / "journal.jsonl") if line["kind"] == "probe"]
    assert [line["step"] for line in lines] == [20]

    second = run(app, ["tune", "probe", "shop@20"])
    assert second.exit_code == 0, second.output
    assert "forgetting may not matter" in " ".join(second.output.split())
    assert len([line for line in read_journal(folder / "journal.jsonl") if line["kind"] == "probe"]) == 1

    spec = f"hf:{tmp_path / 'model'}?adapter={folder / 'revisions' / 'step-000020'}"
    (result,) = probe(spec).results.values()
    assert result.drift.value == pytest.approx(told["results"]["20"]["texts"]["drift"]["value"], rel=1e-3)


def test_what_cannot_be_probed_says_why() -> None:
    with pytest.raises(UsageError, match="only hf: models"):
        probe("scripted:echo")
    with pytest.raises(UsageError, match="no tuning run"):
        probe("shop")
