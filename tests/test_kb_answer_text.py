"""What is made of an answer's text, and of a passage's: markers, quotes, packing, sources, attribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import ContextTooLongError
from whetstone.models.scripted import ScriptedModel
from whetstone.retrieval.attribution import attribute, sentences_of
from whetstone.retrieval.citations import CitationReader
from whetstone.retrieval.document import Chunk, StoredChunk
from whetstone.retrieval.packing import Passage, as_passages, pack
from whetstone.retrieval.prompt import fence_of, request_for, says_nothing
from whetstone.retrieval.sources import sources_text, without_sources
from whetstone.tokens.quoting import QUOTE, quoted, visible
from whetstone.types import Message, Options, assistant, system, text_of, user


def stored(
    number: int, text: str, *, path: str = "a.md", start: int = 0, headings: tuple[str, ...] = ()
) -> StoredChunk:
    return StoredChunk(number, path, "", {}, Chunk(0, headings, text, start, start + len(text)))


def read(text: str, known: tuple[int, ...] = (1, 2, 3), size: int = 3) -> tuple[str, CitationReader]:
    reader = CitationReader(known)
    pieces = [reader.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return "".join([*pieces, reader.finish()]), reader


@pytest.mark.parametrize(
    ("written", "shown", "cited", "unknown"),
    [
        ("Nine days [1].", "Nine days [1].", [1], []),
        ("Nine days [1, 3] and more [2].", "Nine days [1][3] and more [2].", [1, 3, 2], []),
        ("Nine days [1-3].", "Nine days [1][2][3].", [1, 2, 3], []),
        ("Nine days [Passage 2].", "Nine days [2].", [2], []),
        ("Nine days【2】.", "Nine days[2].", [2], []),
        ("Nine days [^1].", "Nine days [1].", [1], []),
        ("Nine days [99].", "Nine days.", [], [99]),
        ("Nine days [1, 99].", "Nine days [1].", [1], [99]),
        ("Nine days [99][1].", "Nine days [1].", [1], [99]),
        ("Nine days [0].", "Nine days.", [], [0]),
        ("A list [of words] stays.", "A list [of words] stays.", [], []),
        ("`row[3]` and [3]", "`row[3]` and [3]", [3], []),
        ("```\nx[7] = [8]\n```\nSo [1].", "```\nx[7] = [8]\n```\nSo [1].", [1], []),
        ("an open ` tick\nthen [9]", "an open ` tick\nthen", [], [9]),
        ("ends in [1", "ends in [1", [], []),
        ("[[1]", "[[1]", [1], []),
        ("휴가는 9일입니다 [문서 1].", "휴가는 9일입니다 [1].", [1], []),
    ],
)
def test_markers_are_checked_however_the_text_is_cut(
    written: str, shown: str, cited: list[int], unknown: list[int]
) -> None:
    for size in (1, 2, 3, 7, 1000):
        text, reader = read(written, size=size)
        assert text == shown
        assert list(reader.spans) == cited
        assert reader.unknown == unknown


@pytest.mark.parametrize(
    "written", ["see [1](http://evil.example/?q=secret)", "[1]: http://evil.example", "![1](http://evil.example/p.png)"]
)
def test_a_marker_never_becomes_a_link(written: str) -> None:
    for size in (1, 4, 1000):
        text, reader = read(written, size=size)
        assert "](" not in text
        assert "]:" not in text
        assert list(reader.spans) == [1]


@given(st.text(alphabet="ab [](){}0123456789,-`\n【】:^", max_size=60), st.integers(1, 9))
def test_spans_point_at_the_markers_and_no_unknown_number_is_shown(text: str, size: int) -> None:
    shown, reader = read(text, size=size)
    assert shown == read(text, size=1000)[0]
    for number, spans in reader.spans.items():
        assert number in (1, 2, 3)
        assert all(shown[start:end] == f"[{number}]" for start, end in spans)


def test_nothing_unseen_and_no_line_end_but_a_line_feed_is_left_in_a_passage() -> None:
    hidden = "".join(map(chr, range(0xE0041, 0xE0060)))
    text = f"open\u200b the\u202e door{hidden}\ufeff\x1b[31m\rnow\u2028<|im_\u200bend|>"
    assert visible(text) == "open the door[31m\nnow\n<|im_end|>"
    assert visible("می\u200cخواهم 👨\u200d👩") == "می\u200cخواهم 👨\u200d👩"


@given(st.text(max_size=80))
def test_every_line_of_a_passage_is_quoted(text: str) -> None:
    assert all(line.startswith(QUOTE) for line in quoted(text).splitlines())


def test_marks_of_templates_are_parted_where_an_endpoint_renders_the_prompt() -> None:
    for mark in ("<|im_end|>", "<｜User｜>", "[INST]", "</s>", "<start_of_turn>", "<<SYS>>", "<think>"):
        assert mark in quoted(f"a {mark} b")
        assert mark not in quoted(f"a {mark} b", part_marks=True)


def test_overlapping_chunks_become_one_passage_of_the_documents_text() -> None:
    document = "one two three four five six seven"
    chunks = [
        stored(1, document[8:18], start=8),
        stored(2, "other", path="b.md"),
        stored(3, document[14:33], start=14),
        stored(4, document[0:8], start=0),
    ]
    first, second = as_passages([[chunk] for chunk in chunks])
    assert (first.number, first.path, first.start, first.end, first.text) == (1, "a.md", 0, 33, document)
    assert sorted(first.chunks) == [1, 3, 4]
    assert (second.number, second.path) == (2, "b.md")


def test_blocks_that_follow_each_other_are_joined_as_in_the_document_and_others_are_not() -> None:
    after, apart = stored(2, "## B", start=5, headings=("A", "B")), stored(3, "later", start=12)
    one, two = as_passages([[stored(1, "abc", headings=("A",)), after], [apart]])
    assert (one.text, one.start, one.end, one.headings) == ("abc\n\n## B", 0, 9, ("A",))
    assert two.text == "later"


def request(passages: list[Passage]) -> list[Message]:
    return [user(" ".join(passage.shown for passage in passages) + " question")]


def test_whole_passages_are_packed_best_first_and_what_has_no_room_is_told() -> None:
    chunks = [stored(n, f"word{n} " * size, path=f"{n}.md") for n, size in ((1, 30), (2, 60), (3, 10), (4, 10))]
    model = ScriptedModel(["x"], context_length=100)
    packed = pack(
        model, [[chunk] for chunk in chunks], lambda passages: request(list(passages)), Options(max_tokens=30)
    )
    assert [passage.path for passage in packed.passages] == ["1.md", "3.md", "4.md"]
    assert [passage.number for passage in packed.passages] == [1, 2, 3]
    assert [chunk.path for chunks in packed.left_out for chunk in chunks] == ["2.md"]
    assert packed.exact
    assert packed.tokens == model.count_tokens(packed.messages) <= packed.limit == 70


def test_no_room_for_a_single_passage_is_an_error_and_not_an_empty_context() -> None:
    model = ScriptedModel(["x"], context_length=60)
    with pytest.raises(ContextTooLongError, match="no passage"):
        pack(model, [[stored(1, "word " * 100)]], lambda passages: request(list(passages)), Options(max_tokens=20))


def test_the_fence_depends_on_the_passages_and_stands_nowhere_else() -> None:
    fence = fence_of(["a text"], [user("q")])
    assert fence == fence_of(["a text"], [user("q")])
    assert fence != fence_of([f"a text {fence}"], [user("q")])
    assert fence != fence_of(["a text"], [user("another question")])


def test_passages_go_into_the_last_question_and_earlier_sources_out_of_the_history() -> None:
    passages = as_passages([[stored(1, "Nine days.")]])
    old = "Yes [2]." + sources_text([passages[0].cited("docs", [(0, 1)], attributed=False)])
    conversation = [system("Be brief."), user("Is there leave?"), assistant(old), user("How much?")]
    messages = request_for(conversation, "How much leave is there?", passages, part_marks=False)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert text_of(messages[2]) == "Yes."
    assert "Passage [1]\n> a.md\n> Nine days." in text_of(messages[3])
    assert text_of(messages[3]).endswith("Question: How much?\n(In full: How much leave is there?)")


def test_sources_are_listed_and_taken_away_again() -> None:
    passage = as_passages([[stored(1, "x", path="a *b*\n](c).md", headings=("T", "Leave"))]])[0]
    for attributed in (False, True):
        text = sources_text([passage.cited("docs", [], attributed=attributed)])
        assert text.splitlines()[-1] == "- [1] `a *b* ](c).md, Leave`"
        assert without_sources(f"Nine days [1].{text}") == "Nine days."
    assert without_sources("Sources: my own head") == "Sources: my own head"
    assert without_sources(f"Nine days.{sources_text([])}") == "Nine days."


class Letters:
    """An embedder that counts letters."""

    name, dimension, max_tokens = "letters", 26, 512

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

    def embed(self, texts: list[str], progress: object = None) -> npt.NDArray[np.float32]:
        counts = np.array([[text.lower().count(chr(97 + n)) + 1e-3 for n in range(26)] for text in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


def test_a_sentence_belongs_to_the_passage_that_holds_its_words_and_its_numbers() -> None:
    passages = as_passages(
        [
            [stored(1, "Employees have 25 days of annual leave.", path="leave.md")],
            [stored(2, "Employees have 30 days of annual leave in Korea.", path="korea.md")],
        ]
    )
    answer = "Employees have 30 days of annual leave. The moon is made of green cheese. Yes."
    found = attribute(answer, passages, Letters())  # type: ignore[arg-type]
    assert found == {2: [(0, 39)]}
    assert answer[0:39] == "Employees have 30 days of annual leave."


def test_sentences_end_at_marks_of_any_script_and_at_lines() -> None:
    text = "Costs 3.50 dollars. 비용은 3달러입니다。다음!\n- a point\n- another"
    assert [text[start:end] for start, end in sentences_of(text)] == [
        "Costs 3.50 dollars.",
        "비용은 3달러입니다。",
        "다음!",
        "- a point",
        "- another",
    ]


def test_saying_that_the_documents_do_not_say_is_recognised() -> None:
    assert says_nothing(' "The documents do not say." ')
    assert says_nothing("The documents do not say")
    assert not says_nothing("The documents do not say. But I think it is 7.")
