"""Where a person types: several lines, with the input of earlier days, completion of commands and model names."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_done
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output

from whetstone.cli.chat_commands import COMMANDS

_PLACEHOLDER = "Enter sends · Alt+Enter or Ctrl-J begins a new line · /help"


class PromptInput:
    """The prompt of an interactive chat.

    Args:
        history: file where input is kept; None keeps it for this session only.
        models: names that `/model` may be followed by; asked when they are needed.
        source: where keys come from; the terminal by default.
        output: where the prompt is drawn; the terminal by default.
    """

    def __init__(
        self,
        history: Path | None,
        models: Callable[[], Sequence[str]],
        *,
        source: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._source = source
        self._output = output
        self._editing = False
        self._session: PromptSession[str] = PromptSession(
            multiline=True,
            history=InMemoryHistory() if history is None else _InputHistory(history),
            completer=_Completer(models),
            complete_in_thread=True,
            key_bindings=self._keys(),
            prompt_continuation=lambda width, number, wrapped: "" if wrapped else "… ".rjust(width),
            input=source,
            output=output,
        )

    def message(self) -> str:
        """What the person sends. Ctrl-C empties the prompt.

        Raises:
            EOFError: the person leaves.
        """
        placeholder = FormattedText([("fg:ansibrightblack", _PLACEHOLDER)])
        return _whole(self._session.prompt("> ", placeholder=placeholder))

    def edited(self, text: str) -> str:
        """What the person makes of a text.

        Raises:
            EOFError: the person leaves.
            KeyboardInterrupt: the person does not want to change it.
        """
        self._editing = True
        try:
            return _whole(self._session.prompt("edit> ", default=text, placeholder=""))
        finally:
            self._editing = False

    def choose(self, question: str, choices: dict[str, str]) -> str:
        """One of the choices (key -> words); the last one when the person leaves or interrupts."""
        asking: PromptSession[str] = PromptSession(input=self._source, output=self._output)
        words = ", ".join(f"[{key}] {words}" for key, words in choices.items())
        last = list(choices)[-1]
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            while True:
                typed = asking.prompt(f"{question} {words}: ").strip().lower()
                if not typed:
                    return last
                chosen = [key for key, words in choices.items() if typed == key or words.startswith(typed)]
                if len(chosen) == 1:
                    return chosen[0]
        return last

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter", filter=~is_done)
        def send(event: KeyPressEvent) -> None:
            if event.current_buffer.text.strip():
                event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        @keys.add("c-j")
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        def clear(event: KeyPressEvent) -> None:
            if self._editing:
                event.app.exit(exception=KeyboardInterrupt, style="class:aborting")
            else:
                event.current_buffer.reset()

        return keys


class _InputHistory(FileHistory):
    """A history file that only its owner can read, and whose loss does not end a conversation."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        with contextlib.suppress(OSError):
            return super().load_history_strings()
        return []

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
            super().store_string(string)


class _Completer(Completer):
    def __init__(self, models: Callable[[], Sequence[str]]) -> None:
        self._models = models

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        name, space, argument = text.partition(" ")
        if not text.startswith("/") or "\n" in text:
            return
        if not space:
            for command, (_, help_text) in COMMANDS.items():
                if command.startswith(name[1:]):
                    yield Completion(f"/{command}", start_position=-len(name), display_meta=help_text)
        elif name == "/model":
            for model in self._models():
                if model.startswith(argument):
                    yield Completion(model, start_position=-len(argument))


@contextlib.contextmanager
def without_echo() -> Iterator[None]:
    """Keep keys that are struck while an answer is drawn out of the drawing. They are there at the next prompt."""
    try:
        import termios

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, AttributeError, termios.error):  # no terminal, or not such a one
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _whole(text: str) -> str:
    """Keys that were no characters (bytes of another encoding) become U+FFFD: nothing could store or send them."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
