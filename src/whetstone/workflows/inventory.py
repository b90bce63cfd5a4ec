"""What this installation can do: models that are usable, and checks that say what to mend."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from whetstone import settings
from whetstone.errors import WhetstoneError
from whetstone.models import GREEDY, PROVIDERS, Listing, load_model, reply
from whetstone.types import user


def list_models() -> list[Listing]:
    """Every model that a provider can name: the usable ones first. A provider that fails is listed with its reason."""
    listings: list[Listing] = []
    for name in PROVIDERS:
        try:
            listings.extend(PROVIDERS.resolve(name)(name).listing())
        except (WhetstoneError, ImportError) as error:
            listings.append(Listing(f"{name}:", usable=False, note=str(error)))
    return sorted(listings, key=lambda listing: (not listing.usable, listing.spec))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        ok: whether it is as it should be; None for an optional part that is not installed.
        found: what was found.
        advice: what to do about it, "" where nothing is needed.
    """

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def check_installation() -> Iterator[Check]:
    """Look at everything that a first day needs, each as soon as it is known."""
    recent = sys.version_info >= (3, 11)
    yield Check("python", recent, platform.python_version(), "" if recent else "use Python 3.11 or newer")
    yield Check("threads", True, f"{settings.threads()} of {os.cpu_count()} cores", "")
    yield _check_home()
    yield Check("sqlite", True, f"{sqlite3.sqlite_version} {'with' if _has_fts5() else 'without'} full-text search")
    yield _try("embedded model", _ask_embedded)
    yield _try("sentence encoder", _embed_one)
    yield _try("demo catalogue", _read_catalogue)
    for extra, modules in {
        "transformers": ("torch", "transformers", "accelerate", "peft", "gguf", "safetensors"),
        "datasets": ("datasets", "pandas"),
        "tools": ("mcp",),
        "tasks": ("optuna", "sacrebleu"),
    }.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            advice = f"for this part: pip install 'whetstone-llm[{extra}]'"
            yield Check(f"extra {extra}", None, f"missing {', '.join(missing)}", advice)
        else:
            yield Check(f"extra {extra}", True, "installed")
    yield _check_containment()
    usable = [listing.spec for listing in list_models() if listing.usable]
    yield Check("models", bool(usable), ", ".join(usable), "" if usable else "see `whet models`")


def _check_home() -> Check:
    home = settings.home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Check("home", False, f"{home}: {error.strerror}", "set WHETSTONE_HOME to a folder that you may write")
    free = shutil.disk_usage(home).free / 1e9
    advice = "" if free > 1 else "less than 1 GB is free: make room, or set WHETSTONE_HOME elsewhere"
    return Check("home", free > 1, f"{home}, {free:.1f} GB free", advice)


def _check_containment() -> Check:
    from whetstone.tools.contained import containment

    held = containment()
    if held.plan is None:
        return Check("generated code", None, "is not run here", held.reason)
    return Check("generated code", True, f"kept in by {', '.join(held.guards)}")


def _has_fts5() -> bool:
    with sqlite3.connect(":memory:") as connection:
        options = {row[0] for row in connection.execute("pragma compile_options")}
    return "ENABLE_FTS5" in options


def _try(name: str, work: Callable[[], str]) -> Check:
    try:
        return Check(name, True, work())
    except WhetstoneError as error:
        return Check(name, False, "not usable", str(error))


def _ask_embedded() -> str:
    model = load_model("smollm2")
    try:
        answer = reply(model, [user("Say hello.")], GREEDY.model_copy(update={"max_tokens": 8}))
    finally:
        model.close()
    return f"smollm2 answers in {answer.seconds:.1f} s: {answer.text.strip()!r}"


def _embed_one() -> str:
    from whetstone.embeddings import load_embedder

    embedder = load_embedder()
    return f"{embedder.name}, {embedder.embed(['hello']).shape[1]} dimensions"


def _read_catalogue() -> str:
    from whetstone.datasets.catalogues import diamonds

    return f"diamonds, {diamonds().height:,} rows"
