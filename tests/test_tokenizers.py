"""Tokenizers are exact, their offsets point into the text as it was given, and bytes add up."""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tiny_tokenizers import SPECIAL, TEMPLATE, byte_level, folder_of, prepending, word_piece
from whetstone.errors import ModelFileError, RequestRefusedError
from whetstone.tokens.json_tokenizer import JsonTokenizer
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Encoding, Tokenizer
from whetstone.tokens.tokenizer_habits import boundary_habit, digit_habit
from whetstone.tokens.tokenizer_roundtrip import round_trips

FRAGMENTS = [
    "the ", " price", "$1,299", "\n\n", "  ", "\t", "한국어", "각", "\u1100\u1161\u11a8", "👍🏽", "👨‍👩‍👧", "e\u0301",
    "q\u0323\u0307", "\u0344", "é", "ﬁ", "Å", "नमस्ते", "\x00", "\r\n", "\u00a0", "\u200b", "x", "▁", "Ġ", "<0x41>",
    "<|im_end|>", "<|im_", "end|>", "<|im_start|>", "<s>", "</s>", "[CLS]",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4)), max_size=12).map("".join)


@cache
def engine(kind: str) -> tokenizers.Tokenizer:
    match kind:
        case "digits":
            return byte_level()
        case "composing":
            return byte_level(compose=True)
        case "prepending":
            return prepending()
    return word_piece()


@cache
def tokenizer(kind: str) -> JsonTokenizer:
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"} if kind in ("digits", "composing") else {}
    copy = tokenizers.Tokenizer.from_str(engine(kind).to_str())
    return JsonTokenizer(copy, name=kind, source=kind, special_tokens=special)


def check_offsets(text: str, encoding: Encoding) -> None:
    assert len(encoding.ids) == len(encoding.offsets)
    last = 0
    for start, end in encoding.offsets:
        assert 0 <= start <= end <= len(text)
        assert start >= last
        last = start


KINDS = ("digits", "composing", "prepending", "words")


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, add=st.booleans())
def test_ids_are_those_of_the_library_and_the_same_in_bulk(kind: str, text: str, add: bool) -> None:
    one = tokenizer(kind).encode(text, special=True, add_special_tokens=add)
    assert one.ids == engine(kind).encode(text, add_special_tokens=add).ids
    assert tokenizer(kind).encode_many([text, "x"], special=True, add_special_tokens=add)[0] == one
    assert tokenizer(kind).encode_ids_many([text, "x"], special=True, add_special_tokens=add)[0] == one.ids
    literal = tokenizer(kind).encode(text, add_special_tokens=add)
    assert tokenizer(kind).encode_ids_many(["x", text], add_special_tokens=add)[1] == literal.ids
    check_offsets(text, one)
    check_offsets(text, literal)


@given(text=texts)
def test_the_bytes_of_byte_level_tokens_are_the_texts_and_every_character_is_covered(text: str) -> None:
    encoding = tokenizer("digits").encode(text)
    data = [tokenizer("digits").token_bytes(id) for id in encoding.ids]
    assert b"".join(data) == text.encode()
    for piece, (start, end) in zip(data, encoding.offsets, strict=True):
        assert piece in text[start:end].encode()
    assert {position for start, end in encoding.offsets for position in range(start, end)} == set(range(len(text)))
    assert tokenizer("digits").decode(encoding.ids) == text
    assert round_trips(tokenizer("digits"), text).exact


@given(text=texts)
def test_composed_letters_cover_their_marks(text: str) -> None:
    encoding = tokenizer("composing").encode(text)
    composed = unicodedata.normalize("NFC", text)
    assert tokenizer("composing").decode(encoding.ids) == composed
    trip = round_trips(tokenizer("composing"), text)
    assert trip.exact == (composed == text)
    assert trip.decoded == composed
    covered = {position for start, end in encoding.offsets for position in range(start, end)}
    assert covered == set(range(len(text)))


@given(text=texts)
def test_no_text_becomes_a_control_token_unless_asked(text: str) -> None:
    made = tokenizer("digits")
    control = {token.id for token in made.added if token.special}
    assert not control & set(made.encode(text).ids)
    asked = made.encode(text, special=True).ids
    assert bool(control & set(asked)) == any(spelling in text for spelling in SPECIAL)


