"""`whet tokens chat`: what a conversation turns into, every character named."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.errors import DataError, WhetstoneError

if TYPE_CHECKING:
    from rich.text import Text

    from whetstone.tokens.chat import RenderedChat
    from whetstone.tokens.tokenizer import Tokenizer

_STYLES = {
    "content": "default",
    "reasoning": "italic",
    "tool_calls": "magenta",
    "tools": "magenta dim",
    "documents": "magenta dim",
    "role": "bold cyan",
    "control": "bold black on yellow",
    "template": "yellow",
    "unwritten": "bold red",
    "generation": "bold black on green",
}


def chat(
    file: Annotated[
        str, typer.Argument(help="JSON: a list of messages, or an object with messages and tools; `-` reads a pipe.")
    ],
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", "-t", help="Folder, tokenizer.json, GGUF file, hub id, or smollm2.")
    ] = "smollm2",
    generation_prompt: Annotated[
        bool, typer.Option("--add-generation-prompt", "-g", help="End with what begins the assistant's answer.")
    ] = False,
    text: Annotated[bool, typer.Option("--text", help="Print the rendered text, and nothing else.")] = False,
    jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl",
            help="Read lines with messages, tools and add_generation_prompt; write lines with text and ids.",
        ),
    ] = False,
    diff: Annotated[
        str | None, typer.Option(help="Another tokenizer: show where its rendering of the same messages departs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print text, spans, ids, offsets and mask as JSON.")] = False,
) -> None:
    """Show what a model's chat template makes of messages: text, ids, and what every character is.

    Text in a message that spells a control token stays text, and is marked.
    """
    from whetstone.tokens.conversation_json import read_conversation
    from whetstone.tokens.sources import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    if jsonl:
        _lines(file, loaded)
        return
    asked = read_conversation(_read(file), file)
    asked.setdefault("add_generation_prompt", generation_prompt)
    rendered = _render(loaded, asked)
    if text:
        sys.stdout.write(rendered.text)
    elif as_json:
        from whetstone.cli.output import as_json as written

        sys.stdout.write(written(_values(loaded, rendered)))
    else:
        _show(loaded, rendered)
        if diff is not None:
            _show_difference(loaded, rendered, load_tokenizer(diff), asked)


def _render(tokenizer: Tokenizer, asked: Mapping[str, Any]) -> RenderedChat:
    from whetstone.tokens.chat import render_chat

    variables = {key: value for key, value in asked.items() if key != "messages"}
    return render_chat(tokenizer, asked["messages"], **variables)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; name a JSON file with messages") from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is no UTF-8 text; name a JSON file with messages") from None


def read_json_lines(file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """`(line number, object)` of a JSONL file.

    Raises:
        DataError: it cannot be read, or a line holds no object.
    """
    for number, line in enumerate(_read(file).split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{file}, line {number}: no JSON: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{file}, line {number}: holds no object")
            yield number, row


def _lines(file: str, tokenizer: Tokenizer) -> None:
    """One line out for each line in; what cannot be rendered says why, and the exit code tells that there was one."""
    from whetstone.tokens.conversation_json import read_conversation

    failed = 0
    for number, line in enumerate(_read(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            rendered = _render(tokenizer, read_conversation(line, f"{file}, line {number}"))
            made: dict[str, Any] = {"text": rendered.text, "ids": rendered.ids}
        except WhetstoneError as error:
            failed += 1
            made = {"error": str(error)}
        sys.stdout.write(json.dumps(made) + "\n")
    if failed:
        raise typer.Exit(1)


def _values(tokenizer: Tokenizer, rendered: RenderedChat) -> dict[str, Any]:
    return {
        "tokenizer": tokenizer.name,
        "text": rendered.text,
        "spans": [
            {"start": span.start, "end": span.end, "kind": span.kind, "message": span.message}
            for span in rendered.spans
        ],
        "ids": rendered.ids,
        "pieces": [tokenizer.spelling(token) for token in rendered.ids],
        "offsets": rendered.offsets,
        "trained": rendered.trained,
        "pasted": rendered.pasted,
    }


def painted(rendered: RenderedChat) -> Text:
    """The rendered text in colours, with line breaks and what is learned made visible."""
    from rich.text import Text

    from whetstone.cli.visible import visible

    shown = Text()
    learned = {n for (a, b), on in zip(rendered.offsets, rendered.trained, strict=True) if on for n in range(a, b)}
    pasted = {n for start, end in rendered.pasted for n in range(start, end)}
    for span in rendered.spans:
        for start, end in _runs(span.start, span.end, learned, pasted):
            style = _STYLES[span.kind]
            if start in learned:
                style += " underline"
            if start in pasted:
                style += " bold blink red"
            shown.append(visible(rendered.text[start:end]).replace("\n", "⏎\n"), style)
    return shown


def _runs(start: int, end: int, *sets: set[int]) -> Iterator[tuple[int, int]]:
    begin = start
    for position in range(start + 1, end + 1):
        if position == end or any((position in each) != (begin in each) for each in sets):
            yield begin, position
            begin = position


def _show(tokenizer: Tokenizer, rendered: RenderedChat) -> None:
    from rich.console import Console
    from rich.text import Text

    from whetstone.tokens.spans import MEANINGS

    console = Console(highlight=False)
    console.print(painted(rendered), soft_wrap=True)
    console.rule(style="dim")
    legend = Text()
    for kind in dict.fromkeys(span.kind for span in rendered.spans):
        legend.append(f" {MEANINGS[kind]} ", _STYLES[kind]).append("  ")
    if any(rendered.trained):
        legend.append("learned in training", "underline")
    console.print(legend)
    control = sum(span.kind == "control" for span in rendered.spans)
    console.print(
        f"{tokenizer.name}: {len(rendered.ids)} tokens for {len(rendered.text)} characters; {control} control tokens "
        f"by the template; {sum(rendered.trained)} tokens are learned"
    )
    for start, end in rendered.pasted:
        console.print(
            f"a message spells the control token {rendered.text[start:end]!r}: it is sent as text", markup=False
        )


def _show_difference(tokenizer: Tokenizer, rendered: RenderedChat, other: Tokenizer, asked: Mapping[str, Any]) -> None:
    import difflib

    from rich.console import Console
    from rich.text import Text

    from whetstone.cli.visible import visible

    console = Console(highlight=False)
    theirs = _render(other, asked)
    console.rule(f"{tokenizer.name} (red) and {other.name} (green)", style="dim")
    one, two = ([line + "⏎" for line in chat.text.split("\n")] for chat in (rendered, theirs))
    for line in difflib.ndiff(one, two):
        if not line.startswith("?"):
            style = {"-": "red", "+": "green"}.get(line[0], "dim")
            console.print(Text(visible(line), style), soft_wrap=True)
    console.print(f"{tokenizer.name}: {len(rendered.ids)} tokens; {other.name}: {len(theirs.ids)} tokens")
