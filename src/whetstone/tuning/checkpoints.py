"""What a run needs to go on as if it had not been stopped: adapter, optimizer and schedule, as safetensors and JSON.

Random numbers are not stored: every step begins with a seed that is made of the run's seed and the step's number, so
that nothing which happens between two steps (a validation, a probe, a stop) can change what follows.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whetstone.errors import StorageError

WEIGHTS = "adapter_model.safetensors"
RESUME = "resume"

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)


def save_adapter(model: Any, folder: Path, base_name: str, base_revision: str) -> None:
    """Write a PEFT model's adapter as PEFT reads it.

    Args:
        base_name: what the configuration names as its base.
        base_revision: of the base on the hub; "" for none.

    Raises:
        OSError: the disk is full, or refuses.
    """
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_tensors(weights, folder / WEIGHTS)
    config = copy.copy(model.peft_config["default"])
    config.inference_mode = True
    config.base_model_name_or_path = base_name
    config.revision = base_revision or None
    values = {name: sorted(v) if isinstance(v, set) else v for name, v in config.to_dict().items()}
    (folder / "adapter_config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_adapter(model: Any, folder: Path) -> None:
    """Put saved weights into the adapter that a model has.

    Raises:
        StorageError: they are damaged, or of another shape.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{folder}: {WEIGHTS} cannot be read ({error}); delete the folder to go on") from error
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    shapes = {name: tuple(value.shape) for name, value in wanted.items()}
    if shapes != {name: tuple(value.shape) for name, value in weights.items()}:
        raise StorageError(f"{folder}: its weights are not those of this run; delete the folder to go on without it")
    set_peft_model_state_dict(model, weights)


def copy_tokenizer(base: Path, folder: Path) -> None:
    """Put a model folder's tokenizer and chat template beside an adapter.

    Raises:
        OSError: the disk is full, or refuses.
    """
    for pattern in _TOKENIZER_FILES:
        for path in base.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def save_optimizer(optimizer: Any, scheduler: Any, folder: Path) -> None:
    """Write the state of optimizer and schedule.

    Raises:
        OSError: the disk is full, or refuses.
    """
    import torch

    state = optimizer.state_dict()
    tensors: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, torch.Tensor) else numbers)[f"{index}.{name}"] = value
    save_tensors(tensors, folder / "optimizer.safetensors")
    facts = {"groups": state["param_groups"], "numbers": numbers, "scheduler": scheduler.state_dict()}
    (folder / "optimizer.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def load_optimizer(optimizer: Any, scheduler: Any, folder: Path) -> None:
    """Put a saved state into optimizer and schedule.

    Raises:
        StorageError: it is missing, damaged, or of another run.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        facts = json.loads((folder / "optimizer.json").read_text(encoding="utf-8"))
        state: dict[int, dict[str, Any]] = {}
        for key, value in {**load_file(folder / "optimizer.safetensors"), **facts["numbers"]}.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
        scheduler.load_state_dict(facts["scheduler"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StorageError(f"{folder}: the training state cannot be read ({error}); delete {folder.parent}") from error


def save_tensors(tensors: dict[str, Any], path: Path) -> None:
    """Write tensors as safetensors.

    Raises:
        OSError: the disk is full, or refuses.
    """
    from safetensors.torch import save_file

    with _disk_errors(path):
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path, {"format": "pt"})


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """safetensors has one error for everything; what the system said is in its text."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        said = re.search(r"(?:I/O error: )?(.*?) \(os error (\d+)\)", str(error))
        if said is None:
            raise
        raise OSError(int(said[2]), said[1].rpartition(": ")[2], str(path)) from error
