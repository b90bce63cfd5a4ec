"""Chunks: they follow the structure, hold everything once, and never exceed the embedder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import UsageError
from whetstone.retrieval.chunker import Chunker, ChunkSettings
from whetstone.retrieval.cutting import cut, halves
from whetstone.retrieval.document import Block, Chunk
from whetstone.retrieval.reading import document_text
from whetstone.retrieval.reading.lines import Line
from whetstone.retrieval.reading.markdown import markdown
from whetstone.retrieval.reading.plain import code, paragraphs


def count(texts: Sequence[str]) -> list[int]:
    """Tokens as a plain tokenizer has them: words in pieces of four letters, and two marks around the text."""
    return [2 + sum(-(-len(word) // 4) for word in re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def lines(text: str) -> Iterator[Line]:
    at = 0
    for number, line in enumerate(text.split("\n"), start=1):
        kept = line.rstrip()
        yield Line(number, at, kept)
        at += len(kept) + 1


def chunks_of(text: str, title: str = "Title", tokens: int = 256, **sizes: int) -> list[Chunk]:
    return list(Chunker(count, tokens, ChunkSettings(**sizes)).chunks(title, markdown(lines(text))))


def check(chunks: list[Chunk], blocks: list[Block], tokens: int) -> None:
    """What holds for any chunks of any document."""
    text = document_text(blocks)
    covered = 0
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.text.strip()
        assert count([chunk.shown])[0] <= tokens
        assert chunk.start >= covered or text[chunk.start : covered].strip()  # an overlap repeats something
        assert not text[covered : chunk.start].strip()
        assert chunk.end > covered
        covered = chunk.end
    assert not text[covered:].strip()


SENTENCE = "The quick brown fox jumps over the lazy dog. "


def test_a_section_s_heading_belongs_to_its_chunk_and_the_trail_names_those_above() -> None:
    text = f"# Guide\n\n## Setup\n\n### Wires\n\n{SENTENCE * 4}\n\n## Use\n\n{SENTENCE * 4}"
    first, second = chunks_of(text, "Guide")
    assert first.text.startswith("# Guide\n\n## Setup\n\n### Wires\n\nThe quick")
    assert first.headings == ("Guide",)
    assert second.text.startswith("## Use\n\nThe quick")
    assert second.shown == f"Guide\n{second.text}"


def test_a_section_in_several_chunks_keeps_its_trail() -> None:
    text = "# Guide\n\n## Setup\n\n### *Wires* and [plugs](x)\n\n" + "\n\n".join([SENTENCE * 5] * 4)
    chunks = chunks_of(text, "The guide")
    assert [chunk.headings for chunk in chunks[1:]] == [("The guide", "Guide", "Setup", "Wires and plugs")] * 3
    assert chunks[1].trail == "The guide > Guide > Setup > Wires and plugs"


def test_short_sections_are_joined_and_long_ones_are_not() -> None:
    short = "".join(f"## Part {n}\n\nA word.\n\n" for n in range(4))
    assert len(chunks_of(short)) == 1
    assert len(chunks_of(short, least=0)) == 4


def test_no_heading_ends_a_chunk() -> None:
    text = "\n\n".join(f"## Part {n}\n\n{SENTENCE * (n % 7 + 1)}" for n in range(40))
    for chunk in chunks_of(text, least=30, target=200, longest=500):
        assert not chunk.text.rpartition("\n")[2].startswith("#")


def test_code_and_tables_stay_whole_up_to_the_longest() -> None:
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | {'x' * 20} |" for n in range(17))
    fence = "```python\n" + "value = compute()\n\n" * 20 + "```"
    chunks = chunks_of(f"{SENTENCE * 4}\n\n{table}\n\n{SENTENCE * 4}\n\n{fence}", target=400, longest=600)
    assert table in [chunk.text for chunk in chunks]
    assert fence in [chunk.text for chunk in chunks]


def test_a_cut_table_repeats_its_head_and_keeps_its_rows() -> None:
    head = "| name | price |\n|:--|--:|"
    rows = [f"| article number {n} | {n * 17} |" for n in range(100)]
    chunks = chunks_of("\n".join([head, *rows]))
    assert len(chunks) > 5
    assert chunks[0].text.startswith(head)
    assert not chunks[0].header
    for chunk in chunks[1:]:
        assert chunk.header == head
        assert chunk.shown.startswith(f"Title\n{head}\n| article")
    found = [line for chunk in chunks for line in chunk.text.splitlines()]
    assert found == [*head.splitlines(), *rows]


def test_a_table_that_only_the_tokens_cut_repeats_its_head() -> None:
    head = "| name | price |\n|:--|--:|"
    rows = [f"| article {n} | {n * 17} |" for n in range(20)]
    chunks = chunks_of("\n".join([head, *rows]), tokens=64)
    assert len(chunks) > 1
    assert {chunk.header for chunk in chunks[1:]} == {head}


def test_long_text_is_cut_at_sentences() -> None:
    chunks = chunks_of(SENTENCE * 100, target=400, longest=600)
    assert all(chunk.text.startswith("The") and chunk.text.endswith("dog.") for chunk in chunks)
    sizes = [len(chunk.text) for chunk in chunks]
    assert max(sizes) < 1.5 * min(sizes)


def test_without_sentences_text_is_cut_at_words_and_without_words_between_characters() -> None:
    words = chunks_of("word " * 1000)
    assert all(set(chunk.text.split()) == {"word"} for chunk in words)
    family = "👨‍👩‍👧‍👦"
    for whole in (family, "e\u0301", "\u1112\u1161\u11ab", "🇰🇷", "👍🏽"):
        for chunk in chunks_of(whole * 700):
            assert not chunk.text.replace(whole, "")


def test_whole_blocks_overlap() -> None:
    text = "\n\n".join(f"Paragraph {n} says something about number {n} and no more." for n in range(30))
    chunks = chunks_of(text, overlap=120)
    assert len(chunks) > 5
    for before, after in pairwise(chunks):
        shared = before.end - after.start
        assert 0 < shared <= 120
        assert after.text.startswith("Paragraph")
        assert before.text.endswith(after.text[:shared])


def test_a_heading_begins_without_overlap() -> None:
    paragraph = SENTENCE * 2
    text = f"{paragraph}\n\n{paragraph}\n\n## New\n\n{paragraph}"
    assert chunks_of(text, overlap=150)[-1].text.startswith("## New")


def test_a_long_trail_is_shortened_in_the_middle() -> None:
    text = "".join(f"{'#' * level} Heading number {level}\n\n" for level in range(1, 7)) + "\n\n".join(
        [SENTENCE * 9] * 3
    )
    last = chunks_of(text, "A title", trail=60)[-1]
    assert last.headings == ("A title", "…", "Heading number 5", "Heading number 6")
    long = chunks_of("\n\n".join([SENTENCE * 9] * 3), "begin " + "very long " * 50 + "end", trail=60)[-1]
    assert len(long.trail) <= 60
    assert long.trail.startswith("begin very")
    assert long.trail.endswith("end")
    assert "…" in long.trail


@pytest.mark.parametrize("text", ["", " \n\t\n ", "\n\n\n"])
def test_nothing_gives_no_chunk(text: str) -> None:
    assert chunks_of(text) == []


def test_a_trail_of_many_tokens_does_not_starve_the_text() -> None:
    chunks = chunks_of("word " * 300, "! " * 60, tokens=64)
    assert len(chunks) < 20
    assert all(count([chunk.trail])[0] <= 24 for chunk in chunks)


def test_the_version_tells_settings_apart() -> None:
    versions = {
        Chunker(count, tokens, ChunkSettings(**sizes)).version
        for tokens in (128, 256)
        for sizes in ({}, {"target": 300}, {"longest": 700}, {"overlap": 10}, {"least": 1}, {"trail": 50})
    }
    assert len(versions) == 12


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="target <= longest"):
        ChunkSettings(target=1000)
    with pytest.raises(UsageError, match="trail"):
        ChunkSettings(trail=500)
    with pytest.raises(UsageError, match="at least 32"):
        Chunker(count, 10)


def test_tokens_are_counted_in_batches() -> None:
    calls: list[int] = []

    def counted(texts: Sequence[str]) -> list[int]:
        calls.append(len(texts))
        return count(texts)

    chunks = list(Chunker(counted, 256).chunks("T", paragraphs(lines((SENTENCE * 8 + "\n\n") * 3000))))
    assert len(chunks) == 3000
    assert len(calls) < 10


def test_blocks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[Block]:
        nonlocal taken
        while True:
            yield Block("text", SENTENCE.strip(), taken * 100, taken * 100 + len(SENTENCE) - 1)
            taken += 1

    next(Chunker(count, 256).chunks("T", endless()))
    assert taken < 50_000


_ANY = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=400)
_PIECES = (
    st.sampled_from(
        [
            "# H\n",
            "## Two\n\n",
            "#### four\n",
            "a b c. D e f! ",
            "word",
            "\n",
            "\n\n",
            " ",
            "  \n",
            "- item\n",
            "1. one\n",
        ]
    )
    | st.sampled_from(
        [
            "```\ncode\n\nmore\n```\n",
            "    x = 1\n",
            "보험 계약서. ",
            "👨‍👩‍👧",
            "> quote\n",
            "<div>\n",
            "[a]: http://b\n",
            "---\n",
        ]
    )
    | st.sampled_from(["x" * 90, "\t" * 50, "e\u0301" * 30, "| a | b |\n|---|---|\n| 1 | 2 |\n"])
)
_SIZES = st.builds(
    lambda target, more, overlap, least: ChunkSettings(target, target + more, min(overlap, target - 1), least, 16),
    st.integers(32, 300),
    st.integers(0, 300),
    st.integers(0, 200),
    st.integers(0, 200),
)


@given(
    text=st.one_of(_ANY, st.lists(_PIECES, max_size=60).map("".join)),
    title=st.text(st.characters(codec="utf-8"), max_size=80),
    tokens=st.integers(32, 120),
    sizes=_SIZES,
    reader=st.sampled_from([markdown, paragraphs, code]),
)
def test_every_character_is_in_a_chunk_in_order(
    text: str, title: str, tokens: int, sizes: ChunkSettings, reader: object
) -> None:
    blocks = list(reader(lines(text)))  # type: ignore[operator]
    assert "".join(document_text(blocks).split()) == "".join(text.split())
    check(list(Chunker(count, tokens, sizes).chunks(title, blocks)), blocks, tokens)


@given(
    text=st.text(min_size=1).filter(lambda text: bool(text.strip())), limit=st.integers(1, 50), first=st.integers(1, 50)
)
def test_pieces_join_to_the_block(text: str, limit: int, first: int) -> None:
    block = Block("text", text, 0, len(text))
    for pieces in (cut(block, limit, first), halves(block)):
        assert "".join(piece.text for piece in pieces) == text[pieces[0].start :]
        assert not text[: pieces[0].start].strip()
        assert [piece.end for piece in pieces] == [*(piece.start for piece in pieces[1:]), len(text)]
        assert all(piece.text.strip() for piece in pieces)


def test_real_documents_are_covered(shared_data: Path) -> None:
    for file in sorted((shared_data / "insurellm" / "knowledge-base").rglob("*.md")):
        blocks = list(markdown(lines(file.read_text(encoding="utf-8"))))
        check(list(Chunker(count, 256).chunks(file.stem, blocks)), blocks, 256)
