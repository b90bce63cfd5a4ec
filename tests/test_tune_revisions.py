"""Revisions are whole or not there; the right one is found by what a user writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from whetstone.errors import StorageError, UsageError
from whetstone.storage.journal import JournalWriter
from whetstone.storage.revision_files import rotate, write_revision
from whetstone.storage.revisions import (
    Revision,
    best,
    find_adapter,
    find_revision,
    history,
    revision_folder,
    revisions,
    run_folder,
    runs,
)


def leave(run: str, step: int, loss: float | None = None, metric: float | None = None) -> Revision:
    """A revision with nothing in it but what is looked at here."""
    folder = run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").touch()
    name = None if metric is None else "mae"
    made = Revision(run, step, revision_folder(folder, step), step / 10, loss, metric, name, "hf:smollm2")
    write_revision(made, lambda place: (place / "adapter_config.json").touch())
    return made


def test_a_revision_is_read_back_as_it_was_written() -> None:
    made = leave("shop", 120, loss=1.5, metric=80.0)
    assert revisions(run_folder("shop")) == [made]


def test_a_revision_that_fails_half_way_leaves_nothing_behind() -> None:
    whole = leave("shop", 1)

    def full(place: Path) -> None:
        (place / "adapter_model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    folder = run_folder("shop")
    with pytest.raises(StorageError, match="No space left on device; this checkpoint was not written"):
        write_revision(Revision("shop", 2, revision_folder(folder, 2), 0.2, None, None, None, "hf:x"), full)
    assert revisions(folder) == [whole]
    assert [path.name for path in (folder / "revisions").iterdir()] == ["step-000001"]


def test_what_a_killed_writer_left_is_no_revision_and_is_removed() -> None:
    leave("shop", 1)
    torn = run_folder("shop") / "revisions" / ".step-000002.123-abc"
    torn.mkdir()
    assert [found.step for found in revisions(run_folder("shop"))] == [1]
    leave("shop", 3)
    assert not torn.exists()


def test_the_best_is_chosen_by_the_tasks_error_then_by_loss_then_by_age() -> None:
    assert best([leave("a", 1, 1.0, 90.0), leave("a", 2, 2.0, 80.0), leave("a", 3)]).step == 2
    assert best([leave("b", 1, 1.0), leave("b", 2, 2.0)]).step == 1
    assert best([leave("c", 1), leave("c", 2)]).step == 2
    with pytest.raises(UsageError, match="no revision yet"):
        best([])


def test_rotation_keeps_the_newest_measured_the_best_and_the_last() -> None:
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0), (35, None), (40, 2.5), (50, 2.6), (55, None)):
        leave("shop", step, loss)
    rotate(run_folder("shop"), 2)
    assert [found.step for found in revisions(run_folder("shop"))] == [20, 40, 50, 55]


def test_adapters_are_found_by_run_and_revision(tmp_path: Path) -> None:
    first, second = leave("shop", 10, 1.0), leave("shop", 120, 2.0)
    assert find_adapter("shop") == find_adapter("shop@best") == first.folder
    assert find_adapter("shop@last") == find_adapter("shop@120") == find_adapter("shop@step-000120") == second.folder
    assert find_adapter(str(first.folder)) == first.folder
    assert find_revision("shop", "10") == first
    assert runs() == ["shop"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shop@11", "10, 120"),
        ("shap", "Did you mean shop"),
        ("shop@worst", "best, last"),
        ("other@best", "Known: shop"),
    ],
)
def test_a_revision_that_is_not_there_is_answered_with_those_that_are(text: str, said: str) -> None:
    leave("shop", 10)
    leave("shop", 120)
    with pytest.raises(UsageError) as raised:
        find_adapter(text)
    assert said in str(raised.value)


def test_damaged_facts_give_a_sentence() -> None:
    made = leave("shop", 10)
    (made.folder / "revision.json").write_text("{")
    with pytest.raises(StorageError, match=r"revision\.json: damaged"):
        revisions(run_folder("shop"))


def test_history_has_what_was_done_again_once() -> None:
    folder = run_folder("shop")
    lines = [
        {"kind": "note", "step": 0, "resumed": True},
        {"kind": "validation", "step": 0, "loss": 9.0},
        {"kind": "note", "step": 0, "resumed": True},
        {"kind": "validation", "step": 0, "loss": 9.0},
        {"kind": "step", "step": 1, "loss": 3.0},
        {"kind": "step", "step": 2, "loss": 2.0},
        {"kind": "end", "step": 2, "ended": "stopped"},
        {"kind": "note", "step": 1, "resumed": True},
        {"kind": "step", "step": 2, "loss": 2.0},
    ]
    with JournalWriter(folder / "journal.jsonl") as journal:
        for line in lines:
            journal.append(line)
    assert [(line["kind"], line["step"]) for line in history(folder) if line["kind"] != "note"] == [
        ("validation", 0),
        ("step", 1),
        ("step", 2),
    ]
    assert json.loads((folder / "journal.jsonl").read_text().splitlines()[0]) == lines[0]
