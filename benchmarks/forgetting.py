"""What replay and kl_weight are worth: the same short run on SmolLM2 without them and with each, side by side.

    uv run python benchmarks/forgetting.py [--steps 60] [--rows 800] [--learning-rate 1e-3] [--arms plain,replay,kl,own]

Items made up here are priced by a rule, in the form of the price predictor. Every arm learns the same rows with the
same seed and as many steps; the learning rate is five times the default, so that there is something to forget. Printed
for each: drift (next-token KL against the base over the probe's neutral texts, with its interval), perplexity over the
base's, what of instructions, sums and facts was lost, unrelated questions that are answered with a price, and the
validation loss of the task. `own` replays the base's own replies, which takes some minutes to make once.

With 10 % of the rows general, the task has 10 % fewer of the same number of steps.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whetstone import settings

ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "replay": {"replay": 0.1},
    "kl": {"kl_weight": 0.5},
    "own": {"replay": 0.1, "replay_data": "base"},
}
MATERIALS = {"pine": 40, "oak": 90, "brass": 120, "steel": 70, "glass": 55, "wool": 35}
THINGS = {"lamp": 1.0, "table": 3.5, "chair": 1.5, "shelf": 2.0, "stool": 0.8, "mirror": 1.2, "bench": 2.5}
SIZES = {"small": 0.7, "middle-sized": 1.0, "large": 1.6, "very large": 2.4}


def main() -> None:
    options = read_options()
    cache = settings.home() / "cache"
    with tempfile.TemporaryDirectory() as home:
        # Runs are thrown away; converted models and the base's replies are worth keeping.
        cache.mkdir(parents=True, exist_ok=True)
        os.symlink(cache, Path(home) / "cache")
        os.environ["WHETSTONE_HOME"] = home
        data = write_rows(Path(home) / "items.jsonl", options.rows)
        print(f"{'arm':8} {'drift (95 %)':>26} {'perplexity':>11} {'lost':>9} {'prices':>8} {'task loss':>10}  minutes")
        for arm in options.arms.split(","):
            print(measure(arm, ARMS[arm], data, options), flush=True)


def measure(arm: str, changed: Mapping[str, Any], data: Path, options: argparse.Namespace) -> str:
    """A line of the table."""
    from whetstone.tuning.config import TuneConfig
    from whetstone.tuning.train import tune
    from whetstone.workflows.probe_run import probe
    from whetstone.workflows.tune import prepare

    config = TuneConfig(
        base="hf:smollm2",
        data=str(data),
        run=arm,
        max_steps=options.steps,
        batch_size=options.batch,
        learning_rate=options.learning_rate,
        eval_steps=options.steps,
        probe=False,
        **changed,
    )
    began = time.perf_counter()
    outcome = tune(config, prepare(config).data)
    minutes = (time.perf_counter() - began) / 60
    if not outcome.finished:
        raise SystemExit(f"{arm}: stopped at step {outcome.steps}")
    found = probe(f"{arm}@last")
    (result,) = found.results.values()
    able = [share for name, share in result.shares.items() if not name.startswith("labels")]
    prices = [share for name, share in result.shares.items() if name.startswith("labels")]
    drift = f"{result.drift.value:.4f} ({result.drift.low:.4f}-{result.drift.high:.4f})"
    return (
        f"{arm:8} {drift:>26} {result.perplexity / result.base_perplexity:>10.3f}x "
        f"{sum(share.lost for share in able):>3} of {sum(share.base_right for share in able):>2} "
        f"{sum(share.right for share in prices):>2} of {sum(share.n for share in prices):>2} "
        f"{outcome.revisions[-1].validation_loss:>10.4f}  {minutes:.1f}"
    )


def write_rows(path: Path, count: int) -> Path:
    """Items with prices that follow from what they are, give or take a tenth."""
    draw = random.Random(1)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            size, material, thing = (draw.choice(list(kind)) for kind in (SIZES, MATERIALS, THINGS))
            price = SIZES[size] * MATERIALS[material] * THINGS[thing] * draw.uniform(0.9, 1.1)
            item = f"A {size} {thing} of {material}, model {number}"
            prompt = f"How much does this cost to the nearest dollar?\n\n{item}\n\nPrice is $"
            file.write(json.dumps({"prompt": prompt, "completion": f"{price:.0f}.00"}) + "\n")
    return path


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--arms", default="plain,replay,kl,own")
    return parser.parse_args()


if __name__ == "__main__":
    main()
