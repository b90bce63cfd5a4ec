"""`kill -9` at random moments of a comparison: nothing is lost, nothing is asked twice, the table is the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from whetstone.models.scripted import ScriptedModel
from whetstone.storage.journal import read_journal

KILLS = 20
TEST_ITEMS = 40


def command(folder: Path, log: Path, delay: float) -> list[str]:
    return [
        sys.executable, "-c", "from whetstone.cli.main import run; run()",
        "compare", str(folder / "items.csv"), "--text", "text", "--target", "price",
        "--test-size", str(TEST_ITEMS), "--quiet",
        "-t", "constant", "-t", "ask", "-t", "few-shot:random:2",
        "-m", f"scripted:number?delay={delay}&concurrency=3&log={log}", "--json", str(folder / "report.json"),
    ]  # fmt: skip


def prompts_asked(log: Path) -> list[str]:
    """The rendered prompt of every request so far."""
    if not log.exists():
        return []
    model = ScriptedModel([])
    return [model.render(json.loads(line)["messages"]) for line in log.read_bytes().splitlines()]


def prompts_answered(home: Path) -> list[str]:
    """The prompt of every answer in any journal so far."""
    return [
        entry["prompt"]
        for path in sorted(home.glob("runs/*/answers.jsonl"))
        for entry in read_journal(path)
        if entry.get("prompt")
    ]


def final_table(folder: Path) -> list[dict[str, Any]]:
    """The runs of the report, without what depends on the clock."""
    report = json.loads((folder / "report.json").read_text())
    return [
        {name: run[name] for name in ("technique", "model", "n", "metrics", "tokens")} for run in report["runs"]
    ] + [{"pairs": report["pairs"]}]


@pytest.fixture
def items(tmp_path: Path) -> Path:
    generator = random.Random(7)
    lines = ["text,price"]
    for i in range(TEST_ITEMS + 20):
        words = " ".join(generator.choice(["oak", "steel", "lamp", "chair", "red", "작은", "large"]) for _ in range(6))
        lines.append(f"item {i} {words},{generator.randint(5, 500)}")
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.timeout(900)  # 22 processes, each of which imports and splits before it asks
def test_a_comparison_killed_at_twenty_moments_ends_as_if_undisturbed(
    items: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHETSTONE_HOME", str(items / "undisturbed"))
    subprocess.run(command(items, items / "undisturbed.log", 0), check=True, capture_output=True)
    expected = final_table(items)
    (items / "report.json").unlink()

    home, log = items / "killed", items / "killed.log"
    monkeypatch.setenv("WHETSTONE_HOME", str(home))
    generator = random.Random(11)
    reached = set()
    for _ in range(KILLS):
        asked_before, answered_before = len(prompts_asked(log)), set(prompts_answered(home))
        process = subprocess.Popen(
            command(items, log, 0.15), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        # Mostly while it asks; sometimes while it starts, splits or fits.
        allowed = generator.randint(0, 8)
        deadline = time.monotonic() + 20
        while len(prompts_asked(log)) - asked_before < allowed and time.monotonic() < deadline:
            if process.poll() is not None:
                break
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.3))
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
        assert answered_before.isdisjoint(prompts_asked(log)[asked_before:])
        reached.add(len(prompts_answered(home)))
    assert len(reached) > 5  # the kills fell at different stages

    subprocess.run(command(items, log, 0), check=True, capture_output=True)
    assert final_table(items) == expected
    for path in home.glob("runs/*/answers.jsonl"):
        answers = Counter(entry["case_id"] for entry in read_journal(path) if "case_id" in entry)
        assert set(answers.values()) == {1}
        assert len(answers) == TEST_ITEMS
