"""`whet kb` as a user runs it: a real process, the packaged embedder, exit codes and sentences."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kb_folder import page, write
from whetstone.retrieval.library import open_store

WHET = [sys.executable, "-c", "from whetstone.cli.main import run; run()", "kb"]


def whet(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WHET, *arguments], capture_output=True, text=True, cwd=folder, check=False)


def as_json(*arguments: str, folder: Path) -> Any:
    return json.loads(whet(*arguments, "--json", folder=folder).stdout)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    write(tmp_path / "docs", "company.md", page("Company", "The founder is Ann.", "It sells lamps."))
    write(tmp_path / "docs", "메모.txt", "The office is in Seoul.")
    write(tmp_path / "docs", "photo.png", "no text")
    return tmp_path


def test_plan_sync_and_sync_again_say_what_changes(work: Path) -> None:
    planned = whet("sync", "docs", "--plan", folder=work)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.startswith("+2 ~0 -0, ")
    assert "estimate" in planned.stderr
    assert as_json("list", folder=work) == []

    first = whet("sync", "docs", folder=work)
    assert first.returncode == 0, first.stderr
    assert "2 added" in first.stdout
    assert "+ 메모.txt (1 chunk)" in first.stdout
    assert "photo.png" in first.stderr
    write(work / "docs", "company.md", page("Company", "The founder is Berta.", "It sells lamps."), age=10)
    (work / "docs" / "메모.txt").unlink()
    plan = as_json("sync", "docs", "--plan", folder=work)
    assert (plan["changed"], plan["removed"], plan["summary"][:8]) == (["company.md"], ["메모.txt"], "+0 ~1 -1")
    result = as_json("sync", "docs", folder=work)
    assert {one["path"]: one["kind"] for one in result["changes"]} == {"company.md": "changed", "메모.txt": "removed"}
    assert (result["documents"], result["embedded"], result["skipped"]) == (
        1,
        1,
        {"photo.png": "files of type .png are not read"},
    )
    (listed,) = as_json("list", folder=work)
    assert (listed["name"], listed["documents"], listed["folder"]) == ("default", 1, str(work / "docs"))
    shown = as_json("show", "company.md", folder=work)
    assert "Berta" in " ".join(chunk["text"] for chunk in shown["chunks"])
    assert "Company" in whet("show", folder=work).stdout


def test_fsck_says_what_is_wrong_and_exits_with_1(work: Path) -> None:
    whet("sync", "docs", "--kb", "handbook", folder=work)
    right = whet("fsck", "--kb", "handbook", "--deep", folder=work)
    assert (right.returncode, right.stdout) == (0, "The knowledge base handbook is true to its folder.\n")
    (work / "docs" / "company.md").write_text("# Another company\n")
    wrong = whet("fsck", "--kb", "handbook", folder=work)
    assert wrong.returncode == 1
    assert "changed file: company.md" in wrong.stdout
    assert f"whet kb sync {work / 'docs'} --kb handbook" in wrong.stdout
    faults = as_json("fsck", "--kb", "handbook", folder=work)
    assert [fault["kind"] for fault in faults["faults"]] == ["changed file"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sync", "absent"), "There is no folder absent"),
        (("sync", "docs/company.md"), "is a file"),
        (("sync", "docs", "--kb", "a/b"), "cannot name a knowledge base"),
        (("sync", "docs", "--embedder", "minilmm"), "Did you mean minilm"),
        (("sync", "docs", "--chunk-chars", "400", "--chunk-overlap", "400"), "overlap < target"),
        (("sync", "docs", "--plan", "--watch"), "choose one"),
        (("fsck",), "whet kb sync FOLDER"),
        (("show", "--kb", "absent"), "no knowledge base named 'absent'"),
        (("reembed", "--embedder", "minilm", "--kb", "absent"), "no knowledge base named 'absent'"),
        (("delete", "absent", "--yes"), "no knowledge base named 'absent'"),
    ],
)
def test_a_mistake_gives_one_sentence_and_exit_code_2(work: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = whet(*arguments, folder=work)
    assert result.returncode == 2, result.stdout
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert as_json("list", folder=work) == []


def test_a_name_may_be_in_any_script_and_is_offered_when_it_is_nearly_right(work: Path) -> None:
    assert whet("sync", "docs", "--kb", "회사_안내서", folder=work).returncode == 0
    near = whet("show", "--kb", "회사_안내", folder=work)
    assert (near.returncode, "Did you mean 회사_안내서" in near.stderr) == (2, True)
    refused = whet("delete", "회사_안내서", folder=work)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert whet("delete", "회사_안내서", "--yes", folder=work).returncode == 0
    assert as_json("list", folder=work) == []


def test_reembed_by_the_same_embedder_computes_every_vector(work: Path) -> None:
    chunks = as_json("sync", "docs", folder=work)["chunks"]
    result = as_json("reembed", "--embedder", "minilm", folder=work)
    assert (result["embedded"], result["changed_documents"], result["problem"]) == (chunks, 0, "")
    assert whet("fsck", "--deep", folder=work).returncode == 0


def test_ctrl_c_says_that_what_was_done_is_kept_and_the_same_command_goes_on(work: Path) -> None:
    for number in range(30):
        write(work / "docs", f"d{number}.md", page(f"D{number}", *(f"Fact {number}.{part}" * 9 for part in range(5))))
    process = subprocess.Popen(
        [*WHET, "sync", "docs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=work
    )
    database = Path(os.environ["WHETSTONE_HOME"]) / "knowledge" / "default.db"
    while not database.exists() or not database.stat().st_size:
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 1, output + errors
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors
    store = open_store()
    assert store.manifest() == {}
    store.close()
    assert as_json("sync", "docs", folder=work)["documents"] == 32


def test_watch_follows_the_folder_until_ctrl_c(work: Path) -> None:
    process = subprocess.Popen(
        [*WHET, "sync", "docs", "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=work
    )
    assert process.stdout is not None
    assert "2 added" in process.stdout.readline()
    until(process, "holds 2 documents")
    write(work / "docs", "new/page.md", "# New\n\nIt is new.\n", age=0)
    until(process, "+ new/page.md")
    until(process, "holds 3 documents")
    (work / "docs" / "메모.txt").unlink()
    until(process, "- 메모.txt")
    until(process, "holds 2 documents")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert (process.returncode, output) == (0, "")
    assert "Stopped following" in errors
    assert "Traceback" not in errors


def until(process: subprocess.Popen[str], said: str) -> None:
    """Read lines until one holds that."""
    assert process.stdout is not None
    for line in process.stdout:
        if said in line:
            return
    raise AssertionError(f"it ended without {said!r}")
