"""Whetstone's evaluation of a language model against the loop that tutorials use, side by side.

    uv run python benchmarks/evaluate.py [--items 100] [--repeats 3]

Both ask SmolLM2-135M-Instruct (the embedded weights, float32) the price of the same diamonds, with the same rendered
prompts, greedily, with the same limit on new tokens. The loop is `tokenizer(...)`, `model.generate(...)`,
`tokenizer.decode(...)`, one item after the other. Whetstone's side is the whole evaluation: harness, technique, reading
of the numbers, journal. They take turns, and the median ratio counts.

Exits 1 when Whetstone is less than 2.5 times as fast, or when a single answer differs.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from whetstone import settings
from whetstone.datasets.catalogues import diamonds
from whetstone.evaluation.harness import evaluate
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.models import LogitModel, load_model
from whetstone.types import Case, Problem

MODEL = "hf:smollm2"
LIMIT = 2.5
NEW_TOKENS = 24  # what the technique "ask" allows for a number


@dataclass(frozen=True)
class Timed:
    """One pass over all items: seconds, each item's prompt and answer, tokens of all replies."""

    seconds: float
    prompts: dict[str, str]
    answers: dict[str, str]
    reply_tokens: int


def problem(items: int) -> Problem:
    """Some of the demo catalogue's diamonds, drawn with a seed."""
    rows = diamonds().to_dicts()
    drawn = random.Random(0).sample(rows, items)
    cases = [Case(f"diamond-{n}", row["text"], float(row["price"])) for n, row in enumerate(drawn)]
    return Problem("diamonds", "number", "price", "mae", (), (), cases, fingerprint="benchmark", unit="$")


def whetstone_pass(task: Problem, model: Any) -> Timed:
    """Whetstone's evaluation, as `whet compare --technique ask` runs it."""
    technique = build_technique("ask", TechniqueContext(seed=0, load_model=lambda _: model, model=MODEL))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        record = evaluate(task, technique, RunStore(Path(folder)))
        seconds = time.perf_counter() - started
    predictions = record.answers.values()
    return Timed(
        seconds,
        {prediction.case_id: prediction.prompt for prediction in predictions},
        {prediction.case_id: prediction.raw for prediction in predictions},
        sum(prediction.usage.completion_tokens for prediction in predictions),
    )


def plain_pass(prompts: dict[str, str], model: Any, tokenizer: Any) -> Timed:
    """The loop of the tutorials: one `generate` per item."""
    answers, reply_tokens = {}, 0
    started = time.perf_counter()
    for name, prompt in prompts.items():
        inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        reply = output[0, inputs["input_ids"].shape[1] :]
        answers[name] = tokenizer.decode(reply, skip_special_tokens=True)
        reply_tokens += len(reply)
    return Timed(time.perf_counter() - started, prompts, answers, reply_tokens)


@dataclass(frozen=True)
class Work:
    """Multiplications and additions of a model's linear layers.

    Attributes:
        per_token: operations for every token that is read.
        per_prediction: operations of the output layer, for every position whose next token is wanted.
    """

    per_token: float
    per_prediction: float

    def of(self, read: float, predicted: float) -> float:
        return self.per_token * read + self.per_prediction * predicted


def work_of(model: Any) -> Work:
    table = model.get_output_embeddings().weight.numel()
    return Work(2.0 * (sum(weights.numel() for weights in model.parameters()) - table), 2.0 * table)


def peak_flops() -> float:
    """Operations a second of one large matrix product: what this machine can do at best."""
    import torch

    matrix = torch.randn(2048, 2048)
    best = min(_seconds(lambda: matrix @ matrix) for _ in range(5))
    return 2 * 2048**3 / best


def bare_seconds(model: Any, prompts: Sequence[list[int]]) -> float:
    """The bare forward pass over every whole prompt, one after the other: no generation, no decoding."""
    import torch

    def run() -> None:
        with torch.inference_mode():
            for ids in prompts:
                model(torch.tensor([ids]), logits_to_keep=1)

    return _seconds(run)


