"""An answer on a terminal while it is written: finished blocks stay in the scrollback, only the rest is redrawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from whetstone.cli.chat_markdown import SafeMarkdown, settled
from whetstone.cli.visible import visible
from whetstone.types import Chunk

_REDRAW_SECONDS = 0.08
_WAITING_SECONDS = 0.3  # an answer that begins sooner needs no sign of life
_REASONING_LINES = 6  # of the latest reasoning, while it lasts


class AnswerDisplay:
    """Shows one answer as Markdown as it comes.

    Used as a context manager around the chunks. Leaving it writes what was not finished.

    Args:
        console: a terminal.
        hint: what to say behind the line that reasoning is folded to.
    """

    def __init__(self, console: Console, hint: str = "") -> None:
        self._console = console
        self._hint = hint
        self._tail = ""
        self._held = ""  # a carriage return whose line feed may be in the next chunk
        self._printed = False
        self._reasoning = ""
        self._thinking_since: float | None = None
        self._folded = False
        self._started = time.monotonic()
        self._drawn = 0.0
        # What is drawn is looked up when it is drawn: a block that was just printed is not below itself for a moment.
        self._live = Live(
            _Now(self._unfinished),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> AnswerDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._fold()
        rest, self._tail = self._tail + visible(self._held), ""
        self._held = ""
        self._print(rest)
        self._started = time.monotonic()  # no sign of life in the last drawing
        self._live.stop()

    def add(self, chunk: Chunk) -> None:
        """What has come; an empty chunk only keeps the time."""
        if chunk.reasoning:
            self._thinking_since = self._thinking_since or time.monotonic()
            self._reasoning += chunk.reasoning
        if chunk.text:
            self._fold()
            text = self._held + chunk.text
            self._held = "\r" if text.endswith("\r") else ""
            self._tail += visible(text[: len(text) - len(self._held)])
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            end = settled(self._tail)
            block, self._tail = self._tail[:end], self._tail[end:]
            if block:
                self._print(block)
            else:
                self._live.refresh()

    def _print(self, block: str) -> None:
        """Write finished blocks, once and for all."""
        if not block.strip():
            return
        markdown = SafeMarkdown(block.strip("\n"))
        self._console.print(Group(Text(), markdown) if self._printed else markdown)
        self._printed = True

    def _fold(self) -> None:
        """Reasoning is over: leave a line in its place."""
        if self._thinking_since is None or self._folded:
            return
        self._folded = True
        line = folded(self._reasoning, time.monotonic() - self._thinking_since, self._hint)
        self._console.print(Text(line, style="dim"))
        self._printed = True

    def _unfinished(self) -> RenderableType:
        """What is drawn again and again."""
        if self._tail.strip():
            tail = SafeMarkdown(self._tail.strip("\n"))
            gap: list[RenderableType] = [Text()] if self._printed else []
            return _Last(Group(*gap, tail), lambda: self._console.height - 1)
        if self._thinking_since is not None and not self._folded:
            seconds = time.monotonic() - self._thinking_since
            thought = Text(visible(self._reasoning).strip(), style="dim italic")
            return Group(
                _Last(thought, lambda: min(_REASONING_LINES, self._console.height - 2)),
                Text(f"thinking, {seconds:.1f} s; Ctrl-C stops", style="dim"),
            )
        waited = time.monotonic() - self._started
        if self._printed or waited < _WAITING_SECONDS:
            return Group()
        return Text(f"waiting for the model, {waited:.1f} s; Ctrl-C stops", style="dim")


class _Now:
    """Whatever a function gives at the moment of drawing."""

    def __init__(self, look: Callable[[], RenderableType]) -> None:
        self._look = look

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._look()


class _Last:
    """The last lines of something, with a mark where earlier ones are out of sight for the moment."""

    def __init__(self, content: RenderableType, most: Callable[[], int]) -> None:
        self._content = content
        self._most = most

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._content, options, pad=False)
        most = max(1, self._most())
        if len(lines) > most:
            yield Text(f"… {len(lines) - most + 1} lines above, all shown when this part is finished", style="dim")
            lines = lines[len(lines) - most + 1 :]
        for line in lines:
            yield from line
            yield Segment.line()


def folded(reasoning: str, seconds: float | None, hint: str = "") -> str:
    """The line that reasoning is folded to."""
    spent = "thought" if seconds is None else f"thought for {seconds:.1f} s"
    words = len(reasoning.split())
    return f"▸ {spent}, {words:,} {'word' if words == 1 else 'words'}{hint}"
