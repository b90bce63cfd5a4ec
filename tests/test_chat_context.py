"""What a conversation takes of the context, and what is left out, never silently, when it does not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.chat.context import DoesNotFitError, fit, measure
from whetstone.chat.summary import Summaries
from whetstone.models import ChatModel, load_model, reply
from whetstone.models.scripted import ScriptedModel
from whetstone.types import Message, Options, assistant, system, user


def scripted(context: int = 200) -> ChatModel:
    return load_model(f"scripted:echo?context_length={context}")


def talk(exchanges: int, words: int = 10) -> list[Message]:
    said: list[Message] = [system("You are brief.")]
    for number in range(exchanges):
        said += [user(f"question {number} " + "word " * words), assistant(f"answer {number}")]
    return [*said, user("the new message")]


def test_the_parts_add_up_to_the_prompt_that_the_engine_counts() -> None:
    model = load_model("smollm2")
    try:
        messages = [
            system("Be kind. 안녕"),
            user("I want to buy a tie 👔"),
            assistant("Which colour?"),
            user("a red one"),
        ]
        use = measure(model, messages, Options(max_tokens=5))
        counted = reply(model, messages, Options(temperature=0, max_tokens=5)).usage.prompt_tokens
        assert use.exact
        assert use.used == counted
        assert use.limit == 4096
        assert use.reply == 5
        assert min(use.system, use.history, use.message, use.template) > 0
        assert use.free == 4096 - counted - 5
    finally:
        model.close()


def test_what_the_template_says_of_its_own_accord_counts_as_template() -> None:
    model = load_model("smollm2")
    try:
        without = measure(model, [user("hi")])
        with_own = measure(model, [system("Hi."), user("hi")])
        assert without.system == 0
        assert without.template > with_own.template  # SmolLM2's template writes a system prompt where there is none
    finally:
        model.close()


def test_an_endpoint_without_a_tokenizer_is_guessed_and_said_to_be() -> None:
    model = load_model("openai:any?base_url=http://127.0.0.1:9/v1")
    use = measure(model, [system("a" * 40), user("b" * 80)])
    assert (use.exact, use.limit, use.free, use.fits) == (False, None, None, True)
    assert (use.system, use.message) == (10, 20)
    model.close()


def test_a_conversation_that_fits_is_sent_as_it_is() -> None:
    messages = talk(2)
    fitting = fit(scripted(), messages)
    assert fitting.messages == tuple(messages)
    assert fitting.dropped == ()


def test_one_that_does_not_fit_is_refused_with_what_would_be_dropped() -> None:
    messages = talk(20)
    with pytest.raises(DoesNotFitError) as caught:
        fit(scripted(), messages)
    dropped = caught.value.would_drop
    assert dropped == tuple(range(1, 1 + len(dropped)))  # the oldest, the system prompt never
    assert len(dropped) % 2 == 0  # whole exchanges
    assert "'question 0 word" in str(caught.value)
    assert fit(scripted(), messages, overflow="drop_oldest").dropped == dropped


@given(exchanges=st.integers(0, 30), words=st.integers(0, 30), context=st.integers(64, 400))
def test_dropping_leaves_out_as_few_whole_exchanges_as_will_do(exchanges: int, words: int, context: int) -> None:
    model, messages = scripted(context), talk(exchanges, words)
    if measure(model, messages).fits:
        return
    if not measure(model, [messages[0], messages[-1]]).fits:
        with pytest.raises(DoesNotFitError, match="would not help"):
            fit(model, messages, overflow="drop_oldest")
        return
    fitting = fit(model, messages, overflow="drop_oldest")
    assert fitting.use.fits
    assert fitting.messages == (messages[0], *messages[1 + len(fitting.dropped) :])
    back = [messages[0], *messages[1 + len(fitting.dropped) - 2 :]]
    assert not measure(model, back).fits  # one exchange more would not


def test_what_a_tool_said_goes_with_its_call() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[Message] = [
        user("look it up " + "word " * 80),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "word " * 80},
        assistant("found"),
        user("thanks"),
    ]
    assert fit(scripted(160), messages, overflow="drop_oldest").dropped == (0, 1, 2, 3)


def test_a_message_that_is_too_long_alone_is_not_helped_by_dropping() -> None:
    messages = [*talk(3)[:-1], user("word " * 500)]
    for overflow in ("refuse", "drop_oldest", "summarise"):
        with pytest.raises(DoesNotFitError, match="would not help") as caught:
            fit(scripted(), messages, overflow=overflow)  # type: ignore[arg-type]
        assert caught.value.would_drop == ()


class Summing(ScriptedModel):
    """Sums up by naming the questions it was shown; everything it is asked has to fit its context."""

    def __init__(self, context: int) -> None:
        super().__init__(self._sum, context_length=context)

    @staticmethod
    def _sum(messages: object) -> str:
        text = str(list(messages)[-1]["content"])  # type: ignore[call-overload]
        known = text.partition("began like this: ")[2].partition(". Write")[0].split()
        return " ".join([*known, *(f"q{number}" for number in range(50) if f"question {number} " in text)])


def test_summarising_puts_what_was_dropped_into_the_system_prompt_and_is_continued() -> None:
    model, summaries = Summing(400), Summaries()
    messages = talk(20, words=12)
    fitting = fit(model, messages, overflow="summarise", summaries=summaries)
    assert fitting.use.fits
    assert fitting.dropped
    told = str(fitting.messages[0]["content"])
    assert told.startswith("You are brief.\n\nSummary of the earlier part")
    assert "q0 q1" in told
    asked = len(model.asked)
    longer = [*messages[:-1], user("the new message"), assistant("good"), user("question 30 " + "word " * 12)]
    again = fit(model, longer, overflow="summarise", summaries=summaries)
    assert len(again.dropped) >= len(fitting.dropped)
    assert len(model.asked) - asked <= 1  # the earlier summary is gone on from
    assert again.summary.startswith(fitting.summary)
