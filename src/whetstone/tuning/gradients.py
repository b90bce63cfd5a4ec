"""Whether every weight of an adapter learns: looked at in the first steps, before anything is spent on a run.

A LoRA pair is B A with B zero at first, so that the gradient of A is exactly zero until B has made a step, and that of
B is not. A weight that the loss does not reach at all has no gradient (None). So: in the first step every weight has a
finite gradient and that of every B is not zero; as soon as B is not zero, which with a learning rate that rises from 0
is in the third step, that of A is not zero either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whetstone.errors import ModelError


def trained(model: Any) -> Iterator[tuple[str, Any]]:
    """`(name, parameter)` of what is trained."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def check_connected(model: Any) -> None:
    """Check that a backward pass has reached every weight.

    Raises:
        ModelError: it has not; the sentence names the first weight.
    """
    missing = [name for name, parameter in trained(model) if parameter.grad is None]
    if missing:
        raise ModelError(
            _sentence(model, missing, "received no gradient on the first step, so it would not learn")
            + ": the loss does not reach it; try gradient_checkpointing: false, or name other target_modules"
        )


def check_gradients(model: Any, step: int) -> bool:
    """Check the gradients of one of the first steps, summed over all processes.

    Args:
        step: counted from 0.

    Returns:
        Whether all weights were seen to learn; where not, the next step has to be looked at as well.

    Raises:
        ModelError: a weight's gradient is missing, not finite, or zero where it cannot be; the sentence names it.
    """
    import torch

    check_connected(model)
    weights = dict(trained(model))
    broken = [name for name, parameter in weights.items() if not bool(torch.isfinite(parameter.grad).all())]
    if broken:
        raise ModelError(
            _sentence(model, broken, f"received a gradient that is not finite on step {step + 1}")
            + "; try dtype: float32, or a lower learning_rate"
        )
    zero = {name for name, parameter in weights.items() if not bool(parameter.grad.any())}
    waiting = {name for name in zero if "lora_A" in name and not bool(weights[name.replace("lora_A", "lora_B")].any())}
    still = sorted(name for name in zero - waiting if _has_to_learn(name))
    if still:
        raise ModelError(
            _sentence(model, still, f"received a gradient of exactly 0 on step {step + 1}, so it would not learn")
            + "; try gradient_checkpointing: false, dtype: float32, or other target_modules"
        )
    return not waiting


def _has_to_learn(name: str) -> bool:
    """False for an expert: no token of the first steps may have been sent to it."""
    return ".expert" not in name


def _sentence(model: Any, names: list[str], what: str) -> str:
    total = sum(1 for _ in trained(model))
    first = names[0].replace("base_model.model.", "").replace(".default", "")
    others = f" and {len(names) - 1} others of {total}" if len(names) > 1 else ""
    return f"{first}{others} {what}"
