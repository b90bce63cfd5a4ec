"""General rows in the training mix: how many, which, how they weigh, and that they hold a model back from drifting."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import DataError
from whetstone.settings import home
from whetstone.storage.journal import read_journal
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.formats import Talk, Texts
from whetstone.tuning.probe_items import read_texts
from whetstone.tuning.replay import FOLDER, packaged, replayed, with_replay
from whetstone.tuning.replay_base import base_talks
from whetstone.tuning.rows import TuneData, TuneRow
from whetstone.types import text_of


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer("smollm2")


def task(count: int) -> list[TuneRow]:
    """Rows like those of prices: a prompt, and three tokens to learn."""
    return [TuneRow([*range(20), n, 5, 2], [False] * 20 + [True] * 3, where=f"t:{n}") for n in range(count)]


def general(count: int, learned: int = 30) -> list[TuneRow]:
    return [TuneRow([7] * (learned + 10), [False] * 10 + [True] * learned, where=f"g:{n}") for n in range(count)]


class TestMix:
    @pytest.mark.parametrize(("share", "wanted"), [(0.1, 100), (0.5, 900), (0.01, 9)])
    def test_the_share_is_that_of_the_whole_mix(self, share: float, wanted: int) -> None:
        assert len(list(replayed(general(13), task(900), share, 1))) == wanted

    def test_rows_come_equally_often(self) -> None:
        times = Counter(row.where for row in replayed(general(13), task(900), 0.1, 1))
        assert len(times) == 13
        assert set(times.values()) == {7, 8}

    def test_a_seed_draws_the_same_rows_and_another_others(self) -> None:
        drawn = [[row.where for row in replayed(general(200), task(900), 0.1, seed)] for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]
        assert len(set(drawn[0])) == 100

    def test_long_answers_do_not_take_the_loss_over(self) -> None:
        rows = list(replayed(general(13), task(900), 0.1, 1))
        assert all(row.replay for row in rows)
        assert sum(row.learns * row.weight for row in rows) == pytest.approx(0.1 / 0.9 * 900 * 3)

    def test_short_answers_weigh_as_they_are(self) -> None:
        assert {row.weight for row in replayed(general(13, learned=1), task(900), 0.1, 1)} == {1.0}


class TestSources:
    def test_nothing_changes_without_replay(self, tokenizer: Tokenizer) -> None:
        data = TuneData(task(10), task(2), "f")
        assert with_replay(data, TuneConfig(), tokenizer) is data

    def test_the_packaged_set_is_mixed_in_and_its_size_is_told(self, tokenizer: Tokenizer) -> None:
        data = TuneData(task(400), task(20), "f")
        found = with_replay(data, TuneConfig(replay=0.2), tokenizer)
        added = [row for row in found.train if row.replay]
        assert len(found.train) == 500
        assert len(added) == 100
        assert len(found.validation) == 20
        assert found.fingerprint != "f"
        assert found.fingerprint == with_replay(data, TuneConfig(replay=0.2), tokenizer).fingerprint
        assert "100 of 500 training rows" in found.remarks[0]
        assert "tiny" in " ".join(found.remarks)
        answered = next(row for row in added if row.where == "replay:1")
        assert tokenizer.decode([i for i, on in zip(answered.ids, answered.learned, strict=True) if on]).startswith(
            "In autumn, trees stop making"
        )

    def test_an_encoder_decoder_gets_labels(self, tokenizer: Tokenizer) -> None:
        rows = [TuneRow([4, 5], [False] * 2, labels=[6, 2])] * 50
        config = TuneConfig(replay=0.5)
        found = with_replay(TuneData(rows, [], "f"), config, tokenizer, encoder_decoder=True)
        assert all(row.labels for row in found.train)

    def test_a_file_of_ones_own_in_any_layout(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        path = tmp_path / "own.jsonl"
        lines: list[dict[str, Any]] = [
            {"instruction": "Say hello.", "output": "Hello."},
            {"instruction": "Say bye.", "output": "Bye."},
            {"instruction": 5, "output": "Bye."},
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        config = TuneConfig(replay=0.5, replay_data=str(path))
        found = with_replay(TuneData(task(10), [], "f"), config, tokenizer)
        assert Counter(row.where for row in found.train if row.replay) == {f"{path}:1": 5, f"{path}:2": 5}
        assert any("1 general rows could not be used" in remark for remark in found.remarks)
        assert not any("tiny" in remark for remark in found.remarks)

    def test_a_file_of_no_known_layout_says_which_are(self, tokenizer: Tokenizer, tmp_path: Path) -> None:
        path = tmp_path / "own.jsonl"
        path.write_text('{"a": 1}\n')
        with pytest.raises(DataError, match=r"has the columns a.*instruction, output"):
            with_replay(TuneData(task(10), [], "f"), TuneConfig(replay=0.5, replay_data=str(path)), tokenizer)

    def test_rows_that_do_not_fit_are_an_error_where_none_is_left(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(DataError, match="none of its 104 rows"):
            with_replay(TuneData(task(10), [], "f"), TuneConfig(replay=0.5, max_length=8), tokenizer)

    def test_the_probe_asks_nothing_that_replay_teaches(self) -> None:
        asked = [one["text"] for one in read_texts("neutral.json")]
        asked += [one["question"] for one in read_texts("facts.json")] + read_texts("unrelated.json")
        taught = [f"{one.prompt}{one.completion}" for one in packaged() if isinstance(one, Texts)]
        taught += [text_of(one.messages[0]) for one in packaged() if isinstance(one, Talk)]
        taught += (FOLDER / "instructions.txt").read_text(encoding="utf-8").splitlines()
        assert {" ".join(text.lower().split()) for text in asked}.isdisjoint(
            " ".join(text.lower().split()) for text in taught
        )
        assert len(taught) == len(set(taught))


class TestOwnReplies:
    def test_the_bases_replies_are_asked_for_once(self) -> None:
        told: list[int] = []
        instructions = ["How are you?", "And you?"]
        first = base_talks("scripted:reply?text=Fine.", instructions, lambda what, done, total: told.append(done))
        more = [*instructions, "Third?"]
        again = base_talks("scripted:reply?text=Fine.", more, lambda what, done, total: told.append(done))
        assert [text_of(talk.messages[-1]) for talk in first] == ["Fine.", "Fine."]
        assert [text_of(talk.messages[0]) for talk in again] == more
        assert told == [1, 2, 1]

    def test_replies_that_were_cut_off_are_left_out(self) -> None:
        talks = base_talks("scripted:echo", ["Short.", "long " * 400])
        assert [text_of(talk.messages[-1]) for talk in talks] == ["Short."]
        (path,) = (home() / "cache" / "replay").glob("*.jsonl")
        assert [line["ended"] for line in read_journal(path)] == [True, False]
