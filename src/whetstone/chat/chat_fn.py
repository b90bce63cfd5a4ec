"""The plain function `chat(message, history)` that Gradio's ChatInterface expects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from whetstone.chat.context import Overflow, fit
from whetstone.chat.history import as_messages, as_text
from whetstone.chat.summary import Summaries
from whetstone.errors import UsageError
from whetstone.models import ChatModel, load_model
from whetstone.tools.calling import Consent
from whetstone.tools.events import Called, Said
from whetstone.tools.limits import ToolLimits
from whetstone.tools.loop import run_tools
from whetstone.tools.opening import open_tools
from whetstone.tools.tool import Tool, ToolSource
from whetstone.tools.tool_box import ToolBox
from whetstone.types import Chunk, Message, Options, user
from whetstone.types import system as system_message

SystemPrompt = str | Callable[[str, list[Message]], str]
ToolLike = str | Tool | ToolSource | Callable[..., Any]


def chat_fn(
    model: str | ChatModel = "smollm2",
    system: SystemPrompt = "",
    options: Options = Options(),  # noqa: B008
    overflow: Overflow = "refuse",
    tools: Sequence[ToolLike] = (),
    allowed: Collection[str] = (),
    consent: Consent | None = None,
    limits: ToolLimits = ToolLimits(),  # noqa: B008
) -> Callable[..., Iterator[str]]:
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
        tools: that the model may call: functions with types and a docstring, tools, or specs such as "calculator" (see
            `open_tools`). A function that is handed over here may be called; all others need one of the next two.
        allowed: names of tools that may be called without asking.
        consent: asked for each other call.
        limits: what one answer may spend on calls.

    The function that is returned takes the message as a text, or as the dictionary of a multimodal textbox, and the
    history as message dictionaries, or as the older list of `[user, assistant]` pairs, with None where nobody spoke.

    Raises:
        UsageError: a tool may be called neither by name nor by consent, or is none.

    Raises (when the generator is read):
        UsageError: the message is empty, or the history cannot be read.
        DoesNotFitError: the conversation does not fit.
        ModelError: the model cannot be loaded, or fails.
    """
    loading = threading.Lock()
    loaded: list[ChatModel] = [] if isinstance(model, str) else [model]
    summaries = Summaries()
    box, named = _box(tools, allowed, consent)

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
        offered = options.model_copy(update={"tools": box.schemas()}) if tools else options
        fitting = fit(loaded[0], [*told, *earlier, user(text)], offered, overflow, summaries)
        answer = ""
        stream: Iterator[Chunk] = (
            _said(loaded[0], fitting.messages, options, box, named, consent, limits)
            if tools
            else loaded[0].stream(fitting.messages, options)
        )
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


def _box(tools: Sequence[ToolLike], allowed: Collection[str], consent: Consent | None) -> tuple[ToolBox, set[str]]:
    """The tools, and the names of those that may be called without asking."""
    parts: list[Tool | ToolSource | Callable[..., Any]] = []
    own: set[str] = set()
    for one in tools:
        if isinstance(one, str):
            parts.append(open_tools([one]))
            continue
        parts.append(one)
        if not isinstance(one, ToolSource) and callable(one):  # a function of the caller's, made a tool or not
            own.update(ToolBox([one]).names)
    box = ToolBox(parts)
    named = {*allowed, *own}
    for name in named:
        box.get(name)
    if consent is None and (missing := [name for name in box.names if name not in named]):
        raise UsageError(
            f"{', '.join(missing)} may not be called: name what may be called without asking in `allowed`, or give "
            "`consent`, which is asked"
        )
    return box, named


def _said(
    model: ChatModel,
    messages: Sequence[Message],
    options: Options,
    box: ToolBox,
    allowed: Collection[str],
    consent: Consent | None,
    limits: ToolLimits,
) -> Iterator[Chunk]:
    """What a model says while it calls tools."""
    run = run_tools(model, messages, box, options=options, limits=limits, consent=consent, allowed=allowed)
    try:
        said, between = False, ""
        for event in run:
            if isinstance(event, Called):
                between = "\n\n" if said else ""
            elif isinstance(event, Said):
                if event.chunk.text and between:
                    yield Chunk(text=between)
                    between = ""
                said = said or bool(event.chunk.text)
                yield event.chunk
    finally:
        run.close()
