"""The plain function `chat(message, history)` that Gradio's ChatInterface expects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from whetstone.chat.context import Overflow, fit
from whetstone.chat.history import as_messages, as_text
from whetstone.chat.summary import Summaries
from whetstone.errors import UsageError
from whetstone.models import ChatModel, load_model
from whetstone.types import Message, Options, user
from whetstone.types import system as system_message

SystemPrompt = str | Callable[[str, list[Message]], str]


def chat_fn(
    model: str | ChatModel = "smollm2",
    system: SystemPrompt = "",
    options: Options = Options(),  # noqa: B008
    overflow: Overflow = "refuse",
) -> Callable[[Any, Sequence[Any] | None], Iterator[str]]:
    """A generator function `chat(message, history)` that yields the growing answer.

        gr.ChatInterface(chat_fn("smollm2")).launch()

    Each call sends the system prompt, the whole history and the message: nothing is remembered between calls. Closing
    the generator, which is what Gradio's stop button does, stops the model.

    Args:
        model: a model, or the spec of one, which is loaded at the first message.
        system: the system prompt, or a function `(message, history)` that gives it, for instance to add what the shop
            does not sell when the message asks for it. The history that it gets is a list of messages.
        options: sampling options.
        overflow: what to do when the conversation does not fit the model's context, see `whetstone.chat.context.fit`.

    The function that is returned takes the message as a text, or as the dictionary of a multimodal textbox, and the
    history as message dictionaries, or as the older list of `[user, assistant]` pairs, with None where nobody spoke.

    Raises (when the generator is read):
        UsageError: the message is empty, or the history cannot be read.
        DoesNotFitError: the conversation does not fit.
        ModelError: the model cannot be loaded, or fails.
    """
    loading = threading.Lock()
    loaded: list[ChatModel] = [] if isinstance(model, str) else [model]
    summaries = Summaries()

    def chat(message: Any, history: Sequence[Any] | None = None) -> Iterator[str]:
        text = as_text(message)
        if not text.strip():
            raise UsageError("the message is empty: write something")
        with loading:
            if not loaded:
                assert isinstance(model, str)
                loaded.append(load_model(model))
        earlier = as_messages(history)
        instructions = system(text, earlier) if callable(system) else system
        told = [system_message(instructions)] if instructions else []
        fitting = fit(loaded[0], [*told, *earlier, user(text)], options, overflow, summaries)
        answer = ""
        stream = loaded[0].stream(fitting.messages, options)
        try:
            for chunk in stream:
                if chunk.text:
                    answer += chunk.text
                    yield answer
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()

    return chat
