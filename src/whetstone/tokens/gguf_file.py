"""What a GGUF file says of itself, checked against the file's size before an engine maps it.

Only the header is read (names, settings and the table of tensors, some megabytes at most), never the weights.
Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import NoReturn

from whetstone.errors import ModelFileError

MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_MAX_BYTES = 2**63  # what llama.cpp can count
# ggml type -> (elements of a block, bytes of a block). A type that is not here is newer than this table: such a
# tensor's start is checked and its end is left to the engine.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip
# How files that are often taken for a model begin, and what they are.
_BEGINNINGS = {
    b"<": "it is a web page: the download asked for a login, or the link was to a page and not to the file",
    b"version https://git-lfs": "it is a Git LFS pointer to the model: run `git lfs pull`",
    b"PK\x03\x04": "it is a ZIP archive, perhaps a PyTorch checkpoint: convert it to GGUF",
    b"lmgg": "it is of the old format GGML: convert the model to GGUF",
    b"tjgg": "it is of the old format GGJT: convert the model to GGUF",
    b"fmgg": "it is of the old format GGMF: convert the model to GGUF",
}

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of the table of tensors.

    Attributes:
        shape: number of elements along each dimension, fastest first.
        type: ggml's number of the element type.
        offset: bytes from the start of the tensor data.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class GgufHeader:
    """The header of a GGUF file.

    Attributes:
        path: the file.
        size: its bytes.
        metadata: settings by name: numbers and texts. Of an array only its length is kept, in `lengths`.
        lengths: number of elements of each array.
        arrays: where in the file each array begins, for `read_array`.
        tensors: the table of tensors.
    """

    path: Path
    size: int
    metadata: Mapping[str, Scalar]
    lengths: Mapping[str, int]
    arrays: Mapping[str, int] = field(repr=False)
    tensors: tuple[Tensor, ...] = field(repr=False)

    def text(self, key: str) -> str:
        """A text setting, "" where it is not given."""
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """A whole-number setting, 0 where it is not given."""
        value = self.metadata.get(key, 0)
        return value if isinstance(value, int) else 0

    @property
    def architecture(self) -> str:
        """ "llama", "qwen3", …"""
        return self.text("general.architecture")

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained to see at once; 0 where the file does not say."""
        return self.number(f"{self.architecture}.context_length")

    @property
    def chat_template(self) -> str:
        """The Jinja template of its chat, "" where it has none."""
        return self.text("tokenizer.chat_template")


