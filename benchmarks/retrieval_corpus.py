"""What `retrieval.py` measures on: a made-up handbook, questions about it, and synthetic vectors and texts in bulk."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whetstone.retrieval.document import Chunk, DocumentRecord

DIMENSION = 384
CHUNKS_A_DOCUMENT = 10  # of synthetic ones
CHUNKS_OF_A_GUIDE = 17  # about as many has a document of the handbook
YEARS_AGO = 1_600_000_000  # seconds since 1970: files that were written long before they are read

_PLACES = ("Aarhus", "Bergen", "Cadiz", "Daegu", "Eindhoven", "Funchal", "Galway", "Hobart", "Incheon", "Jeonju")
_NAMES = ("Ada", "Bora", "Chidi", "Dalia", "Emre", "Farah", "Goran", "Hana", "Ines", "Jun", "Kalle", "Lena", "Minho")
_THINGS = (
    *("the delivery van", "the cold store", "the night shift", "the welding bench", "the travel budget"),
    *("the training plan", "the spare parts list", "the visitor badge", "the customs form", "the repair ticket"),
    *("the energy contract", "the meeting room", "the loading dock", "the price list", "the safety audit"),
    *("the return label", "the warranty", "the calibration kit", "the paint shop", "the water meter"),
)
_ACTS = (
    *("has to be booked", "is checked", "is signed off", "may be exchanged", "is paid", "is renewed", "is discussed"),
    *("must be reported", "can be cancelled", "is handed over", "is written down", "is counted", "gets a new number"),
)
_WHEN = (
    *("before noon", "within two working days", "at the end of the quarter", "on the first Monday", "in good weather"),
    *("after the second reminder", "only with a written order", "without further approval", "once a witness is there"),
    *("as soon as the supplier answers", "while the line stands still", "when the invoice has arrived"),
)
_WHY = (
    *("because an auditor asked for it", "since the old rule was too slow", "so that nobody waits in vain"),
    *("as the law demands", "which saves about a tenth of the cost", "although few people remember why"),
    *("and the log shows who did it", "unless the director decides otherwise", "to keep the insurance happy"),
)


def write_handbook(folder: Path, documents: int, seed: int = 0) -> list[str]:
    """Write so many Markdown documents of eight sections, about 5,000 characters each; questions about them."""
    drawn = random.Random(seed)
    questions = []
    for number in range(documents):
        place, name, thing = drawn.choice(_PLACES), drawn.choice(_NAMES), drawn.choice(_THINGS)
        title = f"{thing.removeprefix('the ').capitalize()} in {place}, guide {number}"
        lines = [f"# {title}", "", _paragraph(drawn, place)]
        for section in range(8):
            topic = drawn.choice(_THINGS)
            lines += ["", f"## {section + 1}. {topic.removeprefix('the ').capitalize()}", "", _paragraph(drawn, place)]
            if section % 4 == 1:
                lines += ["", *(f"- {_sentence(drawn, place)}" for _ in range(3))]
            elif section % 4 == 3:
                lines += ["", "| item | days | cost |", "| --- | --- | --- |"]
                rows = drawn.sample(_THINGS, 4)
                lines += [f"| {row} | {drawn.randint(1, 90)} | {drawn.randint(10, 9000)} euros |" for row in rows]
        amount = drawn.randint(100, 9999)
        lines += ["", f"{name} of {place} may spend up to {amount} euros on {thing}, as guide {number} says."]
        _write(folder / place / f"guide-{number}.md", "\n".join(lines) + "\n")
        questions.append(f"How much may {name} of {place} spend on {thing}?")
    drawn.shuffle(questions)
    return questions


def copy_varied(source: Path, folder: Path, copies: int) -> None:
    """The Markdown documents of a folder, so many times over, each copy with another number in every sentence.

    So every copy has to be embedded anew, and is about as long and as hard to cut as what it was made of.
    """
    for number in range(copies):
        for file in sorted(source.rglob("*.md")):
            text = file.read_text(encoding="utf-8")
            _write(folder / f"copy-{number}" / file.relative_to(source), _varied(text, number) if number else text)


def change_some(folder: Path, share: float, seed: int = 0) -> int:
    """Change every line of some documents, so that nothing of them can be kept; how many documents there were."""
    files = sorted(folder.rglob("*.md"))
    chosen = random.Random(seed).sample(files, max(1, round(share * len(files))))
    for file in chosen:
        file.write_text(_varied(file.read_text(encoding="utf-8"), seed + 777_777), encoding="utf-8")
    return len(chosen)


def _varied(text: str, number: int) -> str:
    return "\n".join(f"{line} {number}" if line else "" for line in text.replace(". ", f", {number}. ").split("\n"))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    os.utime(file, (YEARS_AGO, YEARS_AGO))


def _sentence(drawn: random.Random, place: str) -> str:
    thing, act, when, why = (drawn.choice(words) for words in (_THINGS, _ACTS, _WHEN, _WHY))
    start = drawn.choice((f"In {place} {thing} {act} {when}", f"{drawn.choice(_NAMES)} says that {thing} {act} {when}"))
    return f"{start}, {why}, number {drawn.randint(1, 99_999)}."


def _paragraph(drawn: random.Random, place: str) -> str:
    return " ".join(_sentence(drawn, place) for _ in range(drawn.randint(2, 5)))


@dataclass(frozen=True)
class Batch:
    """Some synthetic chunks in a row with their vectors, shape (len(chunks), DIMENSION); `first` is their number."""

    first: int
    chunks: list[Chunk]
    vectors: npt.NDArray[np.float32]


class Synthetic:
    """Chunks without an encoder: unit vectors around centres, and texts whose words follow Zipf's law.

    Both sides get the same ones. A centre for 100 chunks, and noise such that the ten nearest of a query have cosines
    of about 0.65 to 0.8, as passages of one topic have with MiniLM.
    """

    def __init__(self, chunks: int, seed: int) -> None:
        self.chunks = chunks
        self._seed = seed
        made = np.random.default_rng(seed)
        self._centres = _unit(made.standard_normal((max(1, chunks // 100), DIMENSION)))
        letters = np.array(list("bcdfghklmnprstvz"))
        vowels = np.array(list("aeiou"))
        syllables = [c + v for c in letters for v in vowels]
        count = 50_000
        numbers = made.permutation(len(syllables) ** 3)[:count]
        base = len(syllables)
        self._words = np.array(
            [syllables[n % base] + syllables[n // base % base] + syllables[n // base**2] for n in numbers.tolist()]
        )
        self._frequency = np.cumsum(1 / np.arange(1, count + 1) ** 1.05)
        self._frequency /= self._frequency[-1]

    def batches(self, size: int) -> Iterator[Batch]:
        """All chunks in order; the same ones for every size that is a multiple of 100."""
        step = size - size % 100 or 100
        for first in range(0, self.chunks, step):
            parts = [self._hundred(start) for start in range(first, min(first + step, self.chunks), 100)]
            chunks = [chunk for part, _ in parts for chunk in part]
            yield Batch(first, chunks, np.concatenate([vectors for _, vectors in parts]))

    def queries(self, count: int) -> list[tuple[list[float], str]]:
        """Vectors near those of chunks, and eight words of each such chunk, rare or not, as they come."""
        made = np.random.default_rng((self._seed, 1 << 32))
        queries = []
        for number in made.integers(0, self.chunks, count).tolist():
            chunks, vectors = self._hundred(number - number % 100)
            words = chunks[number % 100].text.split()
            start = int(made.integers(0, len(words) - 8))
            near = _unit(vectors[number % 100] + 0.4 * _unit(made.standard_normal(DIMENSION)))
            queries.append((near.tolist(), " ".join(words[start : start + 8])))
        return queries

    def _hundred(self, first: int) -> tuple[list[Chunk], npt.NDArray[np.float32]]:
        made = np.random.default_rng((self._seed, first))
        count = min(100, self.chunks - first)
        centres = self._centres[made.integers(0, len(self._centres), count)]
        vectors = _unit(centres + 0.7 * _unit(made.standard_normal((count, DIMENSION))))
        lengths = made.integers(40, 80, count)
        ranks = np.searchsorted(self._frequency, made.random(int(lengths.sum())))
        words = np.split(self._words[ranks], np.cumsum(lengths)[:-1])
        chunks = []
        for number, own in zip(range(first, first + count), words, strict=True):
            document, ordinal = divmod(number, CHUNKS_A_DOCUMENT)
            text = " ".join(own.tolist())
            chunks.append(Chunk(ordinal, (f"Document {document}",), text, ordinal * 1000, ordinal * 1000 + len(text)))
        return chunks, vectors


def documents_of(batch: Batch) -> Iterator[tuple[DocumentRecord, Iterable[Chunk]]]:
    """The chunks of a batch as documents of ten each, d0, d1, ..."""
    for start in range(0, len(batch.chunks), CHUNKS_A_DOCUMENT):
        chunks = batch.chunks[start : start + CHUNKS_A_DOCUMENT]
        number = (batch.first + start) // CHUNKS_A_DOCUMENT
        size = sum(len(chunk.text) for chunk in chunks)
        yield DocumentRecord(f"d{number}", size, 0, f"{number:064x}", f"Document {number}", {}, len(chunks)), chunks


class HashEmbedder:
    """Vectors from a hash of each text, at no cost: what is left is the work of a sync besides the embedding."""

    name, dimension, max_tokens = "hash", DIMENSION, 256

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) // 4 for text in texts]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).random(DIMENSION, np.float32) for text in texts]
        return _unit(np.array(rows).reshape(-1, DIMENSION) - 0.5)


class GivenEmbedder(HashEmbedder):
    """Gives every text the vector that it was told: a search without the time of an encoder."""

    name = "synthetic"
    vector: npt.NDArray[np.float32]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        return np.repeat(self.vector[None], len(texts), axis=0)


def _unit(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
