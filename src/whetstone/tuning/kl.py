"""Holding a model near the one that it started from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from whetstone.tuning.labelled import logits_at, unwrapped


def base_logits(model: Any, inputs: Mapping[str, Any], rows: Any, columns: Any) -> Any:
    """Logits of the model without its adapter: see `logits_at`. No gradient, no dropout.

    The model is called without what spreads it over processes, which would wait for a backward pass.
    """
    tuned = unwrapped(model)
    training = tuned.training
    tuned.eval()
    try:
        with torch.no_grad(), tuned.disable_adapter():
            return logits_at(tuned, inputs, rows, columns)
    finally:
        tuned.train(training)
