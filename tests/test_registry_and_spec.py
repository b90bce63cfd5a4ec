from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from whetstone.errors import UnknownNameError, UsageError
from whetstone.models import ModelSpec, load_model, parse_spec
from whetstone.registry import Registry


def test_a_near_miss_is_offered_with_the_whole_list() -> None:
    table = Registry("technique", {"tfidf": "math:pi", "linear": "math:e"}, group="whetstone.test")
    assert table.resolve("tfidf") == pytest.approx(3.14159, abs=1e-5)
    with pytest.raises(UnknownNameError, match=r"Did you mean tfidf\?.*linear, tfidf"):
        table.resolve("tfdif")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("smollm2", ModelSpec("smollm2")),
        ("ollama:llama3.2:1b", ModelSpec("ollama", "llama3.2:1b")),
        ("hf:Qwen/Qwen2.5-0.5B@main?quantize=nf4", ModelSpec("hf", "Qwen/Qwen2.5-0.5B", "main", {"quantize": "nf4"})),
        (
            "openai:any?base_url=http://127.0.0.1:8080/v1",
            ModelSpec("openai", "any", "", {"base_url": "http://127.0.0.1:8080/v1"}),
        ),
        ("gguf:./a b.gguf", ModelSpec("gguf", "./a b.gguf")),
    ],
)
def test_specs_are_read_and_print_back(text: str, spec: ModelSpec) -> None:
    assert parse_spec(text) == spec
    assert parse_spec(str(spec)) == spec


_word = st.text(st.characters(whitelist_categories=("L", "N")), min_size=1)


@given(_word, _word, _word, st.dictionaries(_word, st.text()))
def test_printing_and_reading_a_spec_are_inverse(
    provider: str, name: str, revision: str, options: dict[str, str]
) -> None:
    spec = ModelSpec(provider, name, revision, options)
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize("text", ["", ":name", "hf:x?quantize", "hf:x?a=1&a=2"])
def test_what_is_no_spec_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(text)


def test_an_unknown_provider_is_an_error_with_a_near_match() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean ollama"):
        load_model("olama:llama3.2")


class _EngineOptions(BaseModel):
    context: int = Field(4096, ge=1)


def test_engine_options_are_typed_and_unknown_ones_refused() -> None:
    assert parse_spec("gguf:x?context=8").read_options(_EngineOptions).context == 8
    with pytest.raises(UsageError, match="Did you mean context"):
        parse_spec("gguf:x?contxt=8").read_options(_EngineOptions)
    with pytest.raises(UsageError, match="context='many' is wrong"):
        parse_spec("gguf:x?context=many").read_options(_EngineOptions)
