"""Who may come in: whoever knows the token; without one, programs on this machine and no web page.

A page on the web can make a browser on this machine send requests here: directly (then `Origin` names the page), or
through a name of its own that it points at 127.0.0.1 (then `Host` is that name). Without a token, both are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from whetstone.errors import UsageError
from whetstone.server.errors import ApiError
from whetstone.server.login import LOGIN_PATH, login_page

_SHORTEST_TOKEN = 8
_LARGEST_FORM = 4096


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


class Guard:
    """Decides over every request and websocket of one app.

    Args:
        token: what callers must know.
        allowed_origins: web pages that may call from a browser.

    Attributes:
        hosts: names besides the loopback ones under which the server is reached without a token.
    """

    def __init__(self, token: str | None, allowed_origins: Sequence[str]) -> None:
        self._token = token
        self._origins = frozenset(allowed_origins)
        self.hosts: set[str] = set()
        # Derived, so that the token itself lies in no browser. A name of its own, since ports share their cookies.
        self._secret = _derive(token, "session")
        self._cookie = f"whetstone_{_derive(token, 'name')[:8]}"

    @classmethod
    def configure(cls, token: str | None, allowed_origins: Sequence[str]) -> Guard:
        """A guard.

        Raises:
            UsageError: the token or an origin is no good.
        """
        if token is not None and (len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
            raise UsageError(
                f"The token must have at least {_SHORTEST_TOKEN} characters, all of them ASCII; make one with "
                "`openssl rand -hex 16`"
            )
        for origin in allowed_origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise UsageError(
                    f"{origin!r} is no origin: write scheme, host and port, as in https://chat.example.org"
                )
        return cls(token, allowed_origins)

    @property
    def open(self) -> bool:
        """Whether no token is needed."""
        return self._token is None

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """The app behind this guard."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket"):
                await app(scope, receive, send)
                return
            answer = await self._answer(scope, receive)
            if answer is None:
                await app(scope, receive, send)
            elif scope["type"] == "http":
                await answer(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})

        return guarded

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """What to say instead of the app; None lets the request in."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self._token is None:
            return self._local(scope, headers)
        said = headers.get(b"authorization", "")
        scheme, _, credentials = said.partition(" ")
        if scheme.lower() == "bearer" and self._is_token(credentials.strip()):
            return None
        if self._has_cookie(headers):
            return self._own_page(headers)
        if said:
            return _unauthorized("The token is wrong")
        return await self._browser(scope, receive, headers) or _unauthorized(
            "A token is needed: send it as `Authorization: Bearer TOKEN`"
        )

    def _local(self, scope: Scope, headers: Mapping[bytes, str]) -> Response | None:
        server = scope.get("server")
        host = _host_name(headers.get(b"host", ""))
        reached = str(server[0]) if server else ""  # "" and paths: a Unix socket, or no socket at all
        if reached and not reached.startswith("/") and not is_loopback(reached):
            return _forbidden("Without a token only this machine is served; start the server with a token")
        if not is_loopback(host) and host not in self.hosts:
            return _forbidden(f"The server is not known as {host!r}; use 127.0.0.1, or start it with a token")
        return self._own_page(headers)

    def _own_page(self, headers: Mapping[bytes, str]) -> Response | None:
        """Refuse what another site's page sends through a browser that we trust."""
        origin = headers.get(b"origin")
        if origin is None or origin in self._origins or origin.partition("://")[2] == headers.get(b"host"):
            return None
        return _forbidden(
            f"Requests by web pages of {origin} are not allowed; allow that origin when starting the server"
        )

    def _is_token(self, said: str) -> bool:
        return hmac.compare_digest(said.encode("latin-1", "replace"), (self._token or "").encode())

    def _has_cookie(self, headers: Mapping[bytes, str]) -> bool:
        try:
            found = SimpleCookie(headers.get(b"cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._secret.encode())

    async def _browser(self, scope: Scope, receive: Receive, headers: Mapping[bytes, str]) -> Response | None:
        """Log a browser in: by a link with the token, or by the form."""
        if scope["type"] != "http":
            return None
        path, method = scope["path"], scope["method"]
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if method == "GET" and (told := dict(query).get("token")) is not None and self._is_token(told):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            return self._welcome(scope, path + (f"?{rest}" if rest else ""))
        if path == LOGIN_PATH and method == "POST":
            form = dict(parse_qsl(await _body(receive)))
            # A form on another site's page may not log this browser in.
            refusal = self._own_page(headers)
            if refusal is not None:
                return refusal
            if self._is_token(form.get("token", "").strip()):
                return self._welcome(scope, form.get("next", "/"))
            return login_page(form.get("next", "/"), wrong=True)
        if path == LOGIN_PATH and method == "GET":
            return login_page(dict(query).get("next", "/"))
        if method == "GET" and "text/html" in headers.get(b"accept", ""):
            return RedirectResponse(f"{LOGIN_PATH}?{urlencode({'next': path})}", 303, {"Cache-Control": "no-store"})
        return None

    def _welcome(self, scope: Scope, target: str) -> Response:
        # Only a path of ours: `//host` and `/\host` would lead elsewhere.
        local = target.startswith("/") and not target.startswith(("//", "/\\"))
        response = RedirectResponse(target if local else "/", 303, {"Cache-Control": "no-store"})
        response.headers["Referrer-Policy"] = "no-referrer"
        secure = scope.get("scheme") == "https"
        response.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict", secure=secure)
        return response


def _derive(token: str | None, purpose: str) -> str:
    return hmac.new((token or "").encode(), f"whetstone {purpose}".encode(), hashlib.sha256).hexdigest()


def _host_name(header: str) -> str:
    """The name in a Host header, "" when it holds none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


async def _body(receive: Receive) -> str:
    body = b""
    while len(body) <= _LARGEST_FORM:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:_LARGEST_FORM].decode("latin-1")


def _unauthorized(message: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"}
    return ApiError(401, message, code="invalid_api_key", headers=headers).response()


def _forbidden(message: str) -> Response:
    return ApiError(403, message, code="forbidden").response()
