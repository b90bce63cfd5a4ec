"""The card of an export: README.md as the Hugging Face hub reads it, with its facts in a YAML head.

A card is made to be shared: of a path on this machine only the last name is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whetstone.errors import StorageError
from whetstone.models.hf import EMBEDDED
from whetstone.storage.journal import read_journal
from whetstone.tokens.gguf_file import read_header
from whetstone.tuning.export_adapter import WEIGHTS
from whetstone.tuning.export_source import ExportSource

# What the embedded file was made of; its weights are 4-bit blocks, and training sees what those stand for.
_EMBEDDED_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_LIBRARY = {"peft": "peft", "merged": "transformers"}
_TITLES = {
    "peft": "a PEFT adapter (safetensors), with the tokenizer and the chat template it was trained with",
    "merged": "base and adapter merged, as safetensors",
    "gguf": "base and adapter merged, as a GGUF file for llama.cpp",
    "gguf-lora": "the adapter alone, as a GGUF file for llama.cpp, to be loaded beside a GGUF file of its base",
    "ollama": "base and adapter merged, as a GGUF file with a Modelfile for Ollama",
}


def base_name(source: ExportSource) -> str:
    """The base as others can find it: its name on the hub, else the last part of its path."""
    name = source.base.name
    if name == EMBEDDED and source.gguf is not None:
        return _EMBEDDED_HUB
    return name if _HUB_NAME.fullmatch(name) else Path(name).name


def render_card(
    source: ExportSource, kind: str, precision: str | None, check: Sequence[str], remarks: Sequence[str]
) -> str:
    """The whole file.

    Args:
        source: what was exported.
        kind: peft, merged, gguf, gguf-lora or ollama.
        precision: in what the weights are written; None for as they were.
        check: lines on what was checked.
        remarks: what else a user of it should know.
    """
    import yaml

    head = yaml.safe_dump(_head(source, kind), sort_keys=False, allow_unicode=True)
    parts = [
        f"# {source.name}",
        f"This is {_TITLES[kind]}, exported with Whetstone.",
        _facts(source, precision),
        "## Checked before it was written",
        "\n".join(f"- {line}" for line in check),
    ]
    if remarks:
        parts += ["## To know", "\n".join(f"- {line}" for line in remarks)]
    parts += _measured(source)
    parts += _configuration(source)
    return f"---\n{head}---\n\n" + "\n\n".join(parts) + "\n"


def _head(source: ExportSource, kind: str) -> dict[str, Any]:
    name = base_name(source)
    head: dict[str, Any] = {"base_model": name} if "/" in name else {}
    head["base_model_relation"] = "adapter" if kind in ("peft", "gguf-lora") else "finetune"
    if "base_model" not in head:
        del head["base_model_relation"]
    if kind in _LIBRARY:
        head["library_name"] = _LIBRARY[kind]
    head["pipeline_tag"] = "text-generation"
    head["tags"] = ["whetstone", "lora", *(["gguf"] if kind not in _LIBRARY else [])]
    if source.gguf is not None and (spoken := read_header(source.gguf).text("general.license")):
        head["license"] = spoken
    return head


def _facts(source: ExportSource, precision: str | None) -> str:
    data = _object(source, "data.json")
    pinned = f"`{source.pinned}`" if source.pinned else "none (a folder)"
    lines = [f"- base: {base_name(source)}", f"- base revision: {pinned}"]
    if source.gguf is not None:
        kept = ", ".join(_types(source.gguf))
        lines.append(f"- base weights: what the blocks of {source.gguf.name} stand for ({kept})")
    lines.append(f"- base quantised in training: {source.quantized or 'no'}")
    lines.append(f"- weights of this export: {precision or 'as they were'}")
    if (revision := source.revision) is not None:
        lines.append(f"- run: {revision.run}, step {revision.step} ({revision.epoch:.2f} passes over the data)")
    if fingerprint := data.get("fingerprint"):
        lines.append(f"- data fingerprint: `{fingerprint}`")
    for key in ("train", "validation"):
        if isinstance(data.get(key), int):
            lines.append(f"- {key} rows: {data[key]:,}")
    lines.append(f"- adapter: `{WEIGHTS}` of rank {_rank(source)}")
    return "\n".join(lines)


def _rank(source: ExportSource) -> str:
    settings = json.loads((source.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    modules = settings.get("target_modules") or []
    named = ", ".join(sorted(modules)) if isinstance(modules, list) else str(modules)
    return f"{settings.get('r')}, alpha {settings.get('lora_alpha')}, on {named}"


def _types(gguf: Path) -> list[str]:
    from gguf import GGMLQuantizationType

    return sorted({GGMLQuantizationType(tensor.type).name for tensor in read_header(gguf).tensors})


def _measured(source: ExportSource) -> list[str]:
    """A table of the validations of the run, up to the exported revision and marked there."""
    if source.run is None or source.revision is None:
        return []
    try:
        lines = [line for line in read_journal(source.run / "journal.jsonl") if line.get("kind") == "validation"]
    except StorageError:
        return []
    rows = []
    for line in lines:
        marked = " (this)" if line.get("step") == source.revision.step else ""
        rows.append(f"| {line.get('step')}{marked} | {_number(line.get('loss'))} | {_metric(line)} |")
    if not rows:
        return []
    name = next((line["metric_name"] for line in lines if line.get("metric_name")), "metric")
    head = f"| step | validation loss | {name} (95 % interval) |\n| --- | ---: | ---: |\n"
    return ["## Measured on the validation rows", head + "\n".join(rows)]


def _metric(line: Mapping[str, Any]) -> str:
    if line.get("metric") is None:
        return ""
    interval = ""
    if line.get("low") is not None and line.get("high") is not None:
        interval = f" ({_number(line['low'])} to {_number(line['high'])})"
    return _number(line["metric"]) + interval


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else ""


def _configuration(source: ExportSource) -> list[str]:
    if source.run is None:
        return []
    try:
        text = (source.run / "config.yaml").read_text(encoding="utf-8")
    except OSError:
        return []
    return ["## Configuration", f"```yaml\n{_without_paths(text).strip()}\n```"]


def _without_paths(text: str) -> str:
    """A configuration in which paths are their last names."""
    return re.sub(r"(?<=[\s:'\"=])(?:~|\.{0,2})/(?:[^\s'\"?]*/)?([^\s'\"/?]+)", r"\1", text)


def _object(source: ExportSource, name: str) -> dict[str, Any]:
    if source.run is None:
        return {}
    try:
        found = json.loads((source.run / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
