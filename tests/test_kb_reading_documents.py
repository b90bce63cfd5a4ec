"""Office files, PDFs, pages and mails: what is kept of them, and what damaged or hostile ones do."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kb_documents import docx, pdf, pptx, xlsx, zipped
from whetstone.errors import DataError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading import Reading, digest_of, document_text, read
from whetstone.retrieval.reading.converting import convert


def opened(folder: Path, name: str, data: bytes) -> Reading:
    (folder / name).write_bytes(data)
    return read(folder / name, name)


def told(blocks: list[Block]) -> list[tuple[str, str, str]]:
    return [(block.kind, block.text, block.place) for block in blocks]


def test_word_documents_keep_headings_lists_tables_and_every_character(tmp_path: Path) -> None:
    data = docx(
        [("Heading1", "Guide"), ("", "AT&T <b> 보험 a_b"), ("Heading2", "Prices"), [["name", "price"], ["a|b", "2"]]],
        title="The title",
        author="Kim",
    )
    reading = opened(tmp_path, "a.docx", data)
    assert (reading.title, reading.metadata["author"]) == ("The title", "Kim")
    blocks = list(reading.blocks)
    assert told(blocks) == [
        ("heading", "# Guide", ""),
        ("text", "AT&T <b> 보험 a_b", ""),
        ("heading", "## Prices", ""),
        ("table", "| name | price |\n|---|---|\n| a\\|b | 2 |", ""),
    ]
    text = document_text(blocks)
    assert all(text[block.start : block.end] == block.text for block in blocks)
    assert reading.digest() == digest_of(tmp_path / "a.docx")


def test_slides_are_places(tmp_path: Path) -> None:
    reading = opened(tmp_path, "a.pptx", pptx([("Intro", "one\ntwo"), ("Next & last", "three")], title="Deck"))
    assert reading.title == "Deck"
    assert told(list(reading.blocks)) == [
        ("heading", "## Intro", "slide 1"),
        ("text", "one\ntwo", "slide 1"),
        ("heading", "## Next & last", "slide 2"),
        ("text", "three", "slide 2"),
    ]


def test_sheets_are_places_and_rows_stand_under_their_names(tmp_path: Path) -> None:
    pytest.importorskip("kreuzberg", reason="needs the extra documents")
    rows = [
        ["Our prices"],
        ["name", "price", "since"],
        ["R&D <x>", 12.5, ("2024-03-01", 45352)],
        ["Kettle", None, None],
    ]
    reading = opened(tmp_path, "list.xlsx", xlsx({"Prices": rows, "Open": [["x"], [True]]}))
    assert reading.title == "list"
    assert told(list(reading.blocks)) == [
        ("heading", "## Prices", "sheet Prices"),
        ("text", "Our prices", "sheet Prices"),
        ("list", "name: R&D <x>\nprice: 12.5\nsince: 2024-03-01", "sheet Prices"),
        ("list", "name: Kettle", "sheet Prices"),
        ("heading", "## Open", "sheet Open"),
        ("list", "x: true", "sheet Open"),
    ]


def test_pages_of_a_pdf_are_places(tmp_path: Path) -> None:
    pytest.importorskip("kreuzberg", reason="needs the extra documents")
    body = [(11, "The revenue rose by 12 percent in the year."), (11, "It was a good year.")]
    pages = [[(24, "Annual Report"), *body], [], [(18, "Outlook"), (11, "More_words (for us) & all.")]]
    reading = opened(tmp_path, "a.pdf", pdf(pages, title="Report 2024"))
    assert reading.title == "Report 2024"
    assert reading.metadata["pages without text"] == "2"
    assert told(list(reading.blocks)) == [
        ("heading", "# Annual Report", "page 1"),
        ("text", "The revenue rose by 12 percent in the year.\nIt was a good year.", "page 1"),
        ("heading", "## Outlook", "page 3"),
        ("text", "More_words (for us) & all.", "page 3"),
    ]


PAGE = """<!doctype html><html><head><meta charset="{codec}"><title>Page &amp; title</title>
<meta name=author content=Kim>
<style>.x {{}}</style><script>alert("<p>no</p>")</script></head>
<body><nav><a href=/>Home</a></nav><h1>Big <i>one</i></h1>
<p>AT&amp;T <b>bold</b>, 한글<br>next<p>second<table><tr><th>a<th>b<tr><td>1<td>x | <i>y</i></table>
<ul><li>one<ul><li>inner</ul><li>two</ul><ol><li>first<li>second</ol><pre>x = 1
  y_z = 2</pre><div>loose <img src="http://127.0.0.1:9/x.png" alt="a picture"></div></body></html>"""


@pytest.mark.parametrize("codec", ["utf-8", "euc-kr"])
def test_pages_of_the_web_keep_their_structure(tmp_path: Path, codec: str) -> None:
    reading = opened(tmp_path, "a.html", PAGE.format(codec=codec).encode(codec))
    assert (reading.title, reading.metadata["author"]) == ("Page & title", "Kim")
    assert [(block.kind, block.text) for block in reading.blocks] == [
        ("text", "Home"),
        ("heading", "# Big one"),
        ("text", "AT&T bold, 한글\nnext"),
        ("text", "second"),
        ("table", "| a | b |\n|---|---|\n| 1 | x \\| y |"),
        ("list", "- one\n  - inner\n- two"),
        ("list", "1. first\n2. second"),
        ("code", "x = 1\n  y_z = 2"),
        ("text", "loose a picture"),
    ]


MAIL = """From: Kim <kim@example.com>
To: lee@example.com
Subject: =?utf-8?b?6rOE7JW9?= contract
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=B

