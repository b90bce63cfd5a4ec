"""What led to a task's result, as text: every prompt and reply, and how code ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whetstone.cli.visible import visible
from whetstone.types import text_of

if TYPE_CHECKING:
    from whetstone.tasks.result import TaskResult
    from whetstone.tools.contained import Ran
    from whetstone.tools.contained_sql import SqlRan

_ROWS = 20  # of a query, on a terminal


def trace_text(result: TaskResult) -> str:
    """Every step of a result: what the model was sent, what it replied, and what that took."""
    lines: list[str] = []
    for number, step in enumerate(result.steps, start=1):
        figures = [f"{step.usage.prompt_tokens:,} + {step.usage.completion_tokens:,} tokens", f"{step.seconds:.1f} s"]
        if step.attempts > 1:
            figures.append(f"{step.attempts} attempts")
        if step.constrained is not None:
            figures.append("held to a schema" if step.constrained else "asked for JSON in words")
        if step.kept:
            figures.append("kept from an earlier run")
        lines.append(f"=== {number}. {step.name} · {' · '.join(figures)}")
        for message in step.messages:
            lines += [f"--- {message['role']}", text_of(message)]
        lines += ["--- reply", step.reply, ""]
    return visible("\n".join(lines)) + "\n"


def ran_text(ran: Ran | SqlRan) -> str:
    """How code ran, and what it printed."""
    from whetstone.tools.contained_sql import SqlRan

    ending = "it ran to its end" if ran.fine else ran.problem
    lines = [f"--- run: {ending} ({ran.seconds:.1f} s)"]
    if isinstance(ran, SqlRan):
        if ran.columns:
            lines.append("\t".join(ran.columns))
        lines += ["\t".join("NULL" if value is None else str(value) for value in row) for row in ran.rows[:_ROWS]]
        if len(ran.rows) > _ROWS or ran.more:
            lines.append(f"… the first {_ROWS} rows")
    else:
        lines += [text.rstrip("\n") for text in (ran.stdout, ran.stderr) if text.strip()]
    return visible("\n".join(lines)) + "\n"
