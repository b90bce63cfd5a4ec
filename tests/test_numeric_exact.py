"""The distribution over numbers against candidates scored one by one, for tokenizers and models of several kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_hf
from whetstone.errors import UsageError
from whetstone.models import load_model
from whetstone.models.token_tree import TokenTree
from whetstone.numeric.grid import Grid, parse_grid
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.numeric.trie import build_trie
from whetstone.prompting.price import PricePrompt
from whetstone.tokens.sources import load_tokenizer
from whetstone.workflows.price import PricedItem, Pricer

QUESTIONS = ["How much does this cost?\n\nA brass lamp\n\nPrice is $", "A wooden table with four legs. Price is $"]
FAMILIES = ["llama-3.1", "phi-3", "qwen2", "starcoder2", "smollm2"]


def cutting(digits: str | None) -> Any:
    """A byte-level tokenizer that cuts numbers by a pattern: one digit, up to three, or as the merges fall."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    cut = [pre_tokenizers.Split(Regex(digits), "isolated")] if digits else []
    made.pre_tokenizer = pre_tokenizers.Sequence([*cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    numbers = " ".join(str(number) for number in range(1000))
    made.train_from_iterator(
        [*tiny_hf.SENTENCES, numbers, *QUESTIONS],
        trainers.BpeTrainer(
            vocab_size=1500 if digits == r"\d{1,3}" else 330,
            special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


def random_model(folder: Path, vocabulary: int, kind: str = "llama") -> Path:
    """A model with random weights in a folder that holds a tokenizer already."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        Gemma2Config,
        GPT2Config,
        LlamaConfig,
        MambaConfig,
        T5Config,
    )

    ids = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config: Any = {
        "llama": lambda: LlamaConfig(**tiny_hf.SIZES, **ids),
        "gpt2": lambda: GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, **ids),
        "mamba": lambda: MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=8, **ids),
        # Its logits are more than an output layer makes of hidden states: they are capped.
        "gemma2": lambda: Gemma2Config(
            **{**tiny_hf.SIZES, "head_dim": 8}, **ids, final_logit_softcapping=2.0, attn_logit_softcapping=None
        ),
        "t5": lambda: T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0, **ids),
    }[kind]()
    torch.manual_seed(1)
    model = (AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM).from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and not name.endswith("A_log"):
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder


def one_by_one(folder: Path, prompt: list[int], before: str, grid: Grid) -> npt.NDArray[np.float64]:
    """Every candidate through transformers itself, without a cache; what goes on with a number told by its letters."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
    seq2seq = AutoConfig.from_pretrained(folder).is_encoder_decoder
    model = (AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM).from_pretrained(folder).eval()
    control = {number for number, token in tokens.get_added_tokens_decoder().items() if token.special}
    pieces = {number: tokens.id_to_token(number) or "" for number in range(tokens.get_vocab_size())}

    def ids_of(text: str) -> list[int]:
        ids: list[int] = tokens.encode(text, add_special_tokens=False).ids
        return ids

    def behind(path: list[int]) -> npt.NDArray[np.float64]:
        with torch.inference_mode():
            if seq2seq:
                found = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[0, *path]])).logits
            else:
                found = model(input_ids=torch.tensor([[*prompt, *path]])).logits
            return found[0, -1].double().softmax(-1).numpy()

    known: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
    lead = len(ids_of(before))
    written = [
        (index, form, ids_of(before + form)[lead:]) for index in range(len(grid)) for form in grid.spellings(index)
    ]
    beginnings = {tuple(ids[:length]) for _, _, ids in written for length in range(1, len(ids))}
    masses = np.zeros(len(grid))
    for index, form, ids in written:
        mass = 1.0
        for length in range(len(ids) + 1):
            path = tuple(ids[:length])
            if length == len(ids) and path not in beginnings:
                break
            if path not in known:
                known[path] = behind(list(path))
            if length < len(ids):
                mass *= known[path][ids[length]]
            else:
                marks = tuple(grid.goes_on(form))
                on = [n for n, piece in pieces.items() if piece.startswith(marks) and n not in control]
                mass *= 1 - known[path][on].sum()
        masses[index] += mass
    return masses


def check(folder: Path, spec: str, grid: Grid) -> int:
    """Compare; how many positions were read behind each prompt."""
    model = load_model(spec)
    trie = number_trie(model, grid, "Price is $")
    prompts = [model.vocabulary.encode(text).ids for text in QUESTIONS]  # type: ignore[attr-defined]
    found = dict(read_numbers(model, prompts, trie))
    for index, prompt in enumerate(prompts):
        expected = one_by_one(folder, prompt, "Price is $", grid)
        np.testing.assert_allclose(found[index].masses, expected, atol=1e-6, rtol=1e-4)
        assert found[index].inside == pytest.approx(1 - found[index].outside)
        assert found[index].inside <= 1 + 1e-9
    model.close()
    return trie.forward_positions


@pytest.mark.parametrize(("digits", "positions"), [(r"\d", 99), (r"\d{1,3}", 0), (None, None)])
def test_every_way_of_cutting_numbers_gives_what_scoring_one_by_one_gives(
    tmp_path: Path, digits: str | None, positions: int | None
) -> None:
    made = cutting(digits)
    made.save(str(tmp_path / "tokenizer.json"))
    random_model(tmp_path, made.get_vocab_size())
    read = check(tmp_path, f"hf:{tmp_path}", parse_grid("0..999"))
    assert positions is None or read == positions


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "mamba", "t5"])
def test_every_kind_of_model_gives_what_scoring_one_by_one_gives(tmp_path: Path, kind: str) -> None:
    made = cutting(r"\d")
    made.save(str(tmp_path / "tokenizer.json"))
    random_model(tmp_path, made.get_vocab_size(), kind)
    check(tmp_path, f"hf:{tmp_path}", parse_grid("0..99"))