def read_header(path: Path) -> GgufHeader:
    """The header of a GGUF file, whose table of tensors fits the file.

    Raises:
        ModelFileError: the file is missing, empty, cut off, damaged, no GGUF, or of a version that is not read.
    """
    try:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder: name the .gguf file in it{_models_in(path)}")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise ModelFileError(f"{path} is empty: download it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data, size).header()
    except FileNotFoundError:
        raise ModelFileError(f"There is no model file {path}{_models_in(path.parent, like=path.name)}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None


def read_array(header: GgufHeader, key: str) -> list[str] | list[int]:
    """An array of texts or whole numbers from a header that `read_header` has checked; [] where there is none.

    Raises:
        ModelFileError: the file cannot be read any more.
    """
    if key not in header.arrays:
        return []
    try:
        with header.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = header.arrays[key]
            kind, count = struct.unpack_from("<IQ", data, at)
            at += 12
            if kind != _STRING:
                return list(struct.unpack_from(f"<{count}{_SCALARS[kind]}", data, at))
            texts: list[str] = []
            for _ in range(count):
                (size,) = struct.unpack_from("<Q", data, at)
                texts.append(data[at + 8 : at + 8 + size].decode("utf-8", "replace"))
                at += 8 + size
            return texts
    except (OSError, ValueError, struct.error) as error:
        raise ModelFileError(f"{header.path} cannot be read: {error}") from None


def _models_in(folder: Path, like: str = "") -> str:
    try:
        names = sorted(entry.name for entry in folder.glob("*.gguf"))
    except OSError:
        return ""
    near = get_close_matches(like, names, n=3, cutoff=0.4) if like else names[:3]
    return f" (there is {', '.join(near)})" if near else ""


class _Reader:
    """Walks the header once. Every read is checked against the file's size first."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self._path = path
        self._data = data
        self._size = size
        self._at = 0
        self._inside = "its first bytes"

    def _cut_off(self) -> NoReturn:
        raise ModelFileError(
            f"{self._path} is cut off or damaged: it has {self._size:,} bytes and they end within {self._inside}; "
            f"download it again"
        )

    def _damaged(self, what: str) -> NoReturn:
        raise ModelFileError(f"{self._path} is damaged: {what}; download it again")

    def _need(self, size: int) -> None:
        if self._at + size > self._size:
            self._cut_off()

    def _scalar(self, code: str) -> Scalar:
        size = struct.calcsize("<" + code)
        self._need(size)
        value: Scalar = struct.unpack_from("<" + code, self._data, self._at)[0]
        self._at += size
        return value

    def _count(self, code: str) -> int:
        return int(self._scalar(code))

    def _bytes(self) -> bytes:
        length = self._count("Q")
        self._need(length)
        self._at += length
        return self._data[self._at - length : self._at]

    def header(self) -> GgufHeader:
        self._check_beginning()
        tensors, settings = self._count("Q"), self._count("Q")
        # The least that an entry can take: a wrong count is found before anything of its size is made.
        if tensors * 24 + settings * 13 > self._size:
            self._damaged(f"it claims {tensors:,} tensors and {settings:,} settings in {self._size:,} bytes")
        metadata: dict[str, Scalar] = {}
        lengths: dict[str, int] = {}
        arrays: dict[str, int] = {}
        for number in range(settings):
            self._inside = f"setting {number + 1} of {settings}"
            key = self._bytes().decode("utf-8", "replace")
            self._inside = f"the setting {key[:80]}"
            if key in metadata or key in lengths:
                self._damaged(f"the setting {key[:80]} is there twice")
            kind = self._count("I")
            if kind == _ARRAY:
                arrays[key] = self._at
                lengths[key] = self._skip_array(key)
            else:
                metadata[key] = self._value(key, kind)
        table = self._tensors(tensors)
        header = GgufHeader(self._path, self._size, metadata, lengths, arrays, table)
        self._check_extent(header)
        return header

    def _check_beginning(self) -> None:
        beginning = self._data[:64]
        if not beginning.startswith(MAGIC):
            for known, meaning in _BEGINNINGS.items():
                if beginning.lstrip().startswith(known):
                    raise ModelFileError(f"{self._path} is no GGUF file: {meaning}")
            raise ModelFileError(f"{self._path} is no GGUF file: it begins with {beginning[:8]!r} instead of b'GGUF'")
        self._at = len(MAGIC)
        version = self._count("I")
        if version in (2, 3):
            return
        if version == 1:
            raise ModelFileError(
                f"{self._path} is of GGUF version 1, which llama.cpp no longer reads: convert it again"
            )
        if version & 0xFFFF == 0:
            raise ModelFileError(f"{self._path} is a GGUF file for big-endian machines: get the little-endian one")
        raise ModelFileError(f"{self._path} is of GGUF version {version}, and only 2 and 3 are known: update whetstone")

    def _value(self, key: str, kind: int) -> Scalar:
        if kind == _STRING:
            return self._bytes().decode("utf-8", "replace")
        if kind not in _SCALARS:
            self._damaged(f"the setting {key[:80]} is of the unknown kind {kind}")
        return self._scalar(_SCALARS[kind])

    def _skip_array(self, key: str) -> int:
        kind, length = self._count("I"), self._count("Q")
        if kind == _STRING:
            self._need(8 * length)
            for _ in range(length):
                size = self._count("Q")
                self._need(size)
                self._at += size
        elif kind in _SCALARS:
            size = length * struct.calcsize("<" + _SCALARS[kind])
            self._need(size)
            self._at += size
        else:
            self._damaged(f"the setting {key[:80]} is an array of the unknown kind {kind}")
        return length

    def _tensors(self, count: int) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        names: set[str] = set()
        for number in range(count):
            self._inside = f"the entry of tensor {number + 1} of {count}"
            name = self._bytes().decode("utf-8", "replace")
            dimensions = self._count("I")
            if name in names:
                self._damaged(f"the tensor {name[:80]} is there twice")
            if dimensions > _MAX_DIMENSIONS:
                self._damaged(f"the tensor {name[:80]} claims {dimensions} dimensions")
            shape = tuple(self._count("Q") for _ in range(dimensions))
            found.append(Tensor(name, shape, self._count("I"), self._count("Q")))
            names.add(name)
        return tuple(found)

    def _check_extent(self, header: GgufHeader) -> None:
        """Every tensor must lie within the file."""
        alignment = header.number("general.alignment") if "general.alignment" in header.metadata else 32
        if alignment <= 0 or alignment & (alignment - 1):
            self._damaged(f"general.alignment is {header.metadata['general.alignment']}, which is no power of two")
        start = -(-self._at // alignment) * alignment
        for tensor in header.tensors:
            elements = prod(tensor.shape)
            block, size = _BLOCKS.get(tensor.type, (1, 0))
            if tensor.shape and (tensor.shape[0] % block or elements >= _MAX_BYTES):
                self._damaged(f"the tensor {tensor.name[:80]} claims the shape {tensor.shape}")
            if tensor.offset % alignment:
                self._damaged(
                    f"the tensor {tensor.name[:80]} starts at {tensor.offset}, off the grid of {alignment} bytes"
                )
            end = start + tensor.offset + elements // block * size
            if end > self._size:
                raise ModelFileError(
                    f"{self._path} is cut off: it has {self._size:,} bytes and its tensor {tensor.name[:80]} ends at "
                    f"{end:,}; download it again"
                )
