"""Several processes that train one adapter, as `accelerate launch` or `torchrun` starts them.

Each has the whole base and computes its share of every effective batch. What they have to agree on is the adapter's
gradient, a few numbers a step, so it is summed here in one go: the sum over processes is what one process would have
summed over micro-batches.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def process_count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_number() -> int:
    """Which of them this is, from 0. Only number 0 writes files and shows anything."""
    return int(os.environ.get("RANK", "0"))


def sum_tensors(tensors: Sequence[Any]) -> None:
    """Replace tensors of one type by their sums over all processes, in place."""
    if process_count() == 1:
        return
    import torch
    import torch.distributed as dist

    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


def agreed(numbers: Sequence[float], device: Any) -> list[float]:
    """The numbers that process 0 has."""
    if process_count() == 1:
        return list(numbers)
    import torch
    import torch.distributed as dist

    told = torch.tensor(numbers, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    dist.broadcast(told, 0)
    return [float(number) for number in told.tolist()]


def any_of_us(flag: bool, device: Any) -> bool:
    """Whether a flag is up in any process."""
    if process_count() == 1:
        return flag
    import torch
    import torch.distributed as dist

    told = torch.tensor(float(flag), device=device)
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return bool(told.item())


def begin_alike(parameters: Sequence[Any]) -> None:
    """Give every process the parameters that process 0 has."""
    if process_count() == 1:
        return
    import torch.distributed as dist

    for parameter in parameters:
        dist.broadcast(parameter.data, 0)
