"""A digest of what a problem asks: equal for equal items, split, kind and metric, whatever their order or storage."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence

import numpy as np

from whetstone.datasets.cases import CaseTable
from whetstone.types import Case, TargetKind

_DIGEST = hashlib.sha256().digest_size
# Part of every digest: when what is digested changes, so must this.
_VERSION = b"whetstone problem 1\n"


def fingerprint(
    kind: TargetKind,
    metric: str,
    train: Sequence[Case],
    validation: Sequence[Case],
    test: Sequence[Case],
    pinned: Sequence[str] = (),
) -> str:
    """The sha256, in hex, of a problem: of every item (id, text, expected answer), its split, the kind and the metric.

    Fields are not part of it, unless they are `pinned`: they are one technique's input, like a prompt. The order of
    items within a split is not either. The bytes are our own, so no library's version changes them.
    """
    whole = hashlib.sha256(_VERSION)
    whole.update(_framed(kind) + _framed(metric))
    for name, cases in (("train", train), ("validation", validation), ("test", test)):
        digests = b"".join(_item(identifier, text, expected) for identifier, text, expected in _triples(cases))
        whole.update(b"%s %d\n" % (name.encode(), len(cases)))
        whole.update(np.sort(np.frombuffer(digests, dtype=f"S{_DIGEST}")).tobytes())
        if pinned:
            rows = (_framed(case.id) + b"".join(_framed(str(case.fields[name])) for name in pinned) for case in cases)
            whole.update(b"".join(sorted(hashlib.sha256(row).digest() for row in rows)))
    return whole.hexdigest()


def _triples(cases: Sequence[Case]) -> Iterable[tuple[str, str, float | str]]:
    if isinstance(cases, CaseTable):
        return cases.triples()
    return ((case.id, case.text, case.expected) for case in cases)


def _item(identifier: str, text: str, expected: float | str) -> bytes:
    answer = _framed(expected) if isinstance(expected, str) else b"=" + struct.pack(">d", expected + 0.0)
    return hashlib.sha256(_framed(identifier) + _framed(text) + answer).digest()


def _framed(text: str) -> bytes:
    """A text with its length before it, so that no two sequences of texts give the same bytes."""
    data = text.encode("utf-8", "surrogatepass")
    return b"%d:%s" % (len(data), data)
