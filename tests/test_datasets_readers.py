"""Every way a file can be read, and every way it can be wrong."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.delimited import read_delimited
from whetstone.datasets.readers import ReadOptions, Source, is_hub_reference, read_rows
from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError, UsageError

ITEMS = [
    {"sku": 1, "name": "Lamp, tall", "price": 12.5},
    {"sku": 2, "name": 'A 32" screen\nwith a stand', "price": 300.0},
    {"sku": 3, "name": "Kettle – 2 l", "price": 40.0},
]
NAMES = [item["name"] for item in ITEMS]


def everything(sample: pl.DataFrame) -> list[str]:
    return sample.columns


def read(source: Source, strict: bool = False, **options: Any) -> tuple[pl.DataFrame, Rejects]:
    rejects = Rejects(str(source) if isinstance(source, Path) else "rows", strict)
    return read_rows(source, everything, rejects, ReadOptions(**options)), rejects


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def as_text(extension: str) -> str:
    lines = [json.dumps(item, ensure_ascii=False) for item in ITEMS]
    match extension.removesuffix(".gz"):
        case ".jsonl" | ".ndjson":
            return "\n".join(lines) + "\n"
        case ".json":
            return json.dumps(ITEMS, indent=2, ensure_ascii=False)
        case ".csv":
            return pl.DataFrame(ITEMS).write_csv()
        case ".tsv":
            return pl.DataFrame(ITEMS).write_csv(separator="\t")
    raise AssertionError(extension)


@pytest.mark.parametrize(
    "extension", [".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".csv.gz", ".tsv.gz", ".json.gz", ".jsonl.gz"]
)
def test_every_text_format_gives_the_same_rows(tmp_path: Path, extension: str) -> None:
    frame, rejects = read(write(tmp_path / f"items{extension}", as_text(extension)))
    assert frame["name"].to_list() == NAMES
    assert frame["price"].cast(pl.Float64).to_list() == [12.5, 300.0, 40.0]
    assert frame[ROW].to_list() == [1, 2, 3]
    assert frame[LINE].null_count() == 0
    assert not rejects


def test_parquet_and_frames_give_the_same_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame(ITEMS)
    frame.write_parquet(tmp_path / "items.parquet")
    sources: list[Source] = [tmp_path / "items.parquet", frame, frame.lazy(), pd.DataFrame(ITEMS)]
    for source in sources:
        rows, _ = read(source)
        assert rows.select("sku", "name", "price").equals(frame), source
        assert rows[ROW].to_list() == [1, 2, 3]
        assert rows[LINE].to_list() == [None] * 3


def test_only_the_chosen_columns_are_kept(tmp_path: Path) -> None:
    for extension in (".csv", ".jsonl", ".json"):
        path = write(tmp_path / f"items{extension}", as_text(extension))
        frame = read_rows(path, lambda sample: ["price"], Rejects("items"))
        assert frame.columns == [ROW, LINE, "price"]


def test_lists_become_lines_and_other_nesting_becomes_json(tmp_path: Path) -> None:
    item = {"features": ["tall", None, "bright"], "details": {"Watt": 5}, "sizes": [1, 2], "on": True}
    expected = ("tall\nbright", '{"Watt": 5}', "1\n2", True)
    jsonl, _ = read(write(tmp_path / "a.jsonl", json.dumps(item)))
    pl.DataFrame([item]).write_parquet(tmp_path / "a.parquet")
    parquet, _ = read(tmp_path / "a.parquet")
    for frame in (jsonl, parquet, read(pd.DataFrame([item]))[0]):
        assert frame.select("features", "details", "sizes", "on").row(0) == expected


def test_parquet_types_become_numbers_and_texts(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "day": pl.Series(["2024-05-01"]).str.to_date(),
            "grade": pl.Series(["A"], dtype=pl.Categorical),
            "cents": pl.Series(["1.25"]).cast(pl.Decimal(10, 2)),
            "small": pl.Series([3], dtype=pl.UInt8),
            "bytes": [b"\x00"],
        }
    )
    rows, _ = read(frame)
    assert rows.drop(ROW, LINE).row(0, named=True) == {"day": "2024-05-01", "grade": "A", "cents": 1.25, "small": 3}


def test_a_column_of_mixed_types_becomes_text_whatever_batch_the_odd_one_is_in(tmp_path: Path) -> None:
    lines = [json.dumps({"v": n, "w": n if n < 10_500 else n + 0.5}) for n in range(10_999)] + ['{"v": "x", "w": 1}']
    frame, _ = read(write(tmp_path / "a.jsonl", "\n".join(lines)))
    assert frame["v"].to_list() == [*map(str, range(10_999)), "x"]
    assert frame.schema["w"] == pl.Float64


def test_numbers_too_large_for_64_bits_are_kept_as_text(tmp_path: Path) -> None:
    frame, _ = read(write(tmp_path / "a.jsonl", '{"id": 123456789012345678901234567890}\n{"id": 2}'))
    assert frame["id"].to_list() == ["123456789012345678901234567890", "2"]
    frame, _ = read(write(tmp_path / "a.jsonl", '{"id": 1.5}\n{"id": ' + "9" * 400 + "}"))
    assert frame["id"].to_list() == ["1.5", "9" * 400]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    for extension in (".csv", ".jsonl", ".json"):
        path = write(tmp_path / f"items{extension}", b"\xef\xbb\xbf" + as_text(extension).encode())
        assert "sku" in read(path)[0].columns


def test_windows_and_old_mac_line_ends_are_read(tmp_path: Path) -> None:
    for end in ("\r\n", "\r"):
        frame, _ = read(write(tmp_path / "a.csv", f"a,b{end}1,x{end}2,y{end}"))
        assert frame["b"].to_list() == ["x", "y"]
    frame, _ = read(write(tmp_path / "a.jsonl", '{"b": "x"}\r\n{"b": "y"}\r\n'))
    assert frame["b"].to_list() == ["x", "y"]


def test_semicolons_tabs_and_bars_are_found_in_the_header(tmp_path: Path) -> None:
    for mark in ";\t|":
        frame, _ = read(write(tmp_path / "a.csv", f"name{mark}price\nLamp, tall{mark}3\n"))
        assert frame["name"].to_list() == ["Lamp, tall"]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    frame, rejects = read(write(tmp_path / "a.csv", "\n\na,b\n1,x\n\n2,y\n\n"))
    assert frame[ROW].to_list() == [1, 2]
    assert frame[LINE].to_list() == [4, 6]
    frame, rejects = read(write(tmp_path / "a.jsonl", '\n{"a": 1}\n  \n{"a": 2}\n'))
    assert frame[LINE].to_list() == [2, 4]
    assert not rejects


def test_objects_one_per_line_are_read_from_a_file_named_json(tmp_path: Path) -> None:
    frame, rejects = read(write(tmp_path / "a.json", '\n{"a": 1}\n{"a": \n{"a": 3}\n'))
    assert frame["a"].to_list() == [1, 3]
    assert [reject.line for reject in rejects] == [3]


def test_a_long_json_array_is_read_in_pieces(tmp_path: Path) -> None:
    rng = random.Random(5)
    items = [{"n": n, "text": 'é]},{["\\' * rng.randrange(60)} for n in range(20_000)]
    frame, _ = read(write(tmp_path / "a.json", json.dumps(items, indent=1)))
    assert frame["n"].to_list() == list(range(20_000))
    assert frame["text"].to_list() == [item["text"] for item in items]
    assert frame[LINE].to_list() == [3 + 4 * n - 1 for n in range(20_000)]


# What a file can be instead of what it should be: one sentence, naming the file and what to do.


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", "", "is empty"),
        ("empty.jsonl", "", "is empty"),
        ("empty.parquet", "", "is empty"),
        ("blank.csv", "\n \n", "is empty"),
        ("blank.jsonl", "\n\n", "holds no rows"),
        ("header.csv", "name,price\n", "has a header and no rows"),
        ("none.json", "[]", "holds no rows"),
        ("twice.csv", "name,price,price\na,1,2\n", "2 columns named 'price'"),
        ("quote.csv", '"name,price\na,1\n', "the header cannot be read"),
        ("one.json", '{\n"rows": [1]\n}', "neither an array of objects nor one object per line"),
        ("broken.json", '[{"a": 1},\n{"a": 2},\n{"a": }\n]', "line 3: broken JSON"),
        ("comma.json", '[{"a": 1}\n{"a": 2}]', "line 2: broken JSON (a comma is missing)"),
        ("short.json", '[{"a": 1},\n{"a": 2}', "line 2: broken JSON (the file ends before the array does)"),
        ("more.json", '[{"a": 1}]\n[]', "line 2: broken JSON (there is more text after the array)"),
        ("book.csv", b"PK\x03\x04....", "an Excel workbook"),
        ("columns.csv", b"PAR1....", "holds Parquet, not CSV; name it .parquet"),
        ("packed.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "gzip-compressed data, not CSV"),
        ("plain.parquet", "a,b\n1,2\n", "is no Parquet file"),
        ("cut.parquet", b"PAR1" + b"\x00" * 40, "cannot be read as Parquet"),
        ("lines.csv", '{"a": 1}\n{"a": 2}\n', "holds JSON, not CSV"),
        ("array.csv", "[\n{}]\n", "holds JSON, not CSV"),
        ("items.xyz", "a,b\n", "the extension .xyz says nothing"),
        ("items", "a,b\n", "the extension (none) says nothing"),
    ],
)
def test_a_file_that_cannot_be_used_gives_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message


def test_a_missing_file_and_a_file_that_is_no_gzip_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        read(tmp_path / "nothing.csv")
    path = tmp_path / "a.csv.gz"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not gzip-compressed"):
        read(path)


def test_gzip_that_ends_in_the_middle_is_said(tmp_path: Path) -> None:
    rng = random.Random(1)
    data = gzip.compress("".join(f'{{"a": {rng.random()}}}\n' for _ in range(5_000)).encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="ends in the middle of its gzip data"):
        read(path)
    path.write_bytes(data[:5_000] + b"\x00" * 200 + data[5_200:])
    with pytest.raises(DataError, match="gzip data is damaged"):
        read(path)


def test_the_format_can_be_said_where_the_name_does_not(tmp_path: Path) -> None:
    assert read(write(tmp_path / "items", "a,b\n1,2\n"), format="csv")[0]["b"].to_list() == ["2"]
    with pytest.raises(UsageError, match="no format named 'xml'"):
        read(tmp_path / "items", format="xml")


@pytest.mark.parametrize(("packed", "filler"), [(False, 0), (False, 2_000_000), (True, 2_000_000)])
def test_a_byte_that_is_not_utf8_is_named_with_an_encoding_in_which_it_reads(
    tmp_path: Path, packed: bool, filler: int
) -> None:
    head = "name,price\n" + f"{'x' * 997},1\n" * (filler // 1_000)
    data = head.encode() + "Café,3\n".encode("cp1252")
    path = write(tmp_path / ("a.csv.gz" if packed else "a.csv"), data)
    with pytest.raises(DataError) as caught:
        read(path)
    offset, line = len(head) + 3, head.count("\n") + 1
    assert f"byte {offset:,} (line {line:,}) is 0xE9" in str(caught.value)
    assert "encoding cp1252" in str(caught.value)
    frame, _ = read(path, encoding="cp1252")
    assert frame["name"].to_list()[-1] == "Café"


def test_a_character_cut_by_the_end_of_the_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": "é'.encode()[:-1])
    with pytest.raises(DataError, match=r"byte 7 \(line 1\) is 0xC3"):
        read(path)


def test_utf16_is_recognised(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "name,price\nLamp,3\n".encode("utf-16"))
    with pytest.raises(DataError, match="say encoding utf-16"):
        read(path)
    assert read(path, encoding="utf-16")[0]["name"].to_list() == ["Lamp"]


def test_an_unknown_encoding_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no encoding named 'klingon'"):
        read(write(tmp_path / "a.csv", "a,b\n1,2\n"), encoding="klingon")


# Bad rows are set aside, each with its line; the rows around them are kept.


def test_ragged_rows_are_set_aside_with_line_and_field_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'name,price\nLamp,1\nKettle\n"two\nlines",2\na,b,c\nPan,3\n')
    frame, rejects = read(path)
    assert frame["name"].to_list() == ["Lamp", "two\nlines", "Pan"]
    assert frame[ROW].to_list() == [1, 3, 5]
    assert frame[LINE].to_list() == [2, 4, 7]
    assert [(r.line, r.row, r.content["text"]) for r in rejects] == [(3, 2, "Kettle"), (6, 4, "a,b,c")]
    assert "1 fields where the header has 2" in rejects.note
    assert f"{path}, line 3" in rejects.note


@pytest.mark.parametrize(
    "bad", ['"never closed,2\n', '"32" TV",5\n', '"open,1\nfine,2\n'], ids=["unclosed", "undoubled", "two lines"]
)
def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path / "a.csv", f'name,price\nbefore,1\n{bad}after,3\n"quoted, too",4\nlast,5\n')
    frame, rejects = read(path)
    assert frame["name"].to_list() == [
        "before",
        *(["fine"] if "fine" in bad else []),
        "after",
        "quoted, too",
        "last",
    ]
    assert [reject.line for reject in rejects] == [3]
    assert "quote" in rejects.note


def test_a_quote_inside_an_unquoted_field_is_a_character(tmp_path: Path) -> None:
    frame, rejects = read(write(tmp_path / "a.csv", 'name,price\nTV 32" black,5\nLamp,6\n'))
    assert frame["name"].to_list() == ['TV 32" black', "Lamp"]
    assert not rejects


def test_broken_json_on_line_812_is_named_and_the_other_rows_are_kept(tmp_path: Path) -> None:
    lines = [json.dumps({"n": n}) for n in range(1, 1001)]
    lines[811] = '{"n": 812, "text" "oops"}'
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    frame, rejects = read(path)
    assert frame["n"].to_list() == [n for n in range(1, 1001) if n != 812]
    assert f"{path}, line 812: broken JSON" in rejects.note
    with pytest.raises(DataError, match="line 812: broken JSON"):
        read(path, strict=True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1, 2]", "a list where an object"),
        ('"text"', "a text where an object"),
        ("null", "null where an object"),
        ("7", "a number or a truth value"),
        ('{"a": "\\ud83d"}', "half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "thousands of digits"),
    ],
)
def test_json_that_is_no_row_is_set_aside(tmp_path: Path, line: str, words: str) -> None:
    for name, content in (
        ("a.jsonl", f'{{"a": "x"}}\n{line}\n{{"a": "\\ud83d\\ude00"}}\n'),
        ("a.json", f'[{{"a": "x"}},\n{line},\n{{"a": "\\ud83d\\ude00"}}]'),
    ):
        path = write(tmp_path / name, content)
        if name == "a.json" and words in ("nested too deeply", "thousands of digits"):
            with pytest.raises(DataError, match="line 2: broken JSON"):
                read(path)
            continue
        frame, rejects = read(path)
        assert frame["a"].to_list() == ["x", "😀"]
        assert [reject.line for reject in rejects] == [2]
        assert words in rejects.note


def test_a_pandas_frame_with_holes_dates_and_odd_columns_is_read() -> None:
    frame = pd.DataFrame(
        {
            "a": ["x", None],
            1: [1.5, None],
            "day": pd.to_datetime(["2024-05-01", None]),
            "grade": pd.Categorical(["u", "v"]),
        }
    )
    rows, _ = read(frame)
    assert rows.drop(ROW, LINE).rows() == [("x", 1.5, "2024-05-01 00:00:00", "u"), (None, None, None, "v")]
    with pytest.raises(DataError, match="2 columns named 'a'"):
        read(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="holds no rows"):
        read(frame.head(0))


def test_something_that_is_no_source_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be read from a list"):
        read([1, 2])  # type: ignore[arg-type]


def test_progress_ends_at_the_end_of_the_file(tmp_path: Path) -> None:
    shares: list[float] = []
    path = write(tmp_path / "a.csv", "a,b\n" + f"{'x' * 4_000},y\n" * 5_000)
    read(path, progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 1
    assert shares[-1] == 1.0


def test_what_is_a_file_and_what_is_a_dataset_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "items").write_text("a\n")
    assert is_hub_reference("owner/name")
    assert is_hub_reference("owner/name-2.5")
    assert is_hub_reference("hf:squad")
    assert is_hub_reference("data")
    assert not is_hub_reference("data/items")
    assert not is_hub_reference("data/typo.csv")
    assert not is_hub_reference("data/typo.jsonl.gz")
    assert not is_hub_reference("./owner/name")
    assert not is_hub_reference("name")
    assert not is_hub_reference(Path("owner/name"))


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


@given(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=12))
def test_whatever_the_csv_module_writes_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    import csv
    import io

    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("a", "b", "c"), *rows])
    rejects = Rejects("rows", strict=True)
    text = io.StringIO(buffer.getvalue(), newline="")
    frame = read_delimited(text, ",", everything, rejects)
    assert frame.select("a", "b", "c").rows() == rows


def test_the_parser_limit_of_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    frame, _ = read(write(tmp_path / "a.csv", "a,b\n" + "x" * 200_000 + ",1\n"))
    assert len(frame["a"][0]) == 200_000
    assert csv.field_size_limit() == before


def test_a_file_of_bad_rows_only_is_given_up_before_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2,3\n" * 100_001 + "1,2\n")
    with pytest.raises(
        DataError, match=r"100,000 of 100,000 rows cannot be used; the first: .*a\.csv, line 2: 3 fields"
    ):
        read(path)
