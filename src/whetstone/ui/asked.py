"""What a page asks for and is told: one JSON object each way, refusals as a sentence under "error"."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from whetstone.errors import WhetstoneError

Asked = Mapping[str, Any]
Answered = dict[str, Any]


def told(function: Callable[[Asked], Answered]) -> Callable[[Any], Answered]:
    """The function for the page: its errors become sentences. A function and no method, since Gradio marks it."""

    @functools.wraps(function)
    def answer(asked: Any) -> Answered:
        try:
            found = function(asked if isinstance(asked, Mapping) else {})
        except WhetstoneError as error:
            found = {"error": str(error)}
        # Half a character, as in the name of a file, cannot be sent.
        return {
            name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for name, value in found.items()
        }

    return answer


def text_of_file(name: str) -> str:
    """A file that stands beside the modules of the workbench: a script, a style sheet."""
    return files("whetstone.ui").joinpath(name).read_text(encoding="utf-8")
