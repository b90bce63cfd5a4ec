"""One training run of `tune.py` in a process of its own: `tune_sides.py SIDE SETTINGS`; the result as a line of JSON.

SIDE is "peer" (TRL's SFTTrainer as its quick start configures it), "ours" (Whetstone's `tune`), or "judge", which
measures the loss of an adapter that either has left. SETTINGS is JSON; see `tune.Settings`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]


def peer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The quick start: model, data set, an adapter, and the arguments' defaults but for what both sides are given.

    That includes the order of the rows: what it happens to be moves the loss by more than all else that differs.
    """
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    folder = Path(settings["folder"])
    rows = load_dataset("json", data_files=settings["train"], split="train")
    trainer = SFTTrainer(
        model=settings["model"],
        train_dataset=rows.select(order(len(rows), settings)),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS),
        args=SFTConfig(
            str(folder),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=settings["batch_size"] // 4,
            num_train_epochs=1,
            learning_rate=settings["learning_rate"],
            seed=settings["seed"],
            train_sampling_strategy="sequential",
            report_to="none",
            use_cpu=not torch.cuda.is_available(),  # else it refuses bfloat16 where the processor only emulates it
            # The quick start says nothing of precision: bfloat16 autocast over float32 weights.
            **({"bf16": False} if settings["dtype"] == "float32" else {}),
        ),
    )
    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    clock = Clock()
    trainer.train()
    clock.stop()
    trainer.save_model(str(folder / "adapter"))
    return {**clock.read, "tokens": tokens, "adapter": str(folder / "adapter")}


def order(rows: int, settings: Mapping[str, Any]) -> list[int]:
    """The numbers of the rows as Whetstone shuffles them, epoch after epoch."""
    from whetstone.tuning.batches import BatchOrder

    # In what batches they are computed, which lengths and memory decide, changes nothing of their order.
    shuffled = BatchOrder(np.ones(rows, np.int64), settings["seed"], batch_size=rows, micro_batch_tokens=rows)
    return [int(row) for epoch in range(settings["epochs"]) for row in shuffled.rows(epoch, 0)]


def ours(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`whet tune` from its data to its last revision; the probe is left out, which the peer has none of."""
    from whetstone.storage.revisions import revisions, run_folder
    from whetstone.tuning.config import read_config
    from whetstone.tuning.data import load_data
    from whetstone.tuning.train import tune

    overrides = {
        "base": f"hf:{settings['model']}",
        "data": settings["train"],
        "run": "benchmark",
        "r": "16",
        "lora_alpha": "32",
        "batch_size": str(settings["batch_size"]),
        "num_train_epochs": str(settings["epochs"]),
        "learning_rate": str(settings["learning_rate"]),
        "seed": str(settings["seed"]),
        # What the peer's arguments are when nothing is said.
        "lr_scheduler_type": "linear",
        "warmup_ratio": "0",
        "weight_decay": "0",
        "validation_size": "0",
        "eval_steps": "1000000",
        "probe": "false",
        "dtype": settings["dtype"],
    }
    config = read_config(None, overrides)
    data = load_data(config, tokenizer(settings), encoder_decoder=False)
    tokens = sum(row.tokens for row in data.train) * settings["epochs"]
    clock = Clock()
    tune(config, data, watch=clock)
    return {**clock.read, "tokens": tokens, "adapter": str(revisions(run_folder("benchmark"))[-1].folder)}


def judge(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The loss per learned token on the validation rows, of the same model in float32, row by row."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32)
    model = PeftModel.from_pretrained(plain, settings["adapter"]).eval()
    tokens = AutoTokenizer.from_pretrained(settings["model"])
    total, count = 0.0, 0
    with torch.inference_mode():
        for line in Path(settings["validation"]).read_text().splitlines():
            row = json.loads(line)
            prompt = tokens(row["prompt"])["input_ids"]
            completion = [*tokens(row["completion"])["input_ids"], tokens.eos_token_id]
            logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
            total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(completion), reduction="sum"))
            count += len(completion)
    return {"loss": total / count}


class Clock:
    """Seconds by the clock, and of CPU time over all threads. As a watcher of a run, from its first step to its end."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.read = {"seconds": time.perf_counter() - self._began, "cpu": time.process_time() - self._used}

    def told(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "note" and event["step"] == 0:
            self.start()  # the weights are in memory, as the peer's are when its trainer has been made
        self.stop()

    def stopped(self) -> bool:
        return False


def tokenizer(settings: Mapping[str, Any]) -> Any:
    from whetstone.tokens.sources import load_tokenizer

    return load_tokenizer(settings["model"])


def main() -> None:
    side, settings = sys.argv[1], json.loads(sys.argv[2])
    result = {"peer": peer, "ours": ours, "judge": judge}[side](settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({**result, "peak": peak}))


if __name__ == "__main__":
    main()
