"""Prices as distributions against single guesses and against the bare forward pass, side by side.

    uv run python benchmarks/numeric.py [--items 48] [--repeats 3]

SmolLM2-135M-Instruct (the embedded weights, float32) reads the same prompts in four ways, in turn:

- distribution: Whetstone's, exact over the 1,000 prices from 0 to 999, read as one number each.
- bare pass, ours: the next token's probabilities through Whetstone's own batches (the shared beginning read once).
- bare pass, plain: transformers' `model(...)` over batches padded on the left, sorted by length, last logits only.
- generate: one `model.generate` an item, eight new tokens as in `whet compare -t price:generate`, read with the
  course's `extract_price`: a single guess.

The prompts have the course's form. Their texts are those of "The price is right" where that data is beside the
repository, else this script makes some up, of the same length: 150 to 160 tokens.

Before anything is timed, one item's probabilities are compared with candidates that are scored one by one.

Exits 1 when the distribution takes more than 2 times as long as a bare pass, when it answers less than 1.8 times the
items per second of generate, when reading takes more memory than is said, or when a probability is off by 1e-4.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evaluate import machine, peak_flops, work_of

from whetstone import settings
from whetstone.models import load_model
from whetstone.numeric.decoding import extract_price
from whetstone.numeric.grid import PRICES, parse_grid
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.numeric.trie import NumberTrie
from whetstone.prompting.price import PricePrompt

MODEL = "hf:smollm2"
ITEMS = Path(__file__).resolve().parents[2] / "shared" / "data" / "price_is_right" / "items_250.jsonl"
MOST_BARE = 2.0
LEAST_GENERATE = 1.8
MOST_MEMORY = 700e6  # bytes beside the weights: keys and values of a batch (380 MB), logits, activations
NEW_TOKENS = 8
PLAIN_ROWS = 8  # prompts of one plain batch
TEXT_TOKENS = 155

_THINGS = ["lamp", "drill", "kettle", "backpack", "desk", "speaker", "tent", "blender", "monitor", "bicycle pump"]
_WORDS = """
sturdy compact brushed steel aluminium walnut adjustable wireless rechargeable waterproof folding portable premium with
for and of the set includes warranty battery handle cover home office outdoor kitchen garden travel easy to clean carry
store use daily professional replacement parts black white silver blue design quality light heavy long short
"""


def texts(model: Any, count: int) -> list[str]:
    """Product texts: real ones where they are at hand, else made up."""
    prompt = PricePrompt()
    if ITEMS.is_file():
        rows = [json.loads(line)["prompt"] for line in ITEMS.read_text(encoding="utf-8").splitlines()]
        cut = (row.removeprefix(f"{prompt.question}\n\n").removesuffix(f"\n\n{prompt.label}") for row in rows)
        return random.Random(0).sample(list(cut), count)
    draw = random.Random(0)
    vocabulary, made = _WORDS.split(), []
    for number in range(count):
        words = [f"{draw.choice(_THINGS).title()} {number}:"]
        while len(model.encode(" ".join(words))) < TEXT_TOKENS + draw.randint(-5, 5):
            words += [*draw.choices(vocabulary, k=4), *([f"{draw.randint(1, 99)} cm"] if draw.random() < 0.2 else [])]
        made.append(" ".join(words))
    return made


def timed(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def distributions(model: Any, prompts: Sequence[list[int]], trie: NumberTrie) -> list[float]:
    """The median of each item's distribution."""
    found = {index: one.median for index, one in read_numbers(model, prompts, trie)}
    return [found[index] for index in range(len(prompts))]


def plain_pass(model: Any, prompts: Sequence[list[int]]) -> None:
    """The next token of every prompt, in padded batches."""
    import torch

    ordered = sorted(prompts, key=len, reverse=True)
    with torch.inference_mode():
        for start in range(0, len(ordered), PLAIN_ROWS):
            rows = ordered[start : start + PLAIN_ROWS]
            width = len(rows[0])
            ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1)


def guesses(model: Any, tokenizer: Any, prompts: Sequence[list[int]]) -> list[float | None]:
    """One `generate` an item."""
    import torch

    found = []
    for ids in prompts:
        prompt = torch.tensor([ids])
        output = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW_TOKENS, do_sample=False
        )
        reading = extract_price(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))
        found.append(float(reading.value) if reading.ok and reading.value is not None else None)
    return found