@given(text=st.text(alphabet="ab e\u0301각\u1100\u1161😀$7", max_size=12))
def test_a_space_that_the_tokenizer_adds_has_no_text(text: str) -> None:
    made = tokenizer("prepending")
    encoding = made.encode(text)
    data = b"".join(made.token_bytes(id) for id in encoding.ids)
    assert data == (" " + text).encode() if text else data == b""
    assert made.decode(encoding.ids) == text
    for id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        piece = made.token_bytes(id)
        # What it stands for is its text, a byte of it, or its text with the space before it.
        assert piece in text[start:end].encode() or piece == b" " + text[start:end].encode()
    assert {position for start, end in encoding.offsets for position in range(start, end)} == set(range(len(text)))


def test_bytes_within_one_character_share_its_span() -> None:
    for kind in ("digits", "prepending"):
        encoding = tokenizer(kind).encode("a🦜b")
        inside = [id for id, offset in zip(encoding.ids, encoding.offsets, strict=True) if offset == (1, 2)]
        assert len(inside) > 1
        assert b"".join(map(tokenizer(kind).token_bytes, inside)) == "🦜".encode()
        assert encoding.offsets[-1] == (2, 3)


def test_what_is_put_around_a_text_lies_at_its_ends() -> None:
    made = tokenizer("prepending")
    encoding = made.encode("the price", add_special_tokens=True)
    assert (encoding.ids[0], encoding.ids[-1]) == (1, 2)
    assert (encoding.offsets[0], encoding.offsets[-1]) == ((0, 0), (9, 9))
    assert (made.prefix_ids, made.suffix_ids, made.adds_bos, made.adds_eos) == ((1,), (2,), True, True)
    assert boundary_habit(made) == "<s> (1) before and </s> (2) after every text"
    assert not tokenizer("digits").adds_bos
    assert tokenizer("digits").encode("", add_special_tokens=True) == Encoding([], [])


def test_trimmed_offsets_are_not_trimmed_here() -> None:
    from tokenizers import processors

    trimming = byte_level()
    trimming.post_processor = processors.ByteLevel(trim_offsets=True)
    assert trimming.encode("the price").offsets[-1][0] == 4
    made = JsonTokenizer(trimming, name="x", source="x")
    encoding = made.encode("the price")
    assert b"".join(map(made.token_bytes, encoding.ids)) == b"the price"
    assert [end for _, end in encoding.offsets][:-1] == [start for start, _ in encoding.offsets][1:]


def test_cutting_and_padding_of_the_file_are_put_aside() -> None:
    cutting = byte_level()
    cutting.enable_truncation(3)
    cutting.enable_padding(length=50)
    made = JsonTokenizer(tokenizers.Tokenizer.from_str(cutting.to_str()), name="x", source="x")
    assert made.decode(made.encode("the price of it all").ids) == "the price of it all"


@pytest.mark.parametrize(
    ("text", "position"), [("\ud800", 0), ("한\udfff", 1), ("ok 😀\ud83d!", 4)], ids=["high", "low", "inside"]
)
def test_a_lone_surrogate_is_refused_in_a_sentence(text: str, position: int) -> None:
    made = tokenizer("digits")
    for call in (made.encode, lambda text: made.encode_many(["a", text]), lambda text: made.encode_ids_many([text])):
        with pytest.raises(RequestRefusedError, match=f"at character {position}"):
            call(text)


def test_ten_megabytes_on_one_line_come_back() -> None:
    text = "prices 한국어 $1,299 " * 450_000
    assert len(text.encode()) > 10_000_000
    (ids,) = tokenizer("digits").encode_ids_many([text])
    assert tokenizer("digits").decode(ids) == text


@pytest.mark.parametrize("id", [-1, 420, 2**40])
def test_an_id_out_of_range_is_refused(id: int) -> None:
    made = tokenizer("digits")
    assert made.vocab_size == 420
    for call in (lambda: made.decode([5, id]), lambda: made.token_bytes(id), lambda: made.spelling(id)):
        with pytest.raises(RequestRefusedError, match=f"{id} is no token id of digits"):
            call()


