"""Tuning against TRL's SFTTrainer as its quick start configures it, in the same run: tokens a second, and memory.

    uv run python benchmarks/tune.py [--rows 96] [--repeats 3] [--batch-size 4] [--quick]

Both tune SmolLM2-135M-Instruct (the embedded weights) with rank-16 adapters on attention, on the same made-up products
of varied length (prompt and completion) in the same random order, for the same epochs, with the same effective batch,
learning rate, schedule and optimizer. The peer is `SFTTrainer(model, train_dataset, peft_config, args)` with
SFTConfig's defaults and batches of four. Each run is a process of its own; the two take turns, each time with another
seed, and the median ratio counts. Tokens are those of prompts and completions, never padding. A third process measures
each adapter's loss on rows that neither has seen.

First both compute in the precision that Whetstone takes here when nothing is said: bfloat16 where the processor
multiplies in it, or else float32. That is what the target is for. Then, in the first case, both in float32; in the
other the peer alone, on a few rows, in bfloat16, which it takes everywhere when nothing is said and which such a
processor only emulates.

Exits 1 when Whetstone is less than 1.5 times as fast in the same precision, or when its validation loss is worse by
more than the peer's own differs from seed to seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evaluate import machine
from tune_rows import write_rows

from whetstone import settings
from whetstone.models import load_model

WANTED = 1.5
MODEL = "hf:smollm2"


@dataclass(frozen=True)
class Settings:
    """What a side is given.

    Attributes:
        model: a folder of safetensors.
        train, validation: JSON lines with prompt and completion.
        folder: where the side may write.
        dtype: "bfloat16" or "float32".
        batch_size: rows of an effective batch, a multiple of 4.
        epochs, learning_rate: of both.
        seed: of the adapter's first weights and the rows' order.
        adapter: which one is to be judged.
    """

    model: str
    train: str
    validation: str
    folder: str
    dtype: str = "float32"
    batch_size: int = 4
    epochs: int = 1
    learning_rate: float = 2e-4
    seed: int = 0
    adapter: str = ""


@dataclass(frozen=True)
class Trained:
    """One run: seconds of training, by the clock and of CPU time; tokens, none of them padding; highest resident set
    in bytes; validation loss.
    """

    seconds: float
    cpu: float
    tokens: int
    peak: int
    loss: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def run(side: str, given: Settings) -> dict[str, Any]:
    """A side in a process of its own."""
    environment = {**os.environ, "WHETSTONE_HOME": given.folder, "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("tune_sides.py")), side, json.dumps(asdict(given))],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def train(side: str, given: Settings) -> Trained:
    with tempfile.TemporaryDirectory() as folder:
        there = replace(given, folder=folder)
        result = run(side, there)
        loss = run("judge", replace(there, adapter=result["adapter"]))["loss"]
    return Trained(result["seconds"], result["cpu"], result["tokens"], result["peak"], loss)


def compare(name: str, given: Settings, repeats: int) -> list[tuple[Trained, Trained]]:
    """Ours and the peer's runs, by turns."""
    pairs = []
    for seed in range(repeats):
        mine, theirs = (train(side, replace(given, seed=seed)) for side in ("ours", "peer"))
        if mine.tokens != theirs.tokens:
            raise SystemExit(f"the sides read other tokens: {mine.tokens} and {theirs.tokens}")
        print(
            f"  {name}: ours {mine.rate:6.1f} tokens/s, {mine.peak / 1e9:.2f} GB, loss {mine.loss:.4f}   "
            f"peer {theirs.rate:6.1f} tokens/s, {theirs.peak / 1e9:.2f} GB, loss {theirs.loss:.4f}   "
            f"ratio {mine.rate / theirs.rate:.2f}, by CPU time {theirs.cpu / mine.cpu:.2f}",
            flush=True,
        )
        pairs.append((mine, theirs))
    return pairs


def verdict(pairs: Sequence[tuple[Trained, Trained]]) -> int:
    ratio = statistics.median(mine.rate / theirs.rate for mine, theirs in pairs)
    memory = statistics.median(mine.peak / theirs.peak for mine, theirs in pairs)
    ours, peer = ([pair[side].loss for pair in pairs] for side in (0, 1))
    worse, noise = statistics.mean(ours) - statistics.mean(peer), max(peer) - min(peer)
    print(f"median ratio {ratio:.2f} (at least {WANTED}), memory {memory:.2f} of the peer's")
    print(f"validation loss {worse:+.4f} against the peer's, which differs by {noise:.4f} from seed to seed")
    return 0 if ratio >= WANTED and worse <= noise else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=96, help="to train on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=4, help="effective, a multiple of 4")
    parser.add_argument("--quick", action="store_true", help="few rows, once: to see that it works, no measurement")
    arguments = parser.parse_args()
    rows, repeats = (16, 1) if arguments.quick else (arguments.rows, arguments.repeats)
    print(machine())

    import torch

    native = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    usual, other = ("bfloat16", "float32") if native else ("float32", "bfloat16")
    revision = load_model(MODEL).identity.revision
    model = settings.home() / "cache" / "gguf-to-hf" / revision
    with tempfile.TemporaryDirectory() as scratch:
        many, few, unseen = (str(Path(scratch) / name) for name in ("many.jsonl", "few.jsonl", "unseen.jsonl"))
        write_rows(many, rows, seed=0)
        write_rows(unseen, max(8, rows // 2), seed=1)
        given = Settings(str(model), many, unseen, scratch, usual, arguments.batch_size)
        pairs = compare(f"both {usual}", given, repeats)
        if native:
            compare(f"both {other}", replace(given, dtype=other), 1)
        else:
            write_rows(few, 4, seed=0)
            theirs = train("peer", replace(given, train=few, dtype=other))
            mine = statistics.median(mine.rate for mine, _ in pairs)
            print(
                f"  each as it comes: ours {usual}, {mine:.1f} tokens/s; "
                f"peer {other}, {theirs.rate:.1f} tokens/s; ratio {mine / theirs.rate:.1f}"
            )
    return verdict(pairs)


if __name__ == "__main__":
    sys.exit(main())
