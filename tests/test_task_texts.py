"""What cards do with texts, without any model: cutting, entities in their places, labels and code in replies."""

from __future__ import annotations

import itertools
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whetstone.errors import ContextTooLongError
from whetstone.tasks.code_text import code_in, syntax_error
from whetstone.tasks.entities import Entity, locate
from whetstone.tasks.entity_plan import read_list
from whetstone.tasks.label_plan import read_label
from whetstone.tasks.splitting import split_text


def words(text: str) -> int:
    return len(text.split())


def together(text: str, room: int) -> str:
    return "".join(part.text + part.after for part in split_text(text, len, room))


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=300), st.integers(3, 40))
def test_parts_fit_and_lose_nothing(text: str, room: int) -> None:
    parts = split_text(text, len, room)
    assert all(len(part.text) <= room for part in parts)
    assert together(text, room).lstrip() == text.lstrip() or not text.strip()


def test_parts_end_at_paragraphs_where_they_can_and_are_alike_in_length() -> None:
    paragraphs = [" ".join(f"word{n}" for n in range(40)) + "." for _ in range(30)]
    parts = split_text("\n\n".join(paragraphs), words, 300)
    assert all(part.text.endswith(".") and part.after == "\n\n" for part in parts[:-1])
    sizes = [words(part.text) for part in parts]
    assert max(sizes) <= 300
    assert min(sizes) >= 120


def test_a_dialogue_is_cut_between_turns_and_prose_between_sentences() -> None:
    turns = "\n".join(f"Ann: this is line number {n}" for n in range(50))
    assert all(part.text.startswith("Ann:") for part in split_text(turns, words, 60))
    prose = " ".join(f"Sentence {n} is here." for n in range(100))
    assert all(part.text.endswith(".") for part in split_text(prose, words, 60))


def test_text_without_spaces_is_cut_and_characters_stay_whole() -> None:
    text = unicodedata.normalize("NFD", "é" * 100)
    for part in split_text(text, len, 7):
        assert not unicodedata.combining(part.text[0])
    assert len(split_text("漢字" * 200, len, 50)) == 8


def test_no_room_for_the_text_is_said() -> None:
    with pytest.raises(ContextTooLongError, match="leaves 0 tokens for the text"):
        split_text("some text", words, -5)


def test_every_mention_is_found_and_what_is_not_there_is_dropped() -> None:
    text = "Ada Lovelace met Babbage. Babbage showed Lovelace his engine in London."
    found = locate(
        text, [("Babbage", "person"), ("Lovelace", "person"), ("Ada Lovelace", "person"), ("Paris", "place")]
    )
    assert [(one.text, one.start) for one in found.entities] == [
        ("Ada Lovelace", 0),
        ("Babbage", 17),
        ("Babbage", 26),
        ("Lovelace", 41),
    ]
    assert all(text[one.start : one.end] == one.text for one in found.entities)
    assert found.dropped == (("Paris", "place"),)


def test_a_name_inside_of_a_word_is_no_mention_but_endings_written_onto_names_are_allowed() -> None:
    assert locate("Romania is not Rome.", [("Rom", "place")]).entities == ()
    assert locate("Berlin's mayor", [("Berlin", "place")]).entities == (Entity("Berlin", "place", 0, 6),)
    assert locate("김민수는 서울에서 일한다.", [("김민수", "person"), ("서울", "place")]).entities == (
        Entity("김민수", "person", 0, 3),
        Entity("서울", "place", 5, 7),
    )
    arabic = "سافرت ليلى إلى القاهرة."
    (entity,) = locate(arabic, [("ليلى", "person")]).entities
    assert arabic[entity.start : entity.end] == "ليلى"


def test_names_are_found_with_other_spacing_case_and_unicode_form_and_given_as_the_text_has_them() -> None:
    assert locate("in New\nYork", [("new york", "place")]).entities == (Entity("New\nYork", "place", 3, 11),)
    decomposed = unicodedata.normalize("NFD", "Zoë")
    assert locate(decomposed, [("Zoë", "person")]).entities[0].text == decomposed


def test_a_name_with_two_types_has_the_first() -> None:
    assert [one.type for one in locate("Jordan", [("Jordan", "place"), ("Jordan", "person")]).entities] == ["place"]


@settings(max_examples=40, deadline=None)
@given(st.text("aA b\n가é", max_size=60), st.lists(st.tuples(st.text("aA b가é", max_size=5), st.just("x")), max_size=6))
def test_entities_never_overlap_and_always_stand_in_the_text(text: str, named: list[tuple[str, str]]) -> None:
    entities = locate(text, named).entities
    assert all(text[one.start : one.end] == one.text for one in entities)
    assert all(before.end <= after.start for before, after in itertools.pairwise(entities))


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("positive", "positive"),
        (" **Positive.**", "positive"),
        ("Label: positive", "positive"),
        ("very positive", "very positive"),
        ("It is not positive, it is negative", None),
        ("none of them", None),
        ("긍정적입니다", None),
        ("", None),
    ],
)
def test_a_label_is_read_only_where_one_is_named(said: str, label: str | None) -> None:
    assert read_label(said, ["positive", "negative", "very positive"]) == label


def test_labels_of_several_words_and_of_signs_are_read() -> None:
    assert read_label("Not spam", ["spam", "not spam"]) == "not spam"
    assert read_label("C", ["C", "C++"]) == "C"
    assert read_label("C++", ["C", "C++"]) == "C++"


def test_lists_in_words_are_read() -> None:
    assert read_list("Ada Lovelace; Charles Babbage.") == ["Ada Lovelace", "Charles Babbage"]
    assert read_list("- Ada\n- Ada\n- Bo") == ["Ada", "Bo"]
    assert read_list("London, Paris") == ["London", "Paris"]
    assert read_list("None.") == []


@pytest.mark.parametrize(
    ("reply", "language", "code"),
    [
        ("Here:\n```python\nx = 1\n```\nDone.", "python", "x = 1"),
        ("```\nx = 1\n```", "python", "x = 1"),
        ("```py\nx = 1\n", "python", "x = 1"),  # cut off
        ("```bash\nls\n```\n```python\nx = 1\n```", "python", "x = 1"),
        ("```python\nx = 1\n```\n```python\nx = 1\ny = 2\n```", "python", "x = 1\ny = 2"),
        ('````python\ns = """\n```\n"""\n````', "python", 's = """\n```\n"""'),
        ("  ```python\n  if x:\n      y()\n  ```", "python", "if x:\n    y()"),
        ("x = 1", "python", "x = 1"),
        ("Sorry", "python", None),
        ("I cannot write that.", "python", None),
        ("```sql\nSELECT 1\n```", "python", None),
        ("select name from t where a > 1;", "sql", "select name from t where a > 1;"),
        ("-- all of them\nWITH a AS (SELECT 1) SELECT * FROM a", "sql", None),
    ],
)
def test_code_is_found_in_replies(reply: str, language: str, code: str | None) -> None:
    if code is None and language == "sql":
        code = reply
    assert code_in(reply, language) == code


def test_code_that_python_cannot_read_says_where() -> None:
    assert syntax_error("def f(:\n  pass") == "line 1: invalid syntax"
    assert syntax_error("(" * 5000) is not None
    assert syntax_error("x = '\0'") is not None
    assert syntax_error("x = 1") is None


def test_no_reply_breaks_the_search_for_code() -> None:
    pieces = ["```", "~~~", "python", "\n", " ", "x = 1", "`", "\r\n"]
    draw = random.Random(3)
    for _ in range(500):
        code_in("".join(draw.choices(pieces, k=draw.randint(0, 12))), "python")
