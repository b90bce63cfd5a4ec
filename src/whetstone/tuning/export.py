"""Writes one export of a tuned model into a folder. Whether it may be kept is decided by `workflows.export_check`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from whetstone.errors import ModelFileError, UsageError
from whetstone.models.hf_load import load_config, quiet
from whetstone.storage.revisions import ADAPTER_CONFIG, ASKED, REVISION_FACTS, TEXTS
from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.export_adapter import WEIGHTS, Lora
from whetstone.tuning.export_card import base_name, render_card
from whetstone.tuning.export_merge import MergedWeights, write_merged
from whetstone.tuning.export_ollama import modelfile
from whetstone.tuning.export_source import ExportSource, adapter_settings
from whetstone.tuning.gguf_architecture import window_remark
from whetstone.tuning.gguf_precision import DEFAULT, UNQUANTIZED, precision_named
from whetstone.tuning.gguf_write import Progress, write_lora, write_model

Kind = Literal["peft", "merged", "gguf", "gguf-lora", "ollama"]
KINDS: tuple[Kind, ...] = ("peft", "merged", "gguf", "gguf-lora", "ollama")
CARD = "README.md"
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class Built:
    """An export that was written and not yet checked.

    Attributes:
        kind: what it is.
        folder: where it is.
        model: what an engine loads of it: the GGUF file, or the folder.
        precision: what its weights are in; None for as they were.
        remarks: what a user of it should know.
    """

    kind: Kind
    folder: Path
    model: Path
    precision: str | None
    remarks: Sequence[str] = field(default_factory=tuple)


def check_request(kind: str, precision: str | None) -> tuple[Kind, str | None]:
    """What to write and in what precision, before any work.

    Raises:
        UsageError: there is no such kind of export, or it has no such precision.
    """
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is no kind of export; write one of {', '.join(KINDS)}")
    if kind == "peft":
        if precision is not None:
            raise UsageError("--quantize is for weights that are merged; a PEFT adapter is copied as it was trained")
        return kind, None
    if kind == "merged":
        if precision is not None and precision.lower() not in UNQUANTIZED:
            raise UsageError(f"{precision}: safetensors are written in {', '.join(UNQUANTIZED)}; use --to gguf for it")
        return kind, precision.lower() if precision is not None else None
    if kind == "gguf-lora":
        name = (precision or "f32").lower()
        if name not in ("f32", "f16"):
            raise UsageError(f"{precision}: the matrices of an adapter are small, and written in f32 or f16")
        return kind, name
    for known in KINDS:
        if kind == known:
            return known, precision_named(precision or DEFAULT).name
    raise AssertionError(kind)


def build(
    source: ExportSource, kind: Kind, folder: Path, precision: str | None, progress: Progress | None = None
) -> Built:
    """Write an export into an empty folder, without its card.

    Args:
        source: what to export.
        kind: as what.
        folder: an empty one.
        precision: as `check_request` gave it.
        progress: told how many bytes of a GGUF file are written.

    Raises:
        ModelFileError: this model cannot be exported so.
        MissingPackageError: an optional package is needed.
        OSError: the disk is full.
    """
    remarks = []
    if source.quantized:
        remarks.append(
            f"the base was quantised ({source.quantized}) while the adapter was trained, and is not in this export; "
            "answers may differ a little from those in training"
        )
    if kind in ("peft", "merged"):  # so that it is asked as it was trained, and not about what it was trained on
        _copy(source.run or source.adapter, folder, (ASKED, TEXTS))
    if kind == "peft":
        return Built(kind, folder, _peft(source, folder), None, remarks)
    if kind == "merged":
        write_merged(MergedWeights(source.folder, Lora(source.adapter)), folder, precision)
        _copy(source.tokenizer, folder, _TOKENIZER)
        _copy(source.folder, folder, ("generation_config.json",))
        return Built(kind, folder, folder, precision, remarks)
    assert precision is not None
    name = re.sub(r"[^\w.-]+", "-", source.name)
    if kind == "gguf-lora":
        path = folder / f"{name}-lora-{precision}.gguf"
        write_lora(source, Lora(source.adapter), path, precision_named(precision))
        return Built(kind, folder, path, precision, remarks)
    path = folder / f"{name}-{precision}.gguf"
    write_model(source, Lora(source.adapter), path, precision_named(precision), progress)
    remarks += _window(source)
    if kind == "ollama":
        remarks += _modelfile(source, path)
    return Built(kind, folder, path, precision, remarks)


def write_card(source: ExportSource, built: Built, check: Sequence[str]) -> None:
    """Put the card beside an export that was checked."""
    text = render_card(source, built.kind, built.precision, check, built.remarks)
    (built.folder / CARD).write_text(text, encoding="utf-8")


def _peft(source: ExportSource, folder: Path) -> Path:
    if not (source.adapter / WEIGHTS).is_file():
        raise ModelFileError(f"{source.adapter}: there is no {WEIGHTS}")
    settings = adapter_settings(source.adapter)
    settings["base_model_name_or_path"] = base_name(source)  # a path on this machine says nothing elsewhere
    settings["inference_mode"] = True
    (folder / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(source.adapter / WEIGHTS, folder / WEIGHTS)
    if source.revision is not None:  # by which another export finds the base, and a wrong one is noticed
        base = f"hf:{Path(source.base.name).name if Path(source.base.name).is_dir() else source.base.named}"
        facts = replace(source.revision, base=base).to_json()
        (folder / REVISION_FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    _copy(source.tokenizer, folder, _TOKENIZER)
    return folder


def _copy(origin: Path, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (origin / name).is_file():
            shutil.copyfile(origin / name, folder / name)


def _window(source: ExportSource) -> list[str]:
    with quiet():
        remark = window_remark(load_config(source.folder))
    return [remark] if remark else []


def _modelfile(source: ExportSource, gguf: Path) -> list[str]:
    with quiet():
        context = int(load_config(source.folder).max_position_embeddings)
    text, remarks = modelfile(gguf.name, load_tokenizer(str(source.tokenizer)), source.folder, context)
    (gguf.parent / "Modelfile").write_text(text, encoding="utf-8")
    return remarks
