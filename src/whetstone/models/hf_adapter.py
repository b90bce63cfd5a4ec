"""PEFT adapters: applied only when they are safetensors and fit the model."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from whetstone.errors import MissingPackageError, ModelFileError
from whetstone.specs import parse_spec
from whetstone.storage.revisions import REVISION_FACTS, read_revision

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_BLOCK, _BLOCKS = 4096, 64


def adapter_digest(folder: Path) -> str:
    """sha256 over the files that decide an adapter's answers."""
    digest = hashlib.sha256()
    for name in (_CONFIG, _WEIGHTS):
        with open(folder / name, "rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def weights_mark(folder: Path) -> str:
    """What tells the weights of a model folder from other weights of the same shape, in milliseconds.

    A sha256 over the sizes of the .safetensors files and 64 blocks of each, evenly spaced from the first to the last:
    training changes nearly every weight. Files around the weights, which may be edited, have no part in it.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{size}\n".encode())
        with open(path, "rb") as file:
            for block in range(_BLOCKS):
                file.seek(max(0, size - _BLOCK) * block // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]


def check_adapter(folder: Path, base: str, base_folder: Path | None = None) -> None:
    """Check that a folder holds an adapter that may be loaded onto a model.

    Args:
        folder: the adapter's folder.
        base: the model's name, as in its spec.
        base_folder: the model's files; None where they are not looked at.

    Raises:
        ModelFileError: there is none, it is pickled, or it was trained on another model.
    """
    config_path = folder / _CONFIG
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
    if is_hub_name(declared) and is_hub_name(base) and declared != base:
        raise ModelFileError(
            f"{folder}: the adapter was trained on {declared}, not on {base}; write hf:{declared}?adapter={folder}"
        )
    if base_folder is not None and (folder / REVISION_FACTS).is_file():
        revision = read_revision(folder)
        if revision.base_weights and revision.base_weights != weights_mark(base_folder):
            trained = parse_spec(revision.base)
            right = replace(trained, options={**trained.options, "adapter": str(folder)})
            raise ModelFileError(
                f"{folder}: the adapter was trained on {trained}, whose weights are not those of {base}; write {right}"
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


def is_hub_name(name: object) -> bool:
    """Whether a name is one on the hub, "organisation/model", and no path."""
    return isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")) and name[-1] != "/"
