"""Numbers read from replies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whetstone.numeric.reading import read_number

READ = [
    # as people write prices
    ("$1,299.99", 1299.99),
    ("about 45 dollars", 45),
    ("1.299,99 €", 1299.99),
    ("1 299,50 €", 1299.5),
    ("1\u00a0299,50\u00a0€", 1299.5),
    ("1\u202f299,50 €", 1299.5),
    ("1'299.50 CHF", 1299.5),
    ("CHF 1’299.50", 1299.5),
    ("₹12,34,567.00", 1234567),
    ("₩12,000", 12000),
    ("12만원", 120000),
    ("3만 5천원", 35000),
    ("1억 2천만원", 120000000),
    ("3万円", 30000),
    ("가격은 45달러입니다", 45),
    ("120입니다", 120),
    ("R$ 1.234,56", 1234.56),
    ("12.000 kr", 12000),
    ("Rs. 500/-", 500),
    ("45,- €", 45),
    ("1.299,-", 1299),
    ("US$45", 45),
    ("45 USD", 45),
    ("$.99", 0.99),
    ("45 cents", 0.45),
    ("45 dollars and 50 cents", 45.5),
    ("120.00.", 120),
    ("Price is $99.99", 99.99),
    ("**$12**", 12),
    ("Approximately: **45**", 45),
    ("\\boxed{12}", 12),
    ("$\\boxed{1{,}299}$", 1299),
    ('{"price": 12.5}', 12.5),
    ('```json\n{"item": "2-pack", "price": "$12.50"}\n```', 12.5),
    # magnitudes, exponents, signs, other digits
    ("1e3", 1000),
    ("1.5 × 10^3", 1500),
    ("1.5x10³", 1500),
    ("$1.2k", 1200),
    ("1.5 million", 1500000),
    ("$12.5M", 12500000),
    ("-5", -5),
    ("-$5", -5),
    ("$-5", -5),
    ("−5", -5),
    ("½", 0.5),
    ("2½", 2.5),
    ("1/2", 0.5),
    ("１２３", 123),
    ("١٢٣", 123),
    ("١٬٢٣٤٫٥", 1234.5),
    # which mark is the decimal one
    ("$1,29", 1.29),
    ("1,299", 1299),
    ("1.299", 1.299),
    ("$1.299", 1.299),
    ("1.299 €", 1299),
    ("0.299 €", 0.299),
    ("0,299 €", 0.299),
    ("1.299.000", 1299000),
    ("12,34,567", 1234567),
    # ranges are their midpoint, several for one price is the price of one, nothing is 0
    ("between 40 and 60", 50),
    ("$40-$60", 50),
    ("$40-60", 50),
    ("40 to 60 dollars", 50),
    ("€40–€60", 50),
    ("$19.99 - $24.99", 22.49),
    ("$1-2 million", 1500000),
    ("40 $-60 $", 50),
    ("40 € bis 60 €", 50),
    ("40~60만원", 500000),
    ("3 for $10", 10 / 3),
    ("$10 for 3", 10 / 3),
    ("3 for $10 each", 10),
    ("free", 0),
    ("It's free of charge.", 0),
    # one of several
    ("The 2-pack of 12 oz cans costs $7.49", 7.49),
    ("in 2019 it cost $5", 5),
    ("1. The price is $20", 20),
    ("Pack of 2 - $5.99", 5.99),
    ("$8 - 12 pack", 8),
    ("45.00\n\nHow much does this cost? It costs $99", 45),
    ("199.99, a 20% discount from $249", 199.99),
    ("The price is $45. The price is $50.", 45),
    ("Price: $20 … no wait, $25", 25),
    ("$3 each, so three are $9. Final answer: $9", 9),
    ("12 * 3 = 36, so the answer is 36", 36),
    ("~~$50~~ $45", 45),
    ("<think>maybe $30</think>$45", 45),
    ("B07XJ8C8F5 costs 20", 20),
    ("The price is 2000", 2000),
    ("45 € 60", 45),
    ("-$40 or so", -40),
    ("I cannot determine the exact price, but I'd estimate $45", 45),
    ("I cannot say. Probably around 45.", 45),
]


@pytest.mark.parametrize(("reply", "value"), READ, ids=[reply for reply, _ in READ])
def test_the_meant_number_is_read(reply: str, value: float) -> None:
    reading = read_number(reply, unit="$")
    assert reading.status == "value"
    assert reading.value == pytest.approx(value, rel=1e-12)


REFUSED = [
    "I cannot determine the price of this item.",
    "I'm sorry, but I can't help with that.",
    "As an AI model trained in 2023 I cannot provide prices.",
    "The price is not specified in the description.",
    "There is not enough information.",
    "unknown",
    "N/A",
    "가격을 알 수 없습니다",
]


@pytest.mark.parametrize("reply", REFUSED)
def test_a_reply_that_declines_is_refused(reply: str) -> None:
    reading = read_number(reply, unit="$")
    assert (reading.status, reading.value) == ("refused", None)


UNPARSABLE = [
    *("", "   \n", "?", "nan", "infinity", "priceless", "-", "$", "The price of this item is $"),
    *("1.2.3", "10,20,30", "2019-05-04", "10:30", "24/7", "RTX-3080", "256GB", "1e999", "9" * 500),
    *("<think>it might be $30", '{"price": null}', '{"price": true}', "Feel free to ask!"),
    # a unit was asked for, and these are in none or in another
    *("20%", "It weighs 12 oz", "5-7 days", "It was released in 2019."),
]


@pytest.mark.parametrize("reply", UNPARSABLE)
def test_a_reply_without_an_amount_is_unparsable_and_never_a_zero(reply: str) -> None:
    reading = read_number(reply, unit="$")
    assert (reading.status, reading.value) == ("unparsable", None)


def test_the_unit_says_which_number_is_meant() -> None:
    reply = "It costs $5, weighs 3 kg and is 20 % off"
    assert read_number(reply, unit="$").value == 5
    assert read_number(reply, unit="kg").value == 3
    assert read_number(reply, unit="%").value == 20
    assert read_number("2 hours", unit="minutes").status == "unparsable"
    assert read_number("45 pounds", unit="£").value == 45
    assert read_number("45 pounds", unit="$").status == "unparsable"


def test_without_a_unit_a_measure_is_an_answer_where_nothing_else_is() -> None:
    assert read_number("It weighs 12 oz").value == 12
    assert read_number("20%").value == 20
    assert read_number("It costs 7 and weighs 12 oz").value == 7


def test_the_unit_says_how_an_ambiguous_dot_is_read() -> None:
    assert read_number("1.299", unit="€").value == 1299
    assert read_number("1.299", unit="$").value == 1.299


def test_a_number_that_cannot_be_meant_is_out_of_range_and_kept() -> None:
    reading = read_number("$5,000", valid_range=(0.01, 1000), unit="$")
    assert (reading.status, reading.value, reading.ok) == ("out_of_range", 5000, False)
    assert "not within 0.01 to 1000" in reading.note
    assert read_number("$1,000", valid_range=(0.01, 1000), unit="$").ok


def test_the_note_says_what_was_matched() -> None:
    assert "midpoint of 40 to 60" in read_number("between 40 and 60").note
    assert "$7.49" in read_number("The 2-pack costs $7.49").note


def grouped(digits: str, mark: str) -> str:
    return f"{int(digits):,}".replace(",", mark)


def lakhs(digits: str) -> str:
    head, tail = digits[:-3], digits[-3:]
    while len(head) > 2:
        head, tail = head[:-2], f"{head[-2:]},{tail}"
    return f"{head},{tail}" if head else tail


FORMS = {
    "US": lambda whole, cents: f"${grouped(whole, ',')}.{cents}",
    "German": lambda whole, cents: f"{grouped(whole, '.')},{cents} €",
    "French": lambda whole, cents: f"{grouped(whole, ' ')},{cents} €",
    "French typeset": lambda whole, cents: f"{grouped(whole, chr(0x202F))},{cents}\u00a0€",
    "Swiss": lambda whole, cents: f"CHF {grouped(whole, chr(0x2019))}.{cents}",
    "Indian": lambda whole, cents: f"₹{lakhs(whole)}.{cents}",
    "US, whole": lambda whole, _: f"${grouped(whole, ',')}",
    "German, whole": lambda whole, _: f"{grouped(whole, '.')} €",
    "Swiss, whole": lambda whole, _: f"{grouped(whole, chr(0x27))}.- CHF",
    "Indian, whole": lambda whole, _: f"₹{lakhs(whole)}",
}
AROUND = (
    "{}",
    "about {}",
    "The price is {}.",
    "**{}**",
    "I would say {}, give or take",
    "{}\n\nBecause it has 12 parts",
)


@pytest.mark.parametrize("form", FORMS)
@given(cents=st.integers(1, 10**9), frame=st.sampled_from(AROUND))
@settings(max_examples=60, deadline=None)
def test_a_price_with_its_currency_reads_back_in_every_form(form: str, cents: int, frame: str) -> None:
    whole, rest = divmod(cents, 100)
    expected = whole if "whole" in form else cents / 100
    reply = frame.format(FORMS[form](str(whole), f"{rest:02d}"))
    assert read_number(reply, unit="$").value == pytest.approx(expected, rel=1e-12), reply


PIECES = st.sampled_from(
    (
        *"0123456789.,'-$€%{}()[]/:\"\\ \n~*#eEkK½²",
        *("１", "٣", "만", "천원", "\u00a0", " to ", " for ", "between ", "<think>", "e400", "e-400", " million"),
        *("\\boxed{", "answer is ", "cents", '{"price":', "\ud800", "∞", "nan", "9" * 45),
    )
)


@given(
    st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)), st.sampled_from(["", "$", "€", "£", "%", "kg"])
)
@settings(max_examples=400, deadline=None)
def test_no_text_raises_and_every_value_is_finite(reply: str, unit: str) -> None:
    reading = read_number(reply, valid_range=(0, 1e6), unit=unit)
    if reading.ok:
        assert isinstance(reading.value, float)
        assert 0 <= reading.value <= 1e6
    else:
        assert reading.status in ("refused", "unparsable", "out_of_range")
        assert (reading.value is None) == (reading.status != "out_of_range")


ENDLESS = (
    *("1", "1,", "1.", "1 ", "1 234 ", "$1 ", "1-", "1~", "1 to ", "½", ",", " ", "\u00a0", "1만", "１", "{", '{"a":'),
    *("cannot ", "answer is ", "between ", "**", "~~$", "price is ", "<think>", "i can "),
)


@pytest.mark.timeout(60)  # seconds where reading is linear; hours where a pattern backtracks
@pytest.mark.parametrize("piece", ENDLESS)
def test_a_megabyte_of_anything_is_read(piece: str) -> None:
    read_number(piece * (1_000_000 // len(piece)), unit="$")
    read_number(piece * (16_000 // len(piece)), unit="$")


def test_a_long_reply_is_read_at_both_ends() -> None:
    middle = "and so on " * 5_000
    assert read_number(f"$45 {middle}", unit="$").value == 45
    assert read_number(f"Let me think. {middle} Final answer: $45", unit="$").value == 45
