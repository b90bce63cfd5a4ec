"""Chats through Whetstone's API against llama.cpp's own server, side by side.

    uv run python benchmarks/chat.py [--repeats 7] [--streams 50]

Two server processes hold the embedded SmolLM2-135M-Instruct with the same llama.cpp, context, slots and threads:
llama.cpp's own HTTP server alone, and `whet serve`. One plain client, which reads bytes from a socket, sends both the
same requests, by turns, so that only one of them works at a time.

- one stream: time to the first token, and tokens per second after it; median of the ratios of neighbouring requests
- a growing conversation: time to the first token of turns 2 and 10, per token of prompt that is not in the cache,
  against turn 1; llama.cpp's own is printed beside ours
- many streams at once: total tokens per second; each stream must say its own text and nothing of another's

Exits 1 when time to the first token or tokens per second are below 0.95 of llama.cpp's own, turns 2 or 10 take more
than 1.3 times turn 1's time per new token, the many streams reach less than 0.9 of llama.cpp's own, or a stream says a
wrong text.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from whetstone import settings

ONE_STREAM, MANY, FLAT = 0.95, 0.9, 1.3
SLOTS = 8  # for the many streams
REPLY_TOKENS = 64

# Runs llama.cpp's own server as `smollm2` would, says where, and waits until its input ends.
_PEER = """
import sys
from whetstone.models.llamacpp import GgufProvider
from whetstone.models.llamacpp_server import LlamaServer
from whetstone.models.spec import parse_spec
from whetstone.tokens.embedded import embedded_weights
model = GgufProvider("gguf").load(parse_spec(f"gguf:{embedded_weights()}?slots={sys.argv[1]}"))
server = LlamaServer(model._config)
print(server.url, server.api_key, flush=True)
sys.stdin.read()
server.stop()
"""


@dataclass(frozen=True)
class Server:
    """Where a server listens."""

    name: str
    url: str
    key: str


@dataclass(frozen=True)
class Heard:
    """One streamed reply: seconds to the first token and to the end, its text, and its token counts."""

    first: float
    seconds: float
    text: str
    prompt_tokens: int
    cached_tokens: int
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens per second after the first one."""
        return (self.tokens - 1) / (self.seconds - self.first)


