"""A llama.cpp server inside this process: started, asked over loopback, shared and stopped.

Settings that were measured on 2 cores with the embedded model (Q4_1). Items per second, for prompts of 98 tokens of
which 35 are a shared prefix, and greedy replies of 8 tokens:

    1 slot 2.6, 2 slots 2.7, 4 slots 2.6, 8 slots 2.5; with flash attention 1 slot 2.9, 4 slots 3.0; 1 thread 1.6
    GOMP_SPINCOUNT=1000 2.7, unset 2.6, OMP_WAIT_POLICY=passive 1.9; beside one other busy process 0.9, 0.1, 1.4

Tokens per second of a prompt of 400 tokens, in batches of 64 to 2048: 170 to 200, in no order. With flash attention
240; for one of 2,600 tokens 160 instead of 110.

llama.cpp rounds otherwise where it computes one row than where it computes several at once, and its flash attention for
CPUs rounds by the shape of the batch; quantised activations make of that up to 0.3 in a log-probability. With flash
attention off and one slot, independent prompts get the same replies to the last bit, in any order, with any number of
threads, whatever part of them was cached (save all but one token: `LlamaCppModel` sees to that). With two slots and
more, about 1 greedy reply in 15 changes with what is answered beside it.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import secrets
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from whetstone.endpoints.failures import Site, from_answer
from whetstone.errors import ContextTooLongError, MissingPackageError, ModelConnectionError, ModelError, UsageError

ENGINE = "llama.cpp"
# How often a thread of libgomp looks whether the others are done before it sleeps. By default it looks for some
# milliseconds, and on a machine that is busy with other work most of the time goes to that.
SPIN_COUNT = "1000"
CPU_BATCH = 512  # tokens between two looks at whether a request was cancelled
PING_SECONDS = 1  # how soon an open stream notices that the server stops
_LOG_NOTHING, _LOG_INFO = -1, 3

_library_lock = threading.Lock()


def library_problem() -> MissingPackageError | None:
    """Why llama.cpp cannot be used here, if it is not installed; a look that loads nothing."""
    if importlib.util.find_spec("xllamacpp") is None:
        return MissingPackageError("xllamacpp", "llama.cpp", "pip install xllamacpp")
    return None


def load_library() -> Any:
    """The module `xllamacpp`.

    Raises:
        MissingPackageError: it is not installed, or a library that it needs is not.
    """
    with _library_lock:
        if "xllamacpp" not in sys.modules and "GOMP_SPINCOUNT" not in os.environ:
            # libgomp reads it when it is loaded, and never again.
            os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
            try:
                return _import_library()
            finally:
                del os.environ["GOMP_SPINCOUNT"]
        return _import_library()


def _import_library() -> Any:
    problem = library_problem()
    if problem is not None:
        raise problem
    try:
        import xllamacpp
    except ImportError as error:
        if "libgomp" in str(error):  # of the system, not of the wheel; missing from slim images
            raise MissingPackageError("libgomp1", "llama.cpp", "apt-get install libgomp1") from error
        raise UsageError(f"The package xllamacpp does not load here: {error}; install it again") from error
    return xllamacpp


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a server is started with; equal configurations share one server.

    Attributes:
        path: the GGUF file.
        context: tokens of prompt and reply that each slot holds.
        slots: requests worked on at once.
        threads: worker threads.
        gpu_layers: layers on the GPU; None for as many as fit.
        flash_attention: None for on a GPU only.
        lora: GGUF file of an adapter that is added to the model's weights while they compute.
    """

    path: Path
    context: int
    slots: int
    threads: int
    gpu_layers: int | None = None
    flash_attention: bool | None = None
    lora: Path | None = None

    @property
    def concurrency(self) -> int:
        """Requests worth having open: one more than slots, so that none of them waits for us."""
        return self.slots + 1


def _has_gpu(library: Any) -> bool:
    kinds = library.ggml_backend_dev_type
    on_gpu = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return any(device["type"] in on_gpu for device in library.get_device_info())


