"""Which models can be written as GGUF, and what llama.cpp has to be told of each.

Only architectures are here of which a tiny model with random weights was shown to answer the same through llama.cpp as
through transformers (tests/test_tune_gguf.py). What a configuration asks for beyond that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whetstone.errors import ModelFileError

Setting = tuple[str, Any]  # a key without the architecture's name, and a value: bool, int, float or text


@dataclass(frozen=True)
class Architecture:
    """How the weights and settings of one kind of model are told to llama.cpp.

    Attributes:
        name: llama.cpp's.
        rotated_pairs: the rows of query and key come in pairs that are rotated together, where transformers keeps the
            halves apart: they are put in that order.
        norm_shift: what is added to the weights of norms, which the model itself adds when it computes.
        activation: between its feed-forward layers, as transformers calls it; llama.cpp knows no other here.
        further: settings beyond those of all; raises ModelFileError for what llama.cpp computes otherwise.
    """

    name: str
    rotated_pairs: bool
    norm_shift: float
    activation: str
    further: Callable[[Any], list[Setting]]


def architecture_of(config: Any) -> Architecture:
    """How to write a model.

    Args:
        config: its transformers configuration.

    Raises:
        ModelFileError: it is not known how.
    """
    found = ARCHITECTURES.get(config.model_type)
    if found is None:
        raise ModelFileError(
            f"Models of the kind {config.model_type} cannot be written as GGUF here, only {', '.join(ARCHITECTURES)}; "
            "export with --to merged, and convert that with llama.cpp's convert_hf_to_gguf.py"
        )
    return found


def settings_of(config: Any) -> list[Setting]:
    """What llama.cpp has to be told of a model, from its transformers configuration.

    Raises:
        ModelFileError: the model has something that llama.cpp computes otherwise, or that is not proven here.
    """
    architecture = architecture_of(config)
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    if activation != architecture.activation:
        raise _unproven(config, f"the activation {activation}")
    return [
        ("vocab_size", int(config.vocab_size)),
        ("context_length", int(config.max_position_embeddings)),
        ("embedding_length", int(config.hidden_size)),
        ("block_count", int(config.num_hidden_layers)),
        ("feed_forward_length", int(config.intermediate_size)),
        ("attention.head_count", int(config.num_attention_heads)),
        ("attention.head_count_kv", int(config.num_key_value_heads)),
        ("attention.layer_norm_rms_epsilon", float(config.rms_norm_eps)),
        *architecture.further(config),
    ]


def head_size(config: Any) -> int:
    """Numbers of one head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rope_of(config: Any) -> Mapping[str, Any]:
    """How positions are rotated: rope_type, rope_theta, and what belongs to the type."""
    rope: Mapping[str, Any] = config.rope_parameters
    return rope


def _rope(config: Any, *kinds: str) -> list[Setting]:
    """The rotation, of one of the kinds that are proven for the architecture."""
    rope = rope_of(config)
    kind = str(rope.get("rope_type", "default"))
    if kind not in ("default", *kinds):
        raise _unproven(config, f"positions scaled by {kind}")
    settings: list[Setting] = [("rope.freq_base", float(rope["rope_theta"]))]
    if kind == "linear":
        settings += [("rope.scaling.type", "linear"), ("rope.scaling.factor", float(rope["factor"]))]
    return settings


def _heads(config: Any) -> list[Setting]:
    size = head_size(config)
    return [("attention.key_length", size), ("attention.value_length", size)]


def _llama(config: Any) -> list[Setting]:
    if getattr(config, "mlp_bias", False):
        raise _unproven(config, "biases in its feed-forward layers")
    _refuse_window(config)
    return [*_rope(config, "linear", "llama3"), ("rope.dimension_count", head_size(config)), *_heads(config)]


def _qwen2(config: Any) -> list[Setting]:
    if getattr(config, "use_sliding_window", False):
        raise _unproven(config, "a sliding window")
    return _rope(config)


def _qwen3(config: Any) -> list[Setting]:
    if getattr(config, "attention_bias", False):
        raise _unproven(config, "biases in its attention")
    return [*_qwen2(config), *_heads(config)]


def _phi3(config: Any) -> list[Setting]:
    part = float(rope_of(config).get("partial_rotary_factor", 1.0))
    window = config.sliding_window
    return [
        *_rope(config),
        ("rope.dimension_count", int(part * head_size(config))),
        ("rope.scaling.original_context_length", int(config.original_max_position_embeddings)),
        # 0 tells llama.cpp that there is none; absent, it would assume Phi-3-mini's.
        ("attention.sliding_window", 0 if window is None else int(window)),
    ]


def _gemma(config: Any) -> list[Setting]:
    return [*_rope(config), *_heads(config)]


def _gemma2(config: Any) -> list[Setting]:
    _refuse_scale(config)
    _refuse_pattern(config, 2)
    return [
        *_rope(config),
        *_heads(config),
        ("attn_logit_softcapping", float(config.attn_logit_softcapping)),
        ("final_logit_softcapping", float(config.final_logit_softcapping)),
        ("attention.sliding_window", int(config.sliding_window)),
    ]


def window_remark(config: Any) -> str | None:
    """What to say of a window that llama.cpp leaves out; None where there is nothing to say."""
    window = getattr(config, "sliding_window", None)
    if config.model_type != "phi3" or window is None or window >= config.max_position_embeddings:
        return None
    return f"llama.cpp does not keep to this model's window of {window} tokens: longer texts are answered otherwise"


def _refuse_window(config: Any) -> None:
    window = getattr(config, "sliding_window", None)
    if window is not None and window < config.max_position_embeddings:
        raise _unproven(config, f"a sliding window of {window} tokens")


def _refuse_scale(config: Any) -> None:
    """llama.cpp scales by the head's size, but for one size of model."""
    if config.query_pre_attn_scalar != head_size(config):
        raise _unproven(config, f"attention scaled by {config.query_pre_attn_scalar}")


def _refuse_pattern(config: Any, period: int) -> None:
    """llama.cpp takes every layer but each `period`-th one for windowed."""
    wanted = [
        "full_attention" if (layer + 1) % period == 0 else "sliding_attention"
        for layer in range(config.num_hidden_layers)
    ]
    if list(config.layer_types) != wanted:
        raise _unproven(config, "an order of windowed layers of its own")


def _unproven(config: Any, what: str) -> ModelFileError:
    return ModelFileError(
        f"This {config.model_type} model has {what}, and it is not proven here that llama.cpp computes that alike; "
        "export with --to merged, and convert that with llama.cpp's convert_hf_to_gguf.py"
    )


_GELU = "gelu_pytorch_tanh"

ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", True, 0.0, "silu", _llama),
    "mistral": Architecture("llama", True, 0.0, "silu", _llama),
    "qwen2": Architecture("qwen2", False, 0.0, "silu", _qwen2),
    "qwen3": Architecture("qwen3", False, 0.0, "silu", _qwen3),
    "phi3": Architecture("phi3", False, 0.0, "silu", _phi3),
    "gemma": Architecture("gemma", False, 1.0, _GELU, _gemma),
    "gemma2": Architecture("gemma2", False, 1.0, _GELU, _gemma2),
}
