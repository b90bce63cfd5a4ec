"""Training rows are what the model meets at work, whatever their layout; what cannot be learned from is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tiny_hf
from whetstone.curation.job import curate
from whetstone.curation.options import Options
from whetstone.datasets.build import build_problem
from whetstone.errors import DataError, UsageError
from whetstone.models import load_model
from whetstone.models.base import VocabularyModel
from whetstone.prompting.price import PricePrompt
from whetstone.prompting.template import load_template
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.data import load_data
from whetstone.tuning.rows import PackedRows, TuneData, TuneRow

Rows = Sequence[Mapping[str, Any]]
ASKED = [f"Name animal number {n}." for n in range(20)]
ITEMS = [{"text": f"A wooden table, number {n}. " * (1 + n % 4), "price": 3.25 + 11 * n} for n in range(60)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(f"hf:{tiny_hf.llama(tmp_path_factory.mktemp('tiny'))}")


@pytest.fixture(scope="module")
def tokenizer(model: Any) -> Tokenizer:
    found: Tokenizer = model.vocabulary
    return found


@pytest.fixture(scope="module")
def without_template(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("t5")
    tiny_hf.tokenizer(None).save_pretrained(folder)
    return load_tokenizer(str(folder))


def saved(path: Path, rows: Rows) -> str:
    if path.suffix == ".parquet":
        pl.DataFrame(list(rows)).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def loaded(source: str, tokenizer: Tokenizer, *, encoder_decoder: bool = False, **changed: Any) -> TuneData:
    return load_data(TuneConfig(data=source, **changed), tokenizer, encoder_decoder=encoder_decoder)


def learned(row: TuneRow, tokenizer: Tokenizer) -> str:
    return tokenizer.decode([token for token, on in zip(row.ids, row.learned, strict=True) if on])


LAYOUTS: dict[str, Rows] = {
    "messages": [
        {"messages": [{"role": "user", "content": each}, {"role": "assistant", "content": "A cat"}]} for each in ASKED
    ],
    "prompt and completion": [
        {
            "prompt": [{"role": "user", "content": each}],
            "completion": [{"role": "assistant", "content": "A cat"}],
        }
        for each in ASKED
    ],
    "conversations (ShareGPT)": [
        {"conversations": [{"from": "human", "value": each}, {"from": "gpt", "value": "A cat"}]} for each in ASKED
    ],
    "instruction and output (Alpaca)": [{"instruction": each, "input": "", "output": "A cat"} for each in ASKED],
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_conversation_gives_the_rows_that_messages_give(
    layout: str, suffix: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    data = loaded(saved(tmp_path / f"rows{suffix}", LAYOUTS[layout]), tokenizer)
    plain = loaded(saved(tmp_path / "messages.jsonl", LAYOUTS["messages"]), tokenizer)
    assert data.layout == layout
    assert data.fingerprint == plain.fingerprint
    assert (len(data.train), len(data.validation)) == (18, 2)
    assert learned(data.train[0], tokenizer) == "A cat<|im_end|>"
    assert data.chats


def test_what_is_shown_is_what_is_trained(tmp_path: Path, tokenizer: Tokenizer) -> None:
    talks = loaded(saved(tmp_path / "talks.jsonl", LAYOUTS["messages"]), tokenizer)
    items = saved(tmp_path / "items.jsonl", ITEMS)
    asking = [loaded(items, tokenizer, text="text", target="price", form=form) for form in ("plain", "chat")]
    for data in (talks, *asking):
        assert len(data.kept_texts) == 5
        for shown, row in zip(data.kept_texts, data.train, strict=False):
            assert (shown.ids, shown.trained) == (row.ids, row.learned)
            assert "".join(shown.text[s.start : s.end] for s in shown.spans) == shown.text


def test_a_prompt_and_its_completion_are_encoded_apart_as_they_are_at_work(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    rows = [{"prompt": f"{each} It is a", "completion": " cat"} for each in ASKED]
    data = loaded(saved(tmp_path / "rows.jsonl", rows), tokenizer, validation_size=0)
    row = data.train[0]
    assert row.ids == [*tokenizer.encode(str(rows[0]["prompt"])).ids, *tokenizer.encode(" cat").ids, 2]
    assert learned(row, tokenizer) == " cat<|im_end|>"
    assert row.where.endswith("rows.jsonl:1")
    assert not data.chats
    everything = loaded(data.source, tokenizer, completion_only_loss=False)
    assert all(everything.train[0].learned)


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_a_number_is_asked_for_as_the_price_technique_asks(
    form: Any, tmp_path: Path, model: Any, tokenizer: Tokenizer
) -> None:
    source = saved(tmp_path / "items.jsonl", ITEMS)
    data = loaded(source, tokenizer, text="text", target="price", form=form)
    assert data.form == PricePrompt(form)
    problem = build_problem(source, text="text", target="price", seed=42).problem
    assert data.problem is not None
    assert data.problem.fingerprint == problem.fingerprint
    for row, case in zip(data.train, problem.train, strict=True):
        assert row.number_at is not None
        assert row.ids[: row.number_at] == data.form.ids(model, case.text).ids
        assert row.target == case.expected
        assert learned(row, tokenizer) == f"{round(float(case.expected))}.00<|im_end|>"


def test_a_label_is_asked_for_as_ask_asks(tmp_path: Path, model: Any, tokenizer: Tokenizer) -> None:
    rows = [{"text": each, "kind": "ab"[n % 2]} for n, each in enumerate(ASKED * 2)]
    data = loaded(saved(tmp_path / "rows.jsonl", rows), tokenizer, text="text", target="kind")
    assert data.problem is not None
    case, row = data.problem.train[0], data.train[0]
    values = {"text": case.text, "question": "", "target": "kind", "labels": ["a", "b"]}
    prompt = model.prompt_ids(load_template("label").messages(values))
    assert row.ids[: len(prompt)] == prompt
    assert learned(row, tokenizer) == f"{case.expected}<|im_end|>"


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_a_long_text_is_cut_and_neither_question_nor_number(form: Any, tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{**item, "text": f"{item['text']} {'wood ' * (n % 3 * 4_000)}"} for n, item in enumerate(ITEMS)]
    source = saved(tmp_path / "items.jsonl", rows)
    data = loaded(source, tokenizer, text="text", target="price", form=form, max_length=100)
    everything = [*data.train, *data.validation]
    assert sum(row.cut > 10_000 for row in everything) > 20
    for row in everything:
        assert len(row.ids) <= 100
        text = tokenizer.decode(row.ids)
        assert "How much does this cost to the nearest dollar?" in text
        assert f"Price is ${round(row.target or 0)}.00" in text
    short = loaded(source, tokenizer, text="text", target="price", form=form, max_length=90)
    assert any("were cut at their end" in remark for remark in short.remarks)
    with pytest.raises(DataError, match=r"cannot be used; the first: .*question, label and examples take"):
        loaded(source, tokenizer, text="text", target="price", form=form, max_length=20)


def test_how_much_of_a_text_is_left_tells_nothing_of_the_answer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    answers: dict[str, tuple[int, list[Any]]] = {
        "price": (140, [3.0, 40.0, 500.0]),
        "mood": (300, ["bad", "good", "of two minds about it, and in no hurry to decide"]),
    }
    for target, (limit, known) in answers.items():
        # Texts of all lengths around the limit, each with every answer.
        texts = [f"A thing {'wood ' * n}" for n in range(0, 100, 3)]
        rows = [{"text": f"{text} {n % 3}", target: known[n % 3]} for text in texts for n in range(3)]
        source = saved(tmp_path / f"{target}.jsonl", rows)
        data = loaded(source, tokenizer, text="text", target=target, max_length=limit, validation_size=3, test_size=3)
        left: dict[str, set[int]] = {}
        for row in data.train:
            prompt = row.ids[: row.learned.index(True)]
            left.setdefault(str(row.target or tokenizer.decode(row.ids[len(prompt) :])), set()).add(len(prompt))
        assert any(row.cut for row in data.train)
        assert len(left) == 3
        assert len({max(lengths) for lengths in left.values()}) == 1, left


def test_an_encoder_decoder_reads_the_prompt_and_learns_the_answer(tmp_path: Path, without_template: Tokenizer) -> None:
    data = loaded(saved(tmp_path / "talks.jsonl", LAYOUTS["messages"]), without_template, encoder_decoder=True)
    row = data.train[0]
    assert without_template.decode(row.ids) == ASKED[0]
    assert row.labels is not None
    assert without_template.decode(row.labels) == "A cat<|im_end|>"
    assert not any(row.learned)
    assert any("no chat template" in remark for remark in data.remarks)
    items = saved(tmp_path / "items.jsonl", ITEMS)
    priced = loaded(items, without_template, encoder_decoder=True, text="text", target="price").train[0]
    assert without_template.decode(priced.ids).endswith("Price is $")
    assert priced.labels is not None
    assert without_template.decode(priced.labels) == f"{round(priced.target or 0)}.00<|im_end|>"


def test_rows_that_ask_the_same_or_share_a_group_are_kept_together_and_the_draw_repeats(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    rows = [{"instruction": ASKED[n % 10], "output": f"answer {n}", "group": f"pair {n % 10 // 2}"} for n in range(100)]
    data = loaded(saved(tmp_path / "rows.jsonl", rows), tokenizer, validation_size=20)

    def pairs(part: Sequence[TuneRow]) -> set[int]:
        return {(int(row.where.rpartition(":")[2]) - 1) % 10 // 2 for row in part}

    assert len(data.validation) == 20
    assert not pairs(data.train) & pairs(data.validation)
    again = loaded(data.source, tokenizer, validation_size=20)
    assert again.fingerprint == data.fingerprint
    assert loaded(data.source, tokenizer, validation_size=20, seed=7).fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"messages": "hello"}, "it holds a text where a list of messages is expected"),
        ({"messages": [{"role": "user", "content": 5}]}, "the content of message 0 is a number, not a text"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "message 0 has the role 'robot'"),
        ({"messages": []}, "it holds no message"),
        (
            {"messages": [{"role": "user", "content": "a " * 100_000}, {"role": "assistant", "content": "b"}]},
            "tokens, and max_length is 1,024",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_set_aside_with_its_reason(
    bad: Mapping[str, Any], says: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    data = loaded(saved(tmp_path / "rows.jsonl", [*LAYOUTS["messages"], bad]), tokenizer)
    assert len(data.train) + len(data.validation) == 20
    (reject,) = data.rejects
    assert reject.line == 21
    assert says in reject.reason


@pytest.mark.parametrize(
    "bad",
    [
        {"messages": [{"role": "user", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "  "}]},
    ],
)
def test_a_row_with_nothing_to_learn_stops_everything_with_its_number(
    bad: Mapping[str, Any], tmp_path: Path, tokenizer: Tokenizer
) -> None:
    source = saved(tmp_path / "rows.jsonl", [*LAYOUTS["messages"], bad])
    with pytest.raises(DataError, match=r"nothing would be learned from 1 row \(line 21\)"):
        loaded(source, tokenizer)


def test_an_empty_completion_stops_everything_too(tmp_path: Path, tokenizer: Tokenizer) -> None:
    source = saved(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": ""}, {"prompt": "b", "completion": "c"}])
    with pytest.raises(DataError, match=r"1 row \(line 1\): there is no answer"):
        loaded(source, tokenizer)


def test_most_rows_bad_is_another_file_than_was_meant(tmp_path: Path, tokenizer: Tokenizer) -> None:
    source = saved(tmp_path / "rows.jsonl", [{"messages": n} for n in range(9)])
    with pytest.raises(DataError, match="9 of 9 rows"):
        loaded(source, tokenizer)


def test_numbers_that_are_none_are_set_aside(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [*ITEMS, {"text": "a", "price": None}, {"text": "b", "price": "NaN"}]
    data = loaded(saved(tmp_path / "items.jsonl", rows), tokenizer, text="text", target="price")
    assert len(data.rejects) == 2
    assert all(np.isfinite(row.target or 0.0) for row in data.train)


def test_a_single_row_is_trained_on_and_nothing_is_validated(tmp_path: Path, tokenizer: Tokenizer) -> None:
    data = loaded(saved(tmp_path / "rows.jsonl", LAYOUTS["messages"][:1]), tokenizer)
    assert (len(data.train), len(data.validation)) == (1, 0)
    assert any("no validation rows" in remark for remark in data.remarks)


def test_columns_that_nobody_knows_are_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    source = saved(tmp_path / "rows.jsonl", ITEMS)
    with pytest.raises(DataError, match="has the columns text, price, and examples are recognised by messages"):
        loaded(source, tokenizer)
    with pytest.raises(UsageError, match="weights: balance is for problems"):
        loaded(saved(tmp_path / "talks.jsonl", LAYOUTS["messages"]), tokenizer, weights="balance")
    with pytest.raises(UsageError, match="no data to train on"):
        loaded("", tokenizer)


def test_balanced_bands_have_the_same_say(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{"text": f"thing {n}", "price": 5.0 if n % 10 else 250.0} for n in range(100)]
    source = saved(tmp_path / "items.jsonl", rows)
    data = loaded(source, tokenizer, text="text", target="price", weights="balance")
    cheap, dear = ([row for row in data.train if (row.target == 5.0) is low] for low in (True, False))
    assert sum(row.weight for row in cheap) == pytest.approx(sum(row.weight for row in dear), rel=0.01)
    assert all(row.weight == 1.0 for row in data.validation)


def test_a_curated_folder_brings_its_columns_and_splits(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [
        {"title": f"{word} table {n}", "text": f"{word} wood, number {n * 37}, for {word} rooms. " * 3, "price": 5 + n}
        for n, word in enumerate(f"w{7919 * n}" for n in range(60))
    ]
    source = saved(tmp_path / "shop.jsonl", rows)
    folder = tmp_path / "shop"
    report = curate(source, folder, Options(mapping={"title": "title", "text": "text", "price": "price"}))
    data = loaded(str(folder), tokenizer)
    assert data.layout.startswith("a folder that whet data curate made")
    assert (len(data.train), len(data.validation)) == (report.splits["train"], report.splits["validation"])
    assert data.problem is not None
    assert len(data.problem.test) == report.splits["test"]
    kept = pl.read_parquet(folder / "data" / "train-*.parquet")
    first = kept.row(0, named=True)
    assert tokenizer.decode(data.train[0].ids) == first["prompt"] + first["completion"] + "<|im_end|>"
    with pytest.raises(UsageError, match="has columns and splits of its own; leave target away"):
        loaded(str(folder), tokenizer, target="price")


def test_test_items_are_kept_out_of_training(tmp_path: Path, tokenizer: Tokenizer) -> None:
    test = saved(tmp_path / "test.jsonl", ITEMS[:20])
    train = saved(tmp_path / "train.jsonl", ITEMS)
    data = loaded(train, tokenizer, text="text", target="price", test_data=test)
    assert data.problem is not None
    assert len(data.problem.test) == 20
    assert not {case.text for case in data.problem.test} & {case.text for case in data.problem.train}
    assert len(data.train) + len(data.validation) == 40


def test_a_data_set_s_own_validation_split_is_used(tmp_path: Path, tokenizer: Tokenizer) -> None:
    pytest.importorskip("datasets")
    folder = tmp_path / "talks"
    folder.mkdir()
    saved(folder / "train.jsonl", LAYOUTS["messages"])
    saved(folder / "validation.jsonl", LAYOUTS["messages"][:3])
    data = loaded(str(folder), tokenizer)
    assert (len(data.train), len(data.validation)) == (20, 3)
    alone = loaded(saved(tmp_path / "alone.jsonl", LAYOUTS["messages"]), tokenizer, validation_size=0)
    assert [row.ids for row in data.train] == [row.ids for row in alone.train]


def test_packed_rows_are_what_went_in() -> None:
    rows = [
        TuneRow([1, 2, 3], [False, True, True], target=2.5, number_at=1, weight=0.5, where="a:1", cut=4),
        TuneRow([9], [False], labels=[7, 8], where="a:2", replay=True),
        TuneRow([4, 5], [False, True]),
    ]
    packed = PackedRows.of(rows)
    assert list(packed) == rows
    assert packed[-1] == rows[-1]
    assert list(packed.take(np.array([2, 0]))) == [rows[2], rows[0]]
    assert packed.lengths.tolist() == [3, 1, 2]
    assert packed.label_lengths.tolist() == [0, 2, 0]
    assert packed.learns.tolist() == [2, 2, 1]
    assert packed.digest() == PackedRows.of(rows).digest()
    assert packed.digest() != packed.take(np.array([1, 0, 2])).digest()
    assert len(PackedRows.of([])) == 0
    with pytest.raises(IndexError):
        packed[3]


def test_an_encoder_decoder_is_asked_for_numbers_as_the_price_technique_asks(tmp_path: Path) -> None:
    asked = load_model(f"hf:{tiny_hf.t5(tmp_path / 't5')}")
    assert isinstance(asked, VocabularyModel)
    source = saved(tmp_path / "items.jsonl", ITEMS)
    data = loaded(source, asked.vocabulary, encoder_decoder=True, text="text", target="price")
    assert data.problem is not None
    assert data.form is not None
    for row, case in zip(data.train, data.problem.train, strict=True):
        assert row.ids == data.form.ids(asked, case.text).ids
