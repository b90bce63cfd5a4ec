"""Clients of an endpoint, and what a user says about one: its address and the variable that holds its key."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from typing import Any
from urllib.parse import urlsplit

from whetstone.endpoints.connections import PrepareRequest
from whetstone.endpoints.failures import Site
from whetstone.errors import LoginError, UsageError

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
_NO_KEY = "no-key"  # what endpoints without keys are sent: the SDK insists on one


def is_loopback(base_url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def checked_url(base_url: str, provider: str, route: str) -> str:
    """An endpoint's address as a user wrote it, up to and with `/v1`; "" stays "".

    Args:
        base_url: the address, perhaps with the route behind it.
        provider: the first part of the spec, for messages.
        route: what is asked for there: "/chat/completions".

    Raises:
        UsageError: it is no http(s) address, or holds a password.
    """
    if not base_url:
        return ""
    parts = urlsplit(base_url)
    if "@" in parts.netloc:
        raise UsageError(f"{provider}: base_url must hold no password; name a key's environment variable with key_env")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{provider}: base_url={base_url!r} is no http(s) address such as http://127.0.0.1:8080/v1")
    return base_url.rstrip("/").removesuffix(route)


def read_key(key_env: str, spec: str) -> str:
    """The key in an environment variable; a placeholder where `key_env` is "".

    Raises:
        UsageError: `key_env` is no name of a variable.
        LoginError: the variable is not set.
    """
    if not key_env:
        return _NO_KEY
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_env):  # perhaps the key itself: it must not be repeated
        raise UsageError(f"{spec}: key_env takes the name of an environment variable, such as MY_API_KEY, not a key")
    key = os.environ.get(key_env, "").strip()
    if not key:
        raise LoginError(f"{spec}: no key; put one into the environment variable {key_env}: export {key_env}=...")
    return key


def checked_key(site: Site) -> Site:
    """The site, if its key can be sent.

    Raises:
        LoginError: the key holds characters that no key has.
    """
    if not site.api_key.isascii() or not site.api_key.isprintable() or " " in site.api_key:
        named = f"the key in {site.key_env}" if site.key_env else "the key"
        raise LoginError(f"{site.spec}: {named} holds spaces or characters that no key has; copy it again")
    return site


@functools.cache
def _tls() -> Any:
    """TLS settings for all connections: reading the certificates takes 50 ms."""
    import httpx2

    return httpx2.create_ssl_context()


def open_client(site: Site, prepare: PrepareRequest) -> Any:
    """An `openai` client with one connection, which retries nothing by itself.

    Args:
        site: whom it asks. Connecting has at most 10 seconds of its timeout.
        prepare: called with each request before it is sent.
    """
    import httpx2
    import openai

    local = is_loopback(site.base_url)
    official = site.base_url.startswith("https://api.openai.com/")
    return openai.OpenAI(
        api_key=site.api_key,
        base_url=site.base_url,
        # "" keeps OPENAI_ORG_ID and OPENAI_PROJECT_ID from being sent to somebody else's endpoint.
        organization=None if official else "",
        project=None if official else "",
        # Ours (`retries`) instead of the library's: its delays sleep where nothing can wake them, it retries an
        # exhausted quota, and it does not retry a stream that breaks before its first event.
        max_retries=0,
        http_client=openai.DefaultHttpxClient(
            timeout=httpx2.Timeout(site.timeout, connect=min(10.0, site.timeout)),
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1),
            verify=_tls(),
            trust_env=not local,  # a proxy cannot reach this machine
            event_hooks={"request": [prepare]},
        ),
    )
