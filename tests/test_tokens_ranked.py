"""Ids in bulk by tiktoken: those of the pipeline, or no such way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unicodedata import category, normalize, ucd_3_2_0

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers, pre_tokenizers, processors

from test_tokenizers_real import FAMILIES, gathered
from tiny_tokenizers import SENTENCES, SPECIAL, byte_level, prepending, random_ranks
from whetstone.errors import RequestRefusedError
from whetstone.tokens import json_tokenizer
from whetstone.tokens.json_tokenizer import JsonTokenizer, pipeline
from whetstone.tokens.ranked import Ranked, ranked
from whetstone.tokens.tiktoken_names import ENCODINGS
from whetstone.tokens.tiktoken_ranks import ranks_engine
from whetstone.tokens.unicode_versions import Finder, class_differs, nfc_differs, ranges_of

KINDS = ("digits", "plain", "composing", "llama", "ranks")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
ODD = [*SENTENCES[:6], "", "\x00", " \n\t 1", "x" * 5000, "'ſ I'LL", "½²Ⅷ", "\U00040000", "a \r\n\r\n b", "<|end|>x"]


def engine(kind: str) -> tokenizers.Tokenizer:
    if kind == "ranks":
        return ranks_engine(random_ranks(3), ENCODINGS["o200k_base"].pattern, {"<|end|>": 999})
    made = byte_level(digits=kind == "digits", compose=kind == "composing")
    if kind == "llama":
        split = pre_tokenizers.Split(Regex(LLAMA3), behavior="isolated")
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([split, whole])
    return made


def ranked_of(made: tokenizers.Tokenizer, **changed: Any) -> Ranked | None:
    return ranked(made, pipeline(made), {**json.loads(made.model.__getstate__()), **changed})


ENGINES = {kind: engine(kind) for kind in KINDS}
RANKED = {kind: ranked_of(made) for kind, made in ENGINES.items()}


def ids_of(made: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    return [found.ids for found in made.encode_batch_fast(texts, add_special_tokens=False)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.text()
        | st.lists(st.sampled_from([*"ab1 \n'\t!é\u0301한", "'s", "  ", "\r\n", "<|end|>", *SENTENCES[:6]])).map(
            "".join
        ),
        max_size=4,
    )
)
def test_any_text_gets_the_pipelines_ids_or_is_left_to_it(kind: str, texts: list[str]) -> None:
    made = RANKED[kind]
    assert made is not None
    for text, found, expected in zip(texts, made.encode_many(texts), ids_of(ENGINES[kind], texts), strict=True):
        assert found == expected or (found is None and "<|" in text) or any(ord(c) > 0x10000 for c in text)
        assert found in (None, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_long_lines_are_cut_without_a_trace_and_seas_of_blanks_are_left(kind: str) -> None:
    made = RANKED[kind]
    assert made is not None
    line = " ".join(SENTENCES).replace("\n", " ") * 300
    blanks = " " * 300_000
    texts = [line, "x" * 500_000, blanks, "a\x00b", "\n" * 300_000]
    long, run, white, nul, lines = made.encode_many(texts)
    assert [long, run, nul] == ids_of(ENGINES[kind], [line, texts[1], texts[3]])
    assert white is None
    assert lines is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special", [False, True])
def test_in_bulk_a_tokenizer_gives_the_ids_that_it_gives_one_by_one(
    kind: str, special: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engine(kind)
    if kind == "plain":
        made.post_processor = processors.TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)])
    tokenizer = JsonTokenizer(made, name="t", source="t", special_tokens={"bos_token": SPECIAL[0]})
    texts = ODD * 3
    for add in (False, True):
        one_by_one = [tokenizer.encode(text, special=special, add_special_tokens=add).ids for text in texts]
        monkeypatch.setattr(json_tokenizer, "_BULK", 1)
        assert tokenizer.encode_ids_many(texts, special=special, add_special_tokens=add) == one_by_one
        assert tokenizer._ranked is not None
    with pytest.raises(RequestRefusedError, match="lone surrogate"):
        tokenizer.encode_ids_many(["a", "\ud800"])


def test_little_text_is_not_worth_the_preparation() -> None:
    tokenizer = JsonTokenizer(engine("plain"), name="t", source="t")
    tokenizer.encode_ids_many(SENTENCES)
    assert "_ranked" not in vars(tokenizer)


def changed(made: tokenizers.Tokenizer, **model: Any) -> tokenizers.Tokenizer:
    state = json.loads(made.to_str())
    state["model"] |= model
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def test_merges_that_are_not_those_of_ranks_are_refused() -> None:
    made = engine("plain")
    merges = json.loads(made.to_str())["model"]["merges"]
    backwards = changed(made, merges=[*merges[1:], merges[0]])
    assert ranked_of(backwards) is None
    # Whole tokens are taken although merges for them are missing: tiktoken would join neighbours to them.
    assert ranked_of(changed(made, ignore_merges=True)) is None
    # Without its last merge the token cannot be reached any more; it is no rank, so that both agree.
    found = ranked_of(changed(made, merges=merges[:-1]))
    assert found is not None
    text = "".join("".join(pair) for pair in merges[-3:]).replace("Ġ", " ")
    assert found.encode_many([text]) == ids_of(changed(made, merges=merges[:-1]), [text])
    # A token in two steps of which the first is never taken, because another merge comes before it.
    vocabulary = {letter: number for number, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    for token in ("ab", "bc", "abc"):
        vocabulary[token] = len(vocabulary)
    unreachable = changed(made, vocab=vocabulary, merges=[["a", "b"], ["b", "c"], ["a", "bc"]])
    assert ids_of(unreachable, ["abc"]) != [[vocabulary["abc"]]]
    assert ranked_of(unreachable) is None


def test_other_ways_to_cut_are_refused() -> None:
    made = engine("plain")
    assert ranked_of(prepending()) is None
    assert ranked_of(made, dropout=0.1) is None
    for other in (
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(False)]),
        pre_tokenizers.Split(Regex(r"\w+"), behavior="isolated"),
    ):
        made.pre_tokenizer = other
        assert ranked_of(made) is None


def test_characters_without_tokens_for_their_bytes_are_left_alone() -> None:
    made = engine("plain")
    model = json.loads(made.to_str())["model"]
    vocabulary = {token: id for token, id in model["vocab"].items() if not set(token) & {"Ģ", "ð"}}
    merges = [pair for pair in model["merges"] if not set("".join(pair)) & {"Ģ", "ð"}]
    lead = {token: id for token, id in model["vocab"].items() if "ð" not in token}
    kept = [pair for pair in model["merges"] if "ð" not in "".join(pair)]
    # 0x80 continues so many characters that there is no point; 0xF0 begins those from U+10000 on.
    assert ranked_of(changed(made, vocab=vocabulary, merges=merges)) is None
    found = ranked_of(changed(made, vocab=lead, merges=kept))
    assert found is not None
    assert [ids is None for ids in found.encode_many(["a한", "a😀", "\U0003ffff", "\U00040000"])] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_real_families_are_ranked_and_agree(shared_data: Path, family: str) -> None:
    folder = shared_data / "tokenizers" / family
    if not folder.is_dir():
        pytest.skip(f"needs the tokenizer of {family}, which is not at {folder}")
    made = json_tokenizer.read_tokenizer_json(folder / "tokenizer.json")
    made.no_truncation()
    found = ranked_of(made)
    if family == "phi-3":
        assert found is None  # `▁` for spaces, and bytes for what has no token
        return
    assert found is not None
    texts = [*gathered(("<|im_start|>",)), *(f"x{chr(n)} {chr(n)}1" for n in range(0, 0xD800, 7))]
    ids = found.encode_many(texts)
    assert all(one is None or one == two for one, two in zip(ids, ids_of(made, texts), strict=True))
    assert sum(one is None for one in ids) < len(texts) / 20


@given(
    st.text(),
    st.text(st.sampled_from("a\u0301\u0327\u0345ᄀ가ᅡᆨéè\u09c7\u09be\u2126豈\u0344\u302a\u1dfa\U00016ff0"), max_size=6),
)
def test_nfc_is_the_librarys_but_for_characters_that_are_told(text: str, odd: str) -> None:
    for one in (text, odd, text + odd):
        assert set(one) & nfc_differs() or normalizers.NFC().normalize_str(one) == normalize("NFC", one)


def test_characters_on_which_unicode_versions_differ_are_few_and_new() -> None:
    assert not any(category(one) != "Cn" for one in class_differs(r"\p{L}") if one < "\u3000")
    assert not any(ucd_3_2_0.category(one) != "Cn" for one in nfc_differs())


def test_a_finder_finds_its_characters_and_no_others() -> None:
    some = "]^-a\x00\ud7ff\uffff\U00010000\U0001f600"
    found = Finder(ranges_of(some))
    around = {chr(ord(one) + step) for one in some for step in (-1, 0, 1) if ord(one) + step >= 0}
    assert {one for one in around if found(f"{one}!")} == set(some)
    assert not Finder([])("x\U0001f600")
    assert Finder([(0xFFF0, 0x10005)])("\U00010003")
