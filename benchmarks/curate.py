"""Whetstone's curation against the course's way, on the same rows, side by side.

    uv run python benchmarks/curate.py [--rows 500000] [--repeats 1] [--source FILE] [--made-up] [--same]

The course's way is what its notebooks do: a pool of processes, in which each line is parsed with `json.loads`, made an
Item object whose texts are scrubbed with regular expressions, encoded with the model's `AutoTokenizer`, cut to 160
tokens and decoded, and kept when price and length are within bounds; the items travel back to the parent. It stops
there: it finds no duplicates, forms no groups, draws no split and writes no file. Whetstone's side is the whole of
`whet data curate`, from the file to Parquet with its report.

The rows are those of the product data beside the repository, or, where that is not there or with `--made-up`, made up
by `product_rows.py` with the same kinds of dirt; they are replicated until there are enough. Copies are made different,
so that neither side is spared work by repetition: a copy has another title, and of its texts and details three words in
four are drawn anew from the words of the file. `--same` leaves the copies as they are.

Both sides are timed by the clock and by the processor time of their processes, which other work on the machine hardly
changes. Exits 1 below 10 times the rows per second by either, or at a peak of 2 GB of memory and more.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import product_rows

from whetstone import settings
from whetstone.curation.options import Options
from whetstone.models import load_model
from whetstone.tokens.sources import load_tokenizer

SOURCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "products" / "amazon_meta_sample.jsonl.gz"
LIMIT = 10.0
MOST_MEMORY = 2_000_000_000
CHUNK = 1_000
MADE_UP = 13_000  # rows before they are replicated, as many as the real ones
# Rows of the course's way that are timed; its rate does not depend on how many there are.
PEER_ROWS = 30_000

# The course's bounds.
MIN_PRICE, MAX_PRICE = 0.5, 999.49
MIN_CHARACTERS, CEILING_CHARACTERS = 300, 160 * 7
MIN_TOKENS, MAX_TOKENS = 150, 160
QUESTION, PREFIX = "How much does this cost to the nearest dollar?", "Price is $"
REMOVALS = [
    '"Batteries Included?": "No"', '"Batteries Included?": "Yes"', '"Batteries Required?": "No"',
    '"Batteries Required?": "Yes"', "By Manufacturer", "Item", "Date First", "Package", ":", "Number of",
    "Best Sellers", "Number", "Product ",
]  # fmt: skip


@dataclass
class Item:
    """One product, as the course's notebooks hold it."""

    title: str
    price: float
    category: str
    token_count: int = 0
    details: str = ""
    prompt: str = ""
    include: bool = field(default=False)

    def scrub_details(self) -> str:
        details = self.details
        for removal in REMOVALS:
            details = details.replace(removal, "")
        return details

    def scrub(self, stuff: str) -> str:
        stuff = re.sub(r'[:\[\]"{}【】\s]+', " ", stuff).strip()
        stuff = stuff.replace(" ,", ",").replace(",,,", ",").replace(",,", ",")
        words = stuff.split(" ")
        return " ".join(word for word in words if len(word) < 7 or not any(char.isdigit() for char in word))

    def parse(self, data: dict[str, Any]) -> None:
        contents = "\n".join(data["description"])
        if contents:
            contents += "\n"
        features = "\n".join(data["features"])
        if features:
            contents += features + "\n"
        self.details = data["details"]
        if self.details:
            contents += self.scrub_details() + "\n"
        if len(contents) > MIN_CHARACTERS:
            contents = contents[:CEILING_CHARACTERS]
            text = f"{self.scrub(self.title)}\n{self.scrub(contents)}"
            tokens = _TOKENIZER.encode(text, add_special_tokens=False)
            if len(tokens) > MIN_TOKENS:
                tokens = tokens[:MAX_TOKENS]
                text = _TOKENIZER.decode(tokens)
                self.prompt = f"{QUESTION}\n\n{text}\n\n{PREFIX}{round(self.price)}.00"
                self.token_count = len(_TOKENIZER.encode(self.prompt, add_special_tokens=False))
                self.include = True


_TOKENIZER: Any = None


def tokenizer_folder() -> Path:
    """SmolLM2's own tokenizer as a folder that `AutoTokenizer` reads."""
    model = load_model("hf:smollm2")
    return settings.home() / "cache" / "gguf-to-hf" / model.identity.revision


def start_peer(folder: Path) -> None:
    global _TOKENIZER
    from transformers import AutoTokenizer

    _TOKENIZER = AutoTokenizer.from_pretrained(folder)


def items_of(lines: list[str]) -> list[Item]:
    """A chunk of lines as items."""
    batch = []
    for line in lines:
        data = json.loads(line)
        try:
            price = float(data["price"])
        except (TypeError, ValueError):
            continue
        if MIN_PRICE <= price <= MAX_PRICE:
            item = Item(data["title"], price, data["main_category"])
            item.parse(data)
            if item.include:
                batch.append(item)
    return batch


def chunks(path: Path, rows: int) -> Iterator[list[str]]:
    with open(path, encoding="utf-8") as file:
        wanted = islice(file, rows)
        while chunk := list(islice(wanted, CHUNK)):
            yield chunk


