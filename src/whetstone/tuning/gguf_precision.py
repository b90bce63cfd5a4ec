"""In what precision the weights of a GGUF file are written, and which weight in which.

What the `gguf` library quantises is offered. The k-quants and i-quants (Q4_K_M and the like) are not among it, and the
llama.cpp wheel has no command for them either: llama.cpp's own `llama-quantize` makes them of an f16 file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from whetstone.errors import ModelFileError, UsageError
from whetstone.registry import unknown_name

_LARGEST_F16 = 65504.0


class Precision(NamedTuple):
    """One way to write weights.

    Attributes:
        name: as users write it.
        kind: the library's name of the type of matrices.
        table: that of the embeddings and the output, which matter most and are read row by row.
        file_type: llama.cpp's name for such a file.
        agreement: the least share of prompts whose most probable next token must stay the same.
        difference: the most that the log-probability of that token may change at the median, in nats.
    """

    name: str
    kind: str
    table: str
    file_type: str
    agreement: float
    difference: float


PRECISIONS = {
    each.name: each
    for each in (
        Precision("f32", "F32", "F32", "ALL_F32", 0.99, 0.01),
        Precision("f16", "F16", "F16", "MOSTLY_F16", 0.99, 0.01),
        Precision("bf16", "BF16", "BF16", "MOSTLY_BF16", 0.95, 0.05),
        Precision("q8_0", "Q8_0", "Q8_0", "MOSTLY_Q8_0", 0.9, 0.1),
        Precision("q5_1", "Q5_1", "Q8_0", "MOSTLY_Q5_1", 0.85, 0.25),
        Precision("q5_0", "Q5_0", "Q8_0", "MOSTLY_Q5_0", 0.85, 0.25),
        Precision("q4_1", "Q4_1", "Q8_0", "MOSTLY_Q4_1", 0.75, 0.5),
        Precision("q4_0", "Q4_0", "Q8_0", "MOSTLY_Q4_0", 0.75, 0.5),
    )
}
UNQUANTIZED = ("f32", "f16", "bf16")
DEFAULT = "f16"
_TABLES = ("token_embd.weight", "output.weight")


def precision_named(name: str) -> Precision:
    """A precision by its name, in either case.

    Raises:
        UsageError: there is none of that name, or it cannot be written here.
    """
    found = PRECISIONS.get(name.lower())
    if found is not None:
        return found
    if name.lower().startswith(("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq", "tq")):
        raise UsageError(
            f"{name} cannot be written here: neither the gguf library nor the llama.cpp wheel offers its quantiser; "
            f"write f16 and run llama.cpp's llama-quantize on it, or choose one of {', '.join(PRECISIONS)}"
        )
    raise unknown_name("precision", name, list(PRECISIONS))


def kind_of(name: str, shape: tuple[int, ...], precision: Precision) -> Any:
    """The type (a gguf.GGMLQuantizationType) in which one weight is written.

    Vectors stay in float32, as llama.cpp wants them. A matrix whose rows are no multiple of the type's block is written
    in float16.

    Args:
        name: the weight's name in the file.
        shape: rows first.
        precision: that of the whole file.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) < 2:
        return GGMLQuantizationType.F32
    kind = GGMLQuantizationType[precision.table if name in _TABLES else precision.kind]
    return kind if shape[-1] % GGML_QUANT_SIZES[kind][0] == 0 else GGMLQuantizationType.F16


def encode(weight: npt.NDArray[np.float32], kind: Any, name: str) -> npt.NDArray[Any]:
    """A weight in the bytes of a type.

    Raises:
        ModelFileError: it holds infinities or NaN, or numbers that the type cannot hold.
    """
    from gguf import GGMLQuantizationType, quants

    if not np.isfinite(weight).all():
        raise ModelFileError(f"{name} holds infinities or NaN; the training went wrong, so nothing is written")
    if kind == GGMLQuantizationType.F16 and weight.size and np.abs(weight).max() > _LARGEST_F16:
        raise ModelFileError(f"{name} holds numbers too large for f16; write it with --quantize bf16 or f32")
    encoded: npt.NDArray[Any] = quants.quantize(np.ascontiguousarray(weight), kind)
    return encoded
