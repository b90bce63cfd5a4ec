"""The terms of keyword search: any script, identifiers whole and in parts, English stems."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.retrieval.stemming import stem
from whetstone.retrieval.terms import index_terms, query_terms, terms_held


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("?! … — \n", []),
        ("Dogs RUNNING", ["dog", "run"]),
        ("AB-1234", ["ab1234", "ab", "1234"]),
        ("v2.1.3", ["v2.1.3", "v2", "1", "3"]),
        ("snake_case __init__", ["snakecas", "snake", "case", "init"]),
        ("$1,200,000.50 and 3.14", ["1200000.50", "1200000", "50", "and", "3.14", "3", "14"]),
        ("O'Brien's don’t", ["obrien", "o", "brien", "dont", "don", "t"]),
        ("Café naïve Ångström ﬁne ＡＢＣ", ["cafe", "naiv", "angstrom", "fine", "abc"]),
        ("inter\u00adnational zero\u200bwidth", ["internat", "zerowidth"]),
        ("환불정책을", ["환불", "불정", "정책", "책을"]),
        ("값은", ["값은", "값"]),
        ("API를", ["api", "를"]),
        ("東京都 テスト", ["東京", "京都", "テス", "スト"]),
        ("ｶﾞｲﾄﾞ", ["ガイ", "イド"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("Ёлка Ελλάδα", ["елка", "ελλαδα"]),
        ("مُحَمَّد", ["محمد"]),
    ],
)
def test_index_terms(text: str, terms: list[str]) -> None:
    assert index_terms(text) == terms


def test_compositions_of_a_text_have_the_same_terms() -> None:
    text = "Crème brûlée 환불정책 Đà Nẵng ガイド"
    assert index_terms(unicodedata.normalize("NFD", text)) == index_terms(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("What is the price of the Carllm policies?", ["price", "carllm", "polici"]),
        ("policy, policies and policy", ["polici"]),
        ("Who is it?", ["who", "is", "it"]),
        ("What's Avery's role?", ["averi", "role"]),
        ("환불 정책은 무엇인가요?", ["환불", "정책"]),
        ("값을 알려줘", ["값을", "값"]),
        ("회사에서", ["회사"]),
    ],
)
def test_query_terms_leave_out_what_says_nothing(question: str, terms: list[str]) -> None:
    assert query_terms(question) == terms


@pytest.mark.parametrize("noun", ["값", "환불", "정책", "보험료", "개인정보"])
@pytest.mark.parametrize("particle", ["", "은", "을", "의", "에서", "으로"])
def test_a_korean_noun_finds_itself_with_any_particle(noun: str, particle: str) -> None:
    if len(noun) == 1 and len(particle) == 2:
        pytest.skip("a noun of one syllable is kept apart from particles of one syllable only")
    assert set(query_terms(noun)) <= set(index_terms(f"그 {noun}{particle} 있다"))
    assert set(query_terms(f"{noun}{particle}")) & set(index_terms(f"{noun}도 있다"))


@given(st.text())
def test_terms_are_what_an_index_can_hold(text: str) -> None:
    """A tokenizer that splits at blanks and knows letters, digits and dots only gives the very same terms."""
    for term in index_terms(text):
        assert 0 < len(term) <= 64
        assert not any(
            character.isspace() or (ord(character) < 128 and not character.isalnum())
            for character in term.replace(".", "")
        )


@given(st.text(alphabet=st.characters(max_codepoint=0x24F)))
def test_what_is_asked_is_found(text: str) -> None:
    assert set(query_terms(text)) <= set(index_terms(text))


def test_what_is_no_word_is_cut() -> None:
    assert [len(term) for term in index_terms("x" * 5000)] == [64]


@pytest.mark.parametrize(
    ("words", "stems"),
    [
        ("policies policy ties cries gas gaps kiwis", "polici polici tie cri gas gap kiwi"),
        ("agreed feed succeed exceed", "agre feed succeed exceed"),
        ("founded founding founder hopping hoping luxuriated", "found found founder hop hope luxuri"),
        ("dying lying inning outing evening herring", "die lie inning outing evening herring"),
        ("added egged oddly offing", "add egg odd off"),
        ("happy cry by say enjoy", "happi cri by say enjoy"),
        ("relational conditional rationalization vileness", "relat condit ration vile"),
        ("analogist analogy geology family usefully hopelessly", "analog analog geolog famili use hopeless"),
        ("triplicate formative electricity electrical", "triplic format electr electr"),
        ("revival allowance adjustable adjustment adoption", "reviv allow adjust adjust adopt"),
        ("probate rate cease controll roll", "probat rate ceas control roll"),
        (
            "generate generously universe universal arsenic organization",
            "generat generous univers universal arsenic organiz",
        ),
        ("skis sky skies news howe only singly early", "ski sky sky news howe onli singl earli"),
        ("youth yyj toy y", "youth yyj toy y"),
    ],
)
def test_stems_are_those_of_snowball(words: str, stems: str) -> None:
    """The right column was written by snowballstemmer 3.1.1."""
    assert " ".join(stem(word) for word in words.split()) == stems


_WORDS = st.lists(st.text("adeginlsty", max_size=12) | st.text("aÉ값은-_.'’19", max_size=6), max_size=12)


@given(_WORDS, _WORDS)
def test_terms_held_are_those_of_the_index(words: list[str], others: list[str]) -> None:
    text = " ".join(words)
    of_text = index_terms(text)
    wanted = [*of_text[::2], *index_terms(" ".join(others))]
    assert terms_held(text, wanted) == set(of_text).intersection(wanted)
