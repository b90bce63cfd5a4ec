"""Prices: what a request costs, and how the user corrects the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from whetstone.errors import DataError
from whetstone.models.catalogue import cost, price_of, user_prices_path
from whetstone.types import ModelIdentity, Usage

MILLION = Usage(prompt_tokens=1_000_000, completion_tokens=1_000_000)
THOUSAND = Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=400)


def hosted(spec: str) -> ModelIdentity:
    return ModelIdentity(spec, "openai", spec.partition(":")[2].partition("?")[0])


def write_prices(text: str) -> Path:
    path = user_prices_path()
    path.write_text(text, encoding="utf-8")
    return path


def test_input_cached_input_and_output_have_their_own_prices() -> None:
    assert cost(hosted("openai:gpt-4o"), MILLION) == pytest.approx(12.5)
    assert cost(hosted("openai:gpt-4o"), THOUSAND) == pytest.approx((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6)
    assert cost(hosted("groq:llama-3.1-8b-instant"), THOUSAND) == pytest.approx((1000 * 0.05 + 100 * 0.08) / 1e6)


def test_a_long_prompt_is_dearer_as_a_whole() -> None:
    model = hosted("gemini:gemini-2.5-pro")
    assert cost(model, Usage(200_000, 0)) == pytest.approx(0.2 * 1.25)
    assert cost(model, Usage(200_001, 1_000_000)) == pytest.approx(0.200001 * 2.5 + 15)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("openai:gpt-4o-2024-08-06", "openai:gpt-4o"),
        ("openai:gpt-4o-mini-2024-07-18", "openai:gpt-4o-mini"),
        ("openai:gpt-4-0613", "openai:gpt-4"),
        ("anthropic:claude-sonnet-4-5-20250929", "anthropic:claude-sonnet-4-5"),
        ("anthropic:claude-sonnet-4-20250514", "anthropic:claude-sonnet-4"),
        ("gemini:gemini-2.0-flash-001", "gemini:gemini-2.0-flash"),
        ("gemini:gemini-2.5-pro-preview-05-06", "gemini:gemini-2.5-pro"),
    ],
)
def test_a_snapshot_has_its_familys_price(name: str, family: str) -> None:
    assert price_of(hosted(name)) is not None
    assert price_of(hosted(name)) == price_of(hosted(family))


def test_a_snapshot_that_is_listed_has_its_own_price() -> None:
    assert cost(hosted("openai:gpt-4o-2024-05-13"), MILLION) == pytest.approx(20)


@pytest.mark.parametrize(
    "name",
    [
        "openai:gpt-4o-realtime-preview",
        "openai:gpt-5-ultra",
        "openai:gpt-4-1106-preview",
        "groq:gpt-4o",
        "other:gpt-4o",
    ],
)
def test_a_model_that_only_begins_like_a_known_one_has_no_known_price(name: str) -> None:
    assert cost(hosted(name), MILLION) is None


def test_a_model_on_this_machine_costs_nothing() -> None:
    for identity in (
        ModelIdentity("smollm2", "llama.cpp", "SmolLM2-135M-Instruct"),
        ModelIdentity("hf:Qwen/Qwen2.5-0.5B-Instruct", "transformers", "Qwen/Qwen2.5-0.5B-Instruct"),
        ModelIdentity("scripted:echo", "scripted", "echo"),
        hosted("ollama:llama3.2:1b"),
        hosted("openai:gpt-4o?base_url=http://127.0.0.1:8080/v1"),
        hosted("openai:gpt-4o?base_url=http://localhost/v1"),
        hosted("openai:gpt-4o?base_url=http://[::1]:8080/v1"),
    ):
        assert cost(identity, MILLION) == 0


def test_somebody_elses_server_has_no_known_price() -> None:
    assert cost(hosted("openai:gpt-4o?base_url=https://proxy.example/v1"), MILLION) is None
    assert cost(hosted("openai:gpt-4o?base_url=https://127.0.0.1.example/v1"), MILLION) is None
    assert cost(hosted("ollama:llama3.2?base_url=https://ollama.example/v1"), MILLION) is None


def test_without_token_counts_the_cost_is_unknown_and_not_nothing() -> None:
    assert cost(hosted("openai:gpt-4o"), Usage()) is None


def test_the_users_file_extends_and_overrides() -> None:
    assert cost(hosted("openai:gpt-4o"), MILLION) == pytest.approx(12.5)
    write_prices("models:\n  openai:gpt-4o: {input: 1, output: 2}\n  mine:m: {input: 3, output: 4}\n")
    assert cost(hosted("openai:gpt-4o"), MILLION) == pytest.approx(3)
    assert cost(hosted("openai:gpt-4o-2024-08-06"), MILLION) == pytest.approx(3)
    assert cost(hosted("mine:m"), MILLION) == pytest.approx(7)
    assert cost(hosted("openai:gpt-4o?base_url=https://proxy.example/v1"), MILLION) == pytest.approx(3)
    assert cost(hosted("openai:gpt-4o-mini"), MILLION) == pytest.approx(0.75), "ours still holds for the rest"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: {openai:m: {input: cheap, output: 1}}", r"models\.openai:m\.input"),
        ("models: {openai:m: {input: -1, output: 1}}", r"models\.openai:m\.input"),
        ("models: {openai:m: {input: 1}}", r"models\.openai:m\.output"),
        ("models: {openai:m: {input: 1, output: 1, outputs: 1}}", r"models\.openai:m\.outputs"),
        ("openai:m: {input: 1, output: 1}", "models: Field required"),
        ("- 1", "the file"),
        ("models: {", "no YAML"),
    ],
)
def test_a_broken_file_of_the_users_is_named_with_its_field(text: str, told: str) -> None:
    path = write_prices(text)
    with pytest.raises(DataError, match=told) as caught:
        cost(hosted("openai:gpt-4o"), MILLION)
    assert str(path) in str(caught.value)


def test_an_empty_file_changes_nothing() -> None:
    write_prices("# nothing yet\n")
    assert cost(hosted("openai:gpt-4o"), MILLION) == pytest.approx(12.5)
