"""`whet` as a user runs it: a real process, real files, exit codes and sentences."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

WHET = [sys.executable, "-c", "from whetstone.cli.main import run; run()"]


def whet(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WHET, *arguments], capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture
def items(tmp_path: Path) -> Path:
    with open(tmp_path / "items.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["description", "price"])
        for i in range(60):
            writer.writerow([f"{'steel' if i % 2 else 'oak'} 의자 number {i} 😀", 10 + 90 * (i % 2) + i % 7])
    return tmp_path


COMPARE = ("compare", "items.csv", "--text", "description", "--target", "price", "--quiet")


def test_compare_writes_the_report_in_every_form_and_says_a_verdict(items: Path) -> None:
    (items / "human.csv").write_text("guess\n" + "".join(f"{i}\n" for i in range(60)))
    result = whet(
        *COMPARE, "--test-all", "-t", "tfidf", "-t", "guesses:human.csv",
        "--json", "out.json", "--html", "out.html", "--csv", "out.csv", folder=items,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Verdict" in result.stdout
    report = json.loads((items / "out.json").read_text())
    assert [run["technique"] for run in report["runs"]] == ["tfidf", "guesses:human.csv"]
    for run in report["runs"]:
        assert run["n"] == 60
        assert {"mae", "median_ae", "rmse", "r2", "rmsle", "smape", "hit_rate", "parse_rate"} <= set(run["metrics"])
        assert run["metrics"]["mae"]["low"] <= run["metrics"]["mae"]["value"] <= run["metrics"]["mae"]["high"]
    assert report["runs"][0]["metrics"]["mae"]["value"] < 10 < report["runs"][1]["metrics"]["mae"]["value"]
    assert report["verdict"].startswith("Take tfidf")
    assert len((items / "out.csv").read_text().splitlines()) >= 1 + 2 * 60
    assert "steel 의자" in (items / "out.html").read_text()


def test_json_on_standard_output_is_alone_there(items: Path) -> None:
    result = whet(*COMPARE, "-t", "constant", "--json", "-", folder=items)
    assert json.loads(result.stdout)["runs"][0]["technique"] == "constant"
    assert "Verdict" in result.stderr


def test_runs_report_and_diff_work_on_what_was_stored(items: Path) -> None:
    whet(*COMPARE, "--test-size", "30", "-t", "tfidf", "-t", "ask", "-m", "scripted:number", folder=items)
    runs = json.loads(whet("runs", "--json", folder=items).stdout)["runs"]
    good, bad = (next(r["run"] for r in runs if r["technique"] == name) for name in ("tfidf", "ask"))
    (items / "items.csv").unlink()  # reports need the source no more
    report = whet("report", good, bad, "--json", "-", folder=items)
    assert report.returncode == 0, report.stderr
    assert [run["run"] for run in json.loads(report.stdout)["runs"]] == [good, bad]
    assert json.loads(report.stdout)["split"] == {"train": 24, "validation": 6, "test": 30}
    worse = whet("diff", good, bad, folder=items)
    assert (worse.returncode, worse.stdout[:11]) == (1, "REGRESSION:")
    better = whet("diff", bad, good, "--json", folder=items)
    assert better.returncode == 0
    assert json.loads(better.stdout)["regression"] is False
    assert whet("diff", good, good, folder=items).returncode == 2


def test_runs_on_different_items_are_refused_unless_mixed_and_then_say_so(items: Path) -> None:
    whet(*COMPARE, "-t", "constant", folder=items)
    whet(*COMPARE, "-t", "tfidf", "--seed", "7", "--test-size", "40", folder=items)
    runs = [run["run"] for run in json.loads(whet("runs", "--json", folder=items).stdout)["runs"]]
    refused = whet("report", *runs, folder=items)
    assert refused.returncode == 2
    assert "test items are shared" in refused.stderr
    mixed = whet("report", *runs, "--mix", "--json", "-", folder=items)
    assert mixed.returncode == 0, mixed.stderr
    assert json.loads(mixed.stdout)["mixed"]
    assert "MIXED" in mixed.stderr


def test_a_report_on_a_damaged_freeze_says_so(items: Path) -> None:
    whet(*COMPARE, "-t", "constant", folder=items)
    (run,) = json.loads(whet("runs", "--json", folder=items).stdout)["runs"]
    (frozen,) = Path(os.environ["WHETSTONE_HOME"]).glob("problems/*/test.jsonl")
    frozen.write_text(frozen.read_text().replace("oak", "ash"))
    result = whet("report", run["run"], folder=items)
    assert (result.returncode, "was changed after it was frozen" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("compare", "absent.csv", "--text", "a", "--target", "b"), "There is no file absent.csv"),
        (("compare", "items.csv", "--text", "descripton", "--target", "price"), "Did you mean description"),
        ((*COMPARE, "-t", "tfdif"), "Did you mean tfidf"),
        ((*COMPARE, "-t", "constant", "--metric", "maee"), "Did you mean mae"),
        ((*COMPARE, "-t", "ask", "-m", "smolm2"), "Did you mean smollm2"),
        ((*COMPARE, "-t", "ask", "-m", "openai:gpt-4o-mini"), "OPENAI_API_KEY"),
        ((*COMPARE, "-t", "ask", "-m", "gguf:items.csv"), "no GGUF file"),
        ((*COMPARE, "-t", "guesses:absent.csv"), "absent.csv"),
        (("report", "absent"), "no runs"),
    ],
)
def test_a_mistake_gives_one_sentence_and_exit_code_2(items: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = whet(*arguments, folder=items)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_bad_rows_are_set_aside_with_the_reason(items: Path) -> None:
    with open(items / "items.csv", "a", encoding="utf-8") as file:
        file.write("free range eggs,12.99 - 19.99\nnegative thing,-5\n")
    result = whet(*COMPARE, "-t", "constant", folder=items)
    assert result.returncode == 0
    rejects = [json.loads(line) for line in (items / "items.csv.rejects.jsonl").read_text().splitlines()]
    assert [reject["line"] for reject in rejects] == [62, 63]
    assert whet(*COMPARE, "-t", "constant", "--strict", folder=items).returncode == 2


def test_ctrl_c_keeps_every_answer_and_says_how_to_go_on(items: Path) -> None:
    log = items / "asked.log"
    arguments = [*COMPARE, "-t", "ask", "-m", f"scripted:number?delay=0.2&log={log}"]
    process = subprocess.Popen(
        [*WHET, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=items
    )
    while not log.exists() or len(log.read_bytes().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 1
    assert "the same command goes on" in output
    assert "Traceback" not in errors
    (run,) = json.loads(whet("runs", "--json", folder=items).stdout)["runs"]
    assert run["answers"] >= 3


def test_models_and_doctor_say_what_is_usable(tmp_path: Path) -> None:
    listed: list[dict[str, Any]] = json.loads(whet("models", "--json", folder=tmp_path).stdout)
    usable = {model["spec"]: model["usable"] for model in listed}
    assert usable["smollm2"]
    assert usable["scripted:echo"]
    assert not usable["openai:MODEL"]
    doctor = whet("doctor", "--json", folder=tmp_path)
    assert doctor.returncode == 0, doctor.stdout
    assert {"embedded model", "sentence encoder", "home"} <= {check["name"] for check in json.loads(doctor.stdout)}


def test_the_tester_replays_the_human_guesses_of_the_course(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "price_is_right" / "items_250.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    (tmp_path / "human.csv").write_text("guess\n" + "".join(f"{row['human_guess']}\n" for row in rows))
    result = whet(
        "compare", str(shared_data / "price_is_right" / "items_250.jsonl"), "--text", "text", "--target", "price",
        "--test-all", "-t", "guesses:human.csv", "--json", "out.json", folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (run,) = json.loads((tmp_path / "out.json").read_text())["runs"]
    measured = {name: run["metrics"][name]["value"] for name in ("mae", "rmsle", "hit_rate")}
    assert measured["mae"] == pytest.approx(126.55, abs=0.005)
    assert measured["rmsle"] == pytest.approx(1.00, abs=0.005)
    assert measured["hit_rate"] == pytest.approx(0.320)
