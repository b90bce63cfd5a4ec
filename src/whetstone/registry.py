"""Names that stand for classes: a table of our own "module:attribute" strings, plus entry points of other packages.

Nothing is imported until a name is resolved, so a table may name modules that need optional packages.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from whetstone.errors import UnknownNameError


def unknown_name(kind: str, name: str, known: Mapping[str, Any] | list[str]) -> UnknownNameError:
    """The error for a name that is not known, with near matches and the whole list."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return UnknownNameError(f"There is no {kind} named {name!r}.{hint} Known: {', '.join(names)}")


class Registry:
    """A table of names for one kind of thing.

    Args:
        kind: what the names stand for, in words, for messages: "technique".
        builtin: name -> "module:attribute".
        group: entry-point group through which other packages add names ("whetstone.techniques"). A name of ours wins.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], group: str) -> None:
        self.kind = kind
        self._builtin = dict(builtin)
        self._group = group

    def _plugins(self) -> dict[str, EntryPoint]:
        return {e.name: e for e in entry_points(group=self._group)}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._builtin, *self._plugins()}))

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._plugins()

    def resolve(self, name: str) -> Any:
        """The object that `name` stands for.

        Raises:
            UnknownNameError: no such name.
        """
        target = self._builtin.get(name)
        if target is not None:
            module, _, attribute = target.partition(":")
            return getattr(importlib.import_module(module), attribute)
        plugins = self._plugins()
        if name in plugins:
            return plugins[name].load()
        raise unknown_name(self.kind, name, list(self))
