"""The tools of `whet chat`: opened from specs, some allowed by name, the others asked about call by call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from whetstone.chat.tool_answer import ToolUse
from whetstone.errors import UsageError
from whetstone.tools.limits import ToolLimits
from whetstone.tools.tool_box import ToolBox

if TYPE_CHECKING:
    from whetstone.cli.chat_feed import Feed


class ChatTools:
    """Tools that a model may call in a chat.

    Args:
        box: the tools.
        allowed: names of those that may be called without asking.
        limits: what one answer may spend.
    """

    def __init__(self, box: ToolBox, allowed: Sequence[str], limits: ToolLimits) -> None:
        self.box = box
        self._allowed = set(allowed)
        self._limits = limits

    @property
    def allowed(self) -> frozenset[str]:
        """Names of the tools that may be called without asking."""
        return frozenset(self._allowed)

    def allow(self, name: str) -> None:
        """Ask no longer about calls of a tool."""
        self._allowed.add(name)

    def use(self, feed: Feed) -> ToolUse:
        """The tools for one answer, which the feed shows and asks about."""
        return ToolUse(
            box=self.box,
            allowed=self.allowed,
            consent=lambda call: call.name in self._allowed or feed.consent(call),
            limits=self._limits,
            watch=feed.watch,
        )


def tools_for(tools: ChatTools | None, feed: Feed) -> ToolUse | None:
    """The tools for one answer, which a feed shows and asks about; None where there are none."""
    return None if tools is None else tools.use(feed)


@contextlib.contextmanager
def open_chat_tools(
    specs: Sequence[str], allow: Sequence[str], all_allowed: bool, limits: ToolLimits
) -> Iterator[ChatTools | None]:
    """The tools that the command line asks for; None for none. Leaving it ends what they need.

    Args:
        specs: see `open_tools`; a Python file of the person's may be among them.
        allow: names of tools that may be called without asking.
        all_allowed: all of them may.
        limits: what one answer may spend.

    Raises:
        WhetstoneError: one cannot be opened, or a name that is allowed is none of theirs.
    """
    if not specs:
        if allow or all_allowed:
            raise UsageError("--allow and --yes-to-all are about tools: give --tool as well, for example calculator")
        yield None
        return
    from whetstone.tools.opening import open_tools

    with open_tools(specs, own_code=True) as box:
        for name in allow:
            box.get(name)
        yield ChatTools(box, box.names if all_allowed else allow, limits)