def largest_error(ours: Any, plain: Any, prompt: list[int], trie: NumberTrie) -> float:
    """How far a distribution's masses are from candidates of three digits that are scored by themselves."""
    import torch

    ((_, found),) = read_numbers(ours, [prompt], trie)
    numbers = [100, 129, 199, 250, 499, 777, 999]
    behind = [ours.encode(f"{PricePrompt().label}{number}")[-3:] for number in numbers]
    with torch.inference_mode():
        rows = torch.tensor([[*prompt, *ids] for ids in behind])
        logprobs = plain(input_ids=rows).logits[:, -4:-1].log_softmax(-1)
    scored = logprobs.gather(-1, torch.tensor(behind)[..., None]).sum((1, 2)).exp().numpy()
    return float(np.abs(found.masses[numbers] - scored).max())


class Memory:
    """The most memory of this process since it was asked to watch, in bytes; 0 where the system does not say."""

    def __enter__(self) -> Memory:
        self._before = self._status("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._before = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.most = self._status("VmHWM") - self._before if self._before else 0

    @staticmethod
    def _status(name: str) -> int:
        path = Path("/proc/self/status")
        lines = path.read_text().splitlines() if path.is_file() else []
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(machine())

    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.disable_progress_bar()
    ours = load_model(MODEL)
    prompts = [PricePrompt().ids(ours, text).ids for text in texts(ours, arguments.items)]
    trie = number_trie(ours, parse_grid(PRICES), PricePrompt().label)
    folder = settings.home() / "cache" / "gguf-to-hf" / ours.identity.revision
    distributions(ours, prompts[:2], trie)  # reads the weights
    with Memory() as memory:
        distributions(ours, prompts, trie)
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    error = largest_error(ours, plain, prompts[0], trie)
    plain_pass(plain, prompts[:2])
    guesses(plain, tokenizer, prompts[:1])

    sides: dict[str, Callable[[], Any]] = {
        "distribution": lambda: distributions(ours, prompts, trie),
        "bare pass, ours": lambda: list(ours.next_token(prompts, top=1)),
        "bare pass, plain": lambda: plain_pass(plain, prompts),
        "generate": lambda: guesses(plain, tokenizer, prompts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.repeats):
        for name, run in sides.items():
            seconds[name].append(timed(run))
        print("  " + "   ".join(f"{name} {1000 * each[-1] / len(prompts):.0f} ms" for name, each in seconds.items()))
    report_floor(plain, prompts, trie, {name: statistics.median(each) for name, each in seconds.items()})
    return verdict(seconds, memory.most, error)


def report_floor(plain: Any, prompts: Sequence[list[int]], trie: NumberTrie, seconds: dict[str, float]) -> None:
    """Print what the prompts and the nodes behind them need, and how far each side is from what the machine can do."""
    work, peak = work_of(plain), peak_flops()
    read = sum(map(len, prompts)) / len(prompts)
    nodes = trie.forward_positions
    needs = {
        "distribution": work.of(read + nodes, nodes + 1),
        "bare pass, ours": work.of(read, 1),
        "bare pass, plain": work.of(read, 1),
        "generate": work.of(read + NEW_TOKENS - 1, NEW_TOKENS),
    }
    print(f"{len(prompts)} prompts of {read:.0f} tokens, {nodes} nodes behind each; best {peak / 1e9:.0f} GFLOP/s")
    for name, operations in needs.items():
        taken = seconds[name] / len(prompts)
        print(f"  {name:18} {1000 * taken:7.1f} ms an item  {operations / taken / peak:4.0%} of best")
    print(f"  linear layers alone: {needs['distribution'] / needs['bare pass, plain']:.2f} times the bare pass's work")
    bare, items = seconds["bare pass, plain"], len(prompts)
    print(
        f"  beyond the bare pass: {1000 * (seconds['distribution'] - bare) / items:.0f} ms an item for {nodes} nodes, "
        f"{1000 * (seconds['generate'] - bare) / items:.0f} ms for {NEW_TOKENS} tokens one by one (the nodes are bound "
        "by arithmetic, the tokens by memory)"
    )


def verdict(seconds: dict[str, list[float]], memory: int, error: float) -> int:
    def ratio(over: str, under: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))

    ours, plain = ratio("distribution", "bare pass, ours"), ratio("distribution", "bare pass, plain")
    faster = ratio("generate", "distribution")
    print(f"times a bare pass: {ours:.2f} of ours, {plain:.2f} of plain transformers (at most {MOST_BARE:g})")
    print(f"times the items per second of generate: {faster:.2f} (at least {LEAST_GENERATE:g})")
    print(f"memory of reading beside the weights: {memory / 1e6:.0f} MB (at most {MOST_MEMORY / 1e6:.0f})")
    print(f"largest error of a probability: {error:.1e} (at most 1e-4)")
    held = max(ours, plain) <= MOST_BARE and faster >= LEAST_GENERATE and memory <= MOST_MEMORY and error <= 1e-4
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