--B
Content-Type: {kind}; charset=euc-kr
Content-Transfer-Encoding: base64

{body}
--B
Content-Type: text/plain
Content-Disposition: attachment; filename="terms.txt"

attached words
--B--
"""


@pytest.mark.parametrize(("kind", "body"), [("text/plain", "안녕하세요."), ("text/html", "<p>안녕<b>하세요</b>.</p>")])
def test_mails_keep_subject_people_text_and_the_names_of_attachments(tmp_path: Path, kind: str, body: str) -> None:
    data = MAIL.format(kind=kind, body=base64.b64encode(body.encode("euc-kr")).decode()).encode()
    reading = opened(tmp_path, "a.eml", data)
    assert reading.title == "계약 contract"
    assert reading.metadata["from"] == "Kim <kim@example.com>"
    assert reading.metadata["attachments"] == "terms.txt"
    assert [block.text for block in reading.blocks] == [
        "Subject: 계약 contract\nFrom: Kim <kim@example.com>\nTo: lee@example.com",
        "안녕하세요.",
    ]


def test_pdfs_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    pytest.importorskip("kreuzberg", reason="needs the extra documents")
    for data, words in (
        (pdf([[(11, "secret")]], encrypted=True), "password-protected"),
        (b"%PDF-1.4\nnonsense", "damaged"),
        (b"no PDF at all", "damaged"),
        (pdf([[], []]), "no text on its 2 pages"),
    ):
        with pytest.raises(DataError, match=rf"a\.pdf .*{words}"):
            opened(tmp_path, "a.pdf", data)


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx"])
def test_office_files_that_cannot_be_read_say_why(tmp_path: Path, name: str) -> None:
    if name == "a.xlsx":
        pytest.importorskip("kreuzberg", reason="needs the extra documents")
    for data, words in (
        (b"nonsense", "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "password-protected"),
        (zipped({"other.xml": "<a/>"}), "save it anew"),
        (docx([("", "words")])[:-60], "damaged"),
    ):
        with pytest.raises(DataError, match=rf"a\.\w+ .*{words}"):
            opened(tmp_path, name, data)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """600 MB in an archive of 3 MB."""
    held = io.BytesIO()
    with (
        zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("word/document.xml", "w") as written,
    ):
        for _ in range(150):
            written.write(bytes(4 << 20))
    return held.getvalue()


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx"])
def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, bomb: bytes, name: str) -> None:
    if name == "a.xlsx":
        pytest.importorskip("kreuzberg", reason="needs the extra documents")
    with pytest.raises(DataError, match="would unpack to 629 MB"):
        opened(tmp_path, name, bomb)


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_either(tmp_path: Path) -> None:
    data = bytearray(zipped({"word/document.xml": bytes(50 << 20)}))
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    with pytest.raises(DataError, match="damaged"):
        opened(tmp_path, "a.docx", bytes(data))


def test_entities_that_multiply_are_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    xml = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e0 "lol">{entities}]><d>&e11;</d>'
    with pytest.raises(DataError, match="damaged"):
        opened(tmp_path, "a.docx", zipped({"word/document.xml": xml}))


def test_a_document_that_takes_too_long_is_left_out_and_the_next_is_read() -> None:
    slow = b"<p>" + b"<table><tr><td>" * 300_000
    with pytest.raises(DataError, match=r"slow\.html took longer than 0 s"):
        convert(slow, "html", "slow.html", seconds=0.05)
    assert [block.text for block in convert(b"<p>fine", "html", "fine.html")[1]] == ["fine"]


def test_a_missing_converter_names_its_install_line(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf([[(11, "words")]]))
    (tmp_path / "a.html").write_text("<p>words")
    code = (
        "import sys; sys.modules['kreuzberg'] = None\n"
        "from pathlib import Path\n"
        "from whetstone.errors import MissingPackageError\n"
        "from whetstone.retrieval.reading import read\n"
        "folder = Path(sys.argv[1])\n"
        "print([block.text for block in read(folder / 'a.html', 'a.html').blocks])\n"
        "try: read(folder / 'a.pdf', 'a.pdf')\n"
        "except MissingPackageError as error: print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert "['words']" in said
    assert "Reading PDF needs the package kreuzberg" in said
    assert "pip install 'whetstone-llm[documents]'" in said


def test_code_beside_the_documents_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "select.py").write_text("raise SystemExit('run')")
    (tmp_path / "whetstone.py").write_text("raise SystemExit('run')")
    code = (
        "from whetstone.retrieval.reading.converting import convert; print(convert(b'<p>words', 'html', 'a.html')[1])"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert "words" in ran


def test_a_converter_that_dies_costs_one_document() -> None:
    code = (
        "import os, threading, time\n"
        "from whetstone.errors import DataError\n"
        "from whetstone.retrieval.reading.converting import _CONVERSION, convert\n"
        "convert(b'<p>first', 'html', 'a.html')\n"
        "killer = threading.Timer(0.2, lambda: os.kill(_CONVERSION._process.pid, 9))\n"
        "killer.start()\n"
        "try: convert(b'<table><tr><td>' * 300_000, 'html', 'b.html')\n"
        "except DataError as error: print(error)\n"
        "print(convert(b'<p>third', 'html', 'c.html')[1])\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "b.html brought its converter down" in said
    assert "third" in said


def test_the_parent_loads_no_converter() -> None:
    code = "import sys; import whetstone.retrieval.reading; print('kreuzberg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
