"""Which tokenizers the Tokens tab offers, and the only way by which it loads one."""

from __future__ import annotations

import threading
from pathlib import Path

from whetstone.errors import WhetstoneError
from whetstone.models import parse_spec
from whetstone.models.knowledge_spec import answering_spec
from whetstone.models.pool import ModelPool
from whetstone.registry import unknown_name
from whetstone.tokens.sources import DEFAULT, load_tokenizer, shelf_folder
from whetstone.tokens.tokenizer import Tokenizer

_KEPT = 16  # loaded tokenizers; the one that was loaded first makes room for a further one
_HAS_TOKENIZER = {"smollm2", "gguf", "hf"}  # providers whose models bring their tokenizer's files


class OfferedTokenizers:
    """Tokenizers by the names that are shown. Safe to use from several threads.

    A browser may name those that are offered, and nothing else: a free name is a path on the server, or a download.
    Only where the pool takes any model spec, from people who are trusted like the server's owner, is any name taken.

    Args:
        pool: the models whose tokenizers are offered beside those under WHETSTONE_TOKENIZERS and the embedded one.
    """

    def __init__(self, pool: ModelPool) -> None:
        self.any_name = pool.any_spec
        self.sources = _sources(pool)
        self._by_spec = _by_spec(pool, self.sources)
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._loaded: dict[str, Tokenizer] = {}

    @property
    def default(self) -> str:
        """The name of the tokenizer that is chosen at first: the default model's, where it has one."""
        return next(iter(self._by_spec.values()), DEFAULT)

    def source(self, name: str) -> str:
        """What `load_tokenizer` is asked for.

        Raises:
            UnknownNameError: the name is not offered, and others are not taken.
        """
        if name in self.sources:
            return self.sources[name]
        if self.any_name and name.strip():
            return name.strip()
        raise unknown_name("tokenizer", name, list(self.sources))

    def get(self, name: str) -> Tokenizer:
        """The tokenizer of that name, loaded if need be.

        Raises:
            UnknownNameError: as `source`.
            WhetstoneError: what `load_tokenizer` raises.
        """
        source = self.source(name)
        with self._lock:
            lock = self._loading.setdefault(source, threading.Lock())
        with lock:
            found = self._loaded.get(source)
            if found is None:
                found = load_tokenizer(source)
                with self._lock:
                    self._loaded[source] = found
                    while len(self._loaded) > _KEPT:
                        del self._loaded[next(iter(self._loaded))]
            return found

    def of_model(self, spec: str) -> str | None:
        """The name of a model's tokenizer; None where it is not offered."""
        return self._by_spec.get(spec)


def _sources(pool: ModelPool) -> dict[str, str]:
    found: dict[str, str] = {}
    shelf = shelf_folder()
    if shelf is not None and shelf.is_dir():
        # With its whole path: what also wants the folder's other files must find it.
        found |= {folder.name: str(folder.resolve()) for folder in sorted(shelf.iterdir()) if _is_tokenizer(folder)}
    found.setdefault(DEFAULT, DEFAULT)
    for name, spec in pool.offered.items():
        source = _source_of(spec)
        if source is not None and source not in found.values():
            found[f"{name} (model)" if name in found else name] = source
    return found


def _is_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "spiece.model"))


def _source_of(spec: str) -> str | None:
    """What to ask `load_tokenizer` for to get a model's own tokenizer; None for a model elsewhere."""
    parsed = answering_spec(parse_spec(spec))
    if parsed.provider not in _HAS_TOKENIZER:
        return None
    if parsed.provider == DEFAULT:
        return _embedded()
    return f"{parsed.name}@{parsed.revision}" if parsed.revision else parsed.name or None


def _embedded() -> str:
    """The embedded model's own file where a folder under WHETSTONE_TOKENIZERS has taken its name."""
    shelf = shelf_folder()
    if shelf is None or not (shelf / DEFAULT).is_dir():
        return DEFAULT
    from whetstone.tokens.embedded import embedded_weights

    try:
        return str(embedded_weights())
    except WhetstoneError:  # not installed: the model will say so when it is asked
        return DEFAULT


def _by_spec(pool: ModelPool, sources: dict[str, str]) -> dict[str, str]:
    names = {source: name for name, source in sources.items()}
    wanted = {str(parse_spec(spec)): _source_of(spec) for spec in pool.offered.values()}
    return {spec: names[source] for spec, source in wanted.items() if source is not None}
