"""Models by the names under which they are offered, each loaded once, when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from whetstone.errors import UnknownModelError
from whetstone.models.base import ChatModel
from whetstone.models.spec import parse_spec
from whetstone.registry import unknown_name


class ModelPool:
    """Models by name. Safe to use from several threads.

    Args:
        offered: name -> model spec, the first one being the default. A spec is parsed now, and loaded when asked for.
        any_spec: also load models by specs that are not offered: for a program that its user alone talks to.
        load: loads a model; `whetstone.models.load_model`.

    Raises:
        UsageError: a spec cannot be read.
    """

    def __init__(
        self,
        offered: Mapping[str, str],
        *,
        any_spec: bool = False,
        load: Callable[[str], ChatModel] | None = None,
    ) -> None:
        for spec in offered.values():
            parse_spec(spec)
        self.offered = dict(offered)
        self.any_spec = any_spec
        self._load = load
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._loaded: dict[str, ChatModel] = {}

    @property
    def default(self) -> str:
        """The name of the model that answers where none is named."""
        return next(iter(self.offered))

    def answering_alone(self) -> list[str]:
        """Names of the offered models, but for those that answer from documents."""
        return [name for name, spec in self.offered.items() if parse_spec(spec).provider != "kb"]

    def offer(self, more: Mapping[str, str]) -> None:
        """Offer further models, name -> spec, behind those that are offered; a name that is taken stays what it is.

        Raises:
            UsageError: a spec cannot be read.
        """
        for spec in more.values():
            parse_spec(spec)
        with self._lock:
            self.offered = {**self.offered, **{name: spec for name, spec in more.items() if name not in self.offered}}

    def spec(self, name: str) -> str:
        """The spec of an offered name; another name is a spec itself.

        Raises:
            UnknownModelError: the name is not offered, and other specs are not allowed.
        """
        if name in self.offered:
            return self.offered[name]
        if self.any_spec:
            return name
        raise UnknownModelError(str(unknown_name("model", name, list(self.offered))))

    def get(self, name: str) -> ChatModel:
        """The model of that name, loaded if need be.

        Raises:
            UnknownModelError: the name is not offered, and other specs are not allowed.
            WhetstoneError: what `load_model` raises.
        """
        spec = self.spec(name)
        with self._lock:
            lock = self._loading.setdefault(spec, threading.Lock())
        with lock:  # one model at a time may load, but a loaded one answers while another loads
            if spec not in self._loaded:
                self._loaded[spec] = self._loader()(spec)
            return self._loaded[spec]

    def _loader(self) -> Callable[[str], ChatModel]:
        if self._load is None:
            from whetstone.models import load_model

            return load_model
        return self._load

    def close(self) -> None:
        """Close every model that was loaded. Closing twice is harmless."""
        with self._lock:
            loaded, self._loaded = list(self._loaded.values()), {}
        for model in loaded:
            model.close()
