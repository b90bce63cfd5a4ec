"""Weights of a model folder into memory: precision, device, quantisation, adapter, and every way it can fail."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from whetstone import settings
from whetstone.errors import MissingPackageError, ModelError, ModelFileError, UsageError

INSTALL = "pip install 'whetstone-llm[transformers]'"

_FOUR_BIT_BLOCK = 64  # weights that share a scale


class HfOptions(BaseModel):
    """Options of `hf:` specs, written `?name=value&name=value`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="precision of the weights; auto is float32 on a CPU, and what the model was saved in elsewhere",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="where to compute: cpu, cuda, cuda:1, mps; auto is the first CUDA GPU, or else the CPU",
    )
    quantize: Literal["nf4", "int8"] | None = Field(
        None,
        description="keep the weights in 4 or 8 bits through bitsandbytes, to save memory; made for GPUs: on a CPU it "
        "works, and is up to ten times slower than float32",
    )
    adapter: str | None = Field(
        None,
        description="a PEFT adapter (safetensors) to apply to the model: its folder, or a tuning run's best revision "
        "(RUN or RUN@best), its last (RUN@last), or that of a step (RUN@120)",
    )
    batch_tokens: int = Field(
        8192,
        ge=1,
        description="most tokens (prompts and replies, padding included) whose state is in memory at a time; "
        "a longer single row runs alone",
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; WHETSTONE_THREADS or one per core when not given")


@dataclass(frozen=True)
class Source:
    """Where a model's files are and how they are to be loaded.

    Attributes:
        spec: the canonical spec.
        name: the model's name in it.
        folder: config.json, safetensors and tokenizer.
        revision: what pins the files; "" when only their content does.
        options: how to load them.
        adapter: the folder that `options.adapter` stands for.
    """

    spec: str
    name: str
    folder: Path
    revision: str
    options: HfOptions
    adapter: Path | None = None


def require_packages(purpose: str) -> None:
    """Check that the transformers engine is installed, without importing it.

    Raises:
        MissingPackageError: it is not.
    """
    for package in ("torch", "transformers", "safetensors"):
        if find_spec(package) is None:
            raise MissingPackageError(package, purpose, INSTALL)


def check_folder(folder: Path) -> None:
    """Check that a folder holds a model that may be loaded.

    Raises:
        ModelFileError: it does not; the sentence says what is there instead.
    """
    if not folder.is_dir():
        found = "that is a file" if folder.is_file() else "there is no such folder"
        raise ModelFileError(
            f"{folder}: {found}; hf: takes a folder with config.json and *.safetensors, or a .gguf file"
        )
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise ModelFileError(
                f"{folder} is a PEFT adapter, not a model: write hf:BASE?adapter={folder}, with BASE the model that "
                "it was trained on"
            )
        raise ModelFileError(f"{folder}: there is no config.json, so this is no model folder")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        found = f"only pickled weights ({', '.join(pickled)}), which can run code" if pickled else "no weights"
        raise ModelFileError(f"{folder}: there are {found}; Whetstone loads *.safetensors only")


def content_digest(folder: Path) -> str:
    """sha256 over names and contents of the files that decide a model's answers."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt") and path.is_file():
            with open(path, "rb") as file:
                digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def load_weights(source: Source) -> Any:
    """The model, ready to compute, with its adapter.

    Raises:
        ModelFileError: the files are damaged, incomplete, or need code of their own.
        UsageError: the device is not there.
        MissingPackageError: bitsandbytes or peft is needed.
        ModelError: it does not fit into memory.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    options, folder = source.options, source.folder
    if options.quantize and find_spec("bitsandbytes") is None:
        raise MissingPackageError("bitsandbytes", f"quantize={options.quantize}", INSTALL)
    device = _device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(options.threads or settings.threads())
    with memory_errors(source.spec), quiet():
        config = load_config(folder)
        model_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        dtype = _dtype(options.dtype, config, device)
        extra: dict[str, Any] = {} if device.type == "cpu" else {"device_map": {"": device}}
        if options.quantize:
            extra = {"device_map": {"": device}, "quantization_config": quantization(options.quantize, dtype)}
        model = from_folder(model_class, folder, config=config, dtype=dtype, **extra)
        if source.adapter is not None:
            from whetstone.models.hf_adapter import apply_adapter

            model = apply_adapter(model, source.adapter, source.name, merge=options.quantize is None)
    return model.eval()


def load_config(folder: Path) -> Any:
    """The folder's config.json as transformers reads it; no weights.

    Raises:
        ModelFileError: it is damaged, or of an architecture that is not known.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(_sentence(folder, "config.json", error)) from error


@contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Turn a lack of memory into our own error."""
    import torch

    advice = "a smaller batch_tokens, quantize=nf4, or a smaller model may fit"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{name}: the GPU's memory is full; {advice}") from error
    except MemoryError as error:
        raise ModelError(f"{name}: the memory is full; {advice}") from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise ModelError(f"{name}: the memory is full; {advice}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no remarks from transformers; what matters is raised."""
    from transformers.utils import logging as hf_logging

    # Where the processor has AVX512-BF16 it asks, when peft imports it, for a package that we do without.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    bars, verbosity = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def from_folder(model_class: Any, folder: Path, **extra: Any) -> Any:
    """Weights of a folder by one of transformers' model classes.

    Raises:
        ModelFileError: they are damaged, incomplete, of another shape, or need code of their own.
        UsageError: they are wanted in 4 bits, which this processor would read wrongly.
    """
    from safetensors import SafetensorError

    try:
        model, info = model_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **extra
        )
    except SafetensorError as error:
        raise ModelFileError(
            f"{folder}: a .safetensors file is damaged or truncated ({error}); get it again"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ModelFileError(_sentence(folder, "the model", error)) from error
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ModelFileError(f"{folder}: the weights do not have the shapes that config.json says") from error
    if missing := sorted(info["missing_keys"]):
        raise ModelFileError(
            f"{folder}: {len(missing)} weights are missing from the .safetensors files, {missing[0]} for one; "
            "config.json belongs to another model, or a file is missing"
        )
    if "quantization_config" in extra:
        _settle_four_bits(model)
    return model


def _sentence(folder: Path, part: str, error: BaseException) -> str:
    text = str(error)
    if "trust_remote_code" in text:
        return f"{folder}: this model needs Python code of its own (trust_remote_code), which Whetstone does not run"
    return f"{folder}: {part} cannot be loaded: {(text.strip() or type(error).__name__).splitlines()[0]}"


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = f"{torch.cuda.device_count()} CUDA GPUs" if torch.cuda.device_count() else "no CUDA GPU"
        raise UsageError(f"device={name}: PyTorch sees {found} here; write device=cpu or device=auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device=mps: PyTorch sees no Apple GPU here; write device=cpu or device=auto")
    return device


def _dtype(name: str, config: Any, device: Any) -> Any:
    import torch

    if name != "auto":
        return getattr(torch, name)
    # Half precision is emulated, and slow, on most CPUs.
    return torch.float32 if device.type == "cpu" else config.dtype or torch.bfloat16


def quantization(kind: str, dtype: Any) -> Any:
    """How bitsandbytes is to keep weights: "nf4" (with double quantisation) or "int8".

    Args:
        dtype: what 4-bit weights are computed in.
    """
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        # It says for every single product that it casts the input.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def _settle_four_bits(model: Any) -> None:
    """Make 4-bit layers compute the same on every CPU, or refuse them.

    On a CPU with AVX512-BF16, bitsandbytes packs their weights anew at the first product outside training, rounds
    the scales to bfloat16, and gives training that follows no gradient. On any with AVX-512 it reads weights wrongly
    where a row does not hold whole blocks of 64.

    Raises:
        UsageError: a layer has such rows, on such a processor.
    """
    import torch
    from bitsandbytes.nn import Linear4bit

    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    for name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
            if wide and module.weight.device.type == "cpu" and module.in_features % _FOUR_BIT_BLOCK:
                raise UsageError(
                    f"4-bit weights need layers whose inputs are a multiple of {_FOUR_BIT_BLOCK} on this processor "
                    f"(AVX-512), and {name} has {module.in_features}; leave them in full, or in 8 bits (quantize=int8)"
                )
