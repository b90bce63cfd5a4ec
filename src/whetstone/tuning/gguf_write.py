"""GGUF files of a tuned model: base and adapter merged, or the adapter alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from whetstone.errors import MissingPackageError, ModelFileError
from whetstone.models.hf_load import INSTALL, load_config, quiet
from whetstone.tokens.gguf_file import read_header
from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.export_adapter import Lora
from whetstone.tuning.export_merge import MergedWeights
from whetstone.tuning.export_source import ExportSource
from whetstone.tuning.gguf_architecture import Architecture, architecture_of, settings_of
from whetstone.tuning.gguf_precision import Precision, encode, kind_of
from whetstone.tuning.gguf_vocabulary import Entry, copied_settings, made_settings
from whetstone.tuning.gguf_weights import GgufWeight, lora_weights, model_weights, rope_factors

_PHI3 = {"<unk>", "<s>", "</s>", "<|endoftext|>"}

Progress = Callable[[int, int], None]  # bytes written, bytes in all


def require_gguf() -> None:
    """Check that the library is installed.

    Raises:
        MissingPackageError: it is not.
    """
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise MissingPackageError("gguf", "Writing a GGUF file", INSTALL) from None


def write_model(
    source: ExportSource, lora: Lora | None, path: Path, precision: Precision, progress: Progress | None = None
) -> None:
    """Write base and adapter, merged, as a GGUF file.

    Settings and tokenizer are those of the base's own GGUF file where it came from one, and are made of its
    configuration and tokenizer.json otherwise. Weights are read, changed and written one at a time.

    Args:
        source: the base.
        lora: the adapter; None writes the base alone.
        path: the file.
        precision: of the weights.
        progress: told how much is written.

    Raises:
        ModelFileError: the model cannot be written as GGUF.
        MissingPackageError: the package gguf is needed.
        OSError: the disk is full.
    """
    config, architecture = _described(source)
    merged = MergedWeights(source.folder, lora)
    rows = merged.stored["model.embed_tokens.weight"].shape[0] if "model.embed_tokens.weight" in merged.stored else 0
    if not rows:
        raise ModelFileError(f"{source.folder}: there are no embeddings where a {config.model_type} model has them")
    weights = list(model_weights(merged, architecture, config, rows))
    if source.gguf is not None:
        _check_copy(source.gguf, architecture.name, config, rows)
        settings = list(copied_settings(source.gguf))
    else:
        settings = [*_kinds(architecture.name, settings_of(config)), *made_settings(source.tokenizer, rows)]
    template = load_tokenizer(str(source.tokenizer)).template
    settings += _facts(source, _name(source, architecture.name, settings), precision, template)
    _write(path, architecture.name, settings, weights, precision, progress)


def write_lora(source: ExportSource, lora: Lora, path: Path, precision: Precision) -> None:
    """Write an adapter as a GGUF file, for llama.cpp to load beside a GGUF file of its base.

    Raises:
        ModelFileError: the adapter cannot be written as GGUF.
        MissingPackageError: the package gguf is needed.
        OSError: the disk is full.
    """
    from gguf import GGUFValueType as Kind

    config, architecture = _described(source)
    MergedWeights(source.folder, lora)  # says where the adapter does not fit
    settings: list[Entry] = [
        ("general.type", "adapter", Kind.STRING, None),
        ("general.name", source.name, Kind.STRING, None),
        ("adapter.type", "lora", Kind.STRING, None),
        ("adapter.lora.alpha", lora.alpha, Kind.FLOAT32, None),
    ]
    _write(path, architecture.name, settings, list(lora_weights(lora, architecture, config)), precision, None)


def _described(source: ExportSource) -> tuple[Any, Architecture]:
    """The base's configuration, and how GGUF has such a model."""
    require_gguf()
    with quiet():
        config = load_config(source.folder)
    return config, architecture_of(config)


