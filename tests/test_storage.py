from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest

from whetstone.errors import StorageError
from whetstone.storage.files import write_atomically
from whetstone.storage.journal import JournalWriter, read_journal


def test_entries_come_back_in_order_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    entries = [{"text": "가격은 12만원 😀\n\u2028"}, {"number": 1.5, "none": None}, {"lone": "\ud800"}]
    with JournalWriter(path) as journal:
        for entry in entries[:2]:
            journal.append(entry)
    with JournalWriter(path) as journal:
        journal.append(entries[2])
    assert list(read_journal(path)) == entries


@pytest.mark.parametrize("torn", [b'{"n": 3', b"\xff\xfe", b'{"n": 3}'])
def test_a_torn_last_line_is_passed_over_and_cut_off_by_the_next_writer(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2}\n' + torn)
    assert list(read_journal(path)) == [{"n": 1}, {"n": 2}]
    with JournalWriter(path) as journal:
        journal.append({"n": 4})
    assert list(read_journal(path)) == [{"n": 1}, {"n": 2}, {"n": 4}]


def test_a_journal_that_is_one_long_torn_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"x" * 200_000)
    with JournalWriter(path) as journal:
        journal.append({"n": 1})
    assert list(read_journal(path)) == [{"n": 1}]


def test_damage_before_the_last_line_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n":1}\nnot json\n{"n":3}\n')
    with pytest.raises(StorageError, match="line 2"):
        list(read_journal(path))


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path), pytest.raises(StorageError, match="another process"):
        JournalWriter(path)


def _append_for_ever(path: Path) -> None:
    with JournalWriter(path) as journal:
        number = 0
        while True:
            journal.append({"number": number, "padding": "x" * 500})
            number += 1


def test_kill_9_loses_no_appended_entry_and_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    process = multiprocessing.get_context("fork").Process(target=_append_for_ever, args=(path,))
    process.start()
    while not path.exists() or path.stat().st_size < 100_000:
        assert process.is_alive()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    numbers = [entry["number"] for entry in read_journal(path)]
    assert numbers == list(range(len(numbers)))
    with JournalWriter(path) as journal:
        journal.append({"number": len(numbers)})


def _fill_the_disk(path: Path) -> None:
    """A limit on file size stands in for a full disk: the write fails just so, half way through."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with JournalWriter(path) as journal:
        try:
            for number in range(1000):
                journal.append({"number": number})
        except StorageError as error:
            os._exit(0 if "kept" in str(error) else 2)
    os._exit(1)


def test_a_full_disk_is_told_and_whole_entries_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    process = multiprocessing.get_context("fork").Process(target=_fill_the_disk, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    numbers = [entry["number"] for entry in read_journal(path)]
    assert len(numbers) > 10
    assert numbers == list(range(len(numbers)))


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, "old")
    with pytest.raises(StorageError):
        write_atomically(path / "below-a-file", "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_written_file_can_be_read_by_those_that_the_umask_lets(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "report.html", b"page")
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "plain").stat().st_mode
