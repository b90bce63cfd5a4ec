"""Messages, tools and the form of the answer, as requests bring them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from whetstone.server.request import JsonObject, Text, checked_json
from whetstone.types import Message


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
        checked_json(self.model_extra or {})
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
