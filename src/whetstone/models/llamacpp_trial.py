"""Loads a file in a process of its own first: where llama.cpp finds something impossible, it ends its process.

A damaged or exotic file that passes every check of its header can still meet an assertion inside llama.cpp, and a
context that is too large for the machine can get its process killed. Neither may end a comparison or a server. The
trial also has the log, which says why a file cannot be loaded. It is made once for each file and configuration.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from whetstone import settings
from whetstone.errors import ModelError, ModelFileError, StorageError, WhetstoneError
from whetstone.models.llamacpp_server import LlamaServer, ServerConfig
from whetstone.storage.files import write_atomically

_LOG_WARNINGS = 2
_NO_MEMORY = re.compile(r"(?:fail\w*|unable) to allocate|out of memory|cudaMalloc|bad_alloc", re.IGNORECASE)
_UNKNOWN_ARCHITECTURE = re.compile(r"unknown model architecture: '([^']*)'")
# From the most telling to the least: what an exception said, what an assertion said, any line of level E.
_REASONS = (
    re.compile(r"error loading model: (?:error loading model \w+: )?(.+)"),
    re.compile(r"GGML_ASSERT\((.+)\) failed"),
    re.compile(r"what\(\):\s*(.+)"),
    re.compile(r"^[\d.]+ E (.+)", re.MULTILINE),
)


def ensure_loads(config: ServerConfig, revision: str) -> None:
    """Load the file in a process of its own, unless that has succeeded here before.

    Args:
        config: what will be loaded.
        revision: the file's digest.

    Raises:
        ModelFileError: llama.cpp cannot load the file.
        ModelError: there is not enough memory.
    """
    what = [revision, version("xllamacpp"), config.context, config.slots, config.gpu_layers, config.flash_attention]
    marker = settings.home() / "cache" / "gguf" / f"loads-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]}"
    if marker.exists():
        return
    try_to_load(config)
    with suppress(StorageError):  # then it is tried again the next time
        write_atomically(marker, "")


def try_to_load(config: ServerConfig) -> None:
    """Load the file and generate one token, in a process of its own. Raises as `ensure_loads` does."""
    fields = dataclasses.asdict(config) | {"path": str(config.path), "lora": str(config.lora) if config.lora else None}
    result = subprocess.run(
        # -P: the user's folder may hold a json.py.
        [sys.executable, "-P", "-m", __name__, json.dumps(fields)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        # Without it llama.cpp answers a failed assertion by starting a debugger.
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        check=False,
    )
    if result.returncode != 0:
        raise _failure(config, result.returncode, (result.stdout + result.stderr).decode("utf-8", "replace"))


def _failure(config: ServerConfig, code: int, log: str) -> ModelError:
    if _NO_MEMORY.search(log) or code == -signal.SIGKILL:
        return ModelError(
            f"{config.path} does not fit in memory with context={config.context} and slots={config.slots}; lower them, "
            "or use a smaller file"
        )
    if unknown := _UNKNOWN_ARCHITECTURE.search(log):
        return ModelFileError(
            f"{config.path} has the architecture {unknown[1]!r}, which the installed llama.cpp does not know; "
            "update the package xllamacpp"
        )
    found = next((match[1].strip() for pattern in _REASONS if (match := pattern.search(log))), "")
    if not found:
        found = f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"
    return ModelFileError(f"llama.cpp cannot load {config.path}: {found}; the file is damaged, or no chat model")


def main(arguments: list[str]) -> int:
    """The child: 0 when the file loads and generates a token."""
    fields = json.loads(arguments[0])
    lora = Path(fields["lora"]) if fields["lora"] else None
    config = ServerConfig(**{**fields, "path": Path(fields["path"]), "lora": lora})
    try:
        server = LlamaServer(config, _LOG_WARNINGS)
        server.post("/completion", {"prompt": "a", "n_predict": 1})
        server.stop()
    except (WhetstoneError, RuntimeError) as error:
        print(f"what(): {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
