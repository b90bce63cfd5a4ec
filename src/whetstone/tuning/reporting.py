"""Where else a run logs: TensorBoard, trackio, Weights & Biases, MLflow. None is required."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from whetstone.errors import MissingPackageError


def require_reporters(names: Sequence[str]) -> None:
    """Check that what a run is to log to is installed, without importing it.

    Raises:
        MissingPackageError: it is not.
    """
    for name in names:
        if find_spec(name) is None and not (name == "tensorboard" and find_spec("tensorboardX") is not None):
            raise MissingPackageError(name, f"report_to: {name}", f"pip install {name}")