def as_t5_cuts() -> Any:
    """A tokenizer as T5's that knows some numbers."""
    numbers = [str(number) for number in range(0, 1000, 7)]
    return tiny_hf.words_of_t5([*tiny_hf.SENTENCES, *numbers, *QUESTIONS])


@pytest.mark.parametrize("grid", ["0..299", "0.0..9.9", "998..1002"])
def test_an_encoder_decoder_reads_the_prompt_to_its_end_and_begins_the_number_anew(tmp_path: Path, grid: str) -> None:
    made = as_t5_cuts()
    made.save(str(tmp_path / "tokenizer.json"))
    random_model(tmp_path, made.get_vocab_size(), "t5")
    model = load_model(f"hf:{tmp_path}")
    asked = PricePrompt()
    prompt = asked.ids(model, "A brass lamp").ids
    assert prompt == made.encode(asked.text("A brass lamp")).ids
    assert prompt[-1] == made.token_to_id("</s>")
    # Behind a blank 129 is cut otherwise than behind the dollar sign: as a text of its own, it has the blank's mark.
    assert made.encode("129").ids[:-1] != made.encode("$129").ids[1:-1]
    trie = number_trie(model, parse_grid(grid), asked.label)
    ((_, found),) = read_numbers(model, [prompt], trie)
    expected = one_by_one(tmp_path, prompt, "", parse_grid(grid))
    np.testing.assert_allclose(found.masses, expected, atol=1e-6, rtol=1e-4)
    ((_, priced),) = [(one.index, one) for one in Pricer(model, grid=parse_grid(grid)).price(["A brass lamp"])]
    assert isinstance(priced, PricedItem)
    np.testing.assert_allclose(priced.distribution.masses, expected, atol=1e-6, rtol=1e-4)
    model.close()


@pytest.mark.parametrize("grid", ["0.00..2.50", "1..5", "0..100:5", "log:1..9000:40", "8.5,9,10,1200"])
def test_every_kind_of_grid_gives_what_scoring_one_by_one_gives(tmp_path: Path, grid: str) -> None:
    made = cutting(r"\d")
    made.save(str(tmp_path / "tokenizer.json"))
    random_model(tmp_path, made.get_vocab_size())
    check(tmp_path, f"hf:{tmp_path}", parse_grid(grid))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_tokenizers_give_what_scoring_one_by_one_gives(
    tmp_path: Path, shared_data: Path, family: str
) -> None:
    file = shared_data / "tokenizers" / family / "tokenizer.json"
    (tmp_path / "tokenizer.json").write_bytes(file.read_bytes())
    largest = max(load_tokenizer(str(tmp_path)).vocab_size, 1 + max(_ids(file)))
    random_model(tmp_path, largest)
    read = check(tmp_path, f"hf:{tmp_path}", parse_grid("0..999"))
    assert read == (0 if family == "llama-3.1" else 99)


def _ids(file: Path) -> list[int]:
    data = json.loads(file.read_text("utf-8"))
    return [*data["model"]["vocab"].values(), *(token["id"] for token in data["added_tokens"])]


@given(st.integers(0, 30), st.integers(1, 60), st.sampled_from([1, 2, 5]))
@settings(max_examples=15, deadline=None)
def test_any_grid_of_whole_numbers_is_read_exactly(low: int, more: int, step: int) -> None:
    folder = _shared_model()
    check(folder, f"hf:{folder}", parse_grid(f"{low}..{low + more}:{step}"))


