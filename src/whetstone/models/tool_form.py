"""Tools for models whose chat template has no place for them: described in the system message, called in JSON.

The reply is constrained by a JSON schema: either `{"reply": "…"}`, or a call `{"tool": "…", "arguments": {…}}`. Earlier
calls and results are written into the conversation in the same form, as messages of the roles that every template
knows. A seeded or greedy reply stays repeatable: calls are numbered through the conversation instead of drawing ids.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from whetstone.errors import BadReplyError, UsageError
from whetstone.types import Chunk, Message, Options, Reply, ToolCall

_RULE = """You can call tools. Answer with one line of JSON:
{{"tool": "NAME", "arguments": {{...}}}} calls a tool; you are told its result, and answer after that.
{{"reply": "TEXT"}} answers in words, when no tool is needed or the result is known.
The tools:
{tools}"""


def in_tool_form(messages: Sequence[Message], options: Options) -> tuple[list[Message], Options]:
    """Messages and options that say with text and a schema what they said with tools.

    Where no call can come (see `offers_tools`) nothing is constrained and no tool is described; earlier calls and
    results are still written out. With `tool_choice` none after calls the reply is constrained to words: a small model
    that sees its calls above goes on writing calls otherwise.

    Raises:
        UsageError: `tool_choice` names a tool that is not there, or a tool has no name.
    """
    tools = [_function(tool) for tool in options.tools]
    asked = offers_tools(messages, options)
    said = _without_roles(messages, in_json=asked)
    if not asked:
        return said, options.model_copy(update={"tools": (), "tool_choice": None})
    rule = _RULE.format(tools="\n".join(map(_described, tools)))
    if said and said[0]["role"] in ("system", "developer"):
        said[0] = {**said[0], "content": f"{_text(said[0])}\n\n{rule}"}
    else:
        said.insert(0, {"role": "system", "content": rule})
    schema = _schema(tools, options.tool_choice or "auto", options.json_schema)
    return said, options.model_copy(update={"tools": (), "tool_choice": None, "json_schema": schema})


def offers_tools(messages: Sequence[Message], options: Options) -> bool:
    """Whether the reply to these messages comes in the form that `read_form` reads.

    Not without tools, not where a last message of the assistant's is continued, and not with `tool_choice` none, unless
    the conversation holds calls.
    """
    continued = bool(messages) and messages[-1]["role"] == "assistant"
    may_call = options.tool_choice != "none" or calls_in(messages) > 0
    return bool(options.tools) and may_call and not continued


def read_form(chunks: Iterator[Chunk], number: int = 0) -> Generator[Chunk]:
    """The chunks of a reply in this form as text and calls; its words are streamed as they come.

    Log-probabilities stay those of the JSON's tokens. Closing the iterator closes `chunks`.

    Args:
        chunks: the constrained reply.
        number: of the call, in its id: how many there were before in the conversation.

    Raises:
        BadReplyError: the reply is complete and not of the form.
    """
    form = _Form()
    try:
        for chunk in chunks:
            text = form.feed(chunk.text)
            if chunk.finish_reason is None:
                read = dataclasses.replace(chunk, text=text)
                if read != Chunk():
                    yield read
                continue
            calls = form.calls(number) if chunk.finish_reason == "stop" else ()
            finish = "tool_calls" if calls else chunk.finish_reason
            yield dataclasses.replace(chunk, text=text + form.finish(), tool_calls=calls, finish_reason=finish)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def read_reply(reply: Reply, number: int = 0) -> Reply:
    """A finished reply in this form as text and calls; see `read_form`."""
    (read,) = read_form(iter([Chunk(text=reply.text, finish_reason=reply.finish_reason)]), number)
    return dataclasses.replace(reply, text=read.text, tool_calls=read.tool_calls, finish_reason=read.finish_reason)


def calls_in(messages: Sequence[Message]) -> int:
    """Tool calls in a conversation so far."""
    return sum(len(message.get("tool_calls") or ()) for message in messages)


class _Form:
    """Reads one reply of the form as it arrives."""

    _REPLY = re.compile(r'\s*\{\s*"reply"\s*:\s*"')
    # Of a JSON string's inside, what can be decoded now: an escape only when it is complete, half of a surrogate pair
    # only with the other half.
    _WHOLE = re.compile(
        r'(?:[^"\\]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
        r"|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*"
    )

    def __init__(self) -> None:
        self._all = ""
        self._at = 0  # up to where the words have been given
        self._in_words = False

    def feed(self, text: str) -> str:
        """The words that the text completes."""
        self._all += text
        if not self._in_words:
            beginning = self._REPLY.match(self._all)
            if beginning is None:
                return ""
            self._in_words, self._at = True, beginning.end()
        whole = self._WHOLE.match(self._all, self._at)
        end = whole.end() if whole else self._at
        words = json.loads(f'"{self._all[self._at : end]}"', strict=False)
        self._at = end
        return str(words)

    def finish(self) -> str:
        """Words that were not streamed: a reply that is itself JSON, once it is complete."""
        if self._in_words:
            return ""
        try:
            return json.dumps(json.loads(self._all)["reply"], ensure_ascii=False)
        except (ValueError, KeyError, TypeError):
            return ""

    def calls(self, number: int) -> tuple[ToolCall, ...]:
        """The call that a complete reply makes, if it makes one."""
        try:
            reply = json.loads(self._all, strict=False)
            if "reply" in reply:
                return ()
            arguments = json.dumps(reply["arguments"], ensure_ascii=False)
            return (ToolCall(f"call_{number}", str(reply["tool"]), arguments),)
        except (ValueError, KeyError, TypeError):
            raise BadReplyError(
                f"the reply is neither words nor the call of a tool, though it was asked to be: {self._all[:80]!r}"
            ) from None


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping) or not function.get("name"):
        raise UsageError(f'a tool has no name; write {{"type": "function", "function": {{"name": …}}}}, not {tool}')
    return function


def _described(function: Mapping[str, Any]) -> str:
    described = f"- {function['name']}"
    if function.get("description"):
        described += f": {function['description']}"
    return f"{described}\n  arguments: {json.dumps(_parameters(function), ensure_ascii=False)}"


def _parameters(function: Mapping[str, Any]) -> dict[str, Any]:
    return dict(function.get("parameters") or {"type": "object", "properties": {}, "additionalProperties": False})


def _schema(
    functions: Sequence[Mapping[str, Any]], choice: str, reply_schema: Mapping[str, Any] | None
) -> dict[str, Any]:
    if choice not in ("auto", "required", "none"):
        names = [str(function["name"]) for function in functions]
        functions = [function for function in functions if function["name"] == choice]
        if not functions:
            raise UsageError(f"tool_choice names the tool {choice}, and offered are only {', '.join(names)}")
    forms = [
        _object(tool={"type": "string", "const": function["name"]}, arguments=_parameters(function))
        for function in functions
        if choice != "none"
    ]
    if choice in ("auto", "none"):
        forms.append(_object(reply=dict(reply_schema) if reply_schema is not None else {"type": "string"}))
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _without_roles(messages: Sequence[Message], *, in_json: bool) -> list[Message]:
    """The messages without tool calls and without the role tool.

    Results become the user's; messages of the user's that then follow one another are joined, because some templates
    insist on turns.
    """
    names: dict[str, str] = {}
    said: list[Message] = []
    joinable = False  # the last one holds results
    for message in messages:
        if message["role"] == "tool":
            name = names.get(message.get("tool_call_id", ""), message.get("name", "tool"))
            text = f"The result of {name}: {_text(message)}"
        elif message["role"] == "assistant" and message.get("tool_calls"):
            names.update((call.get("id", ""), call["function"]["name"]) for call in message["tool_calls"])
            said.append({"role": "assistant", "content": _called(message)})
            joinable = False
            continue
        elif message["role"] == "assistant" and in_json:
            said.append({**message, "content": json.dumps({"reply": _text(message)}, ensure_ascii=False)})
            joinable = False
            continue
        elif message["role"] == "user" and joinable:
            text = _text(message)
        else:
            said.append(message)
            joinable = False
            continue
        if joinable:
            said[-1] = {**said[-1], "content": f"{_text(said[-1])}\n{text}"}
        else:
            said.append({"role": "user", "content": text})
        joinable = True
    return said


def _called(message: Message) -> str:
    lines = [json.dumps({"reply": text}, ensure_ascii=False)] if (text := _text(message)) else []
    for call in message.get("tool_calls") or ():
        arguments = call["function"].get("arguments") or "{}"
        with contextlib.suppress(ValueError):  # the model wrote no JSON; it sees what it wrote
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        lines.append(json.dumps({"tool": call["function"]["name"], "arguments": arguments}, ensure_ascii=False))
    return "\n".join(lines)


def _text(message: Message) -> str:
    content = message["content"]
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return content or ""