def test_control_tokens_are_left_out_of_a_decoded_text_on_demand() -> None:
    made = tokenizer("digits")
    ids = made.encode("<|im_start|>the price<|im_end|>", special=True).ids
    assert made.decode(ids) == "<|im_start|>the price<|im_end|>"
    assert made.decode(ids, skip_special=True) == "the price"
    assert made.decode([]) == ""


def test_numbers_show_their_habit() -> None:
    from tokenizers import Regex, decoders, models, pre_tokenizers

    assert str(digit_habit(tokenizer("digits"))) == "one by one"
    assert digit_habit(JsonTokenizer(byte_level(digits=False), name="x", source="x")).kind == "other"
    numbers = {str(n): 10 + n for n in range(10, 1000)}
    vocabulary = {**{str(n): n for n in range(10)}, **numbers, **{f"{n:03}": 2000 + n for n in range(100)}}
    for pattern, direction in ((r"\d{1,3}", "left"), (r"\d{1,3}(?=(\d{3})*\b)", "right")):
        grouped = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="0"))
        grouped.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        grouped.decoder = decoders.Fuse()
        habit = digit_habit(JsonTokenizer(grouped, name="x", source="x"))
        assert (habit.kind, habit.size, habit.direction) == ("groups", 3, direction)


def test_round_trips_say_what_changes() -> None:
    trip = round_trips(tokenizer("composing"), "cafe\u0301 ok")
    assert [(change.start, change.before, change.after) for change in trip.changes] == [(3, "e\u0301", "é")]
    assert "NFC" in trip.reasons[0]
    words = round_trips(tokenizer("words"), "The  PRICE")
    assert not words.exact
    assert words.decoded == "the price"
    assert "no token" in round_trips(tokenizer("words"), "the 龍 price").reasons[0]


def test_a_folder_gives_roles_template_and_end_ids(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", byte_level(), image_token="<img>")
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 0], "bos_token_id": 1}')
    made = load_tokenizer(str(folder))
    assert isinstance(made, Tokenizer)
    assert (made.name, made.kind, made.template) == ("model", "tokenizer.json", TEMPLATE)
    assert made.special_tokens == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|end|>",
        "image_token": "<img>",
    }
    assert (made.bos_id, made.eos_id, made.control) == (1, 2, tuple(SPECIAL))
    assert isinstance(made, JsonTokenizer)
    assert made.end_ids == (2, 0)
    assert load_tokenizer(str(folder / "tokenizer.json")).special_tokens == made.special_tokens


def test_templates_in_files_win_and_the_default_one_is_taken(tmp_path: Path) -> None:
    several = [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]
    folder = folder_of(tmp_path / "model", byte_level(), chat_template=several)
    assert load_tokenizer(str(folder)).template == "A"
    (folder / "chat_template.jinja").write_text("C")
    assert load_tokenizer(str(folder)).template == "C"
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert load_tokenizer(str(folder)).template is None


def test_roles_and_templates_are_those_that_transformers_finds(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = folder_of(tmp_path / "model", byte_level(), extra_special_tokens={"image_token": "<img>"})
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    made = load_tokenizer(str(folder))
    assert made.special_tokens == theirs.special_tokens_map
    assert made.template == theirs.chat_template
    # A folder of the older kind keeps the roles in a file of their own.
    old = folder_of(tmp_path / "old", byte_level(), bos_token=None, eos_token=None)
    (old / "special_tokens_map.json").write_text('{"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|end|>"}')
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(old)
    assert load_tokenizer(str(old)).special_tokens == theirs.special_tokens_map


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no tokenizer in the folder"),
        ("{", "is no tokenizer.json that can be read"),
        ('{"version": "1.0"}', "is no tokenizer.json that can be read"),
        ("", "is no tokenizer.json that can be read"),
    ],
)
def test_a_folder_without_a_usable_tokenizer_says_so(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelFileError, match=message):
        load_tokenizer(str(tmp_path))


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", byte_level())
    (folder / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(ModelFileError, match=r"tokenizer_config\.json holds no JSON object"):
        load_tokenizer(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": 3})[:-1])
    with pytest.raises(ModelFileError, match=r"tokenizer_config\.json is no JSON"):
        load_tokenizer(str(folder))
