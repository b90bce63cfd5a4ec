"""Labels read from replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.evaluation.labels import read_label

SENTIMENT = ("negative", "neutral", "positive")

READ = [
    ("positive", "positive"),
    (" Positive.\n", "positive"),
    ("**Negative**", "negative"),
    ('"neutral"', "neutral"),
    ("Label: neutral", "neutral"),
    ("The sentiment is positive.", "positive"),
    ("Sentiment: Positive\nReason: despite some negative words", "positive"),
    ("positive\n\nThe negative part is small.", "positive"),
    ("I think it's positive", "positive"),
    ("positive, not negative", "positive"),
    ("It is negative rather than positive.", "negative"),
    ("The review is not negative, it is positive", "positive"),
    ('{"label": "neutral", "reason": "neither positive nor negative"}', "neutral"),
    ("<think>negative?</think>positive", "positive"),
    ("I cannot be sure, but the answer is: negative", "negative"),
]


@pytest.mark.parametrize(("reply", "label"), READ, ids=[reply for reply, _ in READ])
def test_the_meant_label_is_read(reply: str, label: str) -> None:
    reading = read_label(reply, SENTIMENT)
    assert (reading.status, reading.value) == ("value", label)


@pytest.mark.parametrize(
    "reply", ["", "hmm", "positive or negative", "not positive", "neither positive nor negative", "positively glowing"]
)
def test_no_label_or_several_are_unparsable(reply: str) -> None:
    reading = read_label(reply, SENTIMENT)
    assert (reading.status, reading.value) == ("unparsable", None)


@pytest.mark.parametrize("reply", ["I cannot tell.", "I'm sorry, but I can't rate this negative review.", "N/A"])
def test_a_reply_that_declines_is_refused(reply: str) -> None:
    assert read_label(reply, SENTIMENT).status == "refused"


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("B) Paris", "B"),
        ("(B)", "B"),
        ("b", "B"),
        ("The answer is (C).", "C"),
        ("A good answer is B", "B"),
        ("I think A.", "A"),
    ],
)
def test_letters_are_labels_where_they_are_not_words(reply: str, label: str) -> None:
    assert read_label(reply, ("A", "B", "C")).value == label


def test_a_longer_label_is_not_mistaken_for_a_shorter_one() -> None:
    assert read_label("it is very good", ("good", "very good")).value == "very good"
    assert read_label("it is good", ("good", "very good")).value == "good"
    assert read_label("10", ("1", "2")).status == "unparsable"


def test_case_counts_where_labels_differ_only_in_case() -> None:
    assert read_label("The label is Apple", ("apple", "Apple")).value == "Apple"
    assert read_label("APPLE", ("apple", "Apple")).status == "unparsable"


def test_korean_labels_take_endings() -> None:
    assert read_label("긍정입니다", ("긍정", "부정")).value == "긍정"


@given(st.text(), st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True))
def test_no_text_raises_and_every_value_is_a_label(reply: str, labels: list[str]) -> None:
    reading = read_label(reply, labels)
    assert reading.value in labels if reading.ok else reading.value is None


@given(st.sampled_from(SENTIMENT), st.sampled_from(["{}", "Answer: {}", '"{}"', "{}.", "It is {}", "**{}**"]))
def test_a_framed_label_reads_back(label: str, frame: str) -> None:
    assert read_label(frame.format(label.upper()), SENTIMENT).value == label