def shared_seconds(model: LogitModel, prompts: Sequence[list[int]]) -> float:
    """Whetstone's forward pass over the prompts: what they share once, the rest in batches."""
    return _seconds(lambda: list(model.next_token(prompts, top=1)))


def _seconds(run: Any) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def machine() -> str:
    names = [line.split(":", 1)[1].strip() for line in _cpu_info() if line.startswith("model name")]
    flags = {flag for line in _cpu_info() if line.startswith("flags") for flag in line.split()}
    widest = next((flag for flag in ("amx_tile", "avx512f", "avx2") if flag in flags), "no AVX2")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "tokenizers", "whetstone-llm"))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    cpu = f"{names[0] if names else platform.processor()} ({widest})"
    return f"{cpu}, {settings.threads()} threads, load {load:.1f} | Python {platform.python_version()}, {packages}"


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(machine())

    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.disable_progress_bar()
    task = problem(arguments.items)
    ours = load_model(MODEL)
    folder = settings.home() / "cache" / "gguf-to-hf" / ours.identity.revision
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    warm = whetstone_pass(problem(4), ours)  # reads the weights
    plain_pass(dict(list(warm.prompts.items())[:1]), plain, tokenizer)
    pairs = []
    for _ in range(arguments.repeats):
        mine = whetstone_pass(task, ours)
        pairs.append((mine, plain_pass(mine.prompts, plain, tokenizer)))
        print(
            f"  Whetstone {arguments.items / mine.seconds:6.2f} items/s   plain loop "
            f"{arguments.items / pairs[-1][1].seconds:6.2f} items/s   ratio {pairs[-1][1].seconds / mine.seconds:.2f}"
        )

    assert isinstance(ours, LogitModel)
    prompts = [ours.encode(prompt, special=True) for prompt in pairs[0][0].prompts.values()]
    report_floor(ours, plain, prompts, statistics.median(mine.seconds for mine, _ in pairs), pairs[0][0].reply_tokens)
    return verdict(pairs)


def report_floor(ours: LogitModel, plain: Any, prompts: list[list[int]], seconds: float, reply_tokens: int) -> None:
    """Print how far Whetstone is from the forward passes that the prompts need, and from what the machine can do."""
    work, peak, count = work_of(plain), peak_flops(), len(prompts)
    bare, shared = bare_seconds(plain, prompts), shared_seconds(ours, prompts)
    whole = sum(map(len, prompts))
    own = whole - (count - 1) * len(os.path.commonprefix(prompts))  # noqa: RUF071 - of lists of ids, not of paths
    rows = [
        ("every prompt alone, forward pass only", bare, work.of(whole, count)),
        ("shared beginning once, rest batched", shared, work.of(own, count)),
        ("Whetstone's whole evaluation", seconds, work.of(own + reply_tokens - count, reply_tokens)),
    ]
    print(
        f"{count} prompts, {whole / count:.0f} tokens each, {own / count:.0f} without the shared beginning; "
        f"{reply_tokens / count:.1f} tokens a reply; best matrix product here {peak / 1e9:.0f} GFLOP/s"
    )
    for name, taken, operations in rows:
        rate = operations / taken
        print(
            f"  {name:38} {1000 * taken / count:7.1f} ms an item  {rate / 1e9:6.1f} GFLOP/s  {rate / peak:4.0%} of best"
        )
    print(
        f"  Whetstone takes {seconds / bare:.2f} times the bare forward pass over every prompt, which generates nothing"
    )


def verdict(pairs: Sequence[tuple[Timed, Timed]]) -> int:
    ratio = statistics.median(loop.seconds / mine.seconds for mine, loop in pairs)
    differing = {name for mine, loop in pairs for name in loop.answers if mine.answers[name] != loop.answers[name]}
    for name in sorted(differing)[:5]:
        print(f"  {name}: {pairs[0][0].answers[name]!r} instead of {pairs[0][1].answers[name]!r}")
    print(f"answers that differ: {len(differing)} of {len(pairs[0][0].answers)}")
    print(f"median ratio {ratio:.2f} (at least {LIMIT})")
    return 0 if ratio >= LIMIT and not differing else 1


if __name__ == "__main__":
    sys.exit(main())
