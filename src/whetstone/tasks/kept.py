"""Replies of a long task, kept on the disk until it is finished: a task that was killed goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whetstone.settings import home
from whetstone.storage.files import write_atomically
from whetstone.tasks.asking import Asking
from whetstone.types import ModelIdentity, Reply, Usage

_DAYS = 30  # after which what an abandoned task left is removed


class KeptReplies:
    """Replies by what was asked: one file each, so that any number of processes may keep theirs.

    They hold what a model made of private texts: `forget` removes a task's own when it is finished, and what an
    abandoned task left goes after 30 days.

    Args:
        identity: of the model that is asked.
        folder: where; by default in the user's Whetstone folder.
    """

    def __init__(self, identity: ModelIdentity, folder: Path | None = None) -> None:
        self._identity = asdict(identity)
        self._folder = folder or home() / "tasks" / "parts"
        self._swept = False

    def find(self, asking: Asking) -> Reply | None:
        """The reply that an earlier run was given, if it was given one."""
        if not self._repeatable(asking):
            return None
        try:
            found = json.loads(self._path(asking).read_text("utf-8"))
            return Reply(found["text"], finish_reason=found["finish_reason"], usage=Usage(**found["usage"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):  # no use to us; it is written anew
            return None

    def keep(self, asking: Asking, reply: Reply) -> None:
        """Keep a reply.

        Raises:
            StorageError: the disk is full.
        """
        if not self._repeatable(asking):
            return
        self._sweep()
        kept = {"text": reply.text, "finish_reason": reply.finish_reason, "usage": asdict(reply.usage)}
        write_atomically(self._path(asking), json.dumps(kept, ensure_ascii=True))

    def forget(self, askings: Iterable[Asking]) -> None:
        """Remove what was kept of a task that is finished."""
        for asking in askings:
            with contextlib.suppress(OSError):
                self._path(asking).unlink()

    def _repeatable(self, asking: Asking) -> bool:
        # A sampled reply without a seed is to be another one each time.
        return asking.keep and asking.options.deterministic

    def _path(self, asking: Asking) -> Path:
        asked: list[Any] = [self._identity, asking.messages, asking.options.model_dump(mode="json"), asking.schema]
        written = json.dumps(asked, sort_keys=True, ensure_ascii=True)
        return self._folder / f"{hashlib.sha256(written.encode()).hexdigest()[:32]}.json"

    def _sweep(self) -> None:
        if self._swept:
            return
        self._swept = True
        before = time.time() - _DAYS * 86400
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()
