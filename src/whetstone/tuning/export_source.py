"""What is exported: an adapter, the model it belongs on, and what is known of the run that made it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError, UsageError
from whetstone.models.hf import EMBEDDED, locate
from whetstone.models.hf_adapter import check_adapter
from whetstone.models.hf_load import check_folder
from whetstone.models.spec import ModelSpec, parse_spec
from whetstone.storage.revisions import ADAPTER_CONFIG, REVISION_FACTS, Revision, find_adapter, read_revision
from whetstone.tokens.embedded import embedded_weights


@dataclass(frozen=True)
class ExportSource:
    """An adapter and its base.

    Attributes:
        name: for headings and file names: "prices-120", or the folder's name.
        adapter: the PEFT folder.
        base: the model without adapter, as an `hf:` spec without options.
        folder: the base's safetensors folder.
        pinned: what pins the base: a commit, or the sha256 of its GGUF file; "" for a folder.
        gguf: the GGUF file that the base was converted from, None where it was none.
        revision: the revision's facts, None for a folder that no run of ours made.
        quantized: how the base was quantised while the adapter was trained ("nf4"); "" for not at all.
    """

    name: str
    adapter: Path
    base: ModelSpec
    folder: Path
    pinned: str
    gguf: Path | None
    revision: Revision | None
    quantized: str

    @property
    def run(self) -> Path | None:
        """The run's folder, None where the adapter is not in one: it was exported, or no run of ours made it."""
        return self.adapter.parent.parent if self.revision and self.adapter.parent.name == "revisions" else None

    @property
    def tokenizer(self) -> Path:
        """The folder with the tokenizer and the template that the adapter was trained with."""
        return self.adapter if (self.adapter / "tokenizer.json").is_file() else self.folder

    @property
    def adapted(self) -> ModelSpec:
        """The spec of base and adapter together."""
        return ModelSpec("hf", self.base.name, self.base.revision, {"adapter": str(self.adapter)})


def find_source(text: str, base: str | None = None) -> ExportSource:
    """What a user names: a run, one of its revisions, or the folder of an adapter.

    Args:
        text: "RUN", "RUN@best", "RUN@last", "RUN@120", or a folder.
        base: the spec of the model that the adapter belongs on; the one it says itself when None.

    Raises:
        UsageError: there is no such run or revision, or it is not known what base it belongs on.
        ModelFileError: the adapter or the base cannot be used.
        ModelConnectionError: the base is not on this machine and cannot be downloaded.
    """
    adapter = find_adapter(text)
    if not adapter.is_dir():
        raise ModelFileError(f"{text}: there is no such folder, and no tuning run of that name")
    revision = read_revision(adapter) if (adapter / REVISION_FACTS).is_file() else None
    spec = _base_spec(adapter, revision, base)
    if spec.provider != "hf" or not spec.name:
        raise UsageError(f"{spec}: the base must be an hf: model, such as hf:smollm2 or hf:organisation/name")
    bare = ModelSpec("hf", spec.name, spec.revision)
    folder, pinned = locate(bare.name, bare.revision)
    check_folder(folder)
    check_adapter(adapter, bare.name, folder)
    name = f"{revision.run}-{revision.step}" if revision is not None else adapter.resolve().name
    return ExportSource(name, adapter, bare, folder, pinned, _gguf(bare), revision, spec.options.get("quantize", ""))


def _base_spec(adapter: Path, revision: Revision | None, given: str | None) -> ModelSpec:
    if given is not None:
        return parse_spec(given)
    if revision is not None:
        return parse_spec(revision.base)
    declared = adapter_settings(adapter).get("base_model_name_or_path")
    if not isinstance(declared, str) or not declared:
        raise UsageError(f"{adapter}: the adapter does not say what model it was trained on: name it with --base")
    return parse_spec(f"hf:{declared}")


def _gguf(base: ModelSpec) -> Path | None:
    if base.name == EMBEDDED and not Path(EMBEDDED).is_dir():
        return embedded_weights()
    path = Path(base.named).expanduser()
    return path if path.suffix.lower() == ".gguf" else None


def adapter_settings(adapter: Path) -> dict[str, Any]:
    """An adapter's adapter_config.json.

    Raises:
        ModelFileError: it is not there, or damaged.
    """
    path = adapter / ADAPTER_CONFIG
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise ModelFileError(f"{path} is no JSON ({error}); the adapter was not saved to its end") from None
    if not isinstance(settings, dict):
        raise ModelFileError(f"{path} holds no settings")
    return settings
