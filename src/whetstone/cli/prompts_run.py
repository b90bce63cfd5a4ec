"""`whet prompts run`: a prompt filled in, asked of a model, once or for every row of a file."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.prompts_values import Variables

if TYPE_CHECKING:
    from whetstone.models import ChatModel
    from whetstone.prompting.library import PromptFile
    from whetstone.types import Options
    from whetstone.workflows.prompt_run import PromptAnswer


def run(
    name: Annotated[str, typer.Argument(help="The prompt: reply, reply@2 for a version, reply.t5 for a variant.")],
    var: Variables = None,
    file: Annotated[
        str | None,
        typer.Option(
            help="Values from a JSON or YAML file, one set per line of a JSONL file; or any other file, or - for "
            "standard input, as the text of the prompt's one open variable."
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="The model that is asked.")] = "smollm2",
    schema: Annotated[
        str | None, typer.Option(help="JSON Schema file that the reply has to fit; the value is printed as JSON.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 writes the most probable text.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a reply.")] = 512,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler, for temperatures above 0.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print what was asked, the reply, tokens, seconds and cost as JSON.")
    ] = False,
) -> None:
    """Fill a prompt in and ask a model. With several sets of values there is a line of JSON for each, in their order.

    Where the prompt has a variant for the model's family (NAME.t5.md), that is taken.
    """
    from contextlib import closing

    from whetstone.cli.prompts_values import rows_of
    from whetstone.models import load_model
    from whetstone.prompting.families import family_of
    from whetstone.prompting.library import PromptLibrary
    from whetstone.types import Options

    prompt = PromptLibrary().find(name, family=family_of(model))
    rows, several = rows_of(file, var or [], prompt.template)
    wanted = _schema(schema)
    options = Options(temperature=temperature, max_tokens=max_tokens, seed=seed)
    with closing(load_model(model)) as loaded:
        if several:
            failed = _run_all(prompt, loaded, rows, options, wanted)
        elif json or wanted is not None:
            failed = _run_one(prompt, loaded, rows[0], options, wanted, json=json)
        else:
            failed = _stream(prompt, loaded, rows[0], options)
    if failed:
        raise typer.Exit(1)


def _schema(path: str | None) -> dict[str, Any] | None:
    from pathlib import Path

    from whetstone.errors import DataError
    from whetstone.prompting.template import read_text_file

    if path is None:
        return None
    text = read_text_file(Path(path).expanduser(), path, "schema")
    try:
        found = json_module.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: the schema is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: a JSON Schema is an object")
    return found


def _stream(prompt: PromptFile, model: ChatModel, values: Mapping[str, Any], options: Options) -> bool:
    """Write the reply as it comes, and on standard error what it took; whether it was cut off."""
    from whetstone.cli.visible import visible
    from whetstone.models import drain
    from whetstone.models.catalogue import cost

    messages = prompt.template.messages(values)
    terminal = sys.stdout.isatty()

    def shown(chunks: Any) -> Any:
        for chunk in chunks:
            sys.stdout.write(visible(chunk.text) if terminal else chunk.text)
            sys.stdout.flush()
            yield chunk

    reply = drain(shown(model.stream(messages, options)))
    if not reply.text.endswith("\n"):
        sys.stdout.write("\n")
    sys.stdout.flush()
    told = [
        prompt.reference,
        f"{reply.usage.prompt_tokens:,} + {reply.usage.completion_tokens:,} tokens",
        f"{reply.seconds:.1f} s",
    ]
    price = cost(model.identity, reply.usage)
    if price:
        told.append(f"${price:.6f}")
    if reply.finish_reason == "length":
        told.append("cut off at --max-tokens")
    print(f"whet: {', '.join(told)}", file=sys.stderr)
    return reply.finish_reason == "length"


def _run_one(
    prompt: PromptFile,
    model: ChatModel,
    values: Mapping[str, Any],
    options: Options,
    schema: Mapping[str, Any] | None,
    *,
    json: bool,
) -> bool:
    """Write the value, or everything about the answer, as JSON; whether there is none."""
    from whetstone.cli.output import as_json, write_result
    from whetstone.workflows.prompt_run import run_prompt

    ((_, answer),) = run_prompt(prompt.template, model, [values], options=options, schema=schema)
    if json:
        write_result("-", as_json(_told(prompt, model, answer)))
    elif not answer.error:
        write_result("-", as_json(answer.value))
    if answer.error:
        print(f"whet: {answer.error}", file=sys.stderr)
    return bool(answer.error)


def _run_all(
    prompt: PromptFile,
    model: ChatModel,
    rows: Sequence[Mapping[str, Any]],
    options: Options,
    schema: Mapping[str, Any] | None,
) -> bool:
    """Write a line of JSON per row, in the order of the rows, each as soon as those before it are there."""
    from rich.console import Console
    from rich.progress import track

    from whetstone.prompting.structured import StructuredRates
    from whetstone.workflows.prompt_run import run_prompt

    waiting: dict[int, PromptAnswer] = {}
    written = failed = 0
    rates = StructuredRates()
    answers = run_prompt(prompt.template, model, rows, options=options, schema=schema, rates=rates)
    errors = Console(stderr=True)
    for index, answer in track(
        answers, "asking", len(rows), console=errors, transient=True, disable=not errors.is_terminal
    ):
        waiting[index] = answer
        while written in waiting:
            done = waiting.pop(written)
            failed += bool(done.error)
            line = json_module.dumps(_told(prompt, model, done), ensure_ascii=False, default=str)
            sys.stdout.write(line.encode("utf-8", "replace").decode() + "\n")
            sys.stdout.flush()
            written += 1
    if schema is not None:
        print(f"whet: {rates}", file=sys.stderr)
    if failed:
        print(f"whet: {failed:,} of {len(rows):,} rows have no answer; their lines say why", file=sys.stderr)
    return bool(failed)


def _told(prompt: PromptFile, model: ChatModel, answer: PromptAnswer) -> dict[str, Any]:
    return {
        "prompt": prompt.reference,
        "digest": prompt.digest,
        "model": model.identity.spec,
        "values": dict(answer.values),
        "messages": list(answer.messages),
        "text": answer.text,
        "value": answer.value,
        "attempts": answer.attempts,
        "error": answer.error or None,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "seconds": answer.seconds,
        "cost": answer.cost,
        "finish_reason": answer.finish_reason,
    }
