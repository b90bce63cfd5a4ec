"""Endpoints by name: their keys, their options, and what `whet models` says of them."""

from __future__ import annotations

import dataclasses

import pytest

from misbehaving_server import MisbehavingServer, page, says
from whetstone.errors import LoginError, UnknownNameError, UsageError
from whetstone.models import PROVIDERS, load_model, reply
from whetstone.models.endpoints import ENDPOINTS, EndpointProvider
from whetstone.models.spec import Listing
from whetstone.types import ModelIdentity, Options, user


def test_every_named_endpoint_is_a_provider() -> None:
    assert set(ENDPOINTS) <= set(PROVIDERS)
    for name in ENDPOINTS:
        assert isinstance(PROVIDERS.resolve(name)(name), EndpointProvider)


def test_any_endpoint_works_by_its_address_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-others-0123456789")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with MisbehavingServer(says("42")) as server:
        model = load_model(f"openai:any?base_url={server.url}/&concurrency=3&timeout=5")
        assert reply(model, [user("x")]).text == "42"
    assert model.concurrency == 3
    assert model.identity == ModelIdentity(f"openai:any?base_url={server.url}", "openai", "any")
    headers = server.asked[0].headers
    assert "sk-not-for-others" not in str(headers), "a key goes only to the endpoint that it was made for"
    assert "org-private" not in str(headers)


def test_a_key_is_read_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", " sk-mine-0123456789\n")
    with MisbehavingServer(says("42")) as server:
        reply(load_model(f"openai:any?base_url={server.url}&key_env=MY_API_KEY"), [user("x")])
    assert server.asked[0].headers["authorization"] == "Bearer sk-mine-0123456789"


def test_a_missing_key_is_said_when_loading_with_what_to_set() -> None:
    with pytest.raises(LoginError, match="GROQ_API_KEY: export GROQ_API_KEY="):
        load_model("groq:llama-3.1-8b-instant")


def test_a_key_in_place_of_its_variable_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="name of an environment variable") as caught:
        load_model("openai:gpt-4o?key_env=sk-mine-0123456789")
    assert "sk-mine" not in str(caught.value)


def test_what_the_endpoint_ignores_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789")
    with pytest.raises(UsageError, match="does not support seed"):
        reply(load_model("anthropic:claude-haiku-4-5"), [user("x")], Options(seed=1))


def test_options_can_be_omitted_and_the_identity_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    model = load_model("openai:gpt-5?omit=temperature,seed&timeout=9")
    assert model.identity.spec == "openai:gpt-5?omit=seed,temperature"
    with pytest.raises(UnknownNameError, match="temperature"):
        load_model("openai:gpt-5?omit=temprature")


def test_a_name_may_hold_colons_slashes_and_an_at_sign() -> None:
    assert load_model("ollama:llama3.2:1b").identity.name == "llama3.2:1b"
    cloudflare = load_model("openai:@cf/meta/llama?base_url=http://127.0.0.1:9/v1").identity
    assert cloudflare.name == "@cf/meta/llama"
    assert load_model(cloudflare.spec).identity == cloudflare


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("openai:", "name a model"),
        ("openai:m?base_url=localhost:8080", "no http"),
        ("openai:m?base_url=ftp://host/v1", "no http"),
        ("openai:m?base_url=http://me:secret@host/v1", "no password"),
        ("openai:m?concurrency=0", "concurrency='0'"),
        ("openai:m?timeout=soon", "timeout='soon'"),
    ],
)
def test_options_that_are_wrong_are_named(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        load_model(spec)
    assert "secret" not in str(caught.value)


def test_an_unknown_option_is_no_silent_default() -> None:
    with pytest.raises(UnknownNameError, match="base_url"):
        load_model("openai:m?baseurl=http://127.0.0.1/v1")


def test_a_hosted_endpoint_is_usable_when_its_key_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(EndpointProvider("groq").listing()) == [Listing("groq:MODEL", False, "set GROQ_API_KEY")]
    monkeypatch.setenv("GROQ_API_KEY", "gsk-0123456789")
    [listing] = EndpointProvider("groq").listing()
    assert listing.usable
    assert "gsk" not in listing.note


def local_listing(url: str) -> list[Listing]:
    endpoint = dataclasses.replace(ENDPOINTS["ollama"], base_url=url)
    return list(EndpointProvider("ollama", {"ollama": endpoint}).listing())


def test_a_local_server_is_listed_with_what_it_serves() -> None:
    with MisbehavingServer(page(), models=["b", "a"]) as server:
        listings = local_listing(server.url)
        address = server.url.removeprefix("http://").removesuffix("/v1")
    assert listings == [Listing(f"ollama:{name}", True, f"served at {address}") for name in "ab"]
    [gone] = local_listing(server.url)
    assert not gone.usable
    assert "nothing answers" in gone.note


def test_a_local_server_that_is_something_else_or_empty_is_said() -> None:
    with MisbehavingServer(page()) as server:
        [empty] = local_listing(server.url)
        [other] = local_listing(server.url.removesuffix("/v1") + "/other")
    assert "no model yet" in empty.note
    assert "no OpenAI-compatible server" in other.note
    assert not empty.usable
    assert not other.usable
