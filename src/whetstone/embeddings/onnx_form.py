"""The little of the ONNX file format (protocol buffers) that it takes to read a model's weights and to write a graph.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FLOAT, UINT8, INT8, INT32, INT64 = 1, 2, 3, 6, 7
_TYPES: Mapping[int, npt.DTypeLike] = {FLOAT: "<f4", UINT8: "u1", INT8: "i1", INT32: "<i4", INT64: "<i8"}
_NUMBERS = {np.dtype(name): number for number, name in _TYPES.items()}
_VERSION = 8  # of the format
_OPSETS: Iterable[tuple[bytes, int]] = ((b"", 17), (b"com.microsoft", 1))  # of that version's time, 2022


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_model(content: bytes) -> tuple[list[Node], dict[str, npt.NDArray[Any]]]:
    """The operations of a model in their order, and its weights by name.

    Raises:
        ValueError: it is no ONNX model.
    """
    graph = next((value for number, value in _fields(memoryview(content)) if number == 7), None)
    if not isinstance(graph, memoryview):
        raise ValueError("no graph in it")
    nodes, weights = [], {}
    for number, value in _fields(graph):
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            name, array = _tensor(value)
            weights[name] = array
    return nodes, weights


def _node(message: memoryview) -> Node:
    parts: dict[int, list[str]] = {1: [], 2: [], 4: []}
    for number, value in _fields(message):
        if number in parts:
            parts[number].append(str(value, "utf-8"))
    return Node("".join(parts[4]), tuple(parts[1]), tuple(parts[2]))


def _tensor(message: memoryview) -> tuple[str, npt.NDArray[Any]]:
    shape: list[int] = []
    kind, name, raw = 0, "", memoryview(b"")
    for number, value in _fields(message):
        if number == 1:
            shape += list(_packed(value)) if isinstance(value, memoryview) else [value]
        elif number == 2:
            kind = value
        elif number == 8:
            name = str(value, "utf-8")
        elif number == 9:
            raw = value
    if kind not in _TYPES or not raw:  # of other types, or written number by number: none of the weights
        return name, np.empty(0)
    return name, np.frombuffer(raw, _TYPES[kind]).reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif key & 7 == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("it ends in the middle")
            yield key >> 3, message[at : at + length]
            at += length
        elif key & 7 in (1, 5):
            at += 8 if key & 7 == 1 else 4
        else:
            raise ValueError("no protocol buffers")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("it ends in the middle")


def _packed(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


@dataclass
class Graph:
    """A graph that is being written. Each operation's output is named by a number.

    Attributes:
        inputs: name -> type, of two dimensions of any size each.
    """

    inputs: Mapping[str, int]
    _nodes: list[bytes] = field(default_factory=list)
    _weights: list[bytes] = field(default_factory=list)

    def weight(self, array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """A constant; its name."""
        array = np.ascontiguousarray(array, dtype)
        name = f"w{len(self._weights)}"
        dims = b"".join(_number(1, size) for size in array.shape)
        kind = _number(2, _NUMBERS[array.dtype])
        self._weights.append(dims + kind + _bytes(8, name.encode()) + _bytes(9, array.tobytes()))
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: float | int | Sequence[int]) -> str:
        """An operation with one output; its name. An input named "" is left out."""
        name = f"n{len(self._nodes)}"
        message = b"".join(_bytes(1, one.encode()) for one in inputs) + _bytes(2, name.encode())
        message += _bytes(4, kind.encode()) + _bytes(7, domain.encode())
        message += b"".join(_bytes(5, _attribute(*one)) for one in attributes.items())
        self._nodes.append(message)
        return name

    def model(self, output: str) -> bytes:
        """The whole file, with one output of floats."""
        graph = b"".join(_bytes(1, one) for one in self._nodes) + _bytes(2, b"graph")
        graph += b"".join(_bytes(5, one) for one in self._weights)
        graph += b"".join(_bytes(11, _described(name, kind, ("b", "l"))) for name, kind in self.inputs.items())
        graph += _bytes(12, _described(output, FLOAT, ("b", "l", "d")))
        opsets = [_bytes(8, _bytes(1, domain) + _number(2, version)) for domain, version in _OPSETS]
        return _number(1, _VERSION) + _bytes(7, graph) + b"".join(opsets)


def _attribute(name: str, value: float | int | Sequence[int]) -> bytes:
    head = _bytes(1, name.encode())
    if isinstance(value, float):
        return head + _key(2, 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, 2)
    return head + b"".join(_number(8, one) for one in value) + _number(20, 7)


def _described(name: str, kind: int, dimensions: Sequence[str]) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, one.encode())) for one in dimensions)
    tensor = _number(1, kind) + _bytes(2, shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _key(number: int, kind: int) -> bytes:
    return _as_varint(number << 3 | kind)


def _number(number: int, value: int) -> bytes:
    return _key(number, 0) + _as_varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, 2) + _as_varint(len(value)) + value


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
