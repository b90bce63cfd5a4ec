"""Chat templates: a model's own Jinja, rendered as `transformers` renders it, with the origin of every character.

The text equals `tokenizer.apply_chat_template(..., tokenize=False)` of transformers 5 (`utils/chat_template_utils.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2

from whetstone.errors import ModelFileError, RequestRefusedError
from whetstone.tokens.sandbox import TIME_LIMIT, WATCHDOG, TemplateTimeout, check_width
from whetstone.tokens.spans import Kind, Rendered, Source, label
from whetstone.tokens.template_environment import compile_template, generation_tracker
from whetstone.tokens.tracked import concat, tracked

_CONTINUE_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
_KINDS: Mapping[str, Kind] = {
    "role": "role",
    "tool_calls": "tool_calls",
    **dict.fromkeys(_REASONING_FIELDS, "reasoning"),
}


class ChatTemplate:
    """A chat template, compiled once.

    Args:
        source: its Jinja text.
        special_tokens: what it may name: `bos_token`, `eos_token`, ... -> spelling.
        control: spellings of all control tokens of the vocabulary, by which the result is labelled.
        name: whose template it is, for messages.

    Raises:
        ModelFileError: it is no template.
    """

    def __init__(
        self, source: str, special_tokens: Mapping[str, str] | None = None, control: Sequence[str] = (), name: str = ""
    ) -> None:
        self.source = source
        self.special_tokens = dict(special_tokens or {})
        self.control = tuple(control)
        self.name = name
        try:
            self._compiled, self._generation_blocks = compile_template(source)
        except (jinja2.TemplateError, RecursionError, ValueError) as error:
            where = f"{name}: " if name else ""
            raise ModelFileError(f"{where}the chat template cannot be read: {error}") from None

    @property
    def marks_generation(self) -> bool:
        """Whether it says itself, with `{% generation %}` blocks, what a model is to be trained on."""
        return self._generation_blocks

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        now: datetime | None = None,
        **variables: Any,
    ) -> Rendered:
        """The text that it makes of messages, every character labelled.

        Args:
            messages: role, content and whatever else the template reads.
            tools: JSON schemas of functions.
            documents: with title and text.
            add_generation_prompt: end with what begins an answer of the assistant's.
            continue_final_message: end inside the last message, without what closes it.
            now: what `strftime_now` tells; by default the time it is.
            **variables: further variables of the template, such as `enable_thinking`.

        Raises:
            RequestRefusedError: the template refuses the messages, or the sandbox stopped it; the sentence says why.
        """
        if not messages:
            raise self._refusal("there is no message")
        if continue_final_message and add_generation_prompt:
            raise self._refusal("a message cannot be continued and a new one begun at once")
        chat = [_tracked_message(number, message) for number, message in enumerate(messages)]
        final = _tag_final(chat, self) if continue_final_message else ""
        blocks: list[tuple[int, int]] = []
        told = {
            **self.special_tokens,
            **variables,
            "messages": chat,
            "tools": _told(list(tools), Source("tools")) if tools is not None else None,
            "documents": _told(list(documents), Source("documents")) if documents is not None else None,
            "add_generation_prompt": add_generation_prompt,
            "strftime_now": lambda form: (now or datetime.now()).strftime(form),
        }
        text = self._run(told, blocks)
        if continue_final_message:
            text = self._cut_at_tag(text, final)
        return Rendered(str.__str__(text), label(text, self.control), tuple(blocks))

    def _run(self, variables: dict[str, Any], blocks: list[tuple[int, int]]) -> str:
        try:
            with WATCHDOG.limit(TIME_LIMIT):
                pieces: list[str] = []
                with generation_tracker(self._compiled.environment).activate(pieces, blocks):
                    size = 0
                    context = self._compiled.new_context(variables)
                    for piece in self._compiled.root_render_func(context):
                        pieces.append(piece)
                        size += len(piece)
                        check_width(size)
                return concat(pieces)
        except TemplateTimeout:
            raise self._refusal(f"it was stopped after {TIME_LIMIT:g} seconds") from None
        except jinja2.exceptions.SecurityError as error:
            raise self._refusal(f"the sandbox stopped it: {error}") from None
        except jinja2.TemplateError as error:
            raise self._refusal(str(error.message or error)) from None
        except (RecursionError, MemoryError) as error:
            raise self._refusal(f"the sandbox stopped it: {type(error).__name__}") from None
        except Exception as error:  # a template is a program, which can fail in every way
            raise self._refusal(f"{type(error).__name__}: {error}") from None

    def _cut_at_tag(self, text: str, final: str) -> str:
        tag = _CONTINUE_TAG.strip()
        if final.strip() not in text or tag not in text:
            raise self._refusal("it changes the last message, so that it cannot be continued")
        at = text.rindex(tag)
        kept = text[:at]
        return kept if text[at : at + len(_CONTINUE_TAG)] == _CONTINUE_TAG else kept.rstrip()

    def _refusal(self, why: str) -> RequestRefusedError:
        whose = f"{self.name}: " if self.name else ""
        return RequestRefusedError(f"{whose}the chat template refuses these messages: {why}")


def _told(value: Any, source: Source) -> Any:
    """A copy made of plain JSON values, whose texts say where they came from."""
    if type(value) is str:
        return tracked(value, source)
    if isinstance(value, str):
        return tracked(str.__str__(value), source)
    if isinstance(value, Mapping):
        return {str(key): _told(item, source) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item, source) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return f"<{type(value).__name__}>"


def _tracked_message(number: int, message: Mapping[str, Any]) -> dict[str, Any]:
    if type(message) is not dict and not isinstance(message, Mapping):
        raise RequestRefusedError(f"message {number} is {type(message).__name__}, where role and content were expected")
    made: dict[str, Any] = {}
    for key, value in message.items():
        if value is not None:
            made[key] = _told(value, Source(_KINDS.get(key, "content"), number))
    if not any(key in made for key in _REASONING_FIELDS):
        return made
    thought = next(made[key] for key in _REASONING_FIELDS if key in made)
    return {"thinking": thought, **made, "reasoning_content": thought}


def _tag_final(chat: list[dict[str, Any]], template: ChatTemplate) -> str:
    """Mark the end of the last message's text; that text."""
    content = chat[-1].get("content")
    if isinstance(content, list):
        for part in reversed(content):
            if isinstance(part, dict) and "text" in part:
                text: str = part["text"]
                part["text"] = text + _CONTINUE_TAG
                return text
        content = None
    if content is None or "content" not in template.source:
        raise template._refusal("the last message has no text to continue")
    chat[-1]["content"] = content + _CONTINUE_TAG
    return str(content)
