"""Task cards as files, and what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from own_card import OWN, PROMPT, own_card
from whetstone.errors import DataError, UnknownNameError, UsageError
from whetstone.tasks import Card, cards, load_card
from whetstone.tasks.card import NAMES
from whetstone.tasks.inputs import Input
from whetstone.tasks.languages import LANGUAGES, find_language


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.name)
def test_every_card_is_complete(card: Card) -> None:
    assert card.title
    assert card.file.known_failures
    assert card.input(card.file.main).required
    for prompt in card.prompts.values():
        assert prompt.name.partition(".")[0] == card.name
    jsonschema.Draft202012Validator.check_schema(card.json_schema())


def test_all_cards_are_listed_by_name() -> None:
    assert [card.name for card in cards()] == list(NAMES)


def test_an_unknown_card_is_answered_with_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean summarize"):
        load_card("sumarize")


def test_a_folder_of_the_users_own_is_a_card(tmp_path: Path) -> None:
    card = load_card(own_card(tmp_path / "haiku"))
    assert card.name == "haiku"
    assert card.prompt(family="t5") is card.prompt()
    assert card.cases() == ()


@pytest.mark.parametrize(
    ("card", "prompt", "said"),
    [
        (OWN.replace("main: topic", "main: theme"), PROMPT, "main names 'theme'"),
        (OWN + "beyond: reduce\n", PROMPT, "has no part.md"),
        (OWN + "colour: red\n", PROMPT, "colour: Extra inputs are not permitted"),
        (OWN.replace("output: text", "output: label"), PROMPT, "needs an input labels of type list"),
        (OWN, PROMPT.replace("topic", "theme"), "has no input 'theme'"),
        (OWN, PROMPT.replace("[topic]", "[]"), "'topic' is used but not listed"),
        (":\n- [", PROMPT, "no YAML"),
    ],
)
def test_a_broken_card_says_what_is_wrong(tmp_path: Path, card: str, prompt: str, said: str) -> None:
    with pytest.raises(DataError, match=said.replace("[", r"\[")):
        load_card(own_card(tmp_path / "broken", card, prompt))


def test_a_folder_without_a_card_is_no_card(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"card\.yaml: the card cannot be read"):
        load_card(f"{tmp_path}/nothing")


def test_inputs_that_are_left_out_have_their_defaults() -> None:
    assert load_card("translate").check({"text": "Hi", "target": "de"}) == {
        "text": "Hi",
        "source": "",
        "target": "German",
        "formality": "default",
        "glossary": {},
    }


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("translate", {"text": "Hi"}, "the card translate needs target"),
        ("translate", {"text": "Hi", "target": "Germn"}, "Did you mean German"),
        ("translate", {"text": "Hi", "target": "de", "tone": "x"}, "no input of the card translate named 'tone'"),
        ("translate", {"text": "Hi", "target": "de", "formality": "rude"}, "no formality named 'rude'"),
        ("translate", {"text": "Hi", "target": "de", "glossary": {"a": ""}}, "'a' has no translation"),
        ("summarize", {"text": "  "}, "text is empty"),
        ("summarize", {"text": "a\0b"}, "binary data"),
        ("summarize", {"text": "a\ud800b"}, "half a character"),
        ("summarize", {"text": "Hi", "words": 5}, "words is at least 10, not 5"),
        ("summarize", {"text": "Hi", "words": True}, "words is a whole number"),
        ("classify", {"text": "Hi", "labels": ["a", "a "]}, "at least 2 different entries, not 1"),
        ("classify", {"text": "Hi", "labels": "a,b"}, "labels is a list of texts"),
    ],
)
def test_a_wrong_input_is_one_sentence(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_card(name).check(given)


@pytest.mark.parametrize(
    ("type", "said", "value"),
    [
        ("number", " 12 ", 12),
        ("list", "red, green\nblue,", ("red", "green", "blue")),
        ("glossary", "bridge=Brücke\nferry = Fähre", {"bridge": "Brücke", "ferry": "Fähre"}),
        ("language", "deutsch", "German"),
    ],
)
def test_values_are_read_from_words(type: Any, said: str, value: Any) -> None:
    assert Input(name="it", type=type, description="it").read(said) == value


def test_words_that_cannot_be_read_say_how_to_write_them() -> None:
    with pytest.raises(UsageError, match="TERM=TRANSLATION"):
        Input(name="glossary", type="glossary", description="").read("bridge")
    with pytest.raises(UsageError, match="whole number, not 'ten'"):
        Input(name="words", type="number", description="").read("ten")


def test_languages_are_known_by_code_and_by_both_names() -> None:
    for language in LANGUAGES:
        for said in (language.code, language.code.upper(), language.name, language.own):
            assert find_language(said).name == language.name
    assert find_language("de-AT").name == "German"
    assert find_language("pt_BR").name == "Brazilian Portuguese"


def test_cases_are_read_by_split_and_broken_ones_refused(tmp_path: Path) -> None:
    card = load_card(own_card(tmp_path / "haiku"))
    case = '{"id": "a", "split": "train", "inputs": {"topic": "rain"}, "expected": "Rain…"}\n'
    path = tmp_path / "haiku" / "cases.jsonl"
    path.write_text(case + case.replace('"a"', '"b"').replace("train", "test"))
    assert [one.id for one in card.cases("train")] == ["a"]
    assert [one.id for one in card.cases()] == ["a", "b"]
    for broken, said in ((case + case, "'a' comes twice"), ("{}\n", "line 1: no case: id"), ("{\n", "line 1: no case")):
        path.write_text(broken)
        with pytest.raises(DataError, match=said):
            card.cases()
