"""A conversation that goes on: what is sent, what is kept, and what happens when something breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from whetstone.chat.context import DoesNotFitError
from whetstone.chat.session import ChatSession
from whetstone.chat.store import ConversationStore
from whetstone.errors import ModelConnectionError, UnknownModelError, UsageError
from whetstone.models import ChatModel, load_model
from whetstone.models.pool import ModelPool
from whetstone.models.scripted import ScriptedModel
from whetstone.models.scripted_plan import Planned
from whetstone.storage.database import open_database
from whetstone.types import Options, Turn, system, user

TIE, RED = "I want to buy a tie", "a red one"


@pytest.fixture
def store() -> Iterator[ConversationStore]:
    database = open_database()
    yield ConversationStore(database)
    database.close()


def session(store: ConversationStore, *models: ChatModel, told: str = "", **options: Any) -> ChatSession:
    """A new conversation with models named m0, m1, ..."""
    named = {f"m{number}": model for number, model in enumerate(models)}
    pool = ModelPool({name: f"scripted:{name}" for name in named}, load=lambda spec: named[spec.partition(":")[2]])
    return ChatSession(store, pool, store.create(model="m0", system=told, options=Options(**options)))


def said(chat: ChatSession) -> list[tuple[str, Any, str]]:
    return [(turn.message["role"], turn.message["content"], turn.state) for turn in chat.path()]


def sent(model: ScriptedModel, request: int = -1) -> list[Any]:
    return [(message["role"], message["content"]) for message in model.asked[request].messages]


def read(answer: Iterator[Any]) -> str:
    return "".join(chunk.text for chunk in answer)


def test_every_turn_sends_the_system_prompt_the_whole_history_and_the_new_message(store: ConversationStore) -> None:
    model = ScriptedModel(["Which colour?", "Silk or wool?"])
    chat = session(store, model, told="You sell ties.", temperature=0.5)
    assert read(chat.ask(TIE)) == "Which colour?"
    assert read(chat.ask(RED)) == "Silk or wool?"
    history = [("system", "You sell ties."), ("user", TIE), ("assistant", "Which colour?"), ("user", RED)]
    assert sent(model) == history
    assert model.asked[1].options.temperature == 0.5
    assert said(chat)[1:3] == [("assistant", "Which colour?", "complete"), ("user", RED, "complete")]


def test_an_answer_keeps_where_it_came_from(store: ConversationStore) -> None:
    model = ScriptedModel(["Which colour?"])
    chat = session(store, model, told="You sell ties.", seed=3)
    answer = chat.ask(TIE)
    read(answer)
    origin = answer.turn.origin
    assert origin is not None
    assert store.prompt(origin.prompt_hash) == model.render([system("You sell ties."), user(TIE)])
    assert origin.model == model.identity
    assert (origin.options.seed, origin.finish_reason, origin.cost) == (3, "stop", 0.0)
    assert origin.usage.completion_tokens > 0
    assert origin.first_token_seconds is not None
    assert 0 < origin.first_token_seconds <= origin.seconds
    assert chat.path()[-1] == answer.turn


def test_the_embedded_model_is_given_the_history(store: ConversationStore) -> None:
    chat = session(store, load_model("smollm2"), told="You sell ties.", max_tokens=16, temperature=0)
    read(chat.ask(TIE))
    answer = chat.ask(RED)
    text = read(answer)
    assert text.strip()
    assert answer.turn.origin is not None
    prompt = store.prompt(answer.turn.origin.prompt_hash)
    first = str(chat.path()[1].message["content"])
    assert prompt == (
        f"<|im_start|>system\nYou sell ties.<|im_end|>\n<|im_start|>user\n{TIE}<|im_end|>\n"
        f"<|im_start|>assistant\n{first}<|im_end|>\n<|im_start|>user\n{RED}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert answer.turn.origin.usage.prompt_tokens == answer.fitting.use.used


def test_stopping_keeps_what_has_arrived_and_stops_the_engine(store: ConversationStore) -> None:
    model = ScriptedModel(["a long reply that goes on"], chunk=1)
    chat = session(store, model)
    answer = chat.ask("talk")
    for _ in range(6):
        next(answer)
    answer.close()
    assert said(chat)[-1] == ("assistant", "a long", "partial")
    assert model._open == 0
    answer.close()
    with pytest.raises(StopIteration):
        next(answer)


def test_an_answer_is_stopped_from_another_thread_while_nothing_arrives(store: ConversationStore) -> None:
    model = ScriptedModel(["never said"], delay=60)
    chat = session(store, model)
    answer = chat.ask("talk")
    reading = threading.Thread(target=lambda: list(answer))
    reading.start()
    answer.close()
    reading.join(20)
    assert not reading.is_alive()
    assert said(chat)[-1] == ("assistant", "", "partial")


def test_an_endpoint_that_dies_keeps_the_partial_text_and_retry_asks_again(store: ConversationStore) -> None:
    model = ScriptedModel(["half of this reply"] * 2, faults={0: "half_stream"})
    chat = session(store, model)
    answer = chat.ask("talk")
    with pytest.raises(ModelConnectionError):
        list(answer)
    assert answer.turn.state == "failed"
    assert "planned fault half_stream" in answer.turn.error
    assert answer.turn.message["content"] == "half of t"
    assert read(chat.retry()) == "half of this reply"
    assert sent(model) == [("user", "talk")]
    assert [turn.state for turn in chat.siblings(answer.turn.id)] == ["failed", "complete"]
    assert said(chat) == [("user", "talk", "complete"), ("assistant", "half of this reply", "complete")]


def test_what_was_said_around_an_answer_that_never_began_is_joined(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: "Fine.", faults={0: "connection"})
    chat = session(store, model)
    with pytest.raises(ModelConnectionError):
        list(chat.ask("first"))
    read(chat.ask("second"))
    assert sent(model) == [("user", "first\n\nsecond")]
    read(chat.ask("third"))
    assert sent(model) == [("user", "first\n\nsecond"), ("assistant", "Fine."), ("user", "third")]


def test_what_was_cut_off_can_be_resumed(store: ConversationStore) -> None:
    model = ScriptedModel([Planned(reply="one two three", match="count"), " four"], chunk=1)
    chat = session(store, model)
    answer = chat.ask("count")
    for _ in range(7):
        next(answer)
    answer.close()
    model.asked.clear()
    read(chat.resume(answer.turn.id))
    assert sent(model) == [("user", "count"), ("assistant", "one two")]
    turn = chat.path()[-1]
    assert str(turn.message["content"]).startswith("one two")
    assert turn.parent == answer.turn.parent


def test_the_embedded_model_goes_on_from_a_chosen_token(store: ConversationStore) -> None:
    chat = session(store, load_model("smollm2"), max_tokens=4, temperature=0)
    answer = chat.ask("Name a colour.")
    read(answer)
    resumed = chat.resume(answer.turn.id, prefix="Blue is")
    added = read(resumed)
    assert added
    assert resumed.turn.message["content"] == "Blue is" + added
    assert store.prompt(resumed.turn.origin.prompt_hash).endswith("<|im_start|>assistant\nBlue is")  # type: ignore[union-attr]


def test_editing_opens_a_branch_and_leaves_the_other_one(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: f"You said {messages[-1]['content']}.")
    chat = session(store, model)
    read(chat.ask("one"))
    read(chat.ask("two"))
    first, _, second, _ = chat.path()
    read(chat.edit(second.id, "three"))
    assert sent(model) == [("user", "one"), ("assistant", "You said one."), ("user", "three")]
    assert [turn.message["content"] for turn in chat.siblings(second.id)] == ["two", "three"]
    chat.open(second.id)
    assert [content for _, content, _ in said(chat)] == ["one", "You said one.", "two", "You said two."]
    read(chat.edit(first.id, "zero"))
    assert sent(model) == [("user", "zero")]
    assert len(store.turns(chat.conversation.id)) == 8


def test_branching_goes_on_from_an_earlier_turn(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: f"You said {messages[-1]['content']}.")
    chat = session(store, model)
    read(chat.ask("one"))
    read(chat.ask("two"))
    chat.branch(chat.path()[1].id)
    read(chat.ask("other"))
    assert sent(model) == [("user", "one"), ("assistant", "You said one."), ("user", "other")]


def test_two_models_answer_the_same_turn(store: ConversationStore) -> None:
    one, two = ScriptedModel(["From one."]), ScriptedModel(["From two."])
    chat = session(store, one, two)
    first = chat.ask("hello")
    parent = first.turn.parent
    assert parent is not None
    second = chat.answer(parent, model="m1")
    threads = [threading.Thread(target=lambda a=answer: list(a)) for answer in (first, second)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [turn.message["content"] for turn in chat.siblings(first.turn.id)] == ["From one.", "From two."]
    assert sent(one) == sent(two) == [("user", "hello")]


def test_two_system_prompts_answer_the_same_turn(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: f"Told: {messages[0]['content']}")
    chat = session(store, model, told="You sell ties.")
    first = chat.ask("hello")
    parent = first.turn.parent
    assert parent is not None
    second, third = chat.answer(parent, system="You sell belts."), chat.answer(parent, system="")
    texts = [read(answer) for answer in (first, second, third)]
    assert texts == ["Told: You sell ties.", "Told: You sell belts.", "Told: hello"]
    assert [turn.origin and turn.origin.system for turn in chat.siblings(first.turn.id)] == [
        None,
        "You sell belts.",
        "",
    ]
    assert sent(model, 1) == [("system", "You sell belts."), ("user", "hello")]
    assert sent(model, 2) == [("user", "hello")]
    origin = second.turn.origin
    assert origin is not None
    assert store.prompt(origin.prompt_hash) == model.render([system("You sell belts."), user("hello")])
    chat.branch(second.turn.id)
    read(chat.ask("go on"))
    assert sent(model)[0] == ("system", "You sell ties.")  # it was for that one answer


def test_an_answer_with_its_own_system_prompt_is_retried_and_resumed_with_it(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: "one two three", chunk=1)
    chat = session(store, model, told="You sell ties.")
    answer = chat.ask("count", system="You sell belts.")
    for _ in range(7):
        next(answer)
    answer.close()
    store.update(chat.conversation.id, system="You sell hats.")
    reopened = ChatSession(store, chat._pool, store.get(chat.conversation.id))
    for again in (reopened.retry(answer.turn.id), reopened.resume(answer.turn.id), reopened.retry()):
        read(again)
        assert sent(model)[0] == ("system", "You sell belts.")
        assert again.turn.origin is not None
        assert again.turn.origin.system == "You sell belts."
    assert sent(model, 2)[-1] == ("assistant", "one two")
    other = reopened.retry(answer.turn.id, system="You sell socks.")
    read(other)
    assert sent(model)[0] == ("system", "You sell socks.")
    assert other.turn.origin is not None
    assert other.turn.origin.system == "You sell socks."


def test_nothing_is_kept_of_a_message_that_cannot_be_sent(store: ConversationStore) -> None:
    chat = session(store, ScriptedModel(["x"] * 9, context_length=40))
    for broken, error in (("", UsageError), ("  ", UsageError), ("word " * 50, DoesNotFitError)):
        with pytest.raises(error):
            chat.ask(broken)
    with pytest.raises(UnknownModelError):
        chat.ask("hello", model="nobody")
    assert chat.path() == []


def test_the_turns_to_drop_are_named_and_dropped_only_when_chosen(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: "word " * 20, context_length=120)
    chat = session(store, model, max_tokens=20)
    read(chat.ask("first " + "word " * 20))
    read(chat.ask("second " + "word " * 10))
    with pytest.raises(DoesNotFitError) as caught:
        chat.ask("third " + "word " * 20)
    assert caught.value.would_drop == (0, 1)
    answer = chat.ask("third " + "word " * 20, overflow="drop_oldest")
    assert answer.fitting.dropped == (0, 1)
    read(answer)
    assert sent(model)[0][1].startswith("second")
    assert len(chat.path()) == 6  # what was not sent is still there


def test_reasoning_is_kept_apart_and_not_sent_back(store: ConversationStore) -> None:
    model = ScriptedModel([Planned(reply="Blue.", reasoning="They like the sea."), "Yes."])
    chat = session(store, model)
    read(chat.ask("a colour?"))
    turn: Turn = chat.path()[-1]
    assert (turn.message["content"], turn.reasoning) == ("Blue.", "They like the sea.")
    read(chat.ask("sure?"))
    assert sent(model) == [("user", "a colour?"), ("assistant", "Blue."), ("user", "sure?")]
    assert "reasoning_content" not in model.asked[1].messages[1]


def test_the_meter_counts_what_would_be_sent(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: "four words of reply")
    chat = session(store, model, told="be kind", max_tokens=50)
    read(chat.ask("one two three"))
    use = chat.use("and now")
    assert use.reply == 50
    read(chat.ask("and now"))
    last = chat.path()[-1].origin
    assert last is not None
    assert last.usage.prompt_tokens == use.used
