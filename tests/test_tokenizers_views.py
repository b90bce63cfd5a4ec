"""What is shown of tokens: pieces, alignment, vocabularies, corpora, comparisons."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_tokenizers import byte_level, prepending
from whetstone.errors import RequestRefusedError, UsageError
from whetstone.tokens.compare import compare_tokenizers, cut_prices, dearness, sample_texts
from whetstone.tokens.corpus import measure_corpus, script_of
from whetstone.tokens.json_tokenizer import JsonTokenizer
from whetstone.tokens.pieces import aligned, pieces, visible_bytes, visible_text
from whetstone.tokens.vocabulary import byte_set, entries, overlap, search


@cache
def made(kind: str = "bytes") -> JsonTokenizer:
    engine = prepending() if kind == "prepending" else byte_level()
    return JsonTokenizer(engine, name=kind, source=kind, special_tokens={"eos_token": "<|im_end|>"})


def test_nothing_invisible_stays_invisible() -> None:
    assert visible_text(" \t\r\n\x00\x1b\x7f") == "·⇥␍⏎␀␛␡"
    assert visible_text("a\u200bb\u202ec\u00a0") == "a⟨200B⟩b⟨202E⟩c⍽"
    assert visible_bytes("é".encode()[:1] + b" x" + b"\x80") == "<C3>·x<80>"


@given(data=st.binary(max_size=12))
def test_bytes_are_shown_without_controls_and_none_is_lost(data: bytes) -> None:
    shown = visible_bytes(data)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert bool(shown) == bool(data)


def test_pieces_tell_control_tokens_and_parts_of_characters_apart() -> None:
    text = "the <|im_end|>🦜"
    asked = pieces(made(), text, special=True)
    assert [piece.spelling for piece in asked if piece.kind == "control"] == ["<|im_end|>"]
    assert {piece.kind for piece in asked if (piece.start, piece.end) == (14, 15)} == {"bytes"}
    assert not any(piece.kind == "control" for piece in pieces(made(), text))


@given(text=st.text(alphabet="the price 한🦜\n", max_size=20))
def test_every_character_has_one_cell_for_each_tokenizer(text: str) -> None:
    encodings = [made().encode(text), made("prepending").encode(text)]
    for cells, encoding in zip(aligned(text, encodings), encodings, strict=True):
        assert len(cells) == len(text)
        assert all(cell.token is not None for cell in cells)
        # A token begins at each cut, and those behind the first of a character are counted.
        with_text = sum(end > start for start, end in encoding.offsets)
        assert sum(cell.tokens for cell in cells if cell.cut) == with_text


def test_a_vocabulary_is_searched_by_text_expression_id_and_bytes() -> None:
    tokenizer = made()
    price = [entry.shown for entry in search(tokenizer, "price")]
    assert "·price" in price
    assert all("price" in shown for shown in price)
    assert [entry.shown for entry in search(tokenizer, r"^\d$", by="regex")] == list("0123456789")
    assert [entry.spelling for entry in search(tokenizer, "0-1, 2", by="id")] == [
        "<|end|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    assert {entry.bytes for entry in search(tokenizer, "F0 9F", by="bytes")} >= {b"\xf0\x9f"}
    assert next(search(tokenizer, "<|im_e")).kind == "control"
    # The spelling is found too, though what it stands for has a space.
    assert any(entry.spelling == "Ġprice" for entry in search(tokenizer, "Ġprice"))


@pytest.mark.parametrize(
    ("query", "by", "message"),
    [
        ("(", "regex", "no regular expression"),
        ("x", "id", "no id"),
        ("xyz", "bytes", "hexadecimal"),
        ("", "text", "nothing"),
    ],
)
def test_a_query_that_cannot_be_read_is_a_sentence(query: str, by: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(search(made(), query, by=by))  # type: ignore[arg-type]
    with pytest.raises(RequestRefusedError, match="no token id"):
        list(search(made(), "420", by="id"))


def test_overlap_counts_what_tokens_stand_for() -> None:
    first, second = byte_set(made()), byte_set(made("prepending"))
    found = overlap(first, second)
    assert found.common == len(first & second) > 256
    assert b" " in first & second  # "Ġ" and "▁"
    assert overlap(first, first).share == 1.0
    assert sum(1 for _ in entries(made())) == made().vocab_size


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("aÉＡ", "latin"),
        ("한", "hangul"),
        ("世", "han"),
        ("の", "hiragana"),
        ("カｱ", "katakana"),
        ("я", "cyrillic"),
        ("ह", "devanagari"),
        ("ا", "arabic"),
        ("7½", "digits"),
        (" \n", "spacing"),
        (",", "punctuation"),
        ("$😀", "symbols"),
        ("\u0301", "marks"),
    ],
)
def test_scripts_of_characters(characters: str, script: str) -> None:
    assert {script_of(character) for character in characters} == {script}


@given(texts=st.lists(st.text(alphabet="the 한국 price $42\n🦜é", max_size=30), min_size=1, max_size=6))
def test_a_corpus_adds_up(texts: list[str]) -> None:
    (use,) = measure_corpus([made()], texts)
    assert use.lengths == [len(made().encode(text).ids) for text in texts]
    assert use.tokens == sum(script.tokens for script in use.scripts.values())
    assert use.characters == sum(map(len, texts)) == sum(script.characters for script in use.scripts.values())
    assert use.words == sum(len(text.split()) for text in texts) == sum(script.words for script in use.scripts.values())
    assert use.bytes == sum(len(text.encode()) for text in texts)
    cut = use.cut_by(5)
    assert cut.tokens == use.tokens - sum(min(length, 5) for length in use.lengths)


def test_tokens_belong_to_the_script_of_their_first_letter() -> None:
    (use,) = measure_corpus([made()], ["the price 한국어 $42"])
    assert (use.scripts["latin"].words, use.scripts["hangul"].words) == (2, 1)
    assert use.scripts["digits"].tokens == 2
    assert use.scripts["latin"].tokens == len(made().encode("the price").ids)
    assert use.scripts["hangul"].per_character is not None
    assert use.percentiles() == dict.fromkeys((5, 25, 50, 75, 90, 95, 99), use.tokens)


def test_texts_without_tokens_are_set_aside_and_named() -> None:
    first, second = measure_corpus([made(), made("prepending")], ["fine", "\ud800", "also fine"])
    assert [refused.row for refused in first.refused] == [2]
    assert "lone surrogate" in first.refused[0].reason
    assert len(first.lengths) == len(second.lengths) == 2


def test_a_comparison_holds_everything_for_each_tokenizer() -> None:
    comparison = compare_tokenizers([made(), made("prepending")], "the price 한국어")
    assert [use.tokens for use in comparison.uses] == [
        len(made(kind).encode("the price 한국어").ids) for kind in ("bytes", "prepending")
    ]
    assert list(comparison.overlaps) == [(0, 1)]
    assert comparison.prices[0]["$42"] == ["$", "4", "2"] == cut_prices(made(), ["$42"])["$42"]
    with pytest.raises(RequestRefusedError):
        compare_tokenizers([made()], "\udc80")


def test_dearness_is_measured_against_english() -> None:
    languages = {each.language: each for each in dearness(made())}
    assert languages["english"].ratio == 1.0
    assert languages["hindi"].ratio > 1.5  # three bytes a character, and the tiny vocabulary knows few of them
    counts = {language: len(sentences) for language, sentences in sample_texts().items() if language != "code"}
    assert len(set(counts.values())) == 1  # the same sentences in every language
