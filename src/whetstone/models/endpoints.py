"""Endpoints known by name, and the provider that turns `openai:gpt-4o-mini` or `ollama:llama3.2` into a model."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from whetstone.endpoints.client import OPENAI_KEY, OPENAI_URL, checked_url, read_key
from whetstone.errors import UsageError
from whetstone.models.openai_api import OpenAIModel
from whetstone.models.openai_wire import MaxTokensField
from whetstone.models.spec import Listing, ModelSpec
from whetstone.registry import unknown_name
from whetstone.types import ModelIdentity, Options

PROBE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One OpenAI-compatible API.

    Attributes:
        base_url: where it is.
        key_env: the environment variable that holds its key; "" for a server on this machine.
        unsupported: names of `Options` that it refuses or silently ignores; asking for one is an error.
        max_tokens_field: what it calls `max_tokens`.
        continue_body: what makes it continue a last message of the assistant's; None where it cannot.
        extra_body: what every request to it must hold.
    """

    base_url: str
    key_env: str = ""
    unsupported: frozenset[str] = frozenset()
    max_tokens_field: MaxTokensField = "max_tokens"
    continue_body: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether it is a server of the user's own, on this machine."""
        return not self.key_env


ENDPOINTS: Mapping[str, Endpoint] = {
    # max_tokens is deprecated there, and the reasoning models refuse it.
    "openai": Endpoint(OPENAI_URL, OPENAI_KEY, max_tokens_field="max_completion_tokens"),
    # https://docs.anthropic.com/en/api/openai-sdk lists these as ignored.
    "anthropic": Endpoint(
        "https://api.anthropic.com/v1",
        "ANTHROPIC_API_KEY",
        unsupported=frozenset({"seed", "json_schema", "top_logprobs"}),
        continue_body={},
    ),
    "gemini": Endpoint("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    # https://console.groq.com/docs/openai: a 400 answer.
    "groq": Endpoint("https://api.groq.com/openai/v1", "GROQ_API_KEY", unsupported=frozenset({"top_logprobs"})),
    # Knows response_format json_object only.
    "deepseek": Endpoint("https://api.deepseek.com", "DEEPSEEK_API_KEY", unsupported=frozenset({"json_schema"})),
    # Without this, it picks hosts that silently drop the parameters that they do not know.
    "openrouter": Endpoint(
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        extra_body={"provider": {"require_parameters": True}},
    ),
    "ollama": Endpoint("http://127.0.0.1:11434/v1", continue_body={}),
    "vllm": Endpoint(
        "http://127.0.0.1:8000/v1",
        continue_body={"continue_final_message": True, "add_generation_prompt": False},
    ),
    "lmstudio": Endpoint("http://127.0.0.1:1234/v1"),
}


class EndpointOptions(BaseModel):
    """Options of a spec that names an endpoint's model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        "", description="another endpoint, up to and with /v1; it is sent no key unless key_env is given"
    )
    key_env: str = Field("", description="name of the environment variable that holds the key")
    omit: str = Field("", description="sampling options that are never sent, with commas: temperature,seed")
    concurrency: int = Field(8, ge=1, le=256, description="most requests open at once")
    timeout: float = Field(120, gt=0, description="seconds of silence after which a request is given up")
    retries: int = Field(5, ge=0, le=100, description="how often a request that failed in passing is sent again")


class EndpointProvider:
    """Loads models behind one named endpoint.

    Args:
        name: the endpoint's name.
        endpoints: what the names stand for.
    """

    def __init__(self, name: str, endpoints: Mapping[str, Endpoint] = ENDPOINTS) -> None:
        self.name = name
        self.endpoint = endpoints[name]

    def load(self, spec: ModelSpec) -> OpenAIModel:
        """The model. Opens no connection: whether the endpoint knows the model shows at the first request.

        Raises:
            UsageError: the spec names no model, or an option is wrong.
            LoginError: the key's environment variable is not set.
        """
        options = spec.read_options(EndpointOptions)
        # These APIs have no revisions; an @ belongs to the name.
        name = spec.named
        if not name:
            raise UsageError(f"{self.name}: name a model, for example {self.name}:MODEL")
        base_url = checked_url(options.base_url, self.name, "/chat/completions") or self.endpoint.base_url
        elsewhere = base_url != self.endpoint.base_url
        omit = sorted(filter(None, options.omit.split(",")))
        for option in omit:
            if option not in Options.model_fields:
                raise unknown_name("sampling option", option, list(Options.model_fields))
        # Only what decides the answers: a run must stay the same run when it is given more time.
        decisive = {"base_url": base_url if elsewhere else "", "omit": ",".join(omit)}
        identity = ModelIdentity(
            spec=str(ModelSpec(self.name, name, options={key: value for key, value in decisive.items() if value})),
            engine="openai",
            name=name,
        )
        # A key goes only to the endpoint that it was made for, unless the user names it for another one.
        key_env = options.key_env or ("" if elsewhere else self.endpoint.key_env)
        return OpenAIModel(
            identity=identity,
            base_url=base_url,
            api_key=read_key(key_env, identity.spec),
            key_env=key_env,
            concurrency=options.concurrency,
            timeout=options.timeout,
            retries=options.retries,
            extra_body=self.endpoint.extra_body,
            max_tokens_field=self.endpoint.max_tokens_field,
            continue_body=self.endpoint.continue_body,
            unsupported=self.endpoint.unsupported,
            omit=omit,
        )

    def listing(self) -> Iterator[Listing]:
        """Hosted: whether the key is set. Local: what the server serves, if it runs."""
        if not self.endpoint.local:
            key_env = self.endpoint.key_env
            usable = bool(os.environ.get(key_env, "").strip())
            yield Listing(f"{self.name}:MODEL", usable, f"the key is in {key_env}" if usable else f"set {key_env}")
            return
        address = urlsplit(self.endpoint.base_url).netloc
        try:
            models = _served_models(self.endpoint.base_url)
        except OSError:
            yield Listing(f"{self.name}:MODEL", False, f"nothing answers at {address}: start the server")
            return
        except (http.client.HTTPException, ValueError, KeyError, TypeError):
            yield Listing(f"{self.name}:MODEL", False, f"what listens at {address} is no OpenAI-compatible server")
            return
        if not models:
            yield Listing(f"{self.name}:MODEL", False, f"the server at {address} has no model yet")
        for model in models:
            yield Listing(f"{self.name}:{model}", True, f"served at {address}")


def _served_models(base_url: str) -> list[str]:
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", f"{parts.path}/models")
        answer = json.loads(connection.getresponse().read())
        return sorted(str(entry["id"]) for entry in answer["data"])
    finally:
        connection.close()
