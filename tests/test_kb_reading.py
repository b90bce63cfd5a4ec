"""Files as blocks: text, Markdown, code, tables, records; encodings; files that are no good."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import tracemalloc
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import DataError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading import ChangedWhileReadError, digest_of, document_text, read

LARGE = (b"words and " * 600 + b"\n") * 2000  # too large to be held in memory


def blocks_of(path: Path, content: str | bytes, name: str = "") -> list[Block]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read(path, name or path.name).blocks)


def kinds(blocks: list[Block]) -> list[tuple[str, str]]:
    return [(block.kind, block.place) for block in blocks]


def test_markdown_becomes_headings_lists_tables_code_and_text(tmp_path: Path) -> None:
    text = (
        "# Guide\n\nIntro\nover two lines.\n\nUnderlined\n---\n\n- one\n  - two\n\n- three\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\n# no heading\n\nx = 1\n```\n\n"
        "> quoted\n\n[link]: http://example.com\n<!-- a remark -->\n"
    )
    blocks = blocks_of(tmp_path / "a.md", text)
    assert kinds(blocks) == [
        ("heading", "line 1"),
        ("text", "line 3"),
        ("heading", "line 6"),
        ("list", "line 9"),
        ("table", "line 14"),
        ("code", "line 18"),
        ("text", "line 24"),
        ("text", "line 26"),
        ("text", "line 27"),
    ]
    assert [block.level for block in blocks if block.kind == "heading"] == [1, 2]
    assert document_text(blocks) == text.rstrip("\n")
    assert all(text[block.start : block.end] == block.text for block in blocks)


def test_front_matter_gives_title_and_metadata_and_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text(
        "---\ntitle: The title\ndate: 2024-03-01\ntags: [a, b]\ndraft: yes\ntype: post\nnested: {x: 1}\n---\n# Other\n",
        encoding="utf-8",
    )
    reading = read(file, "notes/a.md")
    assert reading.title == "The title"
    assert reading.metadata == {
        "type": "md",
        "folder": "notes",
        "date": "2024-03-01",
        "tags": "a, b",
        "draft": "yes",
        "own type": "post",
    }
    assert [block.text for block in reading.blocks] == ["# Other"]


@pytest.mark.parametrize("head", ["---\n: : [\n---\n", "---\nno end\n", "---\n- a list\n---\n"])
def test_a_head_that_is_none_stays_in_the_text(tmp_path: Path, head: str) -> None:
    text = f"{head}words\n"
    assert "".join(document_text(blocks_of(tmp_path / "a.md", text)).split()) == "".join(text.split())


def test_the_title_is_the_first_heading_of_the_highest_level_else_the_name(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("## Two\n\n# **One** `x`\n\n# Again\n", encoding="utf-8")
    assert read(file, "x/a.md").title == "One x"
    file.write_text("words\n", encoding="utf-8")
    assert read(file, f"x/{unicodedata.normalize('NFD', '보험 약관')}.md").title == "보험 약관"


def test_lines_end_in_three_ways_and_blanks_at_their_ends_go(tmp_path: Path) -> None:
    blocks = blocks_of(tmp_path / "a.txt", b"one  \r\ntwo\r\n \t\r\nthree\rfour\n\n\n")
    assert [(block.text, block.start, block.end) for block in blocks] == [("one\ntwo", 0, 7), ("three\nfour", 9, 19)]


def test_code_is_divided_where_something_begins_at_the_left(tmp_path: Path) -> None:
    source = "import os\n\n\ndef one():\n    a = 1\n\n    return a\n\n\nclass Two:\n    x = 1\n"
    reading = read(_written(tmp_path / "m.py", source), "src/m.py")
    blocks = list(reading.blocks)
    assert reading.title == "m.py"
    assert [block.text.split("\n")[0] for block in blocks] == ["import os", "def one():", "class Two:"]
    assert kinds(blocks) == [("code", "line 1"), ("code", "line 4"), ("code", "line 10")]
    braces = blocks_of(tmp_path / "m.c", "int f() {\n\n  return 1;\n\n}\n\nint g() { }\n")
    assert len(braces) == 2


def test_rows_of_a_table_stand_under_their_names(tmp_path: Path) -> None:
    blocks = blocks_of(tmp_path / "a.csv", 'name,price\n"Lamp, tall",12\n"two\nlines",,extra\n\n')
    assert [(block.text, block.place) for block in blocks] == [
        ("name: Lamp, tall\nprice: 12", "row 2"),
        ("name: two\nlines\ncolumn 3: extra", "row 3"),
    ]
    assert blocks_of(tmp_path / "b.csv", "a;b\n1;2\n")[0].text == "a: 1\nb: 2"
    assert blocks_of(tmp_path / "b.tsv", "a,x\tb\n1\t2\n")[0].text == "a,x: 1\nb: 2"


def test_a_quote_that_never_closes_is_told_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"after row 2 .* quote that is not closed"):
        blocks_of(tmp_path / "a.csv", 'a,b\n1,2\n"' + "x" * 200_000)


def test_records_of_json_are_blocks(tmp_path: Path) -> None:
    record = {"name": "Kim", "address": {"city": "서울"}, "tags": ["a", 1, None], "boss": None, "old": False}
    shown = "name: Kim\naddress.city: 서울\ntags: a, 1\nold: false"
    lines = f"{json.dumps(record)}\n\nno json\n"
    assert [(block.text, block.place) for block in blocks_of(tmp_path / "a.jsonl", lines)] == [
        (shown, "line 1"),
        ("no json", "line 3"),
    ]
    assert [(block.text, block.place) for block in blocks_of(tmp_path / "a.json", json.dumps([record, {"x": 1}]))] == [
        (shown, "record 1"),
        ("x: 1", "record 2"),
    ]
    nested = blocks_of(tmp_path / "b.json", json.dumps({"version": 2, "people": [record]}))
    assert [(block.text, block.place) for block in nested] == [
        ("version: 2", ""),
        ("## people", "people"),
        (shown, "people 1"),
    ]
    half = blocks_of(tmp_path / "c.json", '["a \\ud83d b"]')[0].text
    assert half.encode()


@pytest.mark.parametrize("text", ['{"a": 1', "[" * 100_000, "[" + "9" * 5000 + "]"])
def test_broken_json_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"a\.json"):
        blocks_of(tmp_path / "a.json", text)


@pytest.mark.parametrize(
    ("text", "codec", "note"),
    [
        ("Grüße, 안녕", "utf-8", ""),
        ("\ufeffGrüße, 안녕", "utf-8", ""),
        ("\ufeffGrüße, 안녕", "utf-16-le", ""),
        ("\ufeffGrüße, 안녕", "utf-16-be", ""),
        ("\ufeffGrüße, 안녕", "utf-32-le", ""),
        ("plain words without a mark", "utf-16-le", "utf-16-le (assumed)"),
        ("안녕하세요", "cp949", "cp949 (assumed)"),
        ("Insurellm은 2015년에 설립되었다. 본사는 샌프란시스코.", "euc-kr", "cp949 (assumed)"),
        ("보험 계약서 (abc) \u2015 끝", "cp949", "cp949 (assumed)"),
        ("こんにちは世界。保険契約", "shift_jis", "cp932 (assumed)"),
        ("保险合同从二零二四年一月一日开始", "gb18030", "gb18030 (assumed)"),
        ("Привет", "cp1251", "cp1251 (assumed)"),
        ("Café crème – 12 €", "cp1252", "cp1252 (assumed)"),
        ("Müller größer, naïve", "latin-1", "cp1252 (assumed)"),
        ("a \x81 b é", "latin-1", "latin-1 (assumed)"),
    ],
)
def test_encodings_are_told_apart_and_assumptions_are_stated(tmp_path: Path, text: str, codec: str, note: str) -> None:
    reading = read(_written(tmp_path / "a.txt", text.encode(codec)), "a.txt")
    assert "\n".join(block.text for block in reading.blocks) == text.removeprefix("\ufeff")
    assert reading.metadata.get("encoding", "") == note


def test_damaged_utf8_keeps_what_is_whole_and_says_so(tmp_path: Path) -> None:
    reading = read(_written(tmp_path / "a.txt", "안녕하세요 여러분 ".encode() * 30 + b"\xff end \x00"), "a.txt")
    assert "damaged" in reading.metadata["encoding"]
    text = next(reading.blocks).text
    assert text.startswith("안녕하세요 여러분")
    assert text.endswith("� end �")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(range(256)) * 50, "is no text"),
        (b"\0" * 5000, "is no text"),
        (b"%PDF-1.7 ...", "is a PDF document"),
        (b"PK\x03\x04...", "is a zip archive or an office document"),
    ],
)
def test_a_binary_with_the_name_of_a_text_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        blocks_of(tmp_path / "a.txt", data)


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.py", "a.csv", "a.json", "a.jsonl", "a.pdf", "a.docx", "a.html"])
def test_an_empty_file_has_no_blocks(tmp_path: Path, name: str) -> None:
    for content in (b"", b" \n\n "):
        assert blocks_of(tmp_path / name, content) == []


def test_the_digest_is_that_of_the_bytes_read(tmp_path: Path) -> None:
    for name, data in (("a.md", b"# A\r\n\n\xff"), ("b.txt", LARGE)):
        file = _written(tmp_path / name, data)
        reading = read(file, name)
        assert sum(1 for _ in reading.blocks)
        assert reading.digest() == digest_of(file) == hashlib.sha256(data).hexdigest()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    file = _written(tmp_path / "a.txt", LARGE)
    for change in (
        lambda: _append(file),
        lambda: os.utime(file, ns=(1, 1)),
        lambda: os.replace(_written(tmp_path / "new", b"x"), file),
        lambda: file.unlink(),
    ):
        reading = read(file, "a.txt")
        next(reading.blocks)
        change()
        with pytest.raises(ChangedWhileReadError, match=r"a\.txt"):
            list(reading.blocks)
        if file.exists():
            _written(file, LARGE)


def test_a_large_text_is_streamed(tmp_path: Path) -> None:
    file = tmp_path / "large.txt"
    with open(file, "wb") as written:
        for _ in range(30):
            written.write("Ein Satz über etwas. ".encode() * 49_932)  # without any line end
    tracemalloc.start()
    try:
        size = sum(len(block.text) for block in read(file, "large.txt").blocks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 30 * 49_932 * 20
    assert peak < 12_000_000


def test_a_pipe_or_a_missing_file_is_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(DataError, match="no file to read"):
        read(tmp_path / "a.txt", "a.txt")
    with pytest.raises(DataError, match=r"no file b\.txt any more"):
        read(tmp_path / "b.txt", "b.txt")
    with pytest.raises(DataError, match="not read"):
        read(tmp_path / "b.xyz", "b.xyz")


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0\x1a")), name=st.sampled_from(["md", "txt", "py"])
)
def test_every_character_of_a_text_is_in_a_block(
    text: str, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if name == "md" and text.startswith("---"):
        return
    text = "words " * 20 + text  # so that control characters are few
    blocks = blocks_of(tmp_path_factory.mktemp("any") / f"a.{name}", codecs.BOM_UTF8 + text.encode())
    assert "".join(document_text(blocks).split()) == "".join(text.split())
    assert all(block.end - block.start == len(block.text) for block in blocks)


def _written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more")
