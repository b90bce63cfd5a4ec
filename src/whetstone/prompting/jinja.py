"""The Jinja of prompts: a sandbox without Python's internals, whose templates neither run nor grow without end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
import jinja2.meta

from whetstone.tokens.sandbox import (
    TIME_LIMIT,
    WATCHDOG,
    LimitedEnvironment,
    TemplateTimeout,
    check_width,
    limited_filters,
)


class FillingError(Exception):
    """A template failed on its values; the text says how."""


def _environment() -> LimitedEnvironment:
    environment = LimitedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters.update(limited_filters())
    return environment


ENVIRONMENT = _environment()


def compiled(text: str) -> tuple[jinja2.Template, set[str]]:
    """A template, and the names of the values that it uses.

    Raises:
        ValueError: it is no Jinja; the text says why.
    """
    try:
        return ENVIRONMENT.from_string(text), jinja2.meta.find_undeclared_variables(ENVIRONMENT.parse(text))
    except jinja2.TemplateError as error:
        raise ValueError(str(error.message or error)) from None
    except RecursionError:
        raise ValueError("its brackets or blocks are nested too deeply") from None


def filled(template: jinja2.Template, values: Mapping[str, Any]) -> str:
    """What a template makes of values.

    Raises:
        FillingError: it fails on a value, or a limit of the sandbox stopped it.
    """
    pieces: list[str] = []
    size = 0
    try:
        with WATCHDOG.limit(TIME_LIMIT):
            for piece in template.root_render_func(template.new_context(dict(values))):
                pieces.append(piece)
                size += len(piece)
                check_width(size)
    except TemplateTimeout:
        raise FillingError(f"it was stopped after {TIME_LIMIT:g} seconds") from None
    except (RecursionError, MemoryError) as error:
        raise FillingError(f"the sandbox stopped it: {type(error).__name__}") from None
    except Exception as error:  # a template is a program, which can fail in every way
        raise FillingError(str(error) or type(error).__name__) from error
    return "".join(pieces)
