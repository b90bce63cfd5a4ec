"""Whetstone's curation against the course's way, on the same rows, side by side.

    uv run python benchmarks/curate.py [--rows 500000] [--repeats 1] [--source FILE] [--same]

The course's way is what its notebooks do: a pool of processes, in which each line is parsed with `json.loads`, made an
Item object whose texts are scrubbed with regular expressions, encoded with the model's `AutoTokenizer`, cut to 160
tokens and decoded, and kept when price and length are within bounds; the items travel back to the parent. It stops
there: it finds no duplicates, forms no groups, draws no split and writes no file. Whetstone's side is the whole of
`whet data curate`, from the file to Parquet with its report.

The rows are those of the product data beside the repository, replicated until there are enough. Copies are made
different, so that neither side is spared work by repetition: a copy has another title, and of its texts and details
three words in four are drawn anew from the words of the file. `--same` leaves the copies as they are.

Exits 1 below 10 times the rows per second, or at a peak of 2 GB of memory and more.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import re
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

from whetstone import settings
from whetstone.models import load_model

SOURCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "products" / "amazon_meta_sample.jsonl.gz"
LIMIT = 10.0
MOST_MEMORY = 2_000_000_000
CHUNK = 1_000
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


def peer_rate(path: Path, rows: int) -> float:
    """Rows per second of the course's way; its processes have their tokenizers before the clock starts."""
    workers = settings.threads()
    with ProcessPoolExecutor(workers, initializer=start_peer, initargs=(tokenizer_folder(),)) as pool:
        list(pool.map(items_of, [[]] * workers))
        started = time.perf_counter()
        kept = sum(len(batch) for batch in pool.map(items_of, chunks(path, rows)))
        seconds = time.perf_counter() - started
    print(f"  the course's way: {rows:,} rows in {seconds:.1f} s, {kept:,} items")
    return rows / seconds


_CURATE = """
import resource, sys, time
from pathlib import Path
from whetstone.curation.job import curate
started = time.perf_counter()
report = curate(sys.argv[1], Path(sys.argv[2]))
print(report.kept, report.rows, time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def our_rate(path: Path, folder: Path) -> tuple[float, int]:
    """Rows per second of a whole curation in a process of its own, and its peak memory in bytes."""
    command = [sys.executable, "-c", _CURATE, str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, rows, seconds, peak = done.stdout.split()
    memory = int(peak) * (1 if sys.platform == "darwin" else 1024)
    print(
        f"  whet data curate: {int(rows):,} rows in {float(seconds):.1f} s, {int(kept):,} kept, {memory / 1e9:.2f} GB"
    )
    return int(rows) / float(seconds), memory


def replicated(source: Path, path: Path, rows: int, same: bool) -> None:
    """Write so many rows of the source, again and again from its beginning; copies differ unless `same`."""
    with gzip.open(source, "rt", encoding="utf-8") as file:
        lines = file.readlines()
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
    details = json.loads(row["details"])
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
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--same", action="store_true", help="leave the copies as they are")
    arguments = parser.parse_args()
    if not arguments.source.is_file():
        print(f"There is no {arguments.source}: name a file in the layout of raw_meta with --source")
        return 2
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "numpy", "tokenizers"))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{settings.threads()} threads, load {load:.1f} | Python {platform.python_version()}, {packages}")
    ratios, peaks = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "meta.jsonl"
        replicated(arguments.source, path, arguments.rows, arguments.same)
        copies = "as they are" if arguments.same else "each different"
        print(f"{arguments.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB, copies {copies}")
        for repeat in range(arguments.repeats):
            ours, peak = our_rate(path, folder / f"out{repeat}")
            peer = peer_rate(path, min(arguments.rows, PEER_ROWS))
            ratios.append(ours / peer)
            peaks.append(peak)
            print(f"  {ours:,.0f} rows/s against {peer:,.0f}: {ratios[-1]:.1f} times")
    ratio, memory = statistics.median(ratios), max(peaks)
    print(f"{ratio:.1f} times the rows per second (at least {LIMIT:.0f}); peak memory {memory / 1e9:.2f} GB (below 2)")
    return 0 if ratio >= LIMIT and memory < MOST_MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
