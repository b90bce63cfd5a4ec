"""A real server on a loopback port, in a thread of the test's process."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2
import openai
from fastapi import FastAPI

from whetstone.models.base import ChatModel
from whetstone.models.pool import ModelPool
from whetstone.server.app import create_app
from whetstone.server.run import Server, bind, url_of

PATIENCE = 30.0  # seconds after which a test has failed; never a thing that is measured


class Running:
    """A server that answers.

    Attributes:
        url: its address.
        app: what it serves.
    """

    def __init__(self, app: FastAPI, url: str) -> None:
        self.app = app
        self.url = url
        self.http = httpx2.Client(base_url=url, timeout=PATIENCE)
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=PATIENCE)

    def chat(self, **body: Any) -> httpx2.Response:
        """A chat request; the message is "hello" unless told otherwise."""
        return self.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}], **body})

    def raw(self, path: str, body: Mapping[str, Any]) -> socket.socket:
        """A connection on which a request was sent and nothing was read yet."""
        host, port = self.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        connection.sendall(head.encode() + content)
        return connection


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[Running]:
    """The app, served until the block ends."""
    listener = bind(app, "127.0.0.1", 0)
    ready = threading.Event()
    server = Server(app, listener, url_of("127.0.0.1", listener), lambda _: ready.set())
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(PATIENCE)
    serving = Running(app, url_of("127.0.0.1", listener))
    try:
        yield serving
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
        serving.http.close()
        serving.openai.close()
        assert not thread.is_alive()


def app_of(models: Mapping[str, ChatModel], **arguments: Any) -> FastAPI:
    """The app of models that exist already."""
    return create_app(pool_of(models), **arguments)


def pool_of(models: Mapping[str, ChatModel]) -> ModelPool:
    """A pool of models that exist already."""
    names = {f"scripted:{number}": model for number, model in enumerate(models.values())}
    return ModelPool(dict(zip(models, names, strict=True)), load=names.__getitem__)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)
