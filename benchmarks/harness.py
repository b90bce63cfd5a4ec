"""What the harness costs: 10,000 cases, a technique that takes no time, journal included.

    uv run python benchmarks/harness.py

The peer does the least that keeps an answer: one JSON line a case, flushed. Exits 1 above 1 ms a case.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from whetstone.evaluation.harness import evaluate
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.models import load_model
from whetstone.types import Case, Problem

CASES = 10_000
REPEATS = 5
LIMIT_MS = 1.0


def problem() -> Problem:
    """10,000 cases whose texts are as long as a product description."""
    text = "a sturdy thing of steel and oak, " * 12
    cases = [Case(str(i), f"Item {i}: {text}", float(i % 997)) for i in range(CASES)]
    return Problem("bench", "number", "price", "mae", cases[:100], (), cases, fingerprint="bench", unit="$")


def harness_seconds(task: Problem, folder: Path) -> float:
    """Seconds for Whetstone's harness over all cases."""
    technique = build_technique("constant:median", TechniqueContext(seed=0, load_model=load_model))
    started = time.perf_counter()
    record = evaluate(task, technique, RunStore(folder))
    seconds = time.perf_counter() - started
    assert len(record.answers) == CASES
    return seconds


def plain_loop_seconds(task: Problem, folder: Path) -> float:
    """Seconds for a loop that answers the median and writes one JSON line a case."""
    median = statistics.median(float(case.expected) for case in task.train)
    started = time.perf_counter()
    with open(folder / "plain.jsonl", "a", encoding="utf-8") as file:
        for case in task.test:
            file.write(json.dumps({"guess": median, **asdict(case)}) + "\n")
            file.flush()
    return time.perf_counter() - started


def main() -> int:
    task = problem()
    ours, plain = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(harness_seconds(task, Path(folder)))
            plain.append(plain_loop_seconds(task, Path(folder)))
    per_case = statistics.median(ours) / CASES * 1000
    peer = statistics.median(plain) / CASES * 1000
    print(f"harness: {per_case:.3f} ms a case over {CASES:,} cases, journal included (limit {LIMIT_MS} ms)")
    print(f"plain loop with one JSON line a case: {peer:.3f} ms a case; ratio {per_case / peer:.2f}")
    return 0 if per_case < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
