"""The hosts that pages may be fetched from, and addresses of pages read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from whetstone.errors import UsageError

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Place:
    """A page's address, taken apart.

    Attributes:
        secure: over TLS.
        host: its name in ASCII, or an IP address, without brackets.
        port: where it is asked.
        target: path and query, as they are sent.
        url: the whole of it, without a fragment.
    """

    secure: bool
    host: str
    port: int
    target: str
    url: str


class Hosts:
    """An allow-list: `example.com`, `*.example.com` (everything below it), `example.com:8080`, or `*` for any host.

    Without a port, an entry stands for 80 and 443.

    Args:
        entries: separated by commas.

    Raises:
        UsageError: there is none, or one is no host.
    """

    def __init__(self, entries: str) -> None:
        self._entries: list[tuple[str, int | None]] = []
        for entry in filter(None, (part.strip().lower() for part in entries.split(","))):
            host, colon, port = entry.partition(":")
            name = host if host == "*" else _in_ascii(host)
            if not name or (name != "*" and not _HOST.fullmatch(name)) or (colon and not port.isdecimal()):
                raise UsageError(
                    f"web: {entry!r} is no host: write web:example.com,docs.python.org, *.example.com for all "
                    "below it, or * for any public host"
                )
            self._entries.append((name, int(port) if colon else None))
        if not self._entries:
            raise UsageError("web: name the hosts that may be fetched from: web:example.com,docs.python.org")

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" if port else host for host, port in self._entries)

    def allow(self, place: Place) -> bool:
        """Whether a page may be fetched."""
        return any(
            _covers(host, place.host) and (place.port == port if port else place.port in _PORTS.values())
            for host, port in self._entries
        )


def read_url(url: str) -> Place:
    """A page's address.

    Raises:
        UsageError: it is none that can be fetched; the sentence says why.
    """
    shown = url[:120]
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url.strip()) or "\\" in url:
        raise UsageError(f"{shown!r} holds spaces, backslashes or control characters: give a plain http(s) address")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise UsageError(f"{shown!r} is no address of a page") from None
    if parts.scheme not in _PORTS:
        raise UsageError(f"{shown!r}: only http and https pages are fetched")
    if "@" in parts.netloc:
        raise UsageError("the address holds a user name or a password: leave it out")
    host = _in_ascii((parts.hostname or "").rstrip("."))
    if not host:
        raise UsageError(f"{shown!r} names no host")
    port = port or _PORTS[parts.scheme]
    target = _target(parts)
    shown_host = f"[{host}]" if ":" in host else host
    suffix = "" if port == _PORTS[parts.scheme] else f":{port}"
    return Place(parts.scheme == "https", host, port, target, f"{parts.scheme}://{shown_host}{suffix}{target}")


def _covers(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    return host.endswith(entry[1:]) if entry.startswith("*.") else host == entry


def _in_ascii(host: str) -> str:
    """A host's name as DNS knows it; "" for none that it could know."""
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    return f"{path}?{query}" if parts.query else path
