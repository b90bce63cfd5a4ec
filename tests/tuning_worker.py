"""A program that trains in processes of its own: `python tuning_worker.py MODEL`, driven through its input.

Reading torch and its friends takes longer than a tiny run. So they are read once, and made to load a model once; and
every run is a fork of this process, which has trained nothing itself: a real process that can be killed, limited, or
told by its environment that it is one of several, as torchrun tells it.

Each line of the input is a JSON object with `config` and `count` of the rows, `environment`, and `largest_file` in
bytes; its answer is the process's number. The line "wait" is answered with the exit status of the one started first.
Exit status: 0 when the run is over, 3 when it was interrupted, 1 when it failed with a sentence, which is in `log`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def run(order: dict[str, Any]) -> int:
    import resource

    import tiny_run
    from whetstone.errors import WhetstoneError
    from whetstone.tuning.config import TuneConfig
    from whetstone.tuning.train import tune

    os.environ.update(order.get("environment", {}))
    if "largest_file" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], resource.RLIM_INFINITY))
    try:
        outcome = tune(TuneConfig(**order["config"]), tiny_run.rows(order["count"]), watch=tiny_run.Heard())
    except WhetstoneError as error:
        print(error)
        return 1
    print(outcome)
    return 0 if outcome.finished else 3


def main() -> None:
    import datasets  # noqa: F401
    import torch
    import trl  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTTrainer  # noqa: F401

    import whetstone.tuning.trainer  # noqa: F401

    torch.set_num_threads(1)
    AutoModelForCausalLM.from_pretrained(sys.argv[1])
    AutoTokenizer.from_pretrained(sys.argv[1])
    gc.freeze()  # or each collection in a fork would copy every page of it
    started: list[int] = []
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "wait":
            _, status = os.waitpid(started.pop(0), 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            log = os.open(Path(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = 4
            try:
                code = run(order)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        started.append(pid)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
