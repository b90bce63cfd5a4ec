"""Models that llama.cpp runs inside this process: any GGUF file, and the embedded SmolLM2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from whetstone import settings
from whetstone.errors import MissingPackageError, ModelFileError, UsageError
from whetstone.models.llamacpp_model import LlamaCppModel
from whetstone.models.llamacpp_revision import parts
from whetstone.models.llamacpp_server import ServerConfig, library_problem
from whetstone.models.spec import Listing, ModelSpec
from whetstone.tokens.embedded import embedded_weights
from whetstone.tokens.gguf_file import GgufHeader, read_header

DEFAULT_CONTEXT = 4096
CONTEXT_GRAIN = 256  # llama.cpp's contexts are multiples of it, unless the model was trained for less


class GgufOptions(BaseModel):
    """Options of a spec that names a GGUF file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    context: int | None = Field(
        None,
        ge=16,
        description="tokens of prompt and reply, for each slot, rounded up to a multiple of 256; by default 4096, or "
        "the model's own if smaller",
    )
    slots: int = Field(
        1,
        ge=1,
        le=32,
        description="conversations answered at once; more than 1 helps on a GPU and for several users, and then the "
        "last digits of probabilities, and now and then a greedy reply, depend on what is answered at the same time",
    )
    threads: int | None = Field(
        None, ge=1, le=512, description="worker threads; by default WHETSTONE_THREADS, or all cores"
    )
    gpu_layers: int | None = Field(None, ge=0, description="layers on the GPU; by default as many as fit")
    flash_attention: bool | None = Field(
        None,
        description="by default on a GPU only; on a CPU it reads prompts 20 to 40 % faster, and then replies depend a "
        "little on what was asked before",
    )
    lora: Path | None = Field(
        None, description="GGUF file of a LoRA adapter for this model, as `whet tune export --to gguf-lora` writes it"
    )


class GgufProvider:
    """Loads any GGUF file: `gguf:./model.gguf?context=8192&slots=4`.

    Args:
        name: the provider's name in specs.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: ModelSpec) -> LlamaCppModel:
        """The model. Its header is checked now; the weights are loaded when it is first asked something.

        Raises:
            UsageError: the spec names no file, or an option is wrong.
            MissingPackageError: llama.cpp is not installed.
            ModelFileError: the file cannot be used.
        """
        options = spec.read_options(GgufOptions)
        name = f"{spec.name}@{spec.revision}" if spec.revision else spec.name  # files have no revisions
        if not name:
            raise UsageError(f"{spec}: name the file, for example {self.name}:./model.gguf")
        if (problem := library_problem()) is not None:
            raise problem
        return _model(spec, Path(name).expanduser(), options, try_first=True)

    def listing(self) -> Iterator[Listing]:
        """Whether llama.cpp is installed."""
        problem = library_problem()
        yield Listing(f"{self.name}:FILE.gguf", problem is None, str(problem or "any GGUF file, with llama.cpp"))


class EmbeddedProvider:
    """Loads SmolLM2-135M-Instruct, whose weights come as a Python package: `smollm2`, `smollm2?slots=8`.

    Args:
        name: the provider's name in specs.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: ModelSpec) -> LlamaCppModel:
        """The model; see `GgufProvider.load`.

        Raises:
            MissingPackageError: llama.cpp or the weights are not installed.
        """
        options = spec.read_options(GgufOptions)
        if spec.name or spec.revision:
            raise UsageError(
                f"{spec}: {self.name} is one model; write {self.name}, or gguf:FILE for a file of your own"
            )
        if (problem := library_problem()) is not None:
            raise problem
        return _model(spec, embedded_weights(), options, try_first=False)

    def listing(self) -> Iterator[Listing]:
        """Whether llama.cpp and the weights are installed."""
        problem = library_problem()
        if problem is None:
            try:
                embedded_weights()
            except MissingPackageError as error:
                problem = error
        yield Listing(self.name, problem is None, str(problem or "SmolLM2-135M-Instruct, embedded, with llama.cpp"))


def _model(spec: ModelSpec, path: Path, options: GgufOptions, *, try_first: bool) -> LlamaCppModel:
    header = read_header(path)
    _check_is_model(header)
    files = parts(header)
    if options.lora is not None:
        _check_is_adapter(options.lora.expanduser(), header)
        files = [*files, options.lora.expanduser()]
    try_first = try_first or options.lora is not None
    return LlamaCppModel(spec, header, files, _config(spec, header, options), try_first=try_first)


def _check_is_model(header: GgufHeader) -> None:
    kind = header.text("general.type")
    if not header.architecture:
        raise ModelFileError(f"{header.path} names no architecture, so that it cannot be a model; download it again")
    if kind == "adapter":
        raise ModelFileError(
            f"{header.path} is a LoRA adapter and no model: name the base, and the adapter as its option "
            f"lora={header.path}"
        )
    if kind == "mmproj" or header.architecture == "clip":
        raise ModelFileError(
            f"{header.path} is the image encoder of a model: name the file of the language model itself"
        )
    if not header.tensors:
        raise ModelFileError(f"{header.path} holds no weights, only a vocabulary: name the file of the model itself")


def _check_is_adapter(path: Path, base: GgufHeader) -> None:
    header = read_header(path)
    if header.text("general.type") != "adapter" or header.text("adapter.type") != "lora":
        raise ModelFileError(f"{path} is no LoRA adapter: the option lora takes what --to gguf-lora wrote")
    if header.architecture != base.architecture:
        raise ModelFileError(
            f"{path} is an adapter for models of the architecture {header.architecture}, and {base.path} is of "
            f"{base.architecture}"
        )


def _config(spec: ModelSpec, header: GgufHeader, options: GgufOptions) -> ServerConfig:
    trained = header.context_length or DEFAULT_CONTEXT
    if options.context is not None and options.context > trained:
        raise UsageError(
            f"{spec}: context={options.context} is more than the {trained} tokens the model was trained for"
        )
    wanted = options.context or DEFAULT_CONTEXT
    return ServerConfig(
        path=header.path,
        # As llama.cpp rounds it, so that what we say of it is so.
        context=min(-(-wanted // CONTEXT_GRAIN) * CONTEXT_GRAIN, trained),
        slots=options.slots,
        threads=options.threads or settings.threads(),
        gpu_layers=options.gpu_layers,
        flash_attention=options.flash_attention,
        lora=options.lora.expanduser() if options.lora is not None else None,
    )