def ask(server: Server, messages: Sequence[dict[str, str]], **options: Any) -> Heard:
    """Send one request, and read its events as they come."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    body = {
        "model": "smollm2",
        "messages": list(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **options,
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"}
    text, usage, first = [], {}, 0.0
    started = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    for line in response:
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        event = json.loads(line[6:])
        assert "error" not in event, event
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            piece = choice["delta"].get("content")
            if piece:
                first = first or time.perf_counter() - started
                text.append(piece)
    seconds = time.perf_counter() - started
    connection.close()
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return Heard(first, seconds, "".join(text), usage["prompt_tokens"], cached, usage["completion_tokens"])


@contextlib.contextmanager
def servers(slots: int) -> Iterator[tuple[Server, Server]]:
    """`whet serve`, and llama.cpp's own server, each in a process of its own."""
    environment = {**os.environ, "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000")}  # as `whet` sets it
    model = ["--model", f"smollm2=smollm2?slots={slots}"]
    ours = subprocess.Popen(
        [sys.executable, "-m", "whetstone", "serve", "--port", "0", "--no-workbench", "--max-requests", "1000", *model],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    peer = subprocess.Popen(
        [sys.executable, "-c", _PEER, str(slots)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert ours.stdout is not None
        assert peer.stdout is not None
        url = next(word for line in ours.stdout for word in line.split() if word.startswith("http://"))
        peer_url, key = peer.stdout.readline().split()
        yield Server("whet serve", url.rstrip("/"), "none"), Server("llama.cpp", peer_url, key)
    finally:
        ours.terminate()
        peer.terminate()
        ours.wait()
        peer.wait()


def one_stream(both: tuple[Server, Server], repeats: int) -> tuple[float, float]:
    """Median ratios: llama.cpp's own time to the first token by ours, and our tokens per second by its own."""
    firsts, rates = [], []
    for number in range(-1, repeats):
        heard = {}
        for server in both if number % 2 else reversed(both):
            text = f"Visitor {number + 7} asks: how do bees find their way home, and what do they do in winter? " * 3
            heard[server.name] = ask(
                server, [{"role": "user", "content": text}], max_tokens=REPLY_TOKENS, temperature=0
            )
        ours, own = heard["whet serve"], heard["llama.cpp"]
        assert ours.text == own.text, (ours.text, own.text)
        if number >= 0:  # the first one of all warms up
            firsts.append((ours.first, own.first))
            rates.append((ours.rate, own.rate))
    first = statistics.median(own / mine for mine, own in firsts)
    rate = statistics.median(mine / own for mine, own in rates)
    print(
        f"one stream, prompts of {ours.prompt_tokens} tokens: first token after "
        f"{1000 * statistics.median(mine for mine, _ in firsts):.0f} ms, llama.cpp's own "
        f"{1000 * statistics.median(own for _, own in firsts):.0f} ms, ratio {first:.3f}; then "
        f"{statistics.median(mine for mine, _ in rates):.1f} tokens/s, llama.cpp's own "
        f"{statistics.median(own for _, own in rates):.1f}, ratio {rate:.3f} (wanted {ONE_STREAM})"
    )
    return first, rate


def growing_conversation(server: Server, turns: int = 10, times: int = 3) -> dict[int, float]:
    """Seconds to the first token per new token of prompt, of each turn, divided by those of the first turn; medians.

    New is what the server has not in its cache, as it tells itself: in the first turn all but the template's beginning.
    """
    per_token: dict[int, list[float]] = {turn: [] for turn in range(1, turns + 1)}
    for time_ in range(times):
        messages: list[dict[str, str]] = []
        for turn in range(1, turns + 1):
            question = (
                f"Guest {time_} asks question {turn}: tell me one more thing about bees and honey, chapter {turn}. "
            )
            messages.append({"role": "user", "content": question * 2})
            heard = ask(server, messages, max_tokens=24, temperature=0)
            messages.append({"role": "assistant", "content": heard.text})
            per_token[turn].append(heard.first / (heard.prompt_tokens - heard.cached_tokens))
    ratios = {
        turn: statistics.median(mine / first for mine, first in zip(seconds, per_token[1], strict=True))
        for turn, seconds in per_token.items()
    }
    first = 1000 * statistics.median(per_token[1])
    print(
        f"{server.name}, a growing conversation: {first:.2f} ms to the first token per new token of prompt in turn 1; "
        f"turn 2 takes {ratios[2]:.2f} times that, turn {turns}, at {heard.prompt_tokens} tokens, {ratios[turns]:.2f} "
        f"times (wanted {FLAT})"
    )
    return ratios


def many_streams(server: Server, streams: int) -> tuple[float, int]:
    """Tokens per second of so many streams at once, and how many of them said a wrong text."""
    heard: list[Heard | None] = [None] * streams

    def work(number: int) -> None:
        # A schema that allows one text only: whoever gets somebody else's tokens shows it.
        schema = {"type": "json_schema", "json_schema": {"name": "own", "schema": {"const": said(number)}}}
        asked = [{"role": "user", "content": f"You are guest number {number}. Say the phrase of guest {number}."}]
        heard[number] = ask(server, asked, max_tokens=200, temperature=0, response_format=schema)

    threads = [threading.Thread(target=work, args=[number]) for number in range(streams)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    wrong = sum(reply is None or json.loads(reply.text) != said(number) for number, reply in enumerate(heard))
    return sum(reply.tokens for reply in heard if reply is not None) / seconds, wrong


def said(number: int) -> str:
    """What one of the many streams must say."""
    return f"Guest {number} has key {number * 7919 % 1000} and sits at table {number % 13} with a cup of tea."


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--streams", type=int, default=50)
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {settings.threads()} threads, xllamacpp {version('xllamacpp')}, "
        f"Python {platform.python_version()}"
    )
    with servers(1) as both:
        first, rate = one_stream(both, arguments.repeats)
        ours = growing_conversation(both[0])
        growing_conversation(both[1])
    ratios, wrong = [], 0
    with servers(SLOTS) as both:
        for server in both:
            many_streams(server, 2 * SLOTS)  # warms up
        for _ in range(3):
            rates = {}
            for server in both:
                rates[server.name], mixed = many_streams(server, arguments.streams)
                wrong += mixed
            ratios.append(rates["whet serve"] / rates["llama.cpp"])
            print(
                f"{arguments.streams} streams at once, {SLOTS} slots: {rates['whet serve']:.1f} tokens/s, llama.cpp's "
                f"own {rates['llama.cpp']:.1f}, ratio {ratios[-1]:.3f}"
            )
    total = statistics.median(ratios)
    print(f"median ratio {total:.3f} (wanted {MANY}); streams with a wrong text: {wrong}")
    fine = first >= ONE_STREAM and rate >= ONE_STREAM and max(ours[2], ours[10]) <= FLAT and total >= MANY and not wrong
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
