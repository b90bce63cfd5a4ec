"""What the commands of `whet chat` show: the context meter, figures, turns. All texts in it are made harmless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from whetstone.chat.context import ContextUse
from whetstone.chat.tree import siblings
from whetstone.cli.chat_display import folded
from whetstone.cli.chat_markdown import SafeMarkdown
from whetstone.cli.visible import one_line, visible
from whetstone.types import Turn, Usage, text_of

_BAR = 60  # cells of the context meter
_HEAD = 60  # characters of a turn in a list
_CALL = 300  # of a tool's call, or of its result
_PARTS = {"system": "magenta", "history": "blue", "message": "cyan", "template": "bright_black", "reply": "yellow"}


def say(console: Console, text: str, style: str = "") -> None:
    """A line of ours that may hold words of somebody else."""
    console.print(Text(visible(text), style=style))


def show_use(console: Console, use: ContextUse, model: str) -> None:
    """The context meter: a bar and the tokens of each part."""
    sizes = {part: int(getattr(use, part)) for part in _PARTS}
    whole = max(use.limit or 0, use.total, 1)
    width = max(10, min(_BAR, console.width - 2))
    bar = Text()
    told = 0
    for part, style in _PARTS.items():
        begin, told = told, told + sizes[part]
        bar.append("█" * (told * width // whole - begin * width // whole), style)
    bar.append("░" * (width - told * width // whole), "dim")
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    names = {"reply": "reserved for the reply", "template": "chat template"}
    for part, style in _PARTS.items():
        table.add_row(Text(names.get(part, part), style), f"{sizes[part]:,}", f"{sizes[part] / whole:.0%}")
    if use.limit is not None:
        table.add_row(Text("free", "dim"), f"{use.free:,}", f"{(use.free or 0) / whole:.0%}")
    holds = "whose context length is not known" if use.limit is None else f"which holds {use.limit:,} tokens"
    counted = "" if use.exact else "; guessed from the length in bytes, as its tokenizer cannot be asked"
    say(console, f"{use.total:,} tokens of {model}, {holds}{counted}")
    console.print(bar)
    console.print(table)


def show_dropped(console: Console, would_drop: Sequence[tuple[str, str, int]]) -> None:
    """Which messages would be left out: role, text, tokens of each."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("would be left out")
    table.add_column("")
    table.add_column("tokens", justify="right")
    for role, text, tokens in would_drop:
        table.add_row(role, Text(one_line(text, _HEAD)), f"{tokens:,}")
    console.print(table)


def show_turns(console: Console, turns: Sequence[Turn], open_path: Sequence[Turn]) -> None:
    """All turns of a conversation, numbered from 1 in order of creation; those of the open branch are marked."""
    number = {turn.id: count for count, turn in enumerate(turns, start=1)}
    shown = {turn.id for turn in open_path}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "n", "role", "follows", "version", "text"):
        table.add_column(column, no_wrap=column != "text")
    for turn in turns:
        versions = siblings(turns, turn.id)
        version = f"{[one.id for one in versions].index(turn.id) + 1} of {len(versions)}" if len(versions) > 1 else ""
        text = Text(one_line(text_of(turn.message), _HEAD))
        if turn.state != "complete":
            text.append(f" [{turn.state}]", "yellow")
        follows = str(number[turn.parent]) if turn.parent else ""
        mark = "●" if turn.id in shown else ""
        table.add_row(mark, str(number[turn.id]), turn.message["role"], follows, version, text)
    console.print(table)
    say(console, "● is the open branch. /branch N goes on from a turn.", "dim")


def show_path(console: Console, turns: Sequence[Turn]) -> None:
    """Turns in full, as they were said."""
    for turn in turns:
        text = text_of(turn.message)
        if turn.message["role"] == "assistant":
            body = [SafeMarkdown(text)] if text.strip() else []
            note = [Text(folded(turn.reasoning, None), style="dim")] if turn.reasoning else []
            calls = [Text(f"→ calls {one_line(_called(call), _CALL)}", style="cyan") for call in _calls(turn)]
            state = [Text(state_of(turn), style="yellow")] if state_of(turn) else []
            console.print(Group(*note, *body, *calls, *state))
        elif turn.message["role"] == "tool":
            console.print(Text(f"← {one_line(text, _CALL)}", style="dim"))
        else:
            console.print(Text(visible(f"> {text}"), style="bold"))
        console.print()


def _calls(turn: Turn) -> Sequence[dict[str, Any]]:
    return [call for call in turn.message.get("tool_calls") or () if isinstance(call.get("function"), dict)]


def _called(call: dict[str, Any]) -> str:
    return f"{call['function'].get('name', '')} {call['function'].get('arguments', '')}"


def state_of(turn: Turn) -> str:
    """What must be said about an answer that did not end by itself; "" for one that did."""
    if turn.state == "failed":
        return one_line(f"[failed: {turn.error}]")
    return {
        "partial": "[partial: this answer was cut off]",
        "streaming": "[another process is writing this answer]",
    }.get(turn.state, "")


def show_stats(console: Console, last: Turn | None, turns: Sequence[Turn]) -> None:
    """Figures of the last answer and of all answers of a conversation."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "last answer", "conversation"):
        table.add_column(column, justify="left" if not column else "right")
    answers = [turn for turn in turns if turn.origin is not None]
    columns = [figures([last] if last is not None and last.origin is not None else []), figures(answers)]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    console.print(table)
    if last is not None and last.origin is not None:
        model = last.origin.model
        revision = f" @ {model.revision[:12]}" if model.revision else ""
        prompt = last.origin.system
        own = "" if prompt is None else f"; its own system prompt: {one_line(prompt, _HEAD) or 'none'}"
        say(console, f"answered by {model.spec}{revision} ({model.engine}){own}", "dim")


def figures(answers: Sequence[Turn]) -> dict[str, str]:
    """Sums and speeds of answers, in words."""
    origins = [turn.origin for turn in answers if turn.origin is not None]
    usage = sum((origin.usage for origin in origins), Usage())
    seconds = sum(origin.seconds for origin in origins)
    firsts = [origin.first_token_seconds for origin in origins if origin.first_token_seconds is not None]
    writing = seconds - sum(firsts)
    costs = [origin.cost for origin in origins if origin.cost is not None]
    some = bool(origins)
    return {
        "answers": str(len(answers)),
        "prompt tokens": f"{usage.prompt_tokens:,}",
        "of these from the cache": f"{usage.cached_tokens:,}",
        "answer tokens": f"{usage.completion_tokens:,}",
        "tokens per second": f"{usage.completion_tokens / writing:.1f}" if some and writing > 0 else "",
        "time to first token": f"{sum(firsts) / len(firsts):.2f} s" if firsts else "",
        "time": f"{seconds:.2f} s",
        "cost": f"${sum(costs):.6f}" if some and len(costs) == len(origins) else "not known" if some else "",
    }
