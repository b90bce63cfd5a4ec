"""Pages of the web as text, from hosts that were named, over connections that lead to public addresses only.

No proxy of the environment is used: it would resolve names itself, where nobody could look at the addresses.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

from whetstone.errors import UsageError
from whetstone.tools.builtin.hosts import Hosts, Place, read_url
from whetstone.tools.builtin.network import Network
from whetstone.tools.builtin.page_text import page_text
from whetstone.tools.function_tool import FunctionTool
from whetstone.tools.tool import ToolResult

_MOST_BYTES = 2_000_000
_MOST_REDIRECTS = 5
_SECONDS = 20.0
_REDIRECTS = {301, 302, 303, 307, 308}
_HTML = {"text/html", "application/xhtml+xml"}
_TEXTS = re.compile(r"text/.+|application/(?:.+\+)?(?:json|xml|yaml|javascript|x-ndjson)")
_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    kind: str
    charset: str
    location: str
    body: bytes
    whole: bool


class WebFetch:
    """Fetches pages.

    Args:
        hosts: that may be fetched from.
        network: how names become addresses, and which may be connected to.
        seconds: for one page, redirects included.
    """

    def __init__(self, hosts: Hosts, network: Network | None = None, seconds: float = _SECONDS) -> None:
        self._hosts = hosts
        self._network = network or Network()
        self._seconds = seconds

    def fetch(self, url: str, start: int = 0) -> ToolResult:
        """Fetch a page as text; see `web_fetch`."""
        deadline = time.monotonic() + self._seconds
        place = self._allowed(url)
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(place, deadline)
            if answer.status not in _REDIRECTS or not answer.location:
                return _read(answer, place, start)
            # Each address on the way is looked at like the first one.
            place = self._allowed(urljoin(place.url, answer.location))
        raise UsageError(f"{url[:120]} was redirected more than {_MOST_REDIRECTS} times")

    def _allowed(self, url: str) -> Place:
        place = read_url(url)
        if not self._hosts.allow(place):
            raise UsageError(f"{place.host}:{place.port} may not be fetched from; allowed: {self._hosts}")
        return place

    def _ask(self, place: Place, deadline: float) -> _Answer:
        addresses = self._network.checked(place.host, place.port)
        try:
            with _connected([str(one) for one in addresses], place, deadline) as connected:
                return _exchange(connected, place, deadline)
        except TimeoutError:
            raise UsageError(f"{place.host} did not answer within {self._seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise UsageError(f"{place.host}: its certificate is not valid: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() >= deadline:
                raise UsageError(f"{place.host} did not answer within {self._seconds:g} s") from None
            said = " ".join(str(error).split()) or type(error).__name__
            raise UsageError(f"{place.host} could not be read: {said[:160]}") from None


def web_tool(argument: str) -> FunctionTool:
    """The tool `web:HOSTS`.

    Raises:
        UsageError: no host is named, or one is none.
    """
    hosts = Hosts(argument)
    fetcher = WebFetch(hosts)

    def web_fetch(url: str, start: int = 0) -> ToolResult:
        """Fetches a web page and gives its text, with its links.

        Args:
            url: address of the page, beginning with https:// or http://.
            start: character to begin at, to read on in a page that was cut.
        """
        return fetcher.fetch(url, start)

    where = "any public host" if str(hosts) == "*" else str(hosts)
    described = "Fetches a web page and gives its text, with its links. Pages can be fetched from:"
    return FunctionTool(web_fetch, description=f"{described} {where}.")


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextlib.contextmanager
def _connected(addresses: list[str], place: Place, deadline: float) -> Iterator[socket.socket]:
    """A connection to one of the addresses that were looked at, and to nothing else; cut when the time is over."""
    opened: list[socket.socket] = []
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [opened])
    timer.daemon = True
    timer.start()
    try:
        opened.append(_connect(addresses, place.port, deadline))
        if place.secure:
            secured = _tls().wrap_socket(opened[0], server_hostname=place.host, do_handshake_on_connect=False)
            opened.append(secured)
            secured.do_handshake()
        yield opened[-1]
    finally:
        timer.cancel()
        for one in reversed(opened):
            one.close()


def _connect(addresses: list[str], port: int, deadline: float) -> socket.socket:
    failure: OSError = OSError("no address")
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            return socket.create_connection((address, port), timeout=left)
        except OSError as error:
            failure = error
    raise failure


def _cut(opened: list[socket.socket]) -> None:
    """Wake whoever reads: a server that sends a byte now and then would never run into the socket's own limit."""
    for one in opened:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(one, socket.SHUT_RDWR)


