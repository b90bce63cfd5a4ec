"""Requests to the API, by route: OpenAI's fields, and llama.cpp's for what OpenAI has no route for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from whetstone.server.messages import ChatMessage, NamedTool, ResponseFormat, Tool
from whetstone.server.request import JsonObject, Request, Seed, Stop, Text, TokenId, wrong
from whetstone.types import Message, Options


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = Field(None, description="send token counts before the end")
    include_obfuscation: bool | None = Field(None, description="ignored: nothing is padded here")


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
            raise wrong("stream_options", "stream_options is only allowed when stream is true")
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
            raise wrong("top_logprobs", "top_logprobs is only allowed when logprobs is true")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise wrong("max_tokens", "max_tokens and max_completion_tokens differ; give one of them")
        if self.tool_choice in (None, "auto", "none"):
            return self
        names = [tool.function.name for tool in self.tools or ()]
        if not names:
            raise wrong("tool_choice", "tool_choice is only allowed when tools are given")
        if isinstance(self.tool_choice, NamedTool):
            name = self.tool_choice.function.name
            if name not in names:
                raise wrong("tool_choice", f"tool_choice names {name!r}, which is not among the tools")
            if name in ("auto", "none", "required"):
                raise wrong("tool_choice", f"a tool named {name!r} cannot be chosen by name; rename it")
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
            raise wrong("prompt", "prompt is empty")
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


class EstimateRequest(Request):
    """A request to /v1/estimate."""

    input: Text | list[Text] = Field(description="an item's text, or several")
    grid: Annotated[str, Field(max_length=1000, pattern="^[0-9., :log-]+$")] = Field(
        "0..999", description="the candidates: 0..999, 0.00..99.99, 0..100:5, log:1..10000:60, or 1,2,5,10"
    )
    level: Annotated[float, Field(gt=0, lt=1)] = Field(0.8, description="probability that the interval is to hold")
    estimate: Literal["auto", "mode", "median", "mean", "log_mean"] = Field(
        "auto", description="which number of the distribution; auto is the median"
    )


class TaskRequest(Request):
    """A request to /v1/tasks/{name}."""

    inputs: JsonObject = Field(description="what the card takes; its JSON Schema is listed under /v1/tasks")
    shots: Annotated[int, Field(ge=0, le=100)] = Field(0, description="how many of the card's solved cases to show")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Seed | None = None
    part_tokens: Annotated[int, Field(ge=0)] = Field(
        0, description="read a longer text in parts of at most so many tokens; 0 reads it at once where it fits"
    )
    run: bool = Field(False, description="run the code of the card code, contained, and repair it from its errors")
    repairs: Annotated[int, Field(ge=0, le=10)] = Field(2, description="how often code is repaired at most")
    trace: bool = Field(False, description="give every prompt and every reply")

    def options(self) -> Options:
        """How the model is asked; what is left open is the card's."""
        given = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        return Options(**{name: value for name, value in given.items() if value is not None})


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
