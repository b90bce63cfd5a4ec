"""Vectors set aside in a file while all of a knowledge base is embedded anew, so that a kill costs a batch at most."""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.retrieval.vector_check import checked
from whetstone.storage.files import storage_error

__all__ = ["VectorFile"]

_AT_ONCE = 1024  # records read or handed out at a time


class VectorFile:
    """Vectors by chunk hash. Records of one length are appended; a torn or damaged tail is cut off when it is opened.

    Args:
        path: of the file; made if need be.
        dimension: of the vectors.

    Raises:
        StorageError: it cannot be read or written.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._path = path
        self._record = np.dtype([("hash", "V16"), ("check", "<u4"), ("vector", "<f4", (dimension,))])
        self._rows: dict[bytes, int] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  `close` closes it
            self._read_all()
        except OSError as error:
            raise storage_error(path, error) from error

    def with_vectors(self, hashes: Collection[bytes]) -> set[bytes]:
        """Those of the hashes whose vectors are kept already, as `Store.with_vectors`."""
        return {one for one in hashes if one in self._rows}

    def add_vectors(self, hashes: Sequence[bytes], vectors: npt.NDArray[np.float32]) -> None:
        """Keep vectors durably, as `Store.add_vectors`.

        Raises:
            StorageError: the disk is full, or they are no unit vectors of the right dimension.
        """
        vectors = checked(vectors, len(hashes), *self._record["vector"].shape)
        records = np.empty(len(hashes), dtype=self._record)
        for record, one, vector in zip(records, hashes, vectors, strict=True):
            record["hash"], record["vector"] = np.void(one), vector
            record["check"] = _check(one, record["vector"])
        try:
            self._file.write(records.tobytes())
            os.fsync(self._file.fileno())
        except OSError as error:
            self._drop_after(len(self._rows))
            raise storage_error(self._path, error) from error
        for one in hashes:
            self._rows[one] = len(self._rows)

    def batches(self, hashes: Iterable[bytes]) -> Iterator[tuple[list[bytes], npt.NDArray[np.float32]]]:
        """The vectors of hashes that are all kept here, some at a time, in that order."""
        batch: list[bytes] = []
        for one in hashes:
            batch.append(one)
            if len(batch) == _AT_ONCE:
                yield batch, self._vectors(batch)
                batch = []
        if batch:
            yield batch, self._vectors(batch)

    def delete(self) -> None:
        """Close and remove the file."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closing twice is harmless."""
        self._file.close()

    def _vectors(self, hashes: list[bytes]) -> npt.NDArray[np.float32]:
        size, start = self._record.itemsize, self._record.fields["vector"][1] if self._record.fields else 0
        vectors = np.empty((len(hashes), *self._record["vector"].shape), dtype=np.float32)
        try:
            for row, one in enumerate(hashes):
                self._file.seek(self._rows[one] * size + start)
                vectors[row] = np.frombuffer(self._file.read(size - start), dtype="<f4")
        except OSError as error:
            raise storage_error(self._path, error) from error
        return vectors

    def _read_all(self) -> None:
        self._file.seek(0)
        while data := self._file.read(_AT_ONCE * self._record.itemsize):
            whole = len(data) // self._record.itemsize
            for record in np.frombuffer(data, dtype=self._record, count=whole):
                one = record["hash"].tobytes()
                if record["check"] != _check(one, record["vector"]):
                    self._drop_after(len(self._rows))
                    return
                self._rows[one] = len(self._rows)
            if whole * self._record.itemsize < len(data):
                self._drop_after(len(self._rows))
                return

    def _drop_after(self, rows: int) -> None:
        self._file.truncate(rows * self._record.itemsize)


def _check(one: bytes, vector: npt.NDArray[Any]) -> int:
    return zlib.crc32(vector.tobytes(), zlib.crc32(one))
