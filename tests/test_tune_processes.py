"""Training runs as processes: killed, interrupted, out of disk, and several at one adapter."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_hf
import tiny_run
from whetstone.storage.revisions import history, revisions, run_folder

ROWS = 48

Losses = dict[tuple[str, int], float]


class Worker:
    """The program `tuning_worker.py`, see there."""

    def __init__(self, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("tuning_worker.py")), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "WHETSTONE_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.path.dirname(__file__),
            },
        )
        assert self._answer() == "ready"

    def start(self, log: Path, config: Any, **order: Any) -> int:
        """Begin a run; its process's number."""
        environment = {"WHETSTONE_HOME": os.environ.get("WHETSTONE_HOME", ""), **order.pop("environment", {})}
        line = {"log": str(log), "config": config.model_dump(), "count": ROWS, "environment": environment, **order}
        return int(self._ask(json.dumps(line)))

    def wait(self) -> int:
        """How the run that was started first has ended."""
        return int(self._ask("wait"))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def worker(model: Path) -> Iterator[Worker]:
    made = Worker(model)
    yield made
    made.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("model"))


def losses(folder: Path) -> Losses:
    """Every loss of a run, by kind and step."""
    return {
        (line["kind"], line["step"]): line["loss"] for line in history(folder) if line["kind"] in ("step", "validation")
    }


def wait_for_step(run: str, step: int) -> None:
    """Until a run's journal has a step; it is another process's."""
    path = run_folder(run) / "journal.jsonl"
    for _ in range(60_000):
        if path.exists() and any(
            json.loads(line).get("step", 0) >= step for line in path.read_text().splitlines(True)[:-1]
        ):
            return
        time.sleep(0.002)
    raise AssertionError(f"{run} never came to step {step}")


@pytest.fixture(scope="module")
def expected(worker: Worker, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Losses:
    """The losses of a run that nothing disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    worker.start(home / "log", tiny_run.config(model, lora_dropout=0.1), environment={"WHETSTONE_HOME": str(home)})
    assert worker.wait() == 0, (home / "log").read_text()
    return losses(home / "tuning" / "tiny")


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_losses(
    worker: Worker, model: Path, expected: Losses, tmp_path: Path
) -> None:
    config = tiny_run.config(model, run="killed", lora_dropout=0.1)
    dice = random.Random(3)
    for step in (1, 3, 6, 7, 9):
        pid = worker.start(tmp_path / "log", config)
        wait_for_step("killed", step)
        time.sleep(dice.random() * 0.05)
        os.kill(pid, signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
        assert all((found.folder / "adapter_model.safetensors").is_file() for found in revisions(run_folder("killed")))
    worker.start(tmp_path / "log", config)
    assert worker.wait() == 0, (tmp_path / "log").read_text()
    assert losses(run_folder("killed")) == pytest.approx(expected, abs=1e-3)
    assert {found.step for found in revisions(run_folder("killed"))} >= {6, 9, 12}


def test_ctrl_c_leaves_a_revision_behind_which_the_same_command_goes_on(
    worker: Worker, model: Path, expected: Losses, tmp_path: Path
) -> None:
    config = tiny_run.config(model, run="interrupted", lora_dropout=0.1)
    pid = worker.start(tmp_path / "log", config)
    wait_for_step("interrupted", 4)
    os.kill(pid, signal.SIGINT)
    assert worker.wait() == 3, (tmp_path / "log").read_text()
    assert "heard" in (tmp_path / "log").read_text().splitlines()  # at once, and not behind the step
    done = max(step for _, step in losses(run_folder("interrupted")))
    assert revisions(run_folder("interrupted"))[-1].step == done
    worker.start(tmp_path / "log", config)
    assert worker.wait() == 0
    assert losses(run_folder("interrupted")) == pytest.approx(expected, abs=1e-3)


def test_a_full_disk_gives_a_sentence_and_leaves_earlier_revisions_whole(
    worker: Worker, model: Path, tmp_path: Path
) -> None:
    config = tiny_run.config(model, run="full")
    pid = worker.start(tmp_path / "log", config)
    wait_for_step("full", 4)
    os.kill(pid, signal.SIGINT)
    worker.wait()
    before = revisions(run_folder("full"))
    contents = {path: path.read_bytes() for found in before for path in found.folder.rglob("*") if path.is_file()}
    size = (before[0].folder / "resume" / "optimizer.safetensors").stat().st_size
    worker.start(tmp_path / "log2", config, largest_file=size - 1)
    assert worker.wait() == 1, (tmp_path / "log2").read_text()
    assert "this checkpoint was not written, and the earlier ones are whole" in (tmp_path / "log2").read_text()
    assert {path: path.read_bytes() for path in contents} == contents
    worker.start(tmp_path / "log3", config)
    assert worker.wait() == 0, (tmp_path / "log3").read_text()


def test_two_processes_learn_what_one_does(worker: Worker, model: Path, tmp_path: Path) -> None:
    worker.start(tmp_path / "log", tiny_run.config(model, run="one"))
    assert worker.wait() == 0, (tmp_path / "log").read_text()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for number in range(2):
        launched = {
            "RANK": str(number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        worker.start(tmp_path / f"log{number}", tiny_run.config(model, run="two"), environment=launched)
    assert [worker.wait(), worker.wait()] == [0, 0], "".join((tmp_path / f"log{n}").read_text() for n in range(2))
    assert losses(run_folder("two")) == pytest.approx(losses(run_folder("one")), abs=1e-4)
    assert [found.step for found in revisions(run_folder("two"))] == [
        found.step for found in revisions(run_folder("one"))
    ]
