"""Which files of a folder are read, and what is said of the others."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from whetstone.errors import DataError
from whetstone.retrieval.reading import supported
from whetstone.retrieval.scan import scan


def write(path: Path, text: str = "words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_files_are_found_by_sorted_paths_with_size_and_time(tmp_path: Path) -> None:
    for name in ("b.md", "a/c.txt", "a/b/d.PDF", "README", "z.tar.py"):
        write(tmp_path / name)
    found = scan(tmp_path)
    assert list(found.files) == ["README", "a/b/d.PDF", "a/c.txt", "b.md", "z.tar.py"]
    file = found.files["a/c.txt"]
    assert (file.path, file.file, file.size) == ("a/c.txt", tmp_path / "a" / "c.txt", 5)
    assert file.modified == (tmp_path / "a" / "c.txt").stat().st_mtime_ns
    assert found.skipped == {}


def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path / ".git" / "config.txt")
    write(tmp_path / "a" / ".hidden.md")
    write(tmp_path / "film.mp4")
    write(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.txt")
    found = scan(tmp_path)
    assert found.files == {}
    assert found.skipped == {
        ".git": "hidden: its name begins with a dot",
        "a/.hidden.md": "hidden: its name begins with a dot",
        "film.mp4": "files of type .mp4 are not read",
        "nothing": "a name without a type (such as .txt) is not read",
        "pipe.txt": "no file to read (a device, pipe or socket)",
    }


def test_links_are_not_followed_in_circles_or_out_of_the_folder(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "secret.md")
    inside = tmp_path / "inside"
    write(inside / "sub" / "page.md")
    (inside / "sub" / "circle").symlink_to(inside)
    (inside / "self").symlink_to(inside / "self")
    (inside / "folder").symlink_to(outside.parent)
    (inside / "secret.md").symlink_to(outside)
    found = scan(inside)
    assert list(found.files) == ["sub/page.md"]
    assert found.skipped == dict.fromkeys(
        ["folder", "secret.md", "self", "sub/circle"], "a link: links are not followed"
    )


def test_names_in_hangul_have_one_form(tmp_path: Path) -> None:
    composed = "보험/계약서.md"
    decomposed = unicodedata.normalize("NFD", composed)
    write(tmp_path / decomposed)
    found = scan(tmp_path)
    assert list(found.files) == [composed]
    assert found.files[composed].file.read_text(encoding="utf-8") == "words"
    write(tmp_path / composed, "other words")
    twice = scan(tmp_path)
    assert list(twice.files) == [composed]


def test_a_name_twice_in_two_unicode_forms_is_told(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        write(tmp_path / unicodedata.normalize(form, "계약.md"))
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system knows one form of a name only")
    found = scan(tmp_path)
    assert list(found.files) == ["계약.md"]
    assert "Unicode form" in found.skipped["계약.md"]


def test_a_name_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.md")).write_text("words", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found = scan(tmp_path)
    assert found.files == {}
    assert list(found.skipped.values()) == ["its name is not UTF-8; rename it"]
    assert all(path.isprintable() for path in found.skipped)


def test_files_and_folders_without_permission_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    write(folder / "open.md")
    write(folder / "closed.md").chmod(0)
    write(folder / "locked" / "page.md")
    (folder / "locked").chmod(0)
    code = (
        "import os, sys; from pathlib import Path; from whetstone.retrieval.scan import scan\n"
        "found = scan(Path(sys.argv[1])); print(list(found.files), found.skipped)"
    )
    if os.getuid() == 0:  # root may read everything; somebody else looks
        for parent in (tmp_path, *tmp_path.parents[:3]):
            if parent.stat().st_uid == 0 and parent != Path("/tmp"):
                parent.chmod(0o755)
        code = "import os; import whetstone.retrieval.scan; os.setuid(65534)\n" + code
    try:
        ran = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    finally:
        (folder / "locked").chmod(0o755)
    assert "['open.md']" in ran.stdout
    assert "'closed.md': 'no permission to read it'" in ran.stdout
    assert "'locked': 'the folder cannot be listed: Permission denied'" in ran.stdout


def test_an_empty_folder_is_empty(tmp_path: Path) -> None:
    found = scan(tmp_path)
    assert (found.files, found.skipped) == ({}, {})


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        scan(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file"):
        scan(write(tmp_path / "page.md"))


def test_many_files_are_found(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / f"{folder:02}").mkdir()
        for number in range(100):
            (tmp_path / f"{folder:02}" / f"{number:02}.txt").touch()
    assert len(scan(tmp_path).files) == 2000


def test_kinds_go_by_the_suffix_whatever_its_case() -> None:
    assert all(map(supported, ["a.md", "A.DOCX", "x/y.Pdf", "LICENSE", "Makefile", "page.HTM", "rows.tsv"]))
    assert not any(map(supported, ["a.exe", "a", "a.md.zip", ".md"]))
