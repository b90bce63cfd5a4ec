"""Where an MCP server is: a command to start, or an address to connect to."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from whetstone.errors import LoginError, UsageError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """A server that is started as a process, and spoken to through its standard input and output.

    Attributes:
        words: the program and its arguments.
        environment: what it gets of ours besides PATH, HOME and the like.
    """

    words: tuple[str, ...]
    environment: dict[str, str]

    def __str__(self) -> str:
        return shlex.join(self.words)


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A server that runs already, spoken to by streamable HTTP.

    Attributes:
        url: its address.
        token: what it is to be shown, "" for nothing.
    """

    url: str
    token: str = ""

    def __str__(self) -> str:
        return self.url


def read_address(text: str) -> ServerCommand | ServerUrl:
    """Read "npx -y some-server --flag", "$API_KEY some-server" or "https://host/mcp#API_KEY".

    A command's words starting with "$" name the environment variables that the server gets; it gets no others of ours
    but those that every program needs. An address may name, after "#", the variable that holds its token.

    Raises:
        LoginError: a variable that is named is not set.
        UsageError: it is neither a command nor an address.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return _read_url(text)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r} cannot be read as a command: {error}") from error
    environment = {}
    while words and words[0].startswith("$"):
        name = words.pop(0)[1:]
        environment[name] = _variable(name, text)
    if not words or not words[0]:
        raise UsageError("an MCP server is named by a command (mcp:npx -y some-server) or an address (mcp:https://…)")
    return ServerCommand(tuple(words), environment)


def _read_url(text: str) -> ServerUrl:
    url, _, variable = text.partition("#")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{url!r} is no http or https address of an MCP server")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "an address holds no password: name the variable with the token after it (https://host/mcp#NAME)"
        )
    token = _variable(variable, text) if variable else ""
    if token and parts.scheme == "http" and not _is_loopback(host):
        raise UsageError(f"{url} would be sent its token for everybody on the way to read: take https")
    return ServerUrl(url, token)


def _variable(name: str, text: str) -> str:
    if not _VARIABLE.fullmatch(name):  # perhaps the token itself: it must not be repeated
        raise UsageError("an MCP server's address names an environment variable, such as MY_TOKEN, and not its value")
    value = os.environ.get(name, "")
    if not value:
        raise LoginError(f"mcp:{text} needs the environment variable {name}, which is not set: export {name}=...")
    return value


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
