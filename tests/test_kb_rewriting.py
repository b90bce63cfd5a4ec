"""Questions that lean on a conversation: which do, what is carried over, and which rewritings of a model are taken."""

from __future__ import annotations

import re

import pytest

from whetstone.errors import BadReplyError, ModelConnectionError
from whetstone.models.scripted import ScriptedModel
from whetstone.retrieval.rewriting import carried_over, leans_on_history, standalone_question
from whetstone.types import Message, assistant, user

MAYOR = [user("Who is the mayor of Eastholm?"), assistant("The mayor is Petra Voss.")]
FARE = [user("What does a day ticket for bus line 12 cost in 2023?"), assistant("It costs 6 euros.")]
LIBRARY = [user("도서관 관장은 누구인가요?"), assistant("관장은 김하늘입니다.")]


@pytest.mark.parametrize(
    "question",
    [
        "Where was she born?", "And in 2024?", "What about tram line 3?", "Why?", "How long is it?", "When was that?",
        "Which one?", "그 사람은 어디에서 태어났나요?", "관장은요?", "그럼 월요일은?", "Price?",
    ],
)  # fmt: skip
def test_these_lean_on_the_conversation(question: str) -> None:
    assert leans_on_history(question)


@pytest.mark.parametrize(
    "question",
    [
        "Who is the mayor of Eastholm?", "Are there parking lots near the harbour museum?", "Who runs Dock Lane 4?",
        "What is the policy that covers fire damage of houses?", "도서관은 월요일에 몇 시까지 문을 여나요?",
    ],
)  # fmt: skip
def test_these_stand_by_themselves(question: str) -> None:
    assert not leans_on_history(question)


def test_without_a_conversation_nothing_changes_and_no_model_is_asked() -> None:
    model = ScriptedModel(["never"])
    assert standalone_question(model, [], "Where was she born?") == "Where was she born?"
    assert standalone_question(model, MAYOR, "Who runs the Harbour Museum in Eastholm?") == (
        "Who runs the Harbour Museum in Eastholm?"
    )
    assert model.asked == []


def test_a_good_rewriting_is_taken() -> None:
    model = ScriptedModel(['"Where was Petra Voss born?"\n\nI hope this helps!'])
    assert standalone_question(model, MAYOR, "Where was she born?") == "Where was Petra Voss born?"
    (asked,) = model.asked
    assert asked.options.temperature == 0
    assert asked.options.max_tokens is not None


@pytest.mark.parametrize(
    "said",
    [
        "Petra Voss was born in Riga.",  # an answer, from nowhere
        "Where does Petra Voss live?",  # another question
        "Where was she born?",  # no better than before
        "Where was Angela Merkel born?",  # somebody whom nobody named
        "I'm sorry, I cannot help with that.",
        "",
        "Where was Petra Voss born? " * 40,
    ],
)
def test_a_bad_rewriting_is_not_taken_and_names_are_carried_over(said: str) -> None:
    assert standalone_question(ScriptedModel([said]), MAYOR, "Where was she born?") == (
        "Where was she born? (Petra Voss, Eastholm)"
    )


@pytest.mark.parametrize("error", [ModelConnectionError("it is gone"), BadReplyError("nonsense")])
def test_a_failing_model_does_not_stop_the_search(error: Exception) -> None:
    def fail(_: object) -> str:
        raise error

    assert "Petra Voss" in standalone_question(ScriptedModel(fail), MAYOR, "Where was she born?")


def test_the_model_sees_a_bounded_part_of_the_conversation() -> None:
    history: list[Message] = []
    for n in range(50):
        history += [user(f"question {n} " + "x" * 5_000), assistant("y" * 5_000)]
    model = ScriptedModel(["no"], context_length=100_000)
    standalone_question(model, history, "Where was she born?")
    (asked,) = model.asked
    assert sum(len(str(message["content"])) for message in asked.messages) < 5_000


def test_the_embedded_model_is_not_asked() -> None:
    model = ScriptedModel(["Where was Petra Voss born?"], spec="smollm2")
    assert standalone_question(model, MAYOR, "Where was she born?") == "Where was she born? (Petra Voss, Eastholm)"
    assert model.asked == []


def test_without_a_model_names_are_carried_over() -> None:
    assert standalone_question(None, MAYOR, "Where was she born?") == "Where was she born? (Petra Voss, Eastholm)"


def test_names_come_from_the_last_exchange_that_has_any() -> None:
    history = [*MAYOR, user("Where was she born?"), assistant("I do not know, sorry.")]
    assert "Petra Voss" in carried_over(history, "When was she elected?")


def test_a_question_that_goes_on_keeps_the_words_and_replaces_its_numbers() -> None:
    rewritten = carried_over(FARE, "And in 2024?")
    assert "2024" in rewritten
    assert "2023" not in rewritten
    assert {"ticket", "bus", "cost"} <= set(re.findall(r"\w+", rewritten))


def test_korean_names_are_carried_over_without_capitals() -> None:
    assert "김하늘" in carried_over(LIBRARY, "그 사람은 어디에서 태어났나요?")
    assert "도서관" in carried_over([user("도서관은 언제 여나요?"), assistant("아침 9시에 엽니다.")], "관장은요?")


def test_what_the_question_names_already_is_not_said_twice() -> None:
    assert carried_over(MAYOR, "Where is Petra Voss's office, and when is she there?").count("Petra") == 1
