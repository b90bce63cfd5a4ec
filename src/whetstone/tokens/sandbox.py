"""The sandbox in which chat templates run: they come with models, from anywhere.

Jinja's immutable sandbox keeps a template from reaching Python's internals. It does not keep one from running for ever
or from asking for a text of a terabyte: that is what the limits here are for.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, do_format
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter

TIME_LIMIT = 5.0  # seconds; a template takes about a millisecond
_LOOK_SECONDS = 0.25
_IDLE_SECONDS = 10.0
SIZE_LIMIT = 64_000_000  # characters of any one text that a template makes
_WIDE_SPEC = re.compile(r"\d{7}")
_WIDE_FIELD = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(?:\d{7}|(?:\d*|\*)\.\d{7})")


class TemplateTimeout(BaseException):
    """Raised inside a template that runs too long. No Exception, so that no template code can catch it."""


class Watchdog:
    """Interrupts threads that run for too long, from a thread of its own, which is there while it is needed.

    It looks at the clock now and then instead of being woken: a rendering takes less time than waking a thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._watched: dict[int, tuple[float, int]] = {}  # number -> deadline, thread
        self._fired: set[int] = set()
        self._last_used = 0.0
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raise TemplateTimeout in this thread when the block takes longer."""
        number = next(self._numbers)
        with self._lock:
            self._last_used = time.monotonic()
            self._watched[number] = self._last_used + seconds, threading.get_ident()
            if self._thread is None or not self._thread.is_alive():  # it does not survive a fork either
                self._thread = threading.Thread(target=self._watch, name="whetstone-template-limit", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(number, None)
                fired = number in self._fired
                self._fired.discard(number)
            if fired:  # it may still be on its way: it must not arrive somewhere else
                with contextlib.suppress(TemplateTimeout):
                    time.sleep(0.01)

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                now = time.monotonic()
                for number, (deadline, thread) in list(self._watched.items()):
                    if now > deadline:
                        del self._watched[number]
                        self._fired.add(number)
                        _raise_in(thread)
                if not self._watched and now - self._last_used > _IDLE_SECONDS:
                    self._thread = None
                    return


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TemplateTimeout))


WATCHDOG = Watchdog()


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, in which no operation makes a text larger than SIZE_LIMIT."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An intercepted operator: sizes are looked at before it is carried out."""
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and isinstance(times, int) and len(text) * times > SIZE_LIMIT:
                    raise too_large()
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > 4096:
                raise SecurityError("it makes a number that is too large")
        elif operator == "**":
            if not isinstance(right, int | float) or abs(right) > 64 or (isinstance(left, int) and abs(left) > 2**32):
                raise SecurityError("it makes a number that is too large")
        elif operator == "%" and isinstance(left, str):
            check_percent_format(left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """A text's own `format` or `format_map`, carried out by a formatter that limits its fields; else None."""
        text = getattr(value, "__self__", None)
        name = getattr(value, "__name__", "")
        if not isinstance(text, str) or name not in ("format", "format_map"):
            return super().wrap_str_format(value)
        formatter = _LimitedFormatter(self)

        def wrapped(*args: Any, **kwargs: Any) -> str:
            if name == "format":
                return formatter.vformat(text, args, kwargs)
            (mapping,) = args
            return formatter.vformat(text, (), mapping)

        return functools.update_wrapper(wrapped, value)

    def call(self, context: Any, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call: arguments that make a text too large are refused before it is made."""
        owner = getattr(callee, "__self__", None)
        name = getattr(callee, "__name__", "")
        if isinstance(owner, str):
            if name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
                check_width(*args, *kwargs.values())
            elif name == "replace" and len(args) >= 2 and isinstance(args[1], str):
                check_width((len(owner) + 1) * (len(args[1]) + 1))
            elif name == "join" and args:
                pieces = list(args[0])
                check_width(len(owner) * len(pieces) + sum(len(str(piece)) for piece in pieces))
                args = (pieces, *args[1:])
        return super().call(context, callee, *args, **kwargs)


def too_large() -> SecurityError:
    """The error for a text that no chat is as long as."""
    return SecurityError("it makes a text that is too large")


def check_width(*values: Any) -> None:
    """Refuse a length that no chat has."""
    if any(isinstance(value, int) and value > SIZE_LIMIT for value in values):
        raise too_large()


def check_percent_format(text: str, values: Any) -> None:
    """Refuse a format of `%` that asks for a field of more than six digits of width or precision."""
    if _WIDE_FIELD.search(text):
        raise too_large()
    if "*" in text:
        check_width(*(values if isinstance(values, tuple) else ()))


def limited_filters() -> dict[str, Callable[..., Any]]:
    """Those of Jinja's filters whose arguments say how large a text gets; too large a one is refused in advance."""
    widths = {name: _limited(FILTERS[name]) for name in ("center", "indent", "wordwrap", "batch", "slice")}
    return {**widths, "format": _format}


def _format(value: str, *args: Any, **kwargs: Any) -> str:
    check_percent_format(str(value), args)
    return do_format(value, *args, **kwargs)


def _limited(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_width(*args, *kwargs.values())
        return original(*args, **kwargs)

    return checked


class _LimitedFormatter(SandboxedFormatter):
    """Jinja's formatter for `str.format`, in which no field is as wide as no chat is."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        if _WIDE_SPEC.search(format_spec):
            raise too_large()
        return super().format_field(value, format_spec)
