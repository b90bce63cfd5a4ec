"""`whet tune curve` at the terminal: what it refuses, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import tiny_hf
from whetstone.cli.tune import app


def test_shares_and_settings_are_checked_before_anything_is_read() -> None:
    from whetstone.errors import UsageError

    for arguments, said in (
        (["--set", "rank"], "KEY=VALUE"),
        (["--set", "lr=1"], "lr is called learning_rate here"),
    ):
        result = CliRunner().invoke(app, ["curve", "x.csv", *arguments])
        assert isinstance(result.exception, UsageError)
        assert said in str(result.exception)


def test_a_curve_is_printed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_THREADS", "1")
    base = tiny_hf.llama(tmp_path / "tiny")
    rows = [{"id": str(n), "title": f"thing number {n}", "price": 5.0 + n % 90} for n in range(150)]
    pl.DataFrame(rows).write_csv(tmp_path / "shop.csv")
    asked = ["--text", "title", "--target", "price", "--base", f"hf:{base}", "--run", "shop", "--shares", "1/4,1/2,1"]
    asked += ["--set", "probe=false", "--set", "test_size=30", "--set", "validation_size=20", "--set", "eval_steps=99"]
    result = CliRunner().invoke(
        app, ["curve", str(tmp_path / "shop.csv"), *asked, "--json", str(tmp_path / "curve.json")]
    )
    assert result.exit_code == 0, result.output
    assert "Learning curve" in result.output
    assert "shop-1of4" in result.output
    found = json.loads((tmp_path / "curve.json").read_text())
    assert [point["rows"] for point in found["points"]] == [25, 50, 100]
    assert found["sentence"] in " ".join(result.output.split())
    assert found["report"]["ways"][0]["ways"] == ["prompting"]


def test_a_share_has_to_be_a_fraction(tmp_path: Path) -> None:
    from whetstone.cli.tune_curve import _shares
    from whetstone.errors import UsageError

    with pytest.raises(UsageError, match="1/8,1/4,1/2,1"):
        _shares("half")
    assert [str(share) for share in _shares("1/4, 1")] == ["1/4", "1"]
