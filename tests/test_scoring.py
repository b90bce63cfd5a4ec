"""A text scored in one pass as position by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tiny_hf
from whetstone.errors import ContextTooLongError, RequestRefusedError
from whetstone.models import NextToken, load_model
from whetstone.models.hf_model import HfModel
from whetstone.models.reading import ReadingModel, read_stepwise
from whetstone.workflows import scoring

pytest.importorskip("transformers")
TEXT = "Name three animals: 안녕 🎉, then a table for 5,000 dollars. "


def recurrent(folder: Path) -> Path:
    from transformers import MambaConfig

    return tiny_hf.save(folder, MambaConfig(hidden_size=16, state_size=4, num_hidden_layers=2), None)


def sliding(folder: Path) -> Path:
    from transformers import MistralConfig

    return tiny_hf.save(folder, MistralConfig(**tiny_hf.SIZES, sliding_window=16))


KINDS = {"llama": tiny_hf.llama, "t5": tiny_hf.t5, "mamba": recurrent, "sliding": sliding}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = load_model(f"hf:{KINDS[request.param](tmp_path / request.param)}")
    yield made
    made.close()


@pytest.mark.parametrize("given", [1, 7])
def test_one_pass_gives_what_every_position_by_itself_gives(model: Any, given: int) -> None:
    ids = model.encode(TEXT)
    assert isinstance(model, ReadingModel)
    at_once, stepwise = list(model.read(ids, 5, given)), list(read_stepwise(model, ids, 5, given))
    assert len(at_once) == len(stepwise) == len(ids) - given
    for one, two in zip(at_once, stepwise, strict=True):
        assert one.logprob == pytest.approx(two.logprob, abs=1e-3)
        assert one.rank == two.rank
        assert one.top.ids.tolist() == two.top.ids.tolist()
        assert one.top.logprobs.tolist() == pytest.approx(two.top.logprobs.tolist(), abs=1e-3)


def test_a_long_text_goes_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whetstone.models import hf_reading

    model: Any = load_model(f"hf:{tiny_hf.llama(tmp_path / 'm')}")
    ids = model.encode(TEXT)
    whole = [token.logprob for token in model.read(ids, 3)]
    for size in (1, 7, len(ids) - 1):
        monkeypatch.setattr(hf_reading, "_TOKENS", size)
        for given in (1, 9):
            found = [token.logprob for token in model.read(ids, 3, given)]
            assert found == pytest.approx(whole[given - 1 :], abs=1e-4)
    assert list(model.read(ids[:1], 3)) == []
    with pytest.raises(ContextTooLongError):
        list(model.read(ids * 40, 3))
    with pytest.raises(RequestRefusedError, match="token ids 0 to"):
        list(model.read([1, 10**6], 3))


def test_a_score_asks_once(tmp_path: Path) -> None:
    class Counting(HfModel):
        asked = 0

        def next_token(self, prompts: Sequence[Sequence[int]], top: int | None = None) -> Iterator[NextToken]:
            self.asked += 1
            return super().next_token(prompts, top)

    loaded: Any = load_model(f"hf:{tiny_hf.llama(tmp_path / 'm')}")
    model = Counting(loaded._source)
    scored = list(scoring.score_text(model, TEXT, top=2))
    assert model.asked == 0
    assert [token.id for token in scored] == model.encode(TEXT)
    assert scored[0].logprob is None
    assert all(token.rank is not None and len(token.top) == 2 for token in scored[1:])
    best = [token for token in scored[1:] if token.rank == 1]
    assert all(token.top[0][0] == token.id for token in best)
