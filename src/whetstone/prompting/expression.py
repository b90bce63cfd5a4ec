"""Expressions of Jinja in the sandbox of prompts: the conditions and values of chains."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Any

import jinja2
import jinja2.meta

from whetstone.prompting.jinja import ENVIRONMENT, FillingError
from whetstone.tokens.sandbox import TIME_LIMIT, WATCHDOG, TemplateTimeout

_MOST_CHARACTERS = 10_000  # of an expression's text


class Expression:
    """An expression such as `score > 3 and kind == "complaint"`.

    Attributes:
        source: its text.
        names: the names of the values that it uses.

    Raises:
        ValueError: it is no expression; the text says why.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        if len(source) > _MOST_CHARACTERS:
            raise ValueError(f"it has {len(source):,} characters, and the limit is {_MOST_CHARACTERS:,}")
        try:
            self._compiled = ENVIRONMENT.compile_expression(source, undefined_to_none=False)
            self.names = jinja2.meta.find_undeclared_variables(ENVIRONMENT.parse(f"{{% set x = ({source}\n) %}}"))
        except jinja2.TemplateError as error:
            raise ValueError(str(error.message or error)) from None
        except RecursionError:
            raise ValueError("its brackets are nested too deeply") from None

    def value(self, values: Mapping[str, Any]) -> Any:
        """What it comes to, as JSON values.

        Raises:
            FillingError: it fails on a value, takes too long, or comes to something that JSON does not know.
        """
        try:
            with WATCHDOG.limit(TIME_LIMIT):
                found = self._compiled(dict(values))
                if isinstance(found, jinja2.Undefined):
                    str(found)  # raises, and names what is missing
                if isinstance(found, types.GeneratorType | map | filter | range | tuple):
                    found = list(found)
                text = json.dumps(found, allow_nan=False)
        except TemplateTimeout:
            raise FillingError(f"it was stopped after {TIME_LIMIT:g} seconds") from None
        except (RecursionError, MemoryError) as error:
            raise FillingError(f"the sandbox stopped it: {type(error).__name__}") from None
        except Exception as error:  # an expression is a program, which can fail in every way
            raise FillingError(str(error) or type(error).__name__) from error
        return json.loads(text)
