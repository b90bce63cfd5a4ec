"""GGUF files as transformers folders, converted once into a cache.

`transformers` can read a GGUF file, but takes 20 seconds for the smallest model, each time, and gets some tokenizers
wrong. The folder made here loads in a second and has exact token ids.

The weights are stored in float32: what the quantised blocks stand for, without another rounding. The cache is
`WHETSTONE_HOME/cache/gguf-to-hf/<sha256 of the file>`; a folder under that name is complete.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from filelock import FileLock

from whetstone import settings
from whetstone.errors import MissingPackageError, ModelFileError, StorageError
from whetstone.models.hf_load import INSTALL, quiet
from whetstone.models.llamacpp_revision import parts, revision
from whetstone.storage.files import storage_error
from whetstone.tokens.gguf_file import GgufHeader, read_header
from whetstone.tokens.gguf_tokenizer import byte_level_tokenizer

log = logging.getLogger(__name__)

# Counts up when a conversion would come out differently, so that folders of older versions are made anew.
_VERSION = 1
_MARK = "whetstone.json"


def converted_folder(gguf: Path) -> Path:
    """The safetensors folder of a GGUF file, converted now if it was not before.

    Two processes may ask at once: one converts, the other waits for it. A process killed while converting leaves a
    temporary folder, which the next conversion of that file removes.

    Raises:
        ModelFileError: this is no GGUF file, it is damaged, or its architecture or tokenizer is not supported.
        MissingPackageError: the package gguf is needed.
        StorageError: the disk is full, or the cache cannot be written.
    """
    header = read_header(gguf)
    files = parts(header)
    if len(files) > 1:
        raise ModelFileError(f"{gguf}: transformers cannot read a model in {len(files)} parts; use gguf:{gguf}")
    digest = revision(files)
    cache = settings.home() / "cache" / "gguf-to-hf"
    folder = cache / digest
    if _complete(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{digest}.lock"):
            if not _complete(folder):
                _convert(header, folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    return folder


def _complete(folder: Path) -> bool:
    try:
        mark: dict[str, Any] = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return mark.get("version") == _VERSION


def _convert(header: GgufHeader, folder: Path) -> None:
    """Make the folder under a temporary name, then rename it. The caller holds the lock."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    _check_space(header, folder.parent)
    log.info("%s: converting to safetensors, once", header.path)
    temporary = folder.parent / f".{folder.name}.{os.getpid()}"
    temporary.mkdir()
    try:
        with quiet(), _no_bar_in_logs():
            _write_tokenizer(header, temporary)
            _write_model(header, temporary)
        mark = {"version": _VERSION, "source": header.path.name, "sha256": folder.name}
        (temporary / _MARK).write_text(json.dumps(mark), encoding="utf-8")
        for path in temporary.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        if folder.exists():  # of an older version
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _no_bar_in_logs() -> Iterator[None]:
    """Show the library's progress bar on a terminal only; it cannot be switched off otherwise."""
    if sys.stderr.isatty():
        yield
    else:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            yield


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn a full disk into our own error; the libraries' Rust parts do not raise OSError for it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise StorageError(f"{target.parent}: the converted model cannot be written: {error}") from error


def _check_space(header: GgufHeader, cache: Path) -> None:
    needed = 4 * sum(math.prod(tensor.shape) for tensor in header.tensors)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise StorageError(
            f"{cache}: converting {header.path.name} takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            "make room, or set WHETSTONE_HOME to another disk"
        )


def _write_model(header: GgufHeader, target: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    gguf = header.path
    try:
        config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, info = model_class.from_pretrained(
            gguf.parent, gguf_file=gguf.name, config=config, dtype=torch.float32, output_loading_info=True
        )
    except ImportError as error:
        raise MissingPackageError("accelerate", f"Reading {gguf} with transformers", INSTALL) from error
    except Exception as error:  # the same: whatever the library stumbles over is the file's fault
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFileError(f"{gguf}: transformers cannot read this GGUF file: {reason}; gguf:{gguf} may") from error
    if missing := sorted(info["missing_keys"]):
        raise ModelFileError(
            f"{gguf}: transformers finds no {missing[0]} in this GGUF file ({len(missing)} weights are missing); use "
            f"gguf:{gguf}"
        )
    # The weights are plain float32 now, but the library keeps them marked as quantised, and refuses to save those.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    ends = [header.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    if known := sorted({int(end) for end in ends if end is not None}):
        model.generation_config.eos_token_id = known if len(known) > 1 else known[0]
    with _writing(target):
        model.save_pretrained(target)


def _write_tokenizer(header: GgufHeader, target: Path) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    gguf = header.path
    if header.text("tokenizer.ggml.model") == "gpt2":
        exact, roles = byte_level_tokenizer(header)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=exact, chat_template=header.chat_template or None, **roles)
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        except Exception as error:  # as above
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelFileError(
                f"{gguf}: transformers cannot read its tokenizer: {reason}; use gguf:{gguf}"
            ) from error
    with _writing(target):
        tokenizer.save_pretrained(target)
