"""Work that takes longer than a person waits: it goes on in a thread, and the page asks for what is new."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from whetstone.errors import UsageError, WhetstoneError

MOST = 3  # at once; each may hold a model
_FORGOTTEN = 15.0  # seconds after which a job that no page asks about ends: its page was closed


class Job:
    """One piece of work.

    Attributes:
        results: what was found so far.
        error: the sentence that ended it; "" when there is none.
        done: whether it has ended.
    """

    def __init__(self, work: Callable[[], Iterator[Any]]) -> None:
        self.results: list[Any] = []
        self.error = ""
        self.done = False
        self.asked = time.monotonic()
        self._stopped = False
        threading.Thread(target=self._run, args=(work,), name="whetstone-tokens", daemon=True).start()

    def stop(self) -> None:
        """End it after the result that it is at."""
        self._stopped = True

    def _run(self, work: Callable[[], Iterator[Any]]) -> None:
        try:
            for result in work():
                self.results.append(result)
                if self._stopped or time.monotonic() - self.asked > _FORGOTTEN:
                    break
        except WhetstoneError as error:
            self.error = str(error)
        except BaseException:
            self.error = "this failed for a reason that is not foreseen; the server's log tells more"
            raise
        finally:
            self.done = True


class Jobs:
    """The jobs of all pages. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def start(self, work: Callable[[], Iterator[Any]]) -> str:
        """Begin; the name under which the page asks.

        Raises:
            UsageError: too many are at work already.
        """
        with self._lock:
            now = time.monotonic()
            self._jobs = {
                name: job for name, job in self._jobs.items() if not (job.done and now - job.asked > _FORGOTTEN)
            }
            if sum(not job.done for job in self._jobs.values()) >= MOST:
                raise UsageError(f"{MOST} such jobs are at work on this server: wait until one has ended, or stop it")
            name = secrets.token_urlsafe(12)
            self._jobs[name] = Job(work)
            return name

    def get(self, name: str) -> Job:
        """A job, which counts as asked about.

        Raises:
            UsageError: there is none of this name any more.
        """
        with self._lock:
            job = self._jobs.get(name)
        if job is None:
            raise UsageError("the server knows this job no longer: begin it again")
        job.asked = time.monotonic()
        return job
