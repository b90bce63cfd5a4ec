"""Models: anything that streams a reply to messages, named by a spec string."""

from __future__ import annotations

from whetstone.models.base import (
    GREEDY,
    BatchModel,
    ChatModel,
    CompletionModel,
    ContextModel,
    LogitModel,
    NextToken,
    PromptModel,
    RenderingModel,
    TokenizingModel,
    drain,
    replies,
    reply,
)
from whetstone.models.spec import Listing, ModelSpec, Provider, parse_spec
from whetstone.registry import Registry

_ENDPOINT = "whetstone.models.endpoints:EndpointProvider"

# The registered object is called with the provider's name and returns its Provider.
PROVIDERS = Registry(
    "model provider",
    {
        "smollm2": "whetstone.models.llamacpp:EmbeddedProvider",
        "gguf": "whetstone.models.llamacpp:GgufProvider",
        "hf": "whetstone.models.hf:HfProvider",
        "scripted": "whetstone.models.scripted_provider:ScriptedProvider",
        "openai": _ENDPOINT,
        "anthropic": _ENDPOINT,
        "gemini": _ENDPOINT,
        "groq": _ENDPOINT,
        "deepseek": _ENDPOINT,
        "openrouter": _ENDPOINT,
        "ollama": _ENDPOINT,
        "vllm": _ENDPOINT,
        "lmstudio": _ENDPOINT,
        "kb": "whetstone.retrieval.kb_model:KnowledgeProvider",
    },
    group="whetstone.models",
)

__all__ = [
    "GREEDY",
    "PROVIDERS",
    "BatchModel",
    "ChatModel",
    "CompletionModel",
    "ContextModel",
    "Listing",
    "LogitModel",
    "ModelSpec",
    "NextToken",
    "PromptModel",
    "Provider",
    "RenderingModel",
    "TokenizingModel",
    "drain",
    "load_model",
    "parse_spec",
    "replies",
    "reply",
]


def load_model(spec: str | ModelSpec) -> ChatModel:
    """The model that a spec names.

    Raises:
        UsageError: the spec cannot be read, or names an unknown provider or option.
        MissingPackageError: the engine's package is not installed.
        ModelError: the model cannot be loaded.
    """
    parsed = parse_spec(spec) if isinstance(spec, str) else spec
    provider: Provider = PROVIDERS.resolve(parsed.provider)(parsed.provider)
    return provider.load(parsed)