@dataclass(frozen=True)
class Pace:
    """Rows per second, by the clock and by processor time."""

    clock: float
    processor: float


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def peer_pace(path: Path, rows: int) -> Pace:
    """The course's way; its processes have their tokenizers before the clocks start."""
    workers = settings.threads()
    folder = tokenizer_folder()
    begun = processor_seconds()
    with ProcessPoolExecutor(workers, initializer=start_peer, initargs=(folder,)) as pool:
        ready = sum(pool.map(spent_so_far, range(workers)))
        started = time.perf_counter()
        kept = sum(len(batch) for batch in pool.map(items_of, chunks(path, rows)))
        seconds = time.perf_counter() - started
    spent = processor_seconds() - begun - ready
    print(f"  the course's way: {rows:,} rows in {seconds:.1f} s, {spent:.1f} s of processor time, {kept:,} items")
    return Pace(rows / seconds, rows / spent)


def spent_so_far(_: int) -> float:
    """Processor time of a worker that is ready."""
    time.sleep(1)  # so that each worker is asked once
    return time.process_time()


_CURATE = """
import json, resource, sys, time
from pathlib import Path
from whetstone.curation.job import curate
started, spent = time.perf_counter(), time.process_time()
report = curate(sys.argv[1], Path(sys.argv[2]))
seconds, spent = time.perf_counter() - started, time.process_time() - spent
print(json.dumps([report.kept, report.rows, seconds, spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def our_pace(path: Path, folder: Path) -> tuple[Pace, int]:
    """A whole curation in a process of its own, and its peak memory in bytes."""
    command = [sys.executable, "-c", _CURATE, str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, rows, seconds, spent, peak = json.loads(done.stdout)
    memory = peak * (1 if sys.platform == "darwin" else 1024)
    print(
        f"  whet data curate: {rows:,} rows in {seconds:.1f} s, {spent:.1f} s of processor time, {kept:,} kept, "
        f"{memory / 1e9:.2f} GB"
    )
    return Pace(rows / seconds, rows / spent), memory


def common_words() -> list[str]:
    """Words that are single tokens of the tokenizer; of byte pairs, the commonest were joined first."""
    tokenizer = load_tokenizer(Options().tokenizer)
    written = (tokenizer.token_bytes(token).decode("utf-8", "replace") for token in range(tokenizer.vocab_size))
    return [token[1:] for token in written if token[:1] == " " and len(token) > 2 and token[1:].isalpha()]


def rows_of(source: Path | None) -> list[str]:
    """The lines of a file, or made-up ones."""
    if source is None:
        return list(product_rows.lines(MADE_UP, common_words()))
    with gzip.open(source, "rt", encoding="utf-8") as file:
        return file.readlines()


def replicated(lines: list[str], path: Path, rows: int, same: bool) -> None:
    """Write so many rows, again and again from the first one; copies differ unless `same`."""
    vocabulary = [word for line in lines[:2000] for part in json.loads(line)["description"] for word in part.split()]
    draw = random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            line = lines[number % len(lines)]
            if not same and number >= len(lines):
                line = _varied(line, number // len(lines), vocabulary, draw)
            file.write(line)


def _varied(line: str, copy: int, vocabulary: list[str], draw: random.Random) -> str:
    def other(text: str) -> str:
        return " ".join(draw.choice(vocabulary) if draw.random() < 0.75 else word for word in text.split(" "))

    row = json.loads(line)
    row["title"] = f"{row['title']} {draw.choice(vocabulary)} {copy}"
    row["parent_asin"] = f"{row['parent_asin']}-{copy}"
    row["description"], row["features"] = ([other(part) for part in row[name]] for name in ("description", "features"))
    try:
        details = json.loads(row["details"])
    except ValueError:
        return json.dumps(row) + "\n"
    # Measures stay measures.
    row["details"] = json.dumps(
        {
            name: other(value) if isinstance(value, str) and not value[:1].isdigit() else value
            for name, value in details.items()
        }
    )
    return json.dumps(row) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--source", type=Path, default=SOURCE if SOURCE.is_file() else None)
    parser.add_argument("--made-up", action="store_true", help="take made-up rows although there are real ones")
    parser.add_argument("--same", action="store_true", help="leave the copies as they are")
    arguments = parser.parse_args()
    source = None if arguments.made_up else arguments.source
    if source is not None and not source.is_file():
        print(f"There is no {source}: name a file in the layout of raw_meta with --source, or say --made-up")
        return 2
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "numpy", "tokenizers"))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{settings.threads()} threads, load {load:.1f} | Python {platform.python_version()}, {packages}")
    ratios, peaks = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "meta.jsonl"
        replicated(rows_of(source), path, arguments.rows, arguments.same)
        copies = "as they are" if arguments.same else "each different"
        origin = f"of {source.name}" if source else "made up"
        print(f"{arguments.rows:,} rows {origin}, {path.stat().st_size / 1e6:,.0f} MB, copies {copies}")
        for repeat in range(arguments.repeats):
            ours, peak = our_pace(path, folder / f"out{repeat}")
            peer = peer_pace(path, min(arguments.rows, PEER_ROWS))
            ratios.append((ours.clock / peer.clock, ours.processor / peer.processor))
            peaks.append(peak)
            print(f"  {ours.clock:,.0f} rows/s against {peer.clock:,.0f}: {ratios[-1][0]:.1f} times")
    by_clock, by_processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    memory = max(peaks)
    print(
        f"{by_clock:.1f} times the rows per second, {by_processor:.1f} by processor time (at least {LIMIT:.0f}); "
        f"peak memory {memory / 1e9:.2f} GB (below 2)"
    )
    return 0 if min(by_clock, by_processor) >= LIMIT and memory < MOST_MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
