"""Replies that are part of an answer, kept until the answer is: nothing paid for is asked for again after a kill."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from whetstone import settings
from whetstone.storage.files import storage_error
from whetstone.types import Usage


@dataclass(frozen=True)
class Sample:
    """One reply of several to the same question.

    Attributes:
        number: which one, from 0.
        error: why there is no reply; "" where there is one.
        cost: US dollars; None where no price is known.
    """

    number: int
    seed: int | None
    reply: str = ""
    finish_reason: str | None = None
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost: float | None = 0.0

    def told(self) -> dict[str, Any]:
        """What an answer's evidence says of it."""
        if self.error:
            return {"seed": self.seed, "error": self.error}
        return {"seed": self.seed, "reply": self.reply, "finish_reason": self.finish_reason}


class KeptSamples:
    """The samples of one question: a file in `WHETSTONE_HOME/samples`, a line each, gone when the answer is kept.

    Args:
        key: digest of what is asked.
    """

    def __init__(self, key: str) -> None:
        self._path = settings.home() / "samples" / f"{key}.jsonl"

    def read(self) -> dict[int, Sample]:
        """Those kept so far, by their number. A line that a kill has torn is passed over."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise storage_error(self._path, error) from error
        found = {}
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                data = json.loads(line)
                found[int(data["number"])] = Sample(**{**data, "usage": Usage(**data["usage"])})
        return found

    def keep(self, sample: Sample) -> None:
        """Keep one. It survives a kill as soon as this returns.

        Raises:
            StorageError: the disk refuses.
        """
        line = json.dumps(asdict(sample)).encode()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "ab") as file:
                file.write(b"\n" + line + b"\n")  # the line before may be torn
        except OSError as error:
            raise storage_error(self._path, error) from error

    def forget(self) -> None:
        """The answer is kept elsewhere."""
        with contextlib.suppress(OSError):
            self._path.unlink()
