"""A card as a command: an argument for its main input, an option for each of the others, and how a model is asked."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.errors import DataError

if TYPE_CHECKING:
    from whetstone.tasks import Card, Input

_INPUTS = "What it takes"
_MODEL = "How the model is asked"


def card_command(card: Card) -> Any:
    """The command of a card.

    Raises:
        DataError: an input has the name of an option that every card has.
    """
    parameters = _parameters(card)

    def command(**given: Any) -> None:
        from whetstone.cli.task_run import run

        run(card, given)

    annotations = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = _described(card)
    command.__annotations__ = annotations
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    alone = typer.Typer(add_completion=False)
    alone.command(card.name, context_settings={"help_option_names": ["-h", "--help"]})(command)
    return typer.main.get_command(alone)


def _described(card: Card) -> str:
    failures = "\n\n".join(f"- {failure}" for failure in card.file.known_failures)
    return f"{card.file.description}\n\nKnown failures:\n\n{failures}"


def _parameters(card: Card) -> list[inspect.Parameter]:
    main = card.input(card.file.main)
    argument = typer.Argument(
        metavar=f"FILE | - | {main.name.upper()}",
        help=f"{main.description[0].upper()}{main.description[1:]}: a file (text, PDF, Word, HTML …), - for a pipe, or "
        "the words themselves.",
        show_default=False,
    )
    found = [_parameter(main.name, Annotated[str | None, argument], None)]
    found += [_input(one) for one in card.inputs if one is not main]
    common = _COMMON if card.output == "code" else [one for one in _COMMON if one[0] not in ("run", "repairs")]
    names = [parameter.name for parameter in found]
    for name, annotation, default in common:
        if name in names:
            raise DataError(f"{card.folder}/card.yaml: the input {name} has the name of an option that every card has")
        found.append(_parameter(name, annotation, default))
    return found


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _input(one: Input) -> inspect.Parameter:
    form = {
        "number": "NUMBER",
        "choice": f"[{'|'.join(one.choices)}]",
        "language": "LANGUAGE",
        "list": "A,B,…",
        "glossary": "TERM=TRANSLATION,…",
        "text": "TEXT | @FILE",
    }[one.type]
    default = ", ".join(one.default) if isinstance(one.default, (list, tuple)) else one.default
    ending = " (required)" if one.required else f" (default: {default})" if default is not None else ""
    # Values are read by the card, whose messages know its inputs.
    option = typer.Option(
        f"--{one.name.replace('_', '-')}",
        metavar=form,
        help=f"{one.description[0].upper()}{one.description[1:]}.{ending}",
        show_default=False,
        rich_help_panel=_INPUTS,
    )
    return _parameter(one.name, Annotated[str | None, option], None)


def _option(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_MODEL, **more)


_Common = tuple[str, Any, Any]  # name, annotation, default
_COMMON: list[_Common] = [
    ("model", Annotated[str, _option("--model", "-m", help="Model spec, see `whet models`.")], "smollm2"),
    (
        "prompt",
        Annotated[
            str | None,
            _option("--prompt", help="A prompt of the library instead of the card's own, see `whet prompts list`."),
        ],
        None,
    ),
    (
        "shots",
        Annotated[int, _option("--shots", min=0, help="Show the model so many of the card's solved cases first.")],
        0,
    ),
    (
        "part_tokens",
        Annotated[
            int,
            _option(
                "--part-tokens",
                min=0,
                help="Read a longer text in parts of at most so many tokens. 0 reads it at once where it fits.",
            ),
        ],
        0,
    ),
    (
        "temperature",
        Annotated[float | None, _option("--temperature", min=0, help="0 always takes the likeliest token.")],
        None,
    ),
    ("max_tokens", Annotated[int | None, _option("--max-tokens", min=1, help="Most tokens of a reply.")], None),
    ("seed", Annotated[int | None, _option("--seed", help="Seed of the sampler.")], None),
    (
        "run",
        Annotated[bool, _option("--run", help="Run the code, contained, and have it repaired from its errors.")],
        False,
    ),
    ("repairs", Annotated[int, _option("--repairs", min=0, help="How often code is repaired at most.")], 2),
    (
        "lines",
        Annotated[
            bool,
            typer.Option("--lines", help="Every line is a text of its own; prints a line of JSON for each, in order."),
        ],
        False,
    ),
    ("trace", Annotated[bool, typer.Option("--trace", help="Show every prompt and every reply.")], False),
    ("json", Annotated[bool, typer.Option("--json", help="Print the result and its figures as JSON.")], False),
]
COMMON_NAMES: tuple[str, ...] = tuple(name for name, _, _ in _COMMON)
