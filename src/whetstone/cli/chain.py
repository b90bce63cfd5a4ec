"""`whet chain`: chains of prompts, run, looked into, and replayed from any step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from whetstone.prompting.chain_record import ChainRecord

app = typer.Typer(
    no_args_is_help=True,
    help="Chains: prompts in steps, with branches, loops and votes, and a trace of it all.",
)

File = Annotated[Path, typer.Argument(help="The chain's file (YAML).")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model for the steps that name none. Default: the chain's, or smollm2."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Make a new run, and ask everything again.")]
Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


@app.command("run")
def run(
    file: File,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            help="An input: name=text, name=@FILE for a file's text (@@ for a text that begins with @), or name:=JSON. "
            "Repeat for several.",
        ),
    ] = None,
    model: Model = None,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 42,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Run a chain and print its outputs.

    Every request is kept. Stopped at any moment, the same command goes on where it was; once it is finished, the same
    command shows what came out.
    """
    from whetstone.cli.chain_view import step_progress
    from whetstone.cli.prompts_values import written_values
    from whetstone.workflows.chains import run_chain

    inputs = written_values(given or [], "--input")
    with step_progress() as told:
        record = run_chain(file, inputs, model=model, seed=seed, fresh=fresh, progress=told)
    _print(record, json=json)


@app.command("replay")
def replay(
    reference: Annotated[str, typer.Argument(metavar="RUN", help="The run: its name, how it begins, or last.")],
    step: Annotated[str, typer.Option("--from", help="The first step that is asked again.")],
    chain: Annotated[
        Path | None, typer.Option(help="The chain's file as it is now; by default as it was in that run.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Another model for the steps that name none.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Run an earlier run's chain again from one step on; what came before it is taken over."""
    from whetstone.cli.chain_view import step_progress
    from whetstone.workflows.chains import replay_chain

    with step_progress() as told:
        record = replay_chain(reference, step, path=chain, model=model, seed=seed, fresh=fresh, progress=told)
    _print(record, json=json)


@app.command("show")
def show(
    reference: Annotated[str, typer.Argument(metavar="RUN", help="The run: its name, how it begins, or last.")],
    step: Annotated[str | None, typer.Option(help="Only this step.")] = None,
    json: Json = False,
) -> None:
    """Show a run step by step: each prompt, reply, tokens, seconds, cost and seed."""
    from whetstone.cli.chain_view import print_record
    from whetstone.cli.output import as_json, write_result
    from whetstone.prompting.chain_trace import ChainStore
    from whetstone.registry import unknown_name

    record = ChainStore().find(reference)
    if step is not None and step not in (names := list(record.header["steps"])):
        raise unknown_name(f"step of {record.id}", step, names)
    if not json:
        print_record(record, step)
        return
    told = record.to_json()
    if step is not None:
        told["steps"] = [one for one in told["steps"] if one["step"] == step]
        told["requests"] = [one for one in told["requests"] if one["step"] == step]
    write_result("-", as_json(told))


@app.command("check")
def check(file: File, json: Json = False) -> None:
    """Check a chain without running it; exit 1 if something is wrong with it."""
    from whetstone.cli.chain_view import print_plan
    from whetstone.cli.output import as_json, write_result
    from whetstone.errors import DataError
    from whetstone.prompting.chain_file import read_chain_file
    from whetstone.prompting.chain_plan import Chain, faults

    chain = None
    try:
        read = read_chain_file(file)
        found = [f"{file}: {fault}" for fault in faults(read)]
        chain = None if found else Chain(read)
    except DataError as error:
        found = [str(error)]
    if json:
        told: dict[str, Any] = {"file": str(file), "faults": found}
        if chain is not None:
            told |= {"order": [step.name for step in chain.steps], "most_requests": chain.most_requests}
        write_result("-", as_json(told))
    elif chain is not None:
        print_plan(chain)
    else:
        for fault in found:
            typer.echo(f"whet: {fault}", err=True)
    if found:
        raise typer.Exit(1)


@app.command("runs")
def runs(json: Json = False) -> None:
    """List the runs of chains."""
    from whetstone.cli.chain_view import print_runs
    from whetstone.cli.output import as_json, write_result
    from whetstone.prompting.chain_trace import ChainStore

    store = ChainStore()
    rows = [
        {
            "run": record.id,
            "chain": record.header["chain"],
            "model": record.header["model"],
            "seed": record.header["seed"],
            "replayed": record.header["replayed"],
            "steps": len(record.ends),
            "of": len(record.header["steps"]),
            "requests": len(record.requests),
            "finished": record.outputs is not None,
            "created": record.header["created"],
        }
        for record in store
    ]
    if json:
        write_result("-", as_json({"folder": str(store.folder), "runs": rows}))
    elif not rows:
        typer.echo(f"There are no runs in {store.folder} yet: `whet chain run FILE` makes one.")
    else:
        print_runs(rows)


def _print(record: ChainRecord, *, json: bool) -> None:
    from whetstone.cli.chain_view import print_outputs
    from whetstone.cli.output import as_json, write_result

    if json:
        write_result("-", as_json(record.to_json()))
    else:
        print_outputs(record)
