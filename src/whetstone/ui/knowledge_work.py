"""Work that takes longer than a person waits: on knowledge bases, comparisons, tuning runs, tasks.

It belongs to the server and to no page: a page that is reloaded finds it again, and one that is closed ends none of it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from whetstone.errors import UsageError, WhetstoneError
from whetstone.models.watched import Stopped

log = logging.getLogger(__name__)

MOST = 3  # at once
_KEPT = 600.0  # seconds that an answer which nobody asks about any more is kept

News = TypeVar("News")
Tell = Callable[[News], None]


class Task(Generic[News]):
    """One piece of work.

    Args:
        what: kind of work.
        work: told what to call with its news; that call does not return once the task was stopped.
        passing: nobody else will look for it; forgotten some time after its page did so last.

    Attributes:
        news: what was told last.
        result: what the work returned.
        error: the sentence that ended it; "" when there is none.
        stopped: somebody stopped it.
        done: whether it has ended.
    """

    def __init__(self, what: str, work: Callable[[Tell[News]], Any], *, passing: bool = False) -> None:
        self.what = what
        self.passing = passing
        self.news: News | None = None
        self.result: Any = None
        self.error = ""
        self.stopped = False
        self.done = False
        self.asked = time.monotonic()
        threading.Thread(target=self._run, args=(what, work), name=f"whetstone-{what}", daemon=True).start()

    def stop(self) -> None:
        """End it where it next tells something."""
        self.stopped = True

    def _tell(self, news: News) -> None:
        self.news = news
        if self.stopped:
            raise Stopped

    def _run(self, what: str, work: Callable[[Tell[News]], Any]) -> None:
        try:
            self.result = work(self._tell)
        except Stopped:
            pass
        except WhetstoneError as error:
            self.error = str(error)
        except Exception as error:
            log.error("work in the background failed: %s", what, exc_info=error)
            self.error = f"Whetstone made a mistake ({type(error).__name__}: {error}). The server's log tells more."
        finally:
            self.done = True


class Tasks:
    """Work by name: of a knowledge base there is at most one piece, and the last one stays to be looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, Task[Any]] = {}

    def start(self, what: str, work: Callable[[Tell[Any]], Any], name: str = "") -> str:
        """Begin; the name under which the page asks.

        Args:
            name: of the knowledge base that the work has to itself; "" makes a name that nobody guesses.

        Raises:
            UsageError: something is at work under this name, or too much altogether.
        """
        with self._lock:
            now = time.monotonic()
            for old, task in list(self._tasks.items()):
                if task.done and task.passing and now - task.asked > _KEPT:
                    del self._tasks[old]
            running = self._tasks.get(name)
            if running is not None and not running.done:
                raise UsageError(f"{name} is busy ({running.what}): wait until that has ended, or stop it")
            if sum(not task.done for task in self._tasks.values()) >= MOST:
                raise UsageError(f"{MOST} such jobs are at work on this server: wait until one has ended, or stop it")
            passing = not name
            name = name or secrets.token_urlsafe(12)
            self._tasks[name] = Task(what, work, passing=passing)
            return name

    def find(self, name: str) -> Task[Any] | None:
        """The work of that name, if there is any."""
        with self._lock:
            task = self._tasks.get(name)
        if task is not None:
            task.asked = time.monotonic()
        return task

    def get(self, name: str) -> Task[Any]:
        """The work of that name.

        Raises:
            UsageError: there is none.
        """
        task = self.find(name)
        if task is None:
            raise UsageError("the server knows this job no longer: begin it again")
        return task
