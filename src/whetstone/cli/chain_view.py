"""How chains and their runs look on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from whetstone.cli.visible import one_line, visible

if TYPE_CHECKING:
    from whetstone.prompting.chain_plan import Chain
    from whetstone.prompting.chain_record import ChainRecord, Request

_LINE = 100  # characters of a value that stands beside others


@contextmanager
def step_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Something to tell `(step, done, total)` to; one line on standard error, wiped away at the end."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("running") if console.is_terminal else _nothing() as status:

        def told(step: str, done: int, total: int) -> None:
            if status is not None:
                status.update(f"step {step}" + (f": {done:,} of {total:,}" if total > 1 else ""))

        yield told


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def print_outputs(record: ChainRecord) -> None:
    """The outputs on standard output, and on standard error what they took and what must be known of them."""
    outputs = record.outputs or {}
    for name, value in outputs.items():
        text = written(value)
        if len(outputs) > 1:
            text = f"{name}:\n{text}\n" if "\n" in text else f"{name}: {text}"
        sys.stdout.write(f"{visible(text) if sys.stdout.isatty() else text}\n")
    sys.stdout.flush()
    for end in record.ends:
        for remark in end.remarks:
            print(f"whet: step {end.step}: {visible(remark)}", file=sys.stderr)
    if record.requests and not record.asked:
        print("whet: this run was finished before, and nothing was asked now; --fresh asks again", file=sys.stderr)
    print(f"whet: {_totals(record)}; whet chain show {record.id}", file=sys.stderr)


def print_record(record: ChainRecord, step: str | None) -> None:
    """A run step by step."""
    header = record.header
    told = [f"{record.id}: {header['chain']}, {header['created'][:19]}, model {header['model']}, seed {header['seed']}"]
    if header["replayed"]:
        told.append(f"replayed from step {header['replayed']['from']} of {header['replayed']['run']}")
    told += [f"input {name}: {one_line(written(value), _LINE)}" for name, value in header["inputs"].items()]
    ends = {end.step: end for end in record.ends}
    for name in [*ends, *(name for name in header["steps"] if name not in ends)]:
        if step not in (None, name):
            continue
        told.append(f"\n== {name}")
        for request in (one for one in record.requests if one.step == name):
            told += _request(request)
        if name not in ends:
            told.append("-- not finished")
            continue
        end = ends[name]
        told.append("-- left out: its condition did not hold" if end.skipped else f"-- comes to: {written(end.value)}")
        told += [f"-- {remark}" for remark in end.remarks]
    if step is None:
        told.append("")
        told += [f"output {name}: {written(value)}" for name, value in (record.outputs or {}).items()]
        told.append(_totals(record) if record.outputs is not None else f"not finished; {_totals(record)}")
    text = "\n".join(told) + "\n"
    sys.stdout.write(visible(text) if sys.stdout.isatty() else text)


def _request(request: Request) -> list[str]:
    counted = (("item", request.item), ("round", request.round), ("sample", request.sample))
    place = [f"{name} {number + 1}" for name, number in counted if number]
    place += [f"asked again ({request.attempt})"] if request.attempt else []
    spent = [
        *place,
        request.model,
        f"{request.usage.prompt_tokens:,} + {request.usage.completion_tokens:,} tokens",
        f"{request.seconds:.2f} s",
        "cost unknown" if request.cost is None else f"${request.cost:.6f}" if request.cost else "no cost",
        f"seed {request.options['seed']}" if "seed" in request.options else "greedy",
    ]
    told = [f"-- {', '.join(spent)}" + (f", taken over from {request.reused}" if request.reused else "")]
    told += [f"[{message['role']}] {message['content']}" for message in request.messages]
    tries = request.tries or [{"raw": request.raw, "error": ""}]
    for tried in tries:
        told.append(f"[reply] {tried['raw']}")
        told += [f"-- does not fit: {tried['error']}"] if tried["error"] else []
    return told + ([f"-- {request.note}"] if request.note else [])


def print_plan(chain: Chain) -> None:
    """A chain that is right: what it takes, its steps in their order, what it gives."""
    head = chain.head
    for name, one in head.inputs.items():
        optional = "" if one.required else f" (default {written(one.default)})"
        print(f"input {name}: {one.in_words}{optional}")
    for step in chain.steps:
        parts = [step.step.output.kind if step.value is None else f"value {step.step.value}"]
        parts += [f"when {step.step.when}"] if step.step.when else []
        parts += (
            [f"for each {step.step.item} of {step.step.for_each}, at most {step.step.most}"] if step.for_each else []
        )
        if step.step.repeat:
            parts.append(f"until {step.step.repeat.until}, at most {step.step.repeat.most} rounds")
        if step.step.vote:
            parts.append(f"{step.step.vote.samples} samples, {step.step.vote.how}")
        print(f"step {step.name}: {'; '.join(parts)}")
    for name, output in head.outputs.items():
        print(f"output {name}: {output.in_words}, {output.value}")
    print(
        f"{head.name} is right; a run makes at most {min(chain.most_requests, head.requests):,} requests, repairs aside"
    )


def print_runs(rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "model", "steps", "requests", "created"):
        table.add_column(column, overflow="fold")
    for row in rows:
        steps = f"{row['steps']}/{row['of']}" + ("" if row["finished"] else ", not finished")
        table.add_row(row["run"], row["model"], steps, str(row["requests"]), str(row["created"])[:19])
    Console().print(table)


def written(value: Any) -> str:
    """A value as text: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _totals(record: ChainRecord) -> str:
    made = [one for one in record.requests if not one.reused]
    reused = len(record.requests) - len(made)
    told = [f"{len(made):,} requests" + (f" and {reused:,} taken over" if reused else "")]
    told.append(f"{record.usage.prompt_tokens:,} + {record.usage.completion_tokens:,} tokens")
    told.append(f"{record.seconds:.1f} s")
    if record.cost:
        told.append(f"${record.cost:.6f}")
    return ", ".join(told)
