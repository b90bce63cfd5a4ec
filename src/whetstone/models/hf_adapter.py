"""PEFT adapters: applied only when they are safetensors and fit the model."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from whetstone.errors import MissingPackageError, ModelFileError

_WEIGHTS = "adapter_model.safetensors"


def check_adapter(folder: Path, base: str) -> None:
    """Check that a folder holds an adapter that may be loaded onto a model.

    Args:
        folder: the adapter's folder.
        base: the model's name, as in its spec.

    Raises:
        ModelFileError: there is none, it is pickled, or it names another model as its base.
    """
    config_path = folder / "adapter_config.json"
    if not config_path.is_file():
        raise ModelFileError(f"{folder}: there is no adapter_config.json, so this is no PEFT adapter")
    if not (folder / _WEIGHTS).is_file():
        if (folder / "adapter_model.bin").is_file():
            raise ModelFileError(
                f"{folder}: the adapter is pickled (adapter_model.bin), which can run code; Whetstone loads {_WEIGHTS} "
                "only"
            )
        raise ModelFileError(f"{folder}: there is no {_WEIGHTS}; the adapter was not saved to its end")
    try:
        declared = json.loads(config_path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{config_path}: cannot be read: {error}") from error
    # Paths move, so only names on the hub are compared; whether it fits is checked weight by weight.
    if _is_hub_name(declared) and _is_hub_name(base) and declared != base:
        raise ModelFileError(
            f"{folder}: the adapter was trained on {declared}, not on {base}; write hf:{declared}?adapter={folder}"
        )


def apply_adapter(model: Any, folder: Path, base: str, *, merge: bool) -> Any:
    """The model with an adapter.

    Args:
        model: the base model.
        folder: the adapter's folder.
        base: the model's name, as in its spec.
        merge: add the adapter into the weights, which makes it free; quantised weights cannot take it.

    Raises:
        ModelFileError: the adapter cannot be loaded, or does not fit the model.
        MissingPackageError: peft is not installed.
    """
    check_adapter(folder, base)
    try:
        import peft
    except ImportError:
        raise MissingPackageError("peft", "adapter=", "pip install 'whetstone-llm[transformers]'") from None
    from safetensors import SafetensorError, safe_open

    misfit = f"{folder}: the adapter does not fit {base}: "
    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as file:
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing weights: checked below
            adapted = peft.PeftModel.from_pretrained(model, str(folder))
    except SafetensorError as error:
        raise ModelFileError(f"{folder}: {_WEIGHTS} is damaged or truncated ({error})") from error
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(misfit + " ".join(str(error).split())[:200]) from error
    wanted = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    # A training run that also changed the embeddings stores them under their own names.
    known = {name: tuple(value.shape) for name, value in {**adapted.state_dict(), **wanted}.items()}
    differing = sorted({name for name in stored if stored[name] != known.get(name)} | (set(wanted) - set(stored)))
    if differing:
        raise ModelFileError(misfit + f"{len(differing)} weights differ, {differing[0]} for one")
    return adapted.merge_and_unload() if merge and hasattr(adapted, "merge_and_unload") else adapted


def _is_hub_name(name: object) -> bool:
    return isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")) and name[-1] != "/"
