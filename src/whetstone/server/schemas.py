"""Requests to the API: OpenAI's fields, and llama.cpp's for what OpenAI has no route for.

A field that would change the answer and that no engine of ours honours is refused by name, unless its value is the one
that asks for nothing. Fields that only serve the caller's bookkeeping are accepted and ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from whetstone.types import Message, Options


def _is_text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("the text holds half a character (a lone surrogate), which no model can read") from None
    return text


def _is_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in it holds half a character (a lone surrogate), which no model can read") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


Text = Annotated[str, AfterValidator(_is_text)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_is_json)]
Stop = Annotated[Text, StringConstraints(min_length=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]

# Field -> the values that ask for nothing.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "min_p": (0, 0.0),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True,),
    "reasoning_effort": (),
    "repeat_penalty": (1, 1.0),
    "repetition_penalty": (1, 1.0),
    "suffix": ("",),
    "top_k": (0, -1),
    "verbosity": ("medium",),
    "web_search_options": (),
}
_BOOKKEEPING = (
    "background_tasks",  # this and the ids: Open WebUI
    "chat_id",
    "id",
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "session_id",
    "store",
    "user",
)


def _wrong(param: str, message: str) -> PydanticCustomError:
    """The error for a field that is wrong beside the others."""
    return PydanticCustomError("unsupported", "{message}", {"message": message, "param": param})


class Request(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = Field(None, description="one of /v1/models; the default model when left out")

    @model_validator(mode="before")
    @classmethod
    def _without_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {}
        for name, value in data.items():
            if name in cls.model_fields:
                kept[name] = value
            elif name in _BOOKKEEPING:
                continue
            elif name not in _UNSUPPORTED:
                kept[name] = value  # refused as unknown
            elif value is not None and not any(value == neutral for neutral in _UNSUPPORTED[name]):
                raise _wrong(name, f"the parameter {name} is not supported here; leave it out")
        return kept


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = Field(None, description="send token counts before the end")
    include_obfuscation: bool | None = Field(None, description="ignored: nothing is padded here")


class FunctionCall(BaseModel):
    """The function that a tool call calls."""

    model_config = ConfigDict(strict=True)

    name: Text
    arguments: Text = Field(description="JSON, as the model wrote it")


class CalledTool(BaseModel):
    """A call that the model asked for."""

    model_config = ConfigDict(strict=True)

    id: Text
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(BaseModel):
    """A part of a message's content."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: str = Field(description="text, or another kind that the model reads")
    text: Text | None = None

    @model_validator(mode="after")
    def _text_has_text(self) -> ContentPart:
        if self.type == "text" and self.text is None:
            raise ValueError("a part of type text needs the field text")
        _is_json(self.model_extra or {})
        return self


class ChatMessage(BaseModel):
    """One turn of a conversation. Fields that are not listed are the client's own and are not sent to the model."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[ContentPart] | None = None
    name: Text | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: Text | None = None
    reasoning_content: Text | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> ChatMessage:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"a message of role {self.role} needs the field content")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of role tool needs the field tool_call_id")
        if self.tool_calls and self.role != "assistant":
            raise ValueError(f"a message of role {self.role} cannot hold tool_calls")
        return self

    def as_message(self) -> Message:
        """The message as models take it."""
        message: Message = {"role": self.role, "content": None}
        if isinstance(self.content, list):
            message["content"] = [part.model_dump(exclude_none=True) for part in self.content]
        else:
            message["content"] = self.content
        if self.name is not None:
            message["name"] = self.name
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        if self.reasoning_content:
            message["reasoning_content"] = self.reasoning_content
        return message


class Function(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: Text | None = None
    parameters: JsonObject | None = Field(None, description="JSON Schema of the arguments")
    strict: bool | None = None


class Tool(BaseModel):
    """A tool that the model may call."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["function"]
    function: Function


class NamedFunction(BaseModel):
    """The name of a function."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str


class NamedTool(BaseModel):
    """The tool that must be called."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["function"]
    function: NamedFunction