_MADE: dict[str, Any] = {}


def _shared_model() -> Path:
    """Made once for all examples, in a folder that goes with the process."""
    import tempfile

    if not _MADE:
        _MADE["folder"] = tempfile.TemporaryDirectory()
        folder = Path(_MADE["folder"].name)
        made = cutting(r"\d")
        made.save(str(folder / "tokenizer.json"))
        random_model(folder, made.get_vocab_size())
    return Path(_MADE["folder"].name)


def test_a_number_of_full_length_may_be_made_to_stop(tmp_path: Path) -> None:
    made = cutting(r"\d")
    made.save(str(tmp_path / "tokenizer.json"))
    random_model(tmp_path, made.get_vocab_size())
    model = load_model(f"hf:{tmp_path}")
    prompt = model.vocabulary.encode(QUESTIONS[0]).ids  # type: ignore[attr-defined]
    masses = {}
    for exact in (False, True):
        trie = number_trie(model, parse_grid("0..99"), "Price is $", exact=exact)
        ((_, found),) = read_numbers(model, [prompt], trie)
        masses[exact] = found.masses
    np.testing.assert_allclose(masses[True][:10][1:], masses[False][:10][1:], rtol=1e-5)
    assert (masses[True][10:] < masses[False][10:]).all()


def test_a_prompt_whose_end_runs_into_the_number_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = {piece: number for number, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE({**alphabet, "$1": len(alphabet)}, [("$", "1")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match="cannot spell '1'"):
        build_trie(parse_grid("0..9"), load_tokenizer(str(tmp_path)), "Price is $")


def test_a_tree_knows_its_paths() -> None:
    tree = TokenTree(np.array([5, 6, 7]), np.array([-1, 0, 0]))
    assert tree.path(2) == [5, 7]
    assert tree.depths.tolist() == [1, 2, 2]
    assert tree.ancestry.tolist() == [[True, False, False], [True, True, False], [True, False, True]]


class Stepwise:
    """A model that reads no trees and lists few tokens, as llama.cpp does."""

    def __init__(self, model: Any, listed: int) -> None:
        self._model, self._listed, self.asked = model, listed, 0
        self.vocabulary, self.identity = model.vocabulary, model.identity
        self.encode, self.decode = model.encode, model.decode

    def next_token(self, prompts: Any, top: int | None = None) -> Any:
        self.asked += len(prompts)
        return self._model.next_token(prompts, self._listed)


@pytest.mark.parametrize(("listed", "tolerance"), [(20, 1e-3), (20, 0.3), (80, 0.1), (400, 0.05), (400, 1e-6)])
def test_read_step_by_step_every_sum_of_probabilities_is_within_the_bound(listed: int, tolerance: float) -> None:
    model = load_model(f"hf:{_shared_model()}")
    prompt = model.vocabulary.encode(QUESTIONS[0]).ids  # type: ignore[attr-defined]
    trie = number_trie(model, parse_grid("0..299"), "Price is $")
    ((_, exact),) = read_numbers(model, [prompt], trie)
    stepwise: Any = Stepwise(model, listed)
    ((_, found),) = read_numbers(stepwise, [prompt], trie, tolerance=tolerance)
    model.close()
    off = found.masses - exact.masses
    # The worst sums are those of all that is too high and of all that is too low.
    assert max(off[off > 0].sum(), -off[off < 0].sum()) <= found.bound + 1e-5
    assert found.bound <= 1
    if listed == 400:  # the whole vocabulary: only what was not asked is open
        assert found.bound <= tolerance
        assert tolerance < 0.05 or stepwise.asked < 1 + trie.forward_positions


def test_llama_cpp_agrees_with_transformers_within_its_bound(hf_smollm2: str) -> None:
    pytest.importorskip("torch")
    grid = parse_grid("0..99")
    found = {}
    for spec in ("smollm2", hf_smollm2):
        model = load_model(spec)
        prompt = model.vocabulary.encode(QUESTIONS[0]).ids  # type: ignore[attr-defined]
        ((_, found[spec]),) = read_numbers(model, [prompt], number_trie(model, grid, "Price is $"), tolerance=0.1)
        model.close()
    stepwise, exact = found["smollm2"], found[hf_smollm2]
    assert exact.bound == 0
    assert 0 <= stepwise.bound <= 0.1
    rounding = 0.01  # the two engines compute in other precisions
    assert np.abs(stepwise.masses - exact.masses).max() <= stepwise.bound + rounding
    assert abs(stepwise.inside - exact.inside) <= stepwise.bound + rounding
