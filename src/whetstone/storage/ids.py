"""Ids that are short, sort by creation, and never meet, whichever process makes them."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from datetime import datetime

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to be misread
ID_LENGTH = 14  # 40 bits of time, 30 bits at random
_RANDOM_BITS = 30
_EPOCH = 1735689600  # 2025-01-01, so that 40 bits of 1/256 second last until 2161

_lock = threading.Lock()
_last = 0


def new_id(after: str = "") -> str:
    """A new id of 14 letters and digits, greater than every one this process made, and than `after`.

    Six of them are enough to tell ids apart that were made four seconds from each other.
    """
    global _last
    drawn = _stamp(time.time()) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    with _lock:
        # The clock may have been set back, and the clock of the machine that made `after` may be fast.
        _last = max(drawn, _last + 1, _value(after) + 1 if after else 0)
        return _text(_last)


def id_of(key: str, created: datetime) -> str:
    """The id of something made elsewhere: equal for equal key and time, and in order among ours."""
    digest = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:4], "big")
    return _text(_stamp(created.timestamp()) << _RANDOM_BITS | digest >> (32 - _RANDOM_BITS))


def _stamp(seconds: float) -> int:
    return max(0, int((seconds - _EPOCH) * 256))


def _text(value: int) -> str:
    return "".join(_DIGITS[value >> 5 * place & 31] for place in reversed(range(ID_LENGTH)))


def _value(text: str) -> int:
    value = 0
    for digit in text:
        value = value << 5 | _DIGITS.index(digit)
    return value
