"""`whet chat`: talk to a model, in a terminal or through pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from whetstone.chat import context
    from whetstone.cli.chat_talk import Talk
    from whetstone.types import Options

_SAMPLING = "Sampling"
_CONVERSATION = "Conversation"
_TOOLS = "Tools"

OverflowChoice = Literal["ask", "refuse", "drop-oldest", "summarise"]


def chat(
    message: Annotated[
        str | None,
        typer.Argument(
            help="Answered once, and out. Text that is piped in follows it after an empty line. Without either, a "
            "conversation begins."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model spec, see `whet models`. Default: smollm2.")
    ] = None,
    kb: Annotated[
        str | None, typer.Option("--kb", help="Answer from the documents of this knowledge base, see `whet kb list`.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="System prompt, or @FILE that holds it.")] = None,
    latest: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the latest one.", rich_help_panel=_CONVERSATION)
    ] = False,
    conversation: Annotated[
        str | None,
        typer.Option(
            help="Go on with this one: its id, or the beginning of it; see `whet chats`.", rich_help_panel=_CONVERSATION
        ),
    ] = None,
    overflow: Annotated[
        OverflowChoice,
        typer.Option(
            help="When it does not fit the model's context: ask (in a conversation; with MESSAGE refuse), refuse, "
            "drop-oldest, or summarise what is dropped.",
            rich_help_panel=_CONVERSATION,
        ),
    ] = "ask",
    no_save: Annotated[
        bool, typer.Option("--no-save", help="Keep nothing of it.", rich_help_panel=_CONVERSATION)
    ] = False,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 always takes the likeliest token.", rich_help_panel=_SAMPLING)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Keep this much probability mass, above 0.", rich_help_panel=_SAMPLING)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of an answer.", rich_help_panel=_SAMPLING)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.", rich_help_panel=_SAMPLING)] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            help="A tool that the model may call; can be given several times: calculator, date, web:HOST,…, "
            "files:FOLDER, sql:FILE.db, mcp:COMMAND, python:FILE.py:FUNCTION.",
            rich_help_panel=_TOOLS,
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Name of a tool that may be called without asking you.", rich_help_panel=_TOOLS),
    ] = None,
    yes_to_all: Annotated[
        bool, typer.Option("--yes-to-all", help="All tools may be called without asking you.", rich_help_panel=_TOOLS)
    ] = False,
    tool_rounds: Annotated[
        int, typer.Option(min=1, help="Replies of one answer that may call tools.", rich_help_panel=_TOOLS)
    ] = 8,
    tool_seconds: Annotated[
        float, typer.Option(min=1, help="Most seconds of one answer with tools.", rich_help_panel=_TOOLS)
    ] = 300.0,
    tool_cost: Annotated[
        float | None, typer.Option(help="Most dollars of one answer with tools.", rich_help_panel=_TOOLS)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer and its figures as JSON.")] = False,
) -> None:
    """Talk to a model: once with a MESSAGE or a pipe, otherwise for as long as you like.

    Examples: whet chat "a name for a cat" · cat notes.txt | whet chat "summarise this" · whet chat --continue
    """
    import sys

    interactive = message is None and sys.stdin is not None and sys.stdin.isatty()
    text = ""
    if not interactive:
        from whetstone.cli.chat_once import read_message

        text = read_message(message)
    elif json or not sys.stdout.isatty():
        from whetstone.errors import UsageError

        raise UsageError("without a MESSAGE a conversation needs a terminal, and prints no JSON: give a MESSAGE")

    import warnings

    from whetstone.cli.chat_once import notice
    from whetstone.cli.chat_talk import open_talk
    from whetstone.cli.chat_tools import open_chat_tools
    from whetstone.tools.limits import ToolLimits

    warnings.showwarning = lambda message, *_: notice(str(message))  # without the place in the code

    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed}
    limits = ToolLimits(rounds=tool_rounds, seconds=tool_seconds, cost=tool_cost)
    with (
        open_chat_tools(tool or (), allow or (), yes_to_all, limits) as tools,
        open_talk(
            model=model,
            knowledge=kb,
            system=system,
            options=_options({name: value for name, value in given.items() if value is not None}),
            latest=latest,
            conversation=conversation,
            keep=not no_save,
            tools=tools,
        ) as talk,
    ):
        if interactive:
            _converse(talk, overflow)
        else:
            from whetstone.cli.chat_once import answer_once

            answer_once(talk, text, _overflow(overflow) or "refuse", json=json)


def _options(given: dict[str, Any]) -> Options:
    from pydantic import ValidationError

    from whetstone.errors import UsageError
    from whetstone.types import Options

    try:
        return Options.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['input']}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def _overflow(choice: OverflowChoice) -> context.Overflow | None:
    """The engine's word for it; None for asking."""
    words: dict[OverflowChoice, context.Overflow] = {
        "refuse": "refuse",
        "drop-oldest": "drop_oldest",
        "summarise": "summarise",
    }
    return words.get(choice)


def _converse(talk: Talk, overflow: OverflowChoice) -> None:
    from rich.console import Console

    from whetstone.cli.chat_input import PromptInput
    from whetstone.cli.chat_loop import Interactive
    from whetstone.cli.chat_talk import usable_models
    from whetstone.settings import home

    keys = PromptInput(home() / "chat_history" if talk.kept else None, usable_models)
    Interactive(talk, Console(), keys, _overflow(overflow)).run()
