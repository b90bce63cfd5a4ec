"""What the Tokens tab opens with for an answer of the Chat tab."""

from __future__ import annotations

import json
from typing import Any

from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError, WhetstoneError
from whetstone.models import parse_spec
from whetstone.types import Message, Turn, opening
from whetstone.ui.tokens_conversation import render
from whetstone.ui.tokens_sources import OfferedTokenizers


def of_answer(store: ConversationStore, tokenizers: OfferedTokenizers, turn: str) -> dict[str, Any]:
    """The exact prompt of an answer as `text`; its messages as JSON where their rendering is that very prompt, and ""
    where it is not; the `tokenizer` to choose; and a `note` that says so.

    Raises:
        UsageError: there is no such answer, or its prompt is not kept.
    """
    answer = store.turn(turn)
    if answer.origin is None or not answer.origin.prompt_hash:
        raise UsageError("this turn is no answer of a model: there is no prompt behind it")
    prompt = store.prompt(answer.origin.prompt_hash)
    spec = answer.origin.model.spec
    name = tokenizers.of_model(_canonical(spec))
    chosen = name or tokenizers.default
    messages = _messages(store, answer)
    same = name is not None and _renders(tokenizers, name, messages) == prompt
    note = f"This is the prompt that {spec} was sent."
    if name is None:
        note += f" Its tokenizer is not known here: {chosen} shows it."
    elif not same:
        note += " It is shown as text: the conversation was shortened or continued before it was sent."
    return {
        "text": prompt,
        "messages": json.dumps(messages, ensure_ascii=False, indent=1) if same else "",
        "tokenizer": chosen,
        "note": note,
    }


def _canonical(spec: str) -> str:
    try:
        return str(parse_spec(spec))
    except UsageError:
        return spec


def _messages(store: ConversationStore, answer: Turn) -> list[Message]:
    own = answer.origin.system if answer.origin else None
    begun = opening(store.get(answer.conversation).system if own is None else own)
    earlier = store.path(answer.conversation, answer.parent) if answer.parent else []
    return begun + [turn.message for turn in earlier]


def _renders(tokenizers: OfferedTokenizers, name: str, messages: list[Message]) -> str | None:
    try:
        asked = {"messages": messages, "add_generation_prompt": True}
        return render(tokenizers.get(name), asked).text
    except WhetstoneError:
        return None