class NamedSchema(BaseModel):
    """A JSON Schema with a name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    description: str | None = None
    json_schema: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = Field(None, description="the schema always holds, whatever this says")


class ResponseFormat(BaseModel):
    """The form of the answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type json_schema, and to no other")
        return self

    @property
    def schema_of_reply(self) -> dict[str, Any] | None:
        """The JSON Schema that the reply must satisfy."""
        if self.json_schema is not None:
            return self.json_schema.json_schema or {}
        return {"type": "object"} if self.type == "json_object" else None


class Sampling(Request):
    """What chat and plain completions have in common."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1)] | None = Field(None, description="how many answers")
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = Field(None, description="the n-th answer, from 0, is drawn with seed + n")
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None

    @model_validator(mode="after")
    def _streams_where_it_says_how(self) -> Sampling:
        if self.stream_options is not None and not self.stream:
            raise _wrong("stream_options", "stream_options is only allowed when stream is true")
        return self

    @property
    def with_usage(self) -> bool:
        """Whether a stream is to end with token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, index: int) -> Options:
        """The options of one answer that both kinds of completion share."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Options(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            seed=None if self.seed is None else (self.seed + index) % 2**63,
            stop=stop,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
        )


def _asked_for(alternatives: int | None) -> int | None:
    """How many alternatives to ask a model for: llama.cpp takes none for no log-probabilities at all."""
    return None if alternatives is None else max(1, alternatives)


class ChatRequest(Sampling):
    """A request to /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise _wrong("top_logprobs", "top_logprobs is only allowed when logprobs is true")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise _wrong("max_tokens", "max_tokens and max_completion_tokens differ; give one of them")
        if self.tool_choice in (None, "auto", "none"):
            return self
        names = [tool.function.name for tool in self.tools or ()]
        if not names:
            raise _wrong("tool_choice", "tool_choice is only allowed when tools are given")
        if isinstance(self.tool_choice, NamedTool):
            name = self.tool_choice.function.name
            if name not in names:
                raise _wrong("tool_choice", f"tool_choice names {name!r}, which is not among the tools")
            if name in ("auto", "none", "required"):
                raise _wrong("tool_choice", f"a tool named {name!r} cannot be chosen by name; rename it")
        return self

    @property
    def alternatives(self) -> int | None:
        """How many alternatives to each token are wanted; None when no log-probabilities are."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def as_messages(self) -> list[Message]:
        """The conversation as models take it."""
        return [message.as_message() for message in self.messages]

    def options(self, index: int = 0) -> Options:
        """The options of one of the answers."""
        choice = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else self.tool_choice
        # Clients send null for what they have not got; templates would print it.
        tools = tuple(tool.model_dump(exclude_none=True) for tool in self.tools or ())
        return self.sampling(index).model_copy(
            update={
                "max_tokens": self.max_completion_tokens or self.max_tokens,
                "json_schema": self.response_format.schema_of_reply if self.response_format else None,
                "top_logprobs": _asked_for(self.alternatives),
                "tools": tools,
                "tool_choice": choice if tools else None,
            }
        )


class CompletionRequest(Sampling):
    """A request to /v1/completions."""

    prompt: Text | list[Text] | list[TokenId] | list[list[TokenId]]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> CompletionRequest:
        if not all(self.prompts()):
            raise _wrong("prompt", "prompt is empty")
        return self

    def prompts(self) -> list[str | list[int]]:
        """Each prompt: text or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [prompt for prompt in self.prompt if not isinstance(prompt, int)] or [""]

    def options(self, index: int = 0) -> Options:
        """The options of one of the answers. OpenAI's default length is 16 tokens."""
        return self.sampling(index).model_copy(
            update={"max_tokens": self.max_tokens or 16, "top_logprobs": _asked_for(self.logprobs)}
        )


class EmbeddingRequest(Request):
    """A request to /v1/embeddings."""

    input: Text | list[Text] | list[TokenId] | list[list[TokenId]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None


class TokenizeRequest(Request):
    """A request to /tokenize."""

    content: Text
    add_special: bool = Field(False, description="put the beginning that the model's prompts have (BOS) in front")
    parse_special: bool = Field(True, description="read the spelling of a control token as that token")
    with_pieces: bool = Field(False, description="give the text of each token beside its id")


class DetokenizeRequest(Request):
    """A request to /detokenize."""

    tokens: list[TokenId]


class TemplateRequest(Request):
    """A request to /apply-template."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    tools: list[Tool] | None = None