def _parameters(library: Any, config: ServerConfig, api_key: str, verbosity: int) -> Any:
    gpu = config.gpu_layers != 0 and _has_gpu(library)
    if config.gpu_layers and not gpu:
        raise UsageError(
            f"gpu_layers={config.gpu_layers}: the installed xllamacpp finds no GPU here; leave the option out, or "
            "install one of its GPU wheels (https://github.com/xorbitsai/xllamacpp#installation)"
        )
    parameters = library.CommonParams()
    parameters.model.path = str(config.path)
    if config.lora is not None:
        parameters.lora_adapters = [library.CommonAdapterLoraInfo(str(config.lora), 1.0)]
    parameters.n_ctx = config.context * config.slots
    parameters.n_parallel = config.slots
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = config.threads
    if gpu:
        if config.gpu_layers is not None:
            parameters.n_gpu_layers = config.gpu_layers
    else:
        parameters.n_gpu_layers = 0
        parameters.n_batch = parameters.n_ubatch = CPU_BATCH
    flash = config.flash_attention
    if flash is not None or not gpu:
        kinds = library.llama_flash_attn_type
        parameters.flash_attn_type = (
            kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
    # Would shrink the model's share of the GPU or the context, and say so only in the log, unless it was left to it.
    parameters.fit_params = gpu and config.gpu_layers is None
    parameters.cache_ram_mib = 0  # keeps prompts that no slot holds any more, in up to 8 GB
    parameters.verbosity = verbosity
    parameters.port = 0
    parameters.api_keys = [api_key]
    parameters.cors_origins = ""
    parameters.ui = False
    # A kept-alive connection occupies one of them also when it is idle, and several models may share a server.
    parameters.n_threads_http = 4 * config.concurrency + 8
    parameters.sse_ping_interval = PING_SECONDS
    return parameters


def too_long(model: str, prompt: int, context: int) -> ContextTooLongError:
    """The error for a prompt of so many tokens."""
    return ContextTooLongError(
        f"{model}: the prompt has {prompt} tokens and the context holds {context}, reply included; shorten the prompt, "
        "or raise the option context"
    )


class LlamaServer:
    """A running llama.cpp server on a loopback port of its own, with a key of its own.

    Args:
        config: what to run.
        verbosity: of llama.cpp's log on standard error; by default it is silent unless WHETSTONE_DEBUG is set.

    Raises:
        MissingPackageError: llama.cpp is not installed.
        UsageError: the configuration asks for what this machine has not.
        RuntimeError: llama.cpp cannot load the file; it says no more than that.
    """

    def __init__(self, config: ServerConfig, verbosity: int | None = None) -> None:
        library = load_library()
        if verbosity is None:
            verbosity = _LOG_INFO if os.environ.get("WHETSTONE_DEBUG") else _LOG_NOTHING
        self.config = config
        self.api_key = secrets.token_urlsafe(24)
        self.url = ""
        self._server: Any = None
        self._lock = threading.Lock()
        self._asking: set[http.client.HTTPConnection] = set()
        self._start(library.Server, _parameters(library, config, self.api_key, verbosity))

    def _start(self, start: Callable[[Any], Any], parameters: Any) -> None:
        """Start the server, in a thread, which Ctrl-C does not reach.

        A server that is dropped before its loop has begun waits for that loop for ever, so it is not let go of until it
        has answered once. While it loads, the whole interpreter stands still: the wheel does not release the GIL.
        """
        failure: list[BaseException] = []

        def work() -> None:
            try:
                self._server = start(parameters)
                self.url = self._server.listening_address
                self.get("/slots")
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=work, name="whetstone-load")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._server is not None

    def get(self, path: str) -> Any:
        """What the server answers to a GET."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the server answers to a POST.

        Raises:
            ModelError: one of its kinds.
        """
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> Any:
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json", "Connection": "close"}
        with self._connection() as connection:
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                if not self.running:
                    raise ModelConnectionError(f"{self.config.path}: the model was closed while it answered") from None
                raise ModelConnectionError(f"{self.config.path}: llama.cpp's server broke off: {error}") from error
        data = json.loads(text)
        if answer.status != 200:
            raise self._failure(answer.status, data)
        return data

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port)
        with self._lock:
            if not self.running:
                raise RuntimeError("the model was closed; load it again to use it")
            self._asking.add(connection)
        try:
            yield connection
        finally:
            with self._lock:
                self._asking.discard(connection)
            connection.close()

    def _failure(self, status: int, data: Any) -> ModelError | UsageError:
        error = data.get("error", {}) if isinstance(data, dict) else {}
        if error.get("type") == "exceed_context_size_error":
            return too_long(self.config.path.name, error["n_prompt_tokens"], error["n_ctx"])
        return from_answer(status, data, Site(self.config.path.name, ENGINE, 0)).error

    def stop(self) -> None:
        """Stop: requests that are still open fail, memory is freed. Stopping twice is harmless."""
        with self._lock:
            server, self._server = self._server, None
            asking = list(self._asking)
        for connection in asking:
            with contextlib.suppress(OSError, AttributeError):  # not connected yet, or not any more
                connection.sock.shutdown(socket.SHUT_RDWR)
        del server  # its destructor waits for the server's threads


class SharedServers:
    """Running servers by configuration, each with the number of its users; the last one to leave stops it."""

    def __init__(self) -> None:
        # Reentrant: a forgotten model is released wherever the garbage collector meets it, also in here.
        self._lock = threading.RLock()
        self._users: Counter[LlamaServer] = Counter()
        self._running: dict[ServerConfig, LlamaServer] = {}

    def acquire(self, config: ServerConfig) -> LlamaServer:
        """A server with that configuration, started when there is none. Raises what `LlamaServer` raises."""
        with self._lock:
            server = self._running.get(config)
            if server is None:
                server = LlamaServer(config)
                self._running[config] = server
            self._users[server] += 1
            return server

    def release(self, server: LlamaServer) -> None:
        """Say that a server which `acquire` gave is not used any more."""
        with self._lock:
            self._users[server] -= 1
            if self._users[server] > 0:
                return
            del self._users[server], self._running[server.config]
        server.stop()


SERVERS = SharedServers()
