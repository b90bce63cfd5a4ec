"""A person's guesses: taken blind, kept at once, compared with models and with other people."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from terminal import terminal
from whetstone.datasets.build import build_problem
from whetstone.errors import DataError, StorageError, UsageError
from whetstone.types import Problem
from whetstone.workflows.compare import compare
from whetstone.workflows.guess_spread import guess_spread
from whetstone.workflows.guessing import Guessing


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_text("id,text,price\n" + "".join(f"k{n},thing number {n},{7001 + n}\n" for n in range(40)))
    return path


def problem(source: Path, items: int = 4) -> Problem:
    return build_problem(source, text="text", target="price", id="id", test_size=items).problem


def whet(*arguments: str, cwd: Path, pipe: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "whetstone", *arguments],
        capture_output=True, text=True, env=dict(os.environ), timeout=300, input=pipe, cwd=cwd,
    )  # fmt: skip


def test_guesses_are_kept_read_as_numbers_and_can_be_taken_back(source: Path) -> None:
    asked = problem(source)
    with Guessing(asked, "anna") as guessing:
        assert guessing.current == asked.test[0]
        assert guessing.give("$1,299").value == 1299
        assert not guessing.give("a lot").ok
        assert not guessing.give("-5").ok
        assert guessing.done == 1
        guessing.give("20")
        assert guessing.back() == asked.test[1]
        guessing.give("21.50")
        with pytest.raises(StorageError, match="being written by another"):
            Guessing(asked, "anna")
    with Guessing(asked, "ben") as other:
        assert other.done == 0
    with Guessing(asked, "anna") as again:
        assert (again.done, again.current) == (2, asked.test[2])
        rows = list(csv.reader(again.csv().splitlines()))
    assert [row[:2] for row in rows] == [["id", "guess"], [asked.test[0].id, "1299"], [asked.test[1].id, "21.5"]]


def test_whoever_has_no_name_or_no_numbers_to_guess_is_told(source: Path) -> None:
    with pytest.raises(UsageError, match="no name for a file"):
        Guessing(problem(source), "../anna")
    with pytest.raises(UsageError, match="asks for a text"):
        Guessing(build_problem(source, text="id", target="text", kind="text").problem, "anna")


def test_the_file_of_guesses_is_a_technique_on_the_same_items(source: Path, tmp_path: Path) -> None:
    asked = problem(source)
    with Guessing(asked, "anna") as guessing:
        for case in asked.test:
            guessing.give(str(float(case.expected) + 10))
        guessing.write(tmp_path / "anna.csv")
    report = compare(asked, [f"guesses:{tmp_path / 'anna.csv'}", "constant"])
    assert report.results[0].scores.metrics["mae"].value == pytest.approx(10)


def test_the_terminal_shows_items_without_answers_and_goes_on_where_it_stopped(source: Path, tmp_path: Path) -> None:
    options = ("guess", str(source), "--name", "anna", "--items", "3", "--id", "id")
    first = whet(*options, cwd=tmp_path, pipe="100\nwhat\nb\n110\n")
    assert first.returncode == 0, first.stderr
    assert "1 of 3 guessed, kept in guesses-anna.csv" in first.stdout
    assert "That is no number" in first.stdout
    assert "700" not in first.stdout + first.stderr  # no price anywhere
    assert "701" not in first.stdout
    second = whet(*options, cwd=tmp_path, pipe="120\n130\n")
    assert "All 3 guessed" in second.stdout
    with open(tmp_path / "guesses-anna.csv") as file:
        assert [float(row["guess"]) for row in csv.DictReader(file)] == [110, 120, 130]
    command = second.stdout.splitlines()[-1].split()
    assert command[:3] == ["whet", "compare", str(source)]
    done = whet(*command[1:], "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {run["technique"] for run in json.loads(done.stdout)["runs"]} == {"guesses:guesses-anna.csv", "tfidf"}


def test_a_kill_loses_no_guess(source: Path, tmp_path: Path) -> None:
    with terminal("guess", str(source), "--name", "anna", "--items", "3", "-o", str(tmp_path / "g.csv")) as shown:
        shown.until("1 of 3")
        shown.keys("55\r")
        shown.until("2 of 3")
        shown.process.send_signal(signal.SIGKILL)
    asked = problem(source, 3)
    with Guessing(asked, "anna") as guessing:
        assert guessing.done == 1


def test_the_spread_between_people_is_told_by_pair_and_by_item(tmp_path: Path) -> None:
    (tmp_path / "anna.csv").write_text("id,guess\na,10\nb,$20\nc,30\nd,5\n")
    (tmp_path / "ben.csv").write_text("id,guess\nc,36\nb,20\na,13\ne,9\n")
    (tmp_path / "cleo.csv").write_text("id,guess\na,10\nb,10\nc,10\n")
    found = guess_spread([tmp_path / f"{name}.csv" for name in ("anna", "ben", "cleo")])
    assert [item.id for item in found.items] == ["a", "b", "c"]
    assert found.left_out == 2
    together = found.pairs[0]
    assert (together.first, together.second, together.difference) == ("anna", "ben", pytest.approx(3))
    assert together.correlation == pytest.approx(0.9754, abs=1e-3)
    assert found.pairs[1].correlation is None  # always the same guess
    assert found.difference == pytest.approx((3 + 10 + 13) / 3)
    assert found.items[0].deviation == pytest.approx(3**0.5)
    done = whet("guess", "--spread", "anna.csv", "ben.csv", cwd=tmp_path)
    assert "3.00" in done.stdout
    told = json.loads(whet("guess", "--spread", "anna.csv", "ben.csv", "--json", cwd=tmp_path).stdout)
    assert told["mean_absolute_difference"] == pytest.approx(3)
    assert len(told["items"]) == 3


def test_files_without_common_items_have_no_spread(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,guess\na,10\n")
    (tmp_path / "b.csv").write_text("id,guess\nb,10\n")
    with pytest.raises(DataError, match="fewer than two"):
        guess_spread([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(UsageError, match="at least two files"):
        guess_spread([tmp_path / "a.csv"])
