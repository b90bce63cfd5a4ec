"""`hf:` specs: transformers models from a folder, the Hugging Face hub or its cache, or a GGUF file.

`hf:./folder`, `hf:Qwen/Qwen2.5-0.5B-Instruct@main`, `hf:./model.gguf`, `hf:smollm2` (the embedded model, converted).
Weights are safetensors only, and no model brings code of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from whetstone.errors import (
    MissingPackageError,
    UsageError,
)
from whetstone.models.hf_adapter import check_adapter
from whetstone.models.hf_load import HfOptions, Source, check_folder, require_packages
from whetstone.models.hf_model import HfModel
from whetstone.models.spec import Listing, ModelSpec
from whetstone.storage.revisions import find_adapter
from whetstone.tokens.embedded import embedded_weights
from whetstone.tokens.hub import hub_folder

EMBEDDED = "smollm2"

# What a model needs from its repository: never pickled weights, never code.
_WANTED_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


class HfProvider:
    """The transformers engine.

    Args:
        name: the provider's name in specs, "hf".
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def load(self, spec: ModelSpec) -> HfModel:
        """The model; its files are found and checked now, its weights are read on first use.

        Raises:
            UsageError: the name or an option is wrong.
            MissingPackageError: transformers or torch is not installed.
            ModelFileError: the files are not there, or are not what they should be.
            UnknownModelError: the hub has no such model or revision.
            LoginError: the hub asks for a login.
            ModelConnectionError: the model is not in the cache and the hub cannot be reached.
        """
        return HfModel(find_source(spec))

    def listing(self) -> Iterator[Listing]:
        """The embedded model and what the hub's cache holds."""
        try:
            require_packages("hf:")
        except MissingPackageError as error:
            yield Listing("hf:NAME", False, str(error))
            return
        try:
            embedded_weights()
            yield Listing(f"hf:{EMBEDDED}", True, "SmolLM2-135M-Instruct, converted on first use")
        except MissingPackageError as error:
            yield Listing(f"hf:{EMBEDDED}", False, str(error))
        yield from _cached_models()
        yield Listing("hf:NAME", True, "a folder with safetensors, a .gguf file, or a model on the hub")


def find_source(spec: ModelSpec) -> Source:
    """Where the files of an `hf:` spec are and how they are to be loaded. Reads no weights.

    Raises:
        the errors of `HfProvider.load`.
    """
    options = spec.read_options(HfOptions)
    name = spec.name
    if not name:
        raise UsageError("hf: needs a model: hf:./folder, hf:organisation/name, hf:./model.gguf or hf:smollm2")
    require_packages(f"{spec}")
    adapter = find_adapter(options.adapter) if options.adapter is not None else None
    folder, revision = locate(name, spec.revision)
    check_folder(folder)
    if adapter is not None:
        check_adapter(adapter, name, folder)
    return Source(str(spec), name, folder, revision, options, adapter)


def locate(name: str, revision: str) -> tuple[Path, str]:
    """The folder of the model that an `hf:` spec names, and what pins it ("" for a folder, whose content does).

    Raises:
        UsageError: a revision where there are none.
        ModelFileError: a GGUF file cannot be converted.
        UnknownModelError: the hub has no such model or revision.
        LoginError: the hub asks for a login.
        ModelConnectionError: the model is not in the cache and the hub cannot be reached.
    """
    whole = Path(f"{name}@{revision}").expanduser()
    if revision and whole.exists():  # an @ in a path is no revision
        return _locate_file(whole)
    path = Path(name).expanduser()
    local = name.startswith((".", "/", "~")) or path.is_absolute() or path.suffix.lower() == ".gguf" or path.is_dir()
    if not local and name != EMBEDDED:
        return _from_hub(name, revision)
    if revision:
        raise UsageError(f"hf:{name}@{revision}: only models on the hub have revisions; leave @{revision} away")
    return _converted(embedded_weights()) if name == EMBEDDED else _locate_file(path)


def _locate_file(path: Path) -> tuple[Path, str]:
    return _converted(path) if path.suffix.lower() == ".gguf" else (path, "")


def _converted(gguf: Path) -> tuple[Path, str]:
    from whetstone.models.hf_convert import converted_folder

    folder = converted_folder(gguf)
    return folder, folder.name


def _from_hub(name: str, revision: str) -> tuple[Path, str]:
    """A model's snapshot folder and commit."""
    asked = f"hf:{name}@{revision}" if revision else f"hf:{name}"
    folder = hub_folder(name, revision, _WANTED_FILES, asked=asked, instead="give a folder: hf:./folder")
    return folder, folder.name


def _cached_models() -> Iterator[Listing]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda found: found.repo_id):
        if repository.repo_type != "model":
            continue
        files = {file.file_name for revision in repository.revisions for file in revision.files}
        usable = "config.json" in files and any(name.endswith(".safetensors") for name in files)
        size = f"{repository.size_on_disk / 1e9:.1f} GB in the hub's cache"
        yield Listing(f"hf:{repository.repo_id}", usable, size if usable else f"{size}, without safetensors weights")
