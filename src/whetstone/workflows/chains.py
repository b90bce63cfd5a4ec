"""Chains run from files, gone on with after a kill, and replayed from any step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.techniques.read_answer import read_answer
from whetstone.models import ChatModel, load_model
from whetstone.prompting.chain import ChainRunner
from whetstone.prompting.chain_asking import Progress, Running, no_progress
from whetstone.prompting.chain_file import Answer, ChainFile, read_chain_file
from whetstone.prompting.chain_plan import Chain, PlannedStep
from whetstone.prompting.chain_record import ChainRecord
from whetstone.prompting.chain_trace import ChainStore, ChainTrace, digest
from whetstone.prompting.chain_types import read_inputs
from whetstone.registry import unknown_name
from whetstone.types import Problem, Reading, TargetKind

DEFAULT_MODEL = "smollm2"
DEFAULT_SEED = 42


def run_chain(
    path: Path,
    inputs: Mapping[str, Any],
    *,
    model: str | None = None,
    seed: int = DEFAULT_SEED,
    fresh: bool = False,
    progress: Progress = no_progress,
    store: ChainStore | None = None,
) -> ChainRecord:
    """Run a chain. The same call finds the run that it made before, and goes on where that stopped.

    Args:
        path: of the chain's file.
        inputs: values by name; a text is read as the type that the input has.
        model: spec for the steps that name none; by default the chain's own, else the embedded one.
        seed: of every random choice.
        fresh: make a new run, and ask everything again.
        progress: told the step, and how many of its requests are answered.

    Raises:
        DataError: the chain is wrong.
        UsageError: an input is missing or not of its type, or an expression fails on a value.
        ModelError: a model could not answer, or not as it was to; what was answered is kept.
    """
    chain = Chain(read_chain_file(path))
    spec = model or chain.head.model or DEFAULT_MODEL
    values = read_inputs(chain.head.inputs, inputs)
    store = store or ChainStore()
    name = digest(chain.file.digest, values, spec, seed)
    with store.open(chain.file, name, inputs=values, model=spec, seed=seed, fresh=fresh) as trace:
        asked = _run(chain, trace, values, spec, seed, progress)
    return replace(store.find(trace.id), asked=asked)


def replay_chain(
    reference: str,
    step: str,
    *,
    path: Path | None = None,
    model: str | None = None,
    seed: int | None = None,
    fresh: bool = False,
    progress: Progress = no_progress,
    store: ChainStore | None = None,
) -> ChainRecord:
    """Run an earlier run's chain again from one step on, with what the steps before it came to then.

    Args:
        reference: the run, by its name or how that begins.
        step: the first step that is asked again.
        path: of the chain's file as it is now; by default as it was in that run.
        model, seed: other ones than that run had.
        fresh: make a new run, even where the same replay was made before.

    Raises:
        UsageError: the run or the step does not exist, the run did not come to the step, or a step before it has
            changed since.
        DataError, ModelError: as `run_chain`.
    """
    store = store or ChainStore()
    record = store.find(reference)
    chain = Chain(read_chain_file(path) if path is not None else record.chain)
    before = _steps_before(chain, step)
    values = read_inputs(chain.head.inputs, record.header["inputs"])
    if path is not None:
        _check_unchanged(record, chain.file, before)
    _check_reached(record, before, step)
    spec = model or str(record.header["model"])
    chosen = int(record.header["seed"]) if seed is None else seed
    name = digest(chain.file.digest, values, spec, chosen, record.id, step)
    replayed = {"run": record.id, "from": step}
    opened = store.open(chain.file, name, inputs=values, model=spec, seed=chosen, replayed=replayed, fresh=fresh)
    with opened as trace:
        names = {one.name for one in before}
        trace.take_over((one for one in record.requests if one.step in names), record.id)
        asked = _run(chain, trace, values, spec, chosen, progress)
    return replace(store.find(trace.id), asked=asked)


def _run(chain: Chain, trace: ChainTrace, inputs: Mapping[str, Any], model: str, seed: int, progress: Progress) -> int:
    """Run it to its end; how many requests that took now."""
    with _models() as open_model:
        running = Running(trace, open_model, model, read_reply, seed, chain.head.requests, progress)
        ChainRunner(chain, running).run(inputs)
    return running.asked


def read_reply(text: str, answer: Answer, cut_off: bool) -> Reading:
    """The number or label that a reply gives, as a step's output wants it."""
    low = -math.inf if answer.minimum is None else answer.minimum
    high = math.inf if answer.maximum is None else answer.maximum
    bounded = answer.minimum is not None or answer.maximum is not None
    kind: TargetKind = "label" if answer.kind == "label" else "number"
    problem = Problem(
        name="a chain",
        kind=kind,
        target="answer",
        metric="",
        train=(),
        validation=(),
        test=(),
        fingerprint="",
        unit=answer.unit,
        labels=answer.labels,
        valid_range=(low, high) if bounded else None,
    )
    return read_answer(text, problem, cut_off=cut_off)


@contextmanager
def _models() -> Iterator[Any]:
    """Opens models by their specs, each once, and closes them at the end."""
    loaded: dict[str, ChatModel] = {}
    with ExitStack() as stack:

        def open_model(spec: str) -> ChatModel:
            if spec not in loaded:
                loaded[spec] = load_model(spec)
                stack.callback(loaded[spec].close)
            return loaded[spec]

        yield open_model


def _steps_before(chain: Chain, step: str) -> list[PlannedStep]:
    names = [one.name for one in chain.steps]
    if step not in names:
        raise unknown_name(f"step of {chain.head.name}", step, names)
    return chain.steps[: names.index(step)]


def _check_unchanged(record: ChainRecord, now: ChainFile, before: list[PlannedStep]) -> None:
    then = {step.name: step for step in record.chain.head.steps}
    for one in before:
        old = then.get(one.name)
        same_file = old is not None and record.header["files"].get(old.template) == now.files.get(
            one.step.template or ""
        )
        if old != one.step or not same_file:
            raise UsageError(
                f"step {one.name} is not as it was in {record.id}: replay from there, with --from {one.name}"
            )


def _check_reached(record: ChainRecord, before: list[PlannedStep], step: str) -> None:
    ended = {end.step for end in record.ends}
    missing = [one.name for one in before if one.name not in ended]
    if missing:
        raise UsageError(
            f"{record.id} stopped in step {missing[0]}, before it came to {step}: replay from {missing[0]}, or run the "
            "chain again to let it go on"
        )
