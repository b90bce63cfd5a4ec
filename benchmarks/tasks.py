"""A batch of summaries against one call after the other, on one llama.cpp server; and what a card costs besides.

    uv run python benchmarks/tasks.py [--small] [--slots 8]

The embedded SmolLM2-135M-Instruct is loaded once, with several slots. Its server is asked for the same 64 summaries,
with the same messages and options, in three ways, each first in one of the rounds:

- one by one: a plain client, a call after the other
- side by side: the same client with as many connections as the server has slots: what llama.cpp itself gives
- the card: `run_card_many` of the card `summarize`

llama.cpp's own clocks tell how long it read and wrote, which says why a batch gains what it gains: many replies are
written at once for little more than one, but a prompt is read no faster for having others beside it.

Then 300 calls of the card on a model that answers at once, against the same calls without the card.

Exits 1 when the card's batch is less than 1.5 times as fast as one by one, and less than 0.9 of what the plain client
reaches side by side; or when a call costs 2 ms or more besides the model.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from whetstone import settings
from whetstone.models import load_model, reply
from whetstone.models.scripted import ScriptedModel
from whetstone.tasks import load_card
from whetstone.tasks.run import run_card, run_card_many
from whetstone.tasks.task import Settings, Task
from whetstone.types import Message, Options

WANTED, OF_SIDE_BY_SIDE, LIMIT_MS = 1.5, 0.9, 2.0
WORDS = 30


@dataclass
class Work:
    """What a way of asking took: seconds by the clock, tokens written, and the server's own seconds of either kind."""

    seconds: float
    written: int
    reading: float = 0.0
    writing: float = 0.0


def texts(count: int) -> list[str]:
    """Different texts, as long as the card's own cases; each begins in its own way, so that no cache helps."""
    known = [case.inputs["text"] for case in load_card("summarize").cases() if "language" not in case.inputs]
    return [f"No. {index + 1}. {known[index % len(known)]}" for index in range(count)]


class Client:
    """A plain client of llama.cpp's server.

    Args:
        url, key: of the server.
    """

    def __init__(self, url: str, key: str) -> None:
        self._address, self._key = urlsplit(url), key

    def ask(self, messages: Sequence[Message], options: Options) -> dict[str, Any]:
        """One reply, whole, with the server's clocks."""
        connection = http.client.HTTPConnection(str(self._address.hostname), self._address.port)
        asked = {"messages": list(messages), "temperature": options.temperature, "max_tokens": options.max_tokens}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(asked), headers)
        response = connection.getresponse()
        said: dict[str, Any] = json.loads(response.read())
        connection.close()
        assert response.status == 200, said
        return said


def _work(seconds: float, replies: Sequence[dict[str, Any]]) -> Work:
    return Work(
        seconds,
        sum(one["usage"]["completion_tokens"] for one in replies),
        sum(one["timings"]["prompt_ms"] for one in replies) / 1000,
        sum(one["timings"]["predicted_ms"] for one in replies) / 1000,
    )


def batches(count: int, slots: int, rounds: int) -> dict[str, list[Work]]:
    """Every way of asking, so many times."""
    card = load_card("summarize")
    model = load_model(f"smollm2?slots={slots}&context=2048")
    try:
        inputs = [{"text": text, "words": WORDS} for text in texts(count)]
        asked = [Task(card, model, one, Settings()).asking("answer", {}) for one in inputs]
        run_card(card, model, {"text": "Snow fell all day. The school stayed closed.", "words": 10})  # loads the model
        server = model._running.server  # type: ignore[attr-defined]
        client = Client(server.url, server.api_key)

        def one_by_one() -> Work:
            started = time.perf_counter()
            replies = [client.ask(one.messages, one.options) for one in asked]
            return _work(time.perf_counter() - started, replies)

        def side_by_side() -> Work:
            started = time.perf_counter()
            with ThreadPoolExecutor(slots) as pool:
                replies = list(pool.map(lambda one: client.ask(one.messages, one.options), asked))
            return _work(time.perf_counter() - started, replies)

        def the_card() -> Work:
            started = time.perf_counter()
            results = [outcome for _, outcome in run_card_many(card, model, inputs)]
            seconds = time.perf_counter() - started
            for result in results:
                if isinstance(result, Exception):
                    raise result
            return Work(seconds, sum(result.usage.completion_tokens for result in results))

        ways: list[tuple[str, Callable[[], Work]]] = [
            ("one by one", one_by_one),
            ("side by side", side_by_side),
            ("the card", the_card),
        ]
        found: dict[str, list[Work]] = {name: [] for name, _ in ways}
        for turn in range(rounds):
            for name, way in ways[turn % 3 :] + ways[: turn % 3]:
                found[name].append(way())
                last = found[name][-1]
                print(f"  {name}: {last.seconds:.1f} s, {last.written:,} tokens written", flush=True)
        return found
    finally:
        model.close()


def overhead_ms(calls: int) -> float:
    """Milliseconds that a call of the card takes besides the model: the median of what its calls take more."""
    card = load_card("summarize")
    model = ScriptedModel(lambda messages: "Snow fell, and the school stayed closed.", chunk=1000)
    inputs = {"text": texts(1)[0], "words": WORDS}
    task = Task(card, model, inputs, Settings()).asking("answer", {})

    def timed(call: Callable[[], Any]) -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    more = [
        timed(lambda: run_card(card, model, inputs)) - timed(lambda: reply(model, task.messages, task.options))
        for _ in range(calls)
    ]
    return statistics.median(more) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--small", action="store_true", help="4 summaries, once: to see that it works")
    parser.add_argument("--slots", type=int, default=8)
    arguments = parser.parse_args()
    count, rounds, calls = (4, 1, 30) if arguments.small else (64, 3, 300)
    print(f"{platform.machine()}, {settings.threads()} threads, xllamacpp {version('xllamacpp')}")
    with tempfile.TemporaryDirectory() as home:
        os.environ["WHETSTONE_HOME"] = home
        print(f"{count} summaries, {arguments.slots} slots:")
        found = batches(count, arguments.slots, rounds)
        spent = overhead_ms(calls)
    seconds = {name: statistics.median(work.seconds for work in works) for name, works in found.items()}
    alone = found["one by one"][0]
    share = alone.reading / (alone.reading + alone.writing)
    gain, of_plain = seconds["one by one"] / seconds["the card"], seconds["side by side"] / seconds["the card"]
    print(
        f"the card: {count / seconds['the card']:.2f} summaries a second, {gain:.2f} times one by one (wanted {WANTED})"
    )
    print(f"          {of_plain:.2f} of the plain client side by side, which is what the server gives")
    print(f"one by one, reading prompts takes {100 * share:.0f} % of the server's time, and a batch reads no faster:")
    print(f"          if writing took no time at all, a batch would be {1 / share:.2f} times as fast")
    print(f"a call of the card takes {spent:.2f} ms besides the model (limit {LIMIT_MS} ms)")
    if arguments.small:
        return 0
    return 0 if (gain >= WANTED or of_plain >= OF_SIDE_BY_SIDE) and spent < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
