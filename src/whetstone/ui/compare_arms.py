"""The arms of a comparison: which techniques there are, what they take, and which of them a visitor may ask for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from whetstone.errors import UsageError, WhetstoneError
from whetstone.evaluation.techniques import TECHNIQUES
from whetstone.registry import unknown_name
from whetstone.ui.knowledge_bases import KnowledgeBases
from whetstone.ui.tune_process import begun_here

MOST = 24  # techniques of one comparison


def techniques() -> dict[str, dict[str, str]]:
    """Every technique by name: `takes`, how its arguments are written, and `says`, what it is; as its class says."""
    return {name: _described(name) for name in TECHNIQUES}


def _described(name: str) -> dict[str, str]:
    try:
        said = inspect.getdoc(TECHNIQUES.resolve(name)) or ""
    except (WhetstoneError, ImportError) as error:
        return {"takes": "", "says": f"cannot be used here: {error}"}
    first = " ".join(said.split("\n\n")[0].split())
    form = re.search(rf"`{re.escape(name)}(:[^`]+|\[[^`]+)`", said)
    bare = re.sub(r"^`[^`]*`(?: or `[^`]*`)?:\s*", "", first)
    return {"takes": form[1] if form else "", "says": bare[:1].upper() + bare[1:].replace("`", "")}


def options_html() -> str:
    """The techniques to choose from."""
    return "".join(f"<option>{escape(name)}</option>" for name in TECHNIQUES)


def checked_techniques(given: Any, bases: KnowledgeBases) -> tuple[str, ...]:
    """The specs that a page asks for.

    Raises:
        UsageError: none is given, or too many, one is given twice, or one reads what a visitor may not.
    """
    specs = [str(one).strip() for one in given] if isinstance(given, Sequence) and not isinstance(given, str) else []
    specs = [spec for spec in specs if spec]
    if not specs:
        raise UsageError("choose at least one technique")
    if len(specs) > MOST:
        raise UsageError(f"{len(specs)} techniques are too many for one comparison: take at most {MOST}")
    for spec in specs:
        if specs.count(spec) > 1:
            raise UsageError(f"{spec} is there twice: change or remove one of them")
        _check(spec, bases)
    return tuple(specs)


def _check(spec: str, bases: KnowledgeBases) -> None:
    """Refuse what a visitor may not have read; a misspelt technique is refused here rather than after a minute."""
    name, _, arguments = spec.partition(":")
    if name not in TECHNIQUES:
        raise unknown_name("technique", name, list(TECHNIQUES))
    if name == "ensemble":
        for member in arguments.split("+"):
            if member.strip():
                _check(member.strip(), bases)
    if bases.any_folder:
        return
    # One technique may ask by another one: "tuned:RUN:retrieved:KB:5".
    parts = spec.split(":")
    if "guesses" in parts:
        raise UsageError("files of guesses lie on the server, where only its own user may have them read")
    for place, part in enumerate(parts):
        if part == "retrieved":
            bases.require(parts[place + 1] if place + 1 < len(parts) else "")
        elif part == "tuned":
            begun_here(parts[place + 1].partition("@")[0] if place + 1 < len(parts) else "")
