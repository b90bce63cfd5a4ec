"""What a request costs: prices per million tokens, ours extended and overridden by the user's."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whetstone.endpoints.client import is_loopback
from whetstone.errors import DataError
from whetstone.models.endpoints import ENDPOINTS
from whetstone.models.knowledge_spec import answering_spec
from whetstone.models.spec import parse_spec
from whetstone.settings import home
from whetstone.types import ModelIdentity, Usage

_LOCAL_ENGINES = {"llama.cpp", "transformers", "scripted"}
# What may follow a family's name in that of one of its snapshots: a date, a build number, "latest".
_SNAPSHOT = re.compile(r"-(?:latest|\d{3,4}|\d{8}|\d{4}-\d{2}-\d{2}|preview-\d{2}-\d{2,4})")


class LongPrompt(BaseModel):
    """Prices of requests with a long prompt, in US dollars per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    over: int = Field(ge=1, description="prompt tokens above which these prices hold for the whole request")
    input: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)
    output: float = Field(ge=0)


class Price(BaseModel):
    """Prices of one model, in US dollars per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, description="prompt tokens")
    cached_input: float | None = Field(None, ge=0, description="prompt tokens read from a cache; None: as input")
    output: float = Field(ge=0, description="reply tokens, reasoning included")
    long_prompt: LongPrompt | None = None
    note: str = ""

    def of(self, usage: Usage) -> float:
        """What a request with these token counts costs, in US dollars."""
        long = self.long_prompt is not None and usage.prompt_tokens > self.long_prompt.over
        rates: Price | LongPrompt = self.long_prompt if long and self.long_prompt is not None else self
        cached_rate = rates.input if rates.cached_input is None else rates.cached_input
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        uncached = usage.prompt_tokens - cached
        return (uncached * rates.input + cached * cached_rate + usage.completion_tokens * rates.output) / 1e6


class _PriceFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date | None = None
    sources: dict[str, str] = {}
    models: dict[str, Price]


def cost(identity: ModelIdentity, usage: Usage) -> float | None:
    """What a request cost, in US dollars: 0 for a model on this machine, None where no price or no usage is known.

    Raises:
        DataError: the user's price file is broken.
    """
    if runs_here(identity):
        return 0.0
    price = price_of(identity)
    return price.of(usage) if price is not None and usage != Usage() else None


def runs_here(identity: ModelIdentity) -> bool:
    """Whether a model runs on the user's own machine, where tokens cost nothing that we could count."""
    if identity.engine in _LOCAL_ENGINES:
        return True
    spec = answering_spec(parse_spec(identity.spec))
    if "base_url" in spec.options:
        return is_loopback(spec.options["base_url"])
    return spec.provider in ENDPOINTS and ENDPOINTS[spec.provider].local


def price_of(identity: ModelIdentity) -> Price | None:
    """A hosted model's price: the user's, else ours. Behind a `base_url` only the user's: we know not whose it is.

    Raises:
        DataError: the user's price file is broken.
    """
    spec = answering_spec(parse_spec(identity.spec))
    known = _users() if "base_url" in spec.options else {**_ours(), **_users()}
    name = f"{spec.provider}:{identity.name}"
    if name in known:
        return known[name]
    families = [key for key in known if name.startswith(key) and _SNAPSHOT.fullmatch(name, len(key))]
    return known[max(families, key=len)] if families else None


def user_prices_path() -> Path:
    """The file in which the user adds and corrects prices."""
    return home() / "prices.yaml"


@functools.cache
def _ours() -> Mapping[str, Price]:
    with as_file(files("whetstone.models") / "prices.yaml") as path:
        return _read(path)


def _users() -> Mapping[str, Price]:
    path = user_prices_path()
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return {}
    return _read_version(path, changed)


@functools.lru_cache(maxsize=4)
def _read_version(path: Path, changed: int) -> Mapping[str, Price]:
    return _read(path)


def _read(path: Path) -> Mapping[str, Price]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; make the price file readable, or remove it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: no YAML: {' '.join(str(error).split())}; correct the price file, or remove it"
        ) from None
    try:
        return _PriceFile.model_validate({"models": {}} if data is None else data).models
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {field}: {first['msg']}, not {first['input']!r}") from None