def _exchange(connected: socket.socket, place: Place, deadline: float) -> _Answer:
    connection = http.client.HTTPConnection(place.host, place.port)
    connection.auto_open = 0  # it must never connect by itself
    connection.sock = connected
    host = place.url.split("/")[2]
    headers = {
        "Host": host,
        "User-Agent": "whetstone (a person's tool)",
        "Accept": "text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.1",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    connection.request("GET", place.target, headers=headers)
    with connection.getresponse() as response:
        kind = response.headers.get_content_type()
        follow = response.status in _REDIRECTS
        body, whole = (b"", True) if follow else _body(response, deadline)
        return _Answer(
            status=response.status,
            reason=response.reason,
            kind=kind,
            charset=response.headers.get_content_charset() or "",
            location=response.headers.get("Location", ""),
            body=body,
            whole=whole,
        )


def _body(response: http.client.HTTPResponse, deadline: float) -> tuple[bytes, bool]:
    """At most `_MOST_BYTES` of the body, unpacked, and whether that is all."""
    packed = response.headers.get("Content-Encoding", "identity").lower()
    if packed not in ("identity", "gzip", "deflate"):
        raise http.client.HTTPException(f"it is packed as {packed[:40]}, though it was asked to come as it is")
    unpacking = zlib.decompressobj(47) if packed != "identity" else None
    parts: list[bytes] = []
    size = 0
    while size <= _MOST_BYTES:
        if time.monotonic() >= deadline:
            raise TimeoutError
        data = response.read1(65536)
        if not data:
            if time.monotonic() >= deadline:  # it was cut, and did not end
                raise TimeoutError
            if unpacking is not None and not unpacking.eof:
                raise http.client.HTTPException(f"it is no {packed}, as it says it is, or ends too early")
            return b"".join(parts), True
        if unpacking is not None:
            try:
                data = unpacking.decompress(data, _MOST_BYTES + 1)
            except zlib.error:
                raise http.client.HTTPException(f"it is no {packed}, as it says it is") from None
        parts.append(data)
        size += len(data)
    return b"".join(parts)[:_MOST_BYTES], False


def _read(answer: _Answer, place: Place, start: int) -> ToolResult:
    if answer.status != 200:
        raise UsageError(f"{place.url[:200]} answered {answer.status} {answer.reason[:80]}")
    if not _TEXTS.fullmatch(answer.kind):
        raise UsageError(f"{place.url[:200]} is {answer.kind[:80]}: only pages and other texts are read")
    text = _decoded(answer)
    title = ""
    if answer.kind in _HTML:
        title, text = page_text(text, place.url)
    size = len(text)
    cut = "" if answer.whole else f"\n[cut: only the first {_MOST_BYTES:,} bytes of this page were read]"
    head = [f"Title: {title}"] if title else []
    told = "\n".join([*head, f"Address: {place.url}", "", f"{text[max(0, start) :]}{cut}"])
    return ToolResult(told, note=f"{size:,} characters")


def _decoded(answer: _Answer) -> str:
    named = _CHARSET.search(answer.body[:4096]) if answer.kind in _HTML else None
    for charset in (answer.charset, named[1].decode() if named else "", "utf-8"):
        with contextlib.suppress(LookupError):
            if charset:
                return answer.body.decode(charset, "replace")
    raise AssertionError("unreachable: utf-8 is known")
