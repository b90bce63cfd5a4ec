"""What each rule of a curation does to a row, dirt included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.curation.blocks import find_layout, read_span, spans
from whetstone.curation.cleaning import Cleaned, clean
from whetstone.curation.layouts import AMAZON
from whetstone.curation.options import Options
from whetstone.curation.parsing import parse_lines
from whetstone.curation.prompts import completion, messages, prompt
from whetstone.curation.rules.details import details_to_lines, read_details
from whetstone.curation.rules.own_price import masked_price
from whetstone.curation.rules.step import Tools
from whetstone.curation.words import WordTable, without_part_numbers
from whetstone.errors import DataError, UsageError
from whetstone.prompting.price import PricePrompt
from whetstone.tokens.sources import load_tokenizer

TEXT = "A sturdy oak chair with four legs, a cushion of wool and a back that follows the spine."


@pytest.fixture(scope="module")
def words() -> WordTable:
    return WordTable(load_tokenizer("smollm2"))


def item(**fields: Any) -> dict[str, Any]:
    return {
        "main_category": "Furniture", "title": "Oak chair", "features": [], "description": [TEXT], "price": "129.00",
        "store": "Ash & Co", "categories": [], "details": "{}", "parent_asin": "B0", **fields,
    }  # fmt: skip


def cleaned(folder: Path, words: WordTable, *items: dict[str, Any], options: Options | None = None) -> Cleaned:
    path = folder / "meta.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in items), "utf-8")
    (chunk,) = read_span(spans(0, path)[0], find_layout(path, {}))
    return clean(chunk, Tools(options or Options(), words))


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("None", "no price: “None”"),
        ("", "no price"),
        (None, "no price"),
        ("from 12.99", "a limit instead of a price: “from 12.99”"),
        ("12.99 - 19.99", "a range of prices: “12.99 - 19.99”"),
        ("$12.99 – $19.99", "a range of prices: “$12.99 – $19.99”"),
        ("-5", "a negative price: “-5”"),
        ("0", "a price of 0"),
        ("0.00", "a price of 0"),
        (0.25, "below $0.50: “0.25”"),
        ("1e12", "above $999.49: “1e12”"),
        ("$1,299.99", "above $999.49: “$1,299.99”"),
        ("  <span class='p'></span> ", "no price: HTML tags"),
        ("call us", "no plain number: “call us”"),
        ("nan", "no price: “nan”"),
        ("1.299,99", "no plain number: “1.299,99”"),
    ],
)
def test_a_price_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, words: WordTable, price: object, reason: str
) -> None:
    found = cleaned(tmp_path, words, item(price=price))
    assert found.kept.is_empty()
    assert found.refused.select("rule", "reason").rows() == [("usable price", reason)]


@pytest.mark.parametrize(
    ("price", "value"), [("129.99", 129.99), (129.99, 129.99), ("$45", 45.0), ("0.50", 0.5), (7, 7.0)]
)
def test_a_plain_price_is_read(tmp_path: Path, words: WordTable, price: object, value: float) -> None:
    assert cleaned(tmp_path, words, item(price=price)).kept["value"].to_list() == [value]


def test_a_thousands_comma_is_read_where_the_range_allows_it(tmp_path: Path, words: WordTable) -> None:
    found = cleaned(tmp_path, words, item(price="$1,299.99"), options=Options(max_price=5000))
    assert found.kept["value"].to_list() == [1299.99]


def test_markup_and_odd_white_space_go_and_comparisons_stay(tmp_path: Path, words: WordTable) -> None:
    dirty = (
        "Fits <b>doors</b>&nbsp;&amp; &lt;br&gt;windows\u00a0\u200bof 3 < 4 metres.<script>x(1)</script>\t\tOne &#178;"
    )
    text = cleaned(tmp_path, words, item(description=[dirty, TEXT])).kept["text"][0]
    assert text.splitlines()[1].startswith("Fits doors & windows of 3 < 4 metres. One ² A sturdy")


def test_details_become_lines_and_noise_fields_go(tmp_path: Path, words: WordTable) -> None:
    details = {
        "Brand": "Ash", "Best Sellers Rank": {"Chairs": 3, "Home": 12}, "Item model number": "OC-1", "Color": "Oak",
        "Item Weight": "6.6 ounces", "Product Dimensions": "25.4 x 4 x 2 inches; 1.5 Pounds", "UPC": "1", "EAN": "2",
    }  # fmt: skip
    found = cleaned(tmp_path, words, item(details=json.dumps(details)))
    lines = found.kept["text"][0].splitlines()[2:]
    assert lines == [
        "Brand: Ash",
        "Color: Oak",
        "Item Weight: 6.6 ounces",
        f"Product Dimensions: {details['Product Dimensions']}",
    ]
    assert found.kept.select("weight_g", "length_cm", "width_cm", "height_cm").rows() == [(187.11, 64.52, 10.16, 5.08)]
    assert found.tally.changed["noise fields"] == 1


@pytest.mark.parametrize(
    ("details", "weight", "lengths"),
    [
        ({"Item Weight": "1,200 Grams"}, 1200.0, (None, None, None)),
        ({"Package Weight": "2.5 Kilograms"}, 2500.0, (None, None, None)),
        ({"Product Dimensions": '3.5"D x 4"W x 2"H'}, None, (8.89, 10.16, 5.08)),
        ({"Item Dimensions LxWxH": "10 x 20 x 30 cm"}, None, (10.0, 20.0, 30.0)),
        ({"Product Dimensions": "1 x 2 x 3 inches; 2 Pounds"}, 907.18, (2.54, 5.08, 7.62)),
        ({"Item Weight": "heavy"}, None, (None, None, None)),
    ],
)
def test_weights_and_sizes_are_brought_to_one_unit(
    tmp_path: Path, words: WordTable, details: dict[str, str], weight: float | None, lengths: tuple[float | None, ...]
) -> None:
    row = cleaned(tmp_path, words, item(details=json.dumps(details))).kept.row(0, named=True)
    assert row["weight_g"] == weight
    assert (row["length_cm"], row["width_cm"], row["height_cm"]) == lengths


@given(
    st.dictionaries(
        st.text(max_size=8), st.text(max_size=8) | st.integers() | st.lists(st.text(max_size=3)), max_size=4
    )
)
def test_the_quick_way_through_details_says_what_the_slow_way_says(details: dict[str, Any]) -> None:
    text = json.dumps(details)
    frame = pl.DataFrame({"details": pl.Series([text, "{broken", None], dtype=pl.String)})
    found = details_to_lines(frame, None).frame["details"].to_list()  # type: ignore[arg-type]  # the rule needs no tools
    assert [found[0] or ""] == [read_details(text)[0] or ""]
    assert found[1:] == [None, None]


def test_details_that_are_no_json_are_counted_and_the_row_is_kept(tmp_path: Path, words: WordTable) -> None:
    found = cleaned(
        tmp_path, words, item(details="{'Brand': 'Ash'}"), item(details={"Brand": "Ash"}), item(details="[]")
    )
    assert found.kept.height == 3
    assert "Brand: Ash" in found.kept["text"][1]
    assert found.tally.changed["unreadable details"] == 2


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Panasonic KX-TGF375S phone", "Panasonic  phone"),
        ("Statuette (SG912612)", "Statuette ()"),
        ("Runs Windows 2000 at 1920X1080 since 2009-2014", None),
        ("12X14X16 inch, 802.11ac, 10.1-inch, DAY-TIME, 1,299.99", None),
        ("UPC 029502450083.", "UPC ."),
    ],
)
def test_part_numbers_are_words_of_capitals_and_digits(text: str, scrubbed: str | None) -> None:
    assert without_part_numbers(text) == (text if scrubbed is None else scrubbed)


def test_the_words_around_a_part_number_are_kept_and_brackets_that_held_it_go(tmp_path: Path, words: WordTable) -> None:
    found = cleaned(tmp_path, words, item(title="Oak chair (SG912612) for KX-TGF375S"))
    assert found.kept["title"].to_list() == ["Oak chair for"]


@pytest.mark.parametrize(
    ("text", "price", "masked"),
    [
        ("A $25.00 Gift Card", 25.0, "A [price] Gift Card"),
        ("A $25 gift card, 25 pieces", 25.0, "A [price] gift card, 25 pieces"),
        ("was $149.99, now US$ 99.99!", 99.99, "was $149.99, now [price]!"),
        ("only 1,299.99 today", 1299.99, "only [price] today"),
        ("costs 45 dollars", 44.99, "costs [price]"),
        ("Price: 45", 45.0, "Price: [price]"),
        ("MSRP is about 19.95", 19.95, "MSRP is about [price]"),
        ("nur 25,00 heute", 25.0, "nur [price] heute"),
        ("25.00 x 12 inches", 25.5, None),
        ("25 cm, model 25, 25.5% off, 125.00, 25.001", 25.0, None),
        ("$250 and $2.50", 25.0, None),
    ],
)
def test_the_own_price_is_masked_and_other_numbers_are_not(text: str, price: float, masked: str | None) -> None:
    assert masked_price(text, price) == (text if masked is None else masked)


def test_rows_that_state_their_price_can_be_dropped(tmp_path: Path, words: WordTable) -> None:
    rows = [item(title="A $129.00 chair"), item(title="An oak chair", price="99.5")]
    found = cleaned(tmp_path, words, *rows, options=Options(own_price="drop"))
    assert found.refused.select("rule", "reason").rows() == [("own price", "the text states the price")]
    assert found.kept.height == 1


def test_tokens_are_those_of_the_tokenizer_and_never_more_than_the_budget(tmp_path: Path, words: WordTable) -> None:
    rows = [
        item(description=[TEXT * copies], features=["It's naïve – “new”!", "카메라 👍🏽 " * copies, "SG912612 x 3"])
        for copies in range(1, 12)
    ]
    found = cleaned(tmp_path, words, *rows, options=Options(max_tokens=90))
    counts = [len(ids) for ids in words.tokenizer.encode_ids_many(found.kept["text"].to_list())]
    assert words.adds_up
    assert found.kept["tokens"].to_list() == counts
    assert max(counts) <= 90
    whole = cleaned(tmp_path, words, *rows, options=Options(max_tokens=10_000)).kept["tokens"]
    assert found.tally.changed["length budget"] == (whole > 90).sum() > 5


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=8))
def test_the_tokens_of_words_add_up_to_those_of_the_text(parts: list[str]) -> None:
    table = _TABLES.setdefault("smollm2", None) or WordTable(load_tokenizer("smollm2"))
    _TABLES["smollm2"] = table
    text = " ".join(" ".join(parts).split())
    if not text:
        return
    codes = table.codes(pl.Series([text])).explode().to_numpy()
    tokens = table.tokens(codes)
    tokens[0] = table.leading_tokens(codes[:1], pl.Series([text.split(" ")[0]]))[0]
    assert tokens.sum() == len(table.tokenizer.encode_ids_many([text])[0])


_TABLES: dict[str, WordTable | None] = {}


def test_a_title_of_40_000_characters_is_cut_with_and_without_blanks(tmp_path: Path, words: WordTable) -> None:
    found = cleaned(tmp_path, words, item(title="x" * 40_000), item(title="oak " * 10_000), item(title="의자" * 20_000))
    assert found.kept.height == 3
    counts = [len(ids) for ids in words.tokenizer.encode_ids_many(found.kept["text"].to_list())]
    assert counts == found.kept["tokens"].to_list()
    assert all(100 < count <= 180 for count in counts)


def test_too_little_text_is_refused(tmp_path: Path, words: WordTable) -> None:
    rows = [
        item(title=None, description=[], details=None),
        item(title="A", description=["b"]),
        item(title="-" * 60, description=[]),
    ]
    assert cleaned(tmp_path, words, *rows).refused["reason"].to_list() == [
        "no text", "too short: 3 characters, 50 are wanted", "a text without a word",
    ]  # fmt: skip


def test_every_row_is_kept_or_refused_once(tmp_path: Path, words: WordTable) -> None:
    path = tmp_path / "meta.jsonl"
    good = json.dumps(item()).encode()
    lines = [good, b"{broken", b"[1]", b"", b'{"title": "caf\xe9"}', good, json.dumps(item(price="")).encode()]
    path.write_bytes(b"\n".join(lines))
    (chunk,) = read_span(spans(0, path)[0], find_layout(path, {}))
    found = clean(chunk, Tools(Options(), words))
    assert chunk.rows == 6
    assert found.kept["whetstone:line"].to_list() == [1, 6]
    assert sorted(found.refused["whetstone:line"].to_list()) == [2, 3, 5, 7]
    assert found.tally.rejected == {"readable": 3, "usable price": 1}
    assert any("0xE9" in reason for reason in found.refused["reason"])


def test_lines_of_any_shape_are_read_the_same_one_by_one_and_at_once() -> None:
    rows = [
        item(description="one text", price=12.5, details={"a": [1, {"b": None}]}),
        item(features=["q", None, 3, {"b": [1]}], title=["a", "b"]),
        item(title="cut \ud83d", store=True),
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    slow, broken, lines = parse_lines(data, AMAZON.fields)
    assert (broken, lines) == ([], 3)
    assert slow["title"][2] == "cut \ufffd"
    assert slow.row(0, named=True)["details"] == '{"a": [1, {"b": null}]}'
    rows[0]["description"] = ["one text"]
    fast, _, _ = parse_lines("".join(json.dumps(row) + "\n" for row in rows).encode(), AMAZON.fields)
    names = [name for name in fast.columns if name not in ("title", "features")]
    assert fast.select(names).equals(slow.select(names))


def test_prompts_are_those_of_the_price_prompt() -> None:
    frame = pl.DataFrame({"text": ["Oak {chair}", "b"], "price": [128.6, 2.5]})
    made = frame.select(
        prompt(pl.col("text")).alias("prompt"),
        completion(pl.col("price")).alias("completion"),
        messages(pl.col("text"), pl.col("price")).alias("messages"),
    )
    form = PricePrompt()
    for row, (text, price) in zip(made.iter_rows(named=True), frame.iter_rows(), strict=True):
        assert row["prompt"] == form.text(text)
        assert row["completion"] == form.completion(price)
        asked, label = form.messages(text)
        assert row["messages"] == [
            dict(asked),
            {"role": "assistant", "content": f"{label['content']}{form.completion(price)}"},
        ]
    assert made["prompt"][0].endswith("\n\nPrice is $")


def test_sources_in_no_known_layout_need_a_map(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(f"name,cost,about\nOak chair,$129.00,{TEXT.replace(',', ';')}\nAsh,12\n", "utf-8")
    with pytest.raises(DataError, match="--map title=name"):
        find_layout(path, {})
    with pytest.raises(UsageError, match="Did you mean title"):
        find_layout(path, {"titel": "name", "price": "cost"})
    with pytest.raises(DataError, match=r"no column 'coast'.*Did you mean cost"):
        find_layout(path, {"title": "name", "price": "coast"})
    layout = find_layout(path, {"title": "name", "price": "cost", "text": "about"})
    (chunk,) = read_span(spans(0, path)[0], layout)
    assert chunk.listings.select("title", "price").rows() == [("Oak chair", "$129.00")]
    assert [(each.row, each.line) for each in chunk.broken] == [(2, 3)]


def test_best_buy_categories_are_names_in_both_of_its_shapes(tmp_path: Path) -> None:
    path = tmp_path / "products.json"
    rows = [
        {
            "sku": 1,
            "name": "DVD",
            "price": 5,
            "category": [{"id": "a", "name": "Best Buy"}, {"id": "b", "name": "Movies"}],
        },
        {"sku": 2, "name": "TV", "price": 5.5, "category": ["Televisions"], "manufacturer": 'A "B"'},
        {"sku": 3, "name": "Plan", "price": 5.5, "category": [None], "type": "BlackTie"},
    ]
    path.write_text(json.dumps(rows), "utf-8")
    (chunk,) = read_span(spans(0, path)[0], find_layout(path, {}))
    assert chunk.listings["category"].to_list() == ["Movies", "Televisions", "BlackTie"]
    assert json.loads(chunk.listings["details"][1]) == {"Manufacturer": 'A "B"'}


def test_options_that_leave_nothing_are_refused() -> None:
    for wrong in ({"min_price": 9.0, "max_price": 5.0}, {"max_tokens": 3}, {"min_characters": 0}):
        with pytest.raises(UsageError):
            Options(**wrong)  # type: ignore[arg-type]  # values of the right types, of which each is out of range


def test_chunks_do_not_depend_on_where_reading_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whetstone.curation import blocks

    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    rng = np.random.default_rng(0)
    path = tmp_path / "meta.jsonl"
    rows = [item(parent_asin=str(n), title="t" * int(rng.integers(1, 900))) for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    layout = find_layout(path, {})
    apart = [chunk for span in spans(0, path) for chunk in read_span(span, layout)]
    together = list(read_span(blocks.Span(0, str(path), 0, None), layout))
    assert [chunk.listings["id"].to_list() for chunk in apart] == [chunk.listings["id"].to_list() for chunk in together]
    assert [one for chunk in apart for one in chunk.listings["id"]] == [str(n) for n in range(40)]
