"""Messages, sampling options and replies: what goes into a chat model and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from whetstone.types.citation import Citation

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(TypedDict):
    """One turn of a conversation, in the OpenAI wire form, which is also our internal form."""

    role: Role
    content: str | list[dict[str, Any]] | None
    name: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    reasoning_content: NotRequired[str]  # only for models whose template reads it


def system(content: str) -> Message:
    """A system message."""
    return {"role": "system", "content": content}


def opening(prompt: str) -> list[Message]:
    """What a conversation with this system prompt begins with: one message, or none where it is ""."""
    return [system(prompt)] if prompt else []


def user(content: str) -> Message:
    """A user message."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """An assistant message."""
    return {"role": "assistant", "content": content}


def text_of(message: Message) -> str:
    """The text of a message; parts that are not text count as none."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


class Options(BaseModel):
    """Sampling options of one request. `None` leaves a choice to the engine; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(None, ge=0, description="0 is greedy decoding")
    top_p: float | None = Field(None, gt=0, le=1, description="nucleus sampling: keep this much probability mass")
    max_tokens: int | None = Field(None, ge=1, description="most tokens of the reply")
    seed: int | None = Field(None, description="seed of the sampler")
    stop: tuple[str, ...] = Field((), description="strings that end the reply")
    json_schema: dict[str, Any] | None = Field(None, description="JSON Schema that the reply must satisfy")
    top_logprobs: int | None = Field(None, ge=0, description="return log-probabilities, with this many alternatives")
    tools: tuple[dict[str, Any], ...] = Field((), description="tools the model may call, in the OpenAI form")
    tool_choice: str | None = Field(
        None, description="auto (the model decides), none, required (some tool), or the name of the tool to call"
    )
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="lower tokens by how often they came")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="lower tokens that came at all")

    @property
    def deterministic(self) -> bool:
        """Whether asking again must give the same reply: greedy, or seeded."""
        return self.temperature == 0 or self.seed is not None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt tokens, those whose state was reused

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token, its natural-log probability, and the most probable alternatives (itself included)."""

    text: str
    logprob: float
    token_id: int | None = None
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a streamed reply. Any part may be empty; text never ends inside a character.

    `finish_reason` and `usage` come with the last chunk, and so do the `citations` of an answer from documents.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()  # whole calls, sent once complete
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    citations: tuple[Citation, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished reply: a drained stream."""

    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0  # wall time of this request; in a batch, its share of the batch
    citations: tuple[Citation, ...] = ()  # of an answer from documents


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model answers: enough to tell whether two answers came from the same one.

    Attributes:
        spec: the model spec in its canonical form, without secrets.
        engine: "llama.cpp", "transformers", "openai" or "scripted".
        name: the name that the engine or provider knows.
        revision: what pins the weights: a file's sha256, a hub commit, or "" where a provider names none.
        template: sha256 of the chat template, "" where it is not known.
    """

    spec: str
    engine: str
    name: str
    revision: str = ""
    template: str = ""
