"""Settings that hold for the whole program, read from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The folder where runs, caches and chats are kept: `WHETSTONE_HOME`, else the platform's data folder."""
    configured = os.environ.get("WHETSTONE_HOME")
    return Path(configured).expanduser() if configured else platformdirs.user_data_path("whetstone", appauthor=False)


def database_url() -> str:
    """A team's database, with its password: `WHETSTONE_DATABASE_URL`; "" for files of our own."""
    return os.environ.get("WHETSTONE_DATABASE_URL", "")


def threads() -> int:
    """Worker threads for local engines: `WHETSTONE_THREADS`, else one per usable core.

    llama.cpp waits for its slowest thread; on a machine that is busy with other work, set one less than the cores.
    """
    configured = os.environ.get("WHETSTONE_THREADS", "")
    if configured.isdigit() and int(configured) > 0:
        return int(configured)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