def _name(source: ExportSource, architecture: str, settings: Sequence[Entry]) -> str:
    """A model's name in its file, by some words in which llama.cpp knows how a tokenizer treats control tokens.

    With "Phi-3" in it, they swallow the white space after them, and these four must be there; with "modern-bert", the
    token [MASK] must.
    """
    tokens = next((value for key, value, *_ in settings if key == "tokenizer.ggml.tokens"), ())
    before = read_header(source.gguf).text("general.name").lower() if source.gguf is not None else "phi-3"
    name = re.sub(r"(?i)phi-?3|modern-bert", lambda found: " ".join(found[0].replace("-", "")), source.name)
    if architecture == "phi3" and re.search("phi-?3", before) and set(tokens) >= _PHI3:
        return f"Phi-3 {name}"
    return name


def _check_copy(gguf: Path, architecture: str, config: Any, rows: int) -> None:
    """The settings of the base's file may be copied only where they describe the model that its folder holds."""
    header = read_header(gguf)
    if header.architecture != architecture:
        raise ModelFileError(
            f"{gguf}: its architecture is {header.architecture}, and a {config.model_type} model is written as "
            f"{architecture}"
        )
    names = {tensor.name for tensor in header.tensors}
    if "rope_freqs.weight" in names and rope_factors(config) is None:
        raise ModelFileError(
            f"{gguf}: the scaling of its positions (rope_freqs.weight) was lost when it was converted for training; "
            "train on the model's own folder instead of its GGUF file"
        )
    if header.lengths.get("tokenizer.ggml.tokens") != rows:
        raise ModelFileError(f"{gguf}: its tokenizer has another number of tokens than the {rows} of the tuned model")


def _kinds(architecture: str, settings: Sequence[tuple[str, Any]]) -> Iterator[Entry]:
    from gguf import GGUFValueType as Kind

    kinds = {bool: Kind.BOOL, int: Kind.UINT32, float: Kind.FLOAT32, str: Kind.STRING}
    for key, value in settings:
        yield f"{architecture}.{key}", value, kinds[type(value)], None


def _facts(source: ExportSource, name: str, precision: Precision, template: str | None) -> Iterator[Entry]:
    from gguf import GGML_QUANT_VERSION, GGUFValueType, LlamaFileType

    text, number = GGUFValueType.STRING, GGUFValueType.UINT32
    yield "general.type", "model", text, None
    yield "general.name", name, text, None
    yield "general.description", f"{source.base.named.rpartition('/')[2]}, tuned with Whetstone", text, None
    yield "general.file_type", int(LlamaFileType[precision.file_type]), number, None
    yield "general.quantization_version", GGML_QUANT_VERSION, number, None
    if template:
        yield "tokenizer.chat_template", template, text, None


def _write(
    path: Path,
    architecture: str,
    settings: Sequence[Entry],
    weights: Sequence[GgufWeight],
    precision: Precision,
    progress: Progress | None,
) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, architecture)
    kinds = [kind_of(weight.name, weight.shape, precision) for weight in weights]
    sizes = []
    for weight, kind in zip(weights, kinds, strict=True):
        block, of_block = gguf.GGML_QUANT_SIZES[kind]
        sizes.append(math.prod(weight.shape) // block * of_block)
        # The library takes shapes in elements unless it is told bytes; float32 stands for "not bytes" here.
        writer.add_tensor_info(weight.name, weight.shape, np.dtype(np.float32), sizes[-1], raw_dtype=kind)
    for key, value, value_kind, element_kind in settings:
        if value != []:  # the format has no empty arrays
            writer.add_key_value(key, value, value_kind, element_kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, (weight, kind) in enumerate(zip(weights, kinds, strict=True)):
            writer.write_tensor_data(encode(weight.read(), kind, weight.name))
            if progress is not None:
                progress(sum(sizes[: number + 1]), sum(sizes))
    finally:
        writer.close()
