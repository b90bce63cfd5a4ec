"""The pipes to an MCP server's process: bounded, with what it prints besides kept for messages, and no process left.

The SDK's own transport reads lines of any length, writes what it cannot read to the log, and leaves alone the children
of a server that ended by itself. The protocol: one JSON-RPC message a line, in UTF-8.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, Process

from whetstone.errors import UsageError
from whetstone.tools.mcp_address import ServerCommand

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

LONGEST_MESSAGE = 16 << 20
"""Bytes of one message of a server; a longer one ends the connection."""

_MOST_GARBAGE = 50  # lines of no MCP before the first that is: some other program
_KEPT = 2_000  # bytes of what it writes to its standard error, for messages
_GRACE_SECONDS = 2.0  # to end once its input is closed, and again once it is told to
_WORDS_SECONDS = 0.2  # after it closed its output, for its exit code and last words
_POLL_SECONDS = 0.01

_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


@dataclass(slots=True)
class Said:
    """What is known of a server besides its messages.

    Attributes:
        fault: why the connection was ended by us, in words that complete "the server …"; "" for not.
        ended: its output is closed.
        exit: its exit code, once known.
        messages: how many it sent.
        garbage: the first line that was no message, and how many there were.
        errors: the end of its standard error.
    """

    fault: str = ""
    ended: bool = False
    exit: int | None = None
    messages: int = 0
    garbage: str = ""
    garbage_lines: int = 0
    errors: bytes = b""

    def __str__(self) -> str:
        """What became of the server, to complete "the server …"."""
        last = self.errors.decode(errors="replace").strip().splitlines()
        words = f": {last[-1].strip()[:300]}" if last else ""
        if self.fault:
            return self.fault
        if self.exit is not None and self.exit < 0:
            return f"was ended by signal {-self.exit}{words}"
        if self.exit is not None:
            return f"ended with exit code {self.exit}{words}"
        if self.ended:
            return f"closed its output{words}"
        if self.garbage:
            return f"wrote what is no MCP: {self.garbage!r}"
        return f"did not answer{words}"


@asynccontextmanager
async def stdio_transport(command: ServerCommand, said: Said) -> AsyncIterator[TransportStreams]:
    """The transport that the SDK's client speaks through: the server is started on entering, ended on leaving.

    Raises:
        UsageError: there is no such program, or it cannot be started.
    """
    incoming, received = anyio.create_memory_object_stream["SessionMessage | Exception"](0)
    sent, outgoing = anyio.create_memory_object_stream["SessionMessage"](0)
    async with _open_process(command) as process, anyio.create_task_group() as tasks:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr

        async def read() -> None:
            async with incoming:
                with suppress(*_GONE):
                    await _read_messages(stdout, incoming.send, said)
                said.ended = True
                await _await_exit(process, _WORDS_SECONDS)
                said.exit = process.returncode

        async def write() -> None:
            with suppress(*_GONE):
                async for message in outgoing:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await stdin.send(text.encode() + b"\n")

        async def keep_errors() -> None:
            with suppress(*_GONE):
                async for piece in stderr:
                    said.errors = (said.errors + piece)[-_KEPT:]

        for task in (read, write, keep_errors):
            tasks.start_soon(task)
        try:
            yield received, sent
        finally:
            received.close()
            sent.close()
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _open_process(command: ServerCommand) -> AsyncIterator[Process]:
    from mcp.client.stdio import get_default_environment

    try:
        process = await anyio.open_process(
            command.words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=get_default_environment() | command.environment,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise UsageError(f"there is no program {command.words[0]!r} to start as an MCP server") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{command} cannot be started as an MCP server: {error}") from error
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):  # whoever cancels us waits for this: every wait in it is bounded
            await _stop(process)


async def _read_messages(
    stdout: ByteReceiveStream, deliver: Callable[[SessionMessage], Awaitable[None]], said: Said
) -> None:
    """Until the server closes its output, or does what no MCP server does."""
    from mcp.shared.message import SessionMessage
    from mcp.types import jsonrpc_message_adapter

    begun: list[bytes] = []
    size = 0
    async for piece in stdout:
        first, *rest = piece.split(b"\n")
        begun.append(first)
        size += len(first)
        if size > LONGEST_MESSAGE:
            said.fault = f"sent a message of more than {LONGEST_MESSAGE >> 20} MB"
            return
        for following in rest:
            line = b"".join(begun)
            begun, size = [following], len(following)
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                if line.strip():
                    said.garbage = said.garbage or line[:100].decode(errors="replace").strip()
                    said.garbage_lines += 1
                if said.garbage_lines > _MOST_GARBAGE and not said.messages:
                    said.fault = f"wrote what is no MCP: {said.garbage!r}"
                    return
                continue
            said.messages += 1
            await deliver(SessionMessage(message))


# The end of a server


async def _stop(process: Process) -> None:
    """Close its input, wait, tell it to end, wait, end it; then whatever it started."""
    if process.stdin is not None:
        with suppress(*_GONE):
            await process.stdin.aclose()
    if not await _await_exit(process, _GRACE_SECONDS):
        _signal(process, signal.SIGTERM)
        if not await _await_exit(process, _GRACE_SECONDS):
            _signal(process, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            await _await_exit(process, _GRACE_SECONDS)
    if sys.platform != "win32":
        _signal(process, signal.SIGKILL)  # its children, which its group outlives it with
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            with suppress(*_GONE):
                await pipe.aclose()
    # A child that got away holds the pipes open, and asyncio's transport with them; nothing public closes that.
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if transport is not None:
        with suppress(PermissionError):
            transport.close()


async def _await_exit(process: Process, seconds: float) -> bool:
    """Whether it ended in time. Not `process.wait`, which waits for its pipes too, and a child may hold those."""
    with anyio.move_on_after(seconds):
        while process.returncode is None:
            await anyio.sleep(_POLL_SECONDS)
    return process.returncode is not None


def _signal(process: Process, number: signal.Signals) -> None:
    if sys.platform == "win32":
        with suppress(OSError):
            process.terminate()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
