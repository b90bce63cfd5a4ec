"""Answers to requests, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from whetstone.server.messages import CalledTool


class ModelCard(BaseModel):
    """A model that is offered."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The models that are offered, the default one first."""

    object: Literal["list"]
    data: list[ModelCard]


class CachedTokens(BaseModel):
    """More about the prompt's tokens."""

    cached_tokens: int = Field(description="of the prompt's, those whose state was reused")


class UsageReply(BaseModel):
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class TopLogprob(BaseModel):
    """A token that might have come."""

    token: str
    logprob: float
    bytes: list[int] | None = Field(description="null for a token that ends inside a character")


class LogprobReply(TopLogprob):
    """A token that came."""

    top_logprobs: list[TopLogprob]


class LogprobList(BaseModel):
    """The tokens of an answer."""

    content: list[LogprobReply]
    refusal: None = None


class CitedAddress(BaseModel):
    """Where a part of an answer comes from."""

    start_index: int = Field(description="of the part of the content that refers to the passage, in characters")
    end_index: int = Field(description="one past its last character")
    title: str = Field(description="the document, and the spot in it")
    url: str = Field(description="kb:NAME/PATH#char=START,END")


class CitedPassage(BaseModel):
    """A passage of a document."""

    number: int = Field(description="as the answer writes it: [1]")
    attributed: bool = Field(description="found by comparing sentences with passages; the model did not cite it")
    knowledge_base: str
    path: str
    place: str = Field(description='such as "page 3", where the document knows it')
    trail: str = Field(description="the headings above it")
    start: int = Field(description="in characters of the document's text")
    end: int
    text: str


class Annotation(BaseModel):
    """A citation of an answer from documents."""

    type: Literal["url_citation"]
    url_citation: CitedAddress
    passage: CitedPassage


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    reasoning_content: str | None = None
    tool_calls: list[CalledTool] | None = None
    annotations: list[Annotation] | None = None


class ChatChoice(BaseModel):
    """One of the answers."""

    index: int
    message: AnswerMessage
    logprobs: LogprobList | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class ChatCompletion(BaseModel):
    """The answer to a chat request."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: UsageReply


class LegacyLogprobs(BaseModel):
    """The tokens of a plain completion."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class TextChoice(BaseModel):
    """One of the completions."""

    index: int
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class TextCompletion(BaseModel):
    """The answer to a plain completion request."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: UsageReply


class EmbeddingUsage(BaseModel):
    """Token counts of texts that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingReply(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="numbers, or base64 of float32 in little-endian order")


class EmbeddingList(BaseModel):
    """The vectors of all texts, in their order."""

    object: Literal["list"]
    data: list[EmbeddingReply]
    model: str
    usage: EmbeddingUsage


class Candidate(BaseModel):
    """A number that it may be."""

    value: float
    probability: float


class EstimateReply(BaseModel):
    """What one item costs."""

    object: Literal["estimate"]
    index: int
    estimate: float
    kind: Literal["mode", "median", "mean", "log_mean"]
    interval: tuple[float, float] = Field(description="its ends, both included")
    level: float = Field(description="probability that the interval is to hold")
    quantiles: dict[str, float] = Field(description='"0.05" to "0.95"')
    inside: float = Field(description="probability that the model answers with a number of the grid at all")
    bound: float = Field(description="no probability is off by more than this; 0 where all candidates were read")
    candidates: list[Candidate] = Field(description="the ten most probable")
    cut: int = Field(description="characters at the end of the text that the model was not shown")
    note: str = Field(description="what the figures rest on")


class EstimateList(BaseModel):
    """What all items cost, in their order."""

    object: Literal["list"]
    data: list[EstimateReply]
    model: str
    usage: UsageReply


class TaskCard(BaseModel):
    """A task card."""

    object: Literal["task_card"]
    name: str
    title: str
    description: str
    main: str = Field(description="the input that the text of the task is")
    inputs: dict[str, Any] = Field(description="a JSON Schema of `inputs`")
    output: Literal["text", "label", "entities", "code"]
    metric: str = Field(description="what its cases are scored by")
    beyond: Literal["refuse", "reduce", "concatenate", "merge", "vote"] = Field(
        description="what is done with a text beyond the model's context"
    )
    families: list[str] = Field(description="families of models with prompts of their own")
    not_encoder_decoder: str = Field(description='why encoder-decoder models cannot do it; "" where they can')
    known_failures: list[str]


class TaskList(BaseModel):
    """All task cards."""

    object: Literal["list"]
    data: list[TaskCard]


class FoundEntity(BaseModel):
    """A mention of something in the text: `text[start:end]`, in characters."""

    text: str
    type: str
    start: int
    end: int


class TaskReply(BaseModel):
    """What came of a task."""

    object: Literal["task"]
    card: str
    model: str
    output: str | list[FoundEntity] = Field(description="a text, a label or code; or entities")
    notes: list[str] = Field(description="what a reader of the output must know")
    raw: str = Field(description="the reply that the output was taken from")
    ran: dict[str, Any] | None = Field(None, description="how the code ran")
    usage: UsageReply
    seconds: float = Field(description="of waiting for the model")
    cost: float | None = Field(description="US dollars, where the price is known")
    requests: int = Field(description="to the model")
    steps: list[dict[str, Any]] | None = Field(None, description="with `trace`: every prompt and reply")


class Piece(BaseModel):
    """A token and its text."""

    id: int
    piece: str


class Tokens(BaseModel):
    """A text as tokens."""

    tokens: list[int] | list[Piece]


class Content(BaseModel):
    """Tokens as text."""

    content: str


class Prompt(BaseModel):
    """Messages as the text that the model is sent."""

    prompt: str
    tokens: list[int] | None = None


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"]


# Without a schema: this version of OpenAPI has no words for what each event holds.
EVENT_STREAM: dict[str, Any] = {"text/event-stream": {}}
