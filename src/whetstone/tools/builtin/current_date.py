"""Today's date and the time of day, which no model knows by itself."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from whetstone.errors import UsageError
from whetstone.tools.function_tool import FunctionTool


def current_date(timezone: str = "") -> str:
    """Gives today's date, the day of the week, the time of day and the number of the week.

    Args:
        timezone: an IANA name such as Europe/Berlin or Asia/Seoul; without one, that of this machine.
    """
    if not timezone.strip():
        return written(datetime.now().astimezone())
    try:
        zone = ZoneInfo(timezone.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"there is no time zone {timezone[:60]!r}: give a name such as Europe/Berlin, or UTC"
        ) from None
    return written(datetime.now(zone))


def written(moment: datetime) -> str:
    """A moment in words: "2026-03-01, Sunday, 14:05 (UTC+01:00), week 9 of 2026"."""
    week = moment.isocalendar()
    offset = moment.strftime("%z")
    clock = f"{moment:%H:%M} (UTC{offset[:3]}:{offset[3:5]})"
    return f"{moment:%Y-%m-%d}, {moment:%A}, {clock}, week {week.week} of {week.year}"


def date_tool(argument: str) -> FunctionTool:
    """The tool `date`.

    Raises:
        UsageError: something stands behind its name.
    """
    if argument:
        raise UsageError(f"the tool date takes nothing behind its name, and has {argument!r}")
    return FunctionTool(current_date)
