"""What one browser tab has open, and the settings of the Chat tab."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError

from whetstone.errors import UsageError
from whetstone.types import Options

SHOWN_ALTERNATIVES = 8
PAGE_OF_CONVERSATIONS = 50


class Page:
    """State of one browser tab. Nothing in it is shared with another tab.

    Not a dataclass: Gradio would take it apart to send its fields to the browser, and a lock cannot be sent.

    Attributes:
        conversation: id of the open conversation; None for one that has not begun.
        panel: what is open below a turn: its id, the kind of panel, the index of a token.
        doing: "rename" or "delete" while the person is asked about the open conversation.
        search: what the list of conversations is narrowed to.
        listed: how many of them are listed at most.
        again: begins once more what could not begin, given what to do when it does not fit.
        follower: counts the loops that followed an answer; only the newest one may go on.
        beginning: held while an answer is begun.
        shows_writing: the answers it shows were under way when they were drawn.
        models: names of the models that its lists hold.
    """

    def __init__(self) -> None:
        self.conversation: str | None = None
        self.panel: tuple[str, str, int | None] | None = None
        self.doing = ""
        self.search = ""
        self.listed = PAGE_OF_CONVERSATIONS
        self.again: Callable[[Any], Any] | None = None
        self.follower = 0
        self.beginning = threading.Lock()
        self.shows_writing = False
        self.models: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Page:
        """A fresh page: Gradio copies the first value of a state for every browser tab."""
        return Page()


class Settings(NamedTuple):
    """The settings as the widgets hold them, in the widgets' order. A number is a text, "" where none is given.

    Attributes:
        second: the model that answers beside the first one; "" for the same.
        compares: a second answer is asked for with a system prompt of its own.
        second_system: that system prompt.
    """

    model: str | None
    second: str | None
    system: str | None
    compares: bool
    second_system: str | None
    temperature: str | None
    top_p: str | None
    max_tokens: str | None
    seed: str | None
    probabilities: bool

    def own_prompt(self) -> str | None:
        """The system prompt of the second answer, "" for none at all; None: the same as the first answer's."""
        if not self.compares:
            return None
        return self.second_system if self.second_system and self.second_system.strip() else ""

    def options(self) -> Options:
        """The sampling options.

        Raises:
            UsageError: a value is no number, or out of range; the sentence names it.
        """
        given = {name: (getattr(self, name) or "").strip().replace(",", ".") for name in NUMBERS}
        try:
            return Options.model_validate(
                {name: text for name, text in given.items() if text}
                | {"top_logprobs": SHOWN_ALTERNATIVES if self.probabilities else None}
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise UsageError(f"{NUMBERS.get(name, name)}: {first['input']} is wrong: {first['msg']}") from None


# The sampling options that are numbers, and how they are called on the page.
NUMBERS = {"temperature": "Temperature", "top_p": "Top p", "max_tokens": "Most tokens of the answer", "seed": "Seed"}
