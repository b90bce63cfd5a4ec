"""What a person types in `whet chat`: a message, or a command that begins with a slash."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from whetstone.errors import UnknownNameError

# Command -> (what may follow it, what it does). The one list: help, completion and dispatch read it.
COMMANDS = {
    "system": ("[TEXT|@FILE|-]", "show the system prompt, set it, or with - remove it"),
    "model": ("[MODEL]", "list the models that are usable here, or go on with another one"),
    "kb": ("[NAME|-]", "list the knowledge bases, answer from the documents of one, or with - from none"),
    "tools": ("", "the tools that the model may call, and how it sees them"),
    "retry": ("", "another answer to your last message"),
    "resume": ("", "go on with the last answer where it was cut off"),
    "edit": ("[N]", "change your last message, or turn N, and have it answered; the old one stays as a branch"),
    "branch": ("[N]", "list all turns with their numbers, or go on from turn N"),
    "save": ("FILE", "write the conversation to FILE.md or FILE.jsonl"),
    "tokens": ("", "what the conversation takes of the model's context"),
    "stats": ("", "tokens, speed, time and cost of the last answer and of the conversation"),
    "prompt": ("", "the exact prompt of the last answer"),
    "reasoning": ("", "what the model thought before its last answer"),
    "history": ("", "the conversation so far"),
    "title": ("[TEXT]", "show or change the title"),
    "new": ("", "begin a new conversation"),
    "help": ("", "this list"),
    "quit": ("", "leave; so does Ctrl-D"),
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command and what follows it."""

    name: str
    argument: str = ""


def read_input(text: str) -> Command | str:
    """A command, or the message to send. Two slashes at the start stand for one that belongs to the message.

    Raises:
        UnknownNameError: there is no such command; near matches are offered.
    """
    begin = text.lstrip()
    if not begin.startswith("/"):
        return text
    if begin.startswith("//"):
        return begin[1:]
    name, _, argument = begin[1:].partition(" ")
    if "\n" in name:
        name, _, argument = begin[1:].partition("\n")
    name = name.rstrip()
    if name in COMMANDS:
        return Command(name, argument.strip())
    near = get_close_matches(name, list(COMMANDS), n=3, cutoff=0.5) or [c for c in COMMANDS if name and c[0] == name[0]]
    hint = f" Did you mean {' or '.join(f'/{one}' for one in near)}?" if near else ""
    raise UnknownNameError(
        f"There is no command /{name}.{hint} /help lists all; a message that begins with a slash is written //{name}"
    )
