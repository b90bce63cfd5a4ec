"""The probe: what it reads equals plain computations, and what it counts means what it says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_hf
from whetstone.errors import ModelError, UsageError
from whetstone.evaluation.intervals import wilson as evaluated
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.probe import read_base, run_probe
from whetstone.tuning.probe_base import BaseReadings, load_base
from whetstone.tuning.probe_items import Scored, make_items, sums
from whetstone.tuning.probe_label import PRICES, label_form
from whetstone.tuning.probe_reading import Tops, at_rest, divergence, read_scored
from whetstone.tuning.probe_replies import greedy_replies
from whetstone.tuning.probe_result import ProbeResult, Share, compare, mean_estimate, wilson

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(str(folder))


@pytest.fixture
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture
def adapted(model: Any) -> Any:
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", lora_dropout=0.3)
    return peft.get_peft_model(model, config)


@pytest.fixture(scope="module")
def base(folder: Path, tokenizer: Tokenizer) -> BaseReadings:
    from transformers import AutoModelForCausalLM

    return read_base(AutoModelForCausalLM.from_pretrained(folder), tokenizer)


def push(adapted: Any, size: float) -> None:
    """Give an adapter something to say; a fresh one says nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=size)


def plain_logprobs(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


class TestReading:
    def test_texts_of_different_length_are_read_as_each_alone(self, model: Any) -> None:
        texts = [Scored(list(range(5, 5 + size)), None, first) for size, first in ((20, 1), (7, 4), (33, 30))]
        model.eval()
        for text, told in zip(texts, read_scored(model, texts), strict=True):
            whole = plain_logprobs(model, text.ids)
            wanted = [float(whole[place - 1, text.ids[place]]) for place in range(text.first, len(text.ids))]
            assert told.logprobs == pytest.approx(wanted, abs=1e-4)
            assert told.behind == int(whole[-1].argmax())

    def test_an_answer_is_greedy_exactly_if_generation_writes_it(self, model: Any, tokenizer: Tokenizer) -> None:
        model.eval()
        prompt = tokenizer.encode("Question: what does the lamp cost?\nAnswer: it is").ids
        written: list[int] = []
        for _ in range(4):
            written.append(int(plain_logprobs(model, prompt + written)[-1].argmax()))
        other = [*written[:2], (written[2] + 1) % 300, written[3]]
        right, wrong = read_scored(
            model, [Scored([*prompt, *answer], None, len(prompt)) for answer in (written, other)]
        )
        assert right.greedy.all()
        assert not wrong.greedy.all()

    def test_replies_are_those_of_generate(self, model: Any, tokenizer: Tokenizer) -> None:
        prompts = ["Name three animals.", "What does this lamp cost?", "A wooden table"]
        model.eval()
        replies = greedy_replies(model, tokenizer, [tokenizer.encode(text).ids for text in prompts], [12, 5, 12])
        for prompt, reply, limit in zip(prompts, replies, [12, 5, 12], strict=True):
            ids = tokenizer.encode(prompt).ids
            output = model.generate(torch.tensor([ids]), max_new_tokens=limit, do_sample=False)[0, len(ids) :].tolist()
            assert reply.text == tokenizer.decode(output, skip_special=True)
            assert reply.ended == (2 in output)

    def test_divergence_is_the_full_one_where_all_tokens_are_kept(self) -> None:
        torch.manual_seed(0)
        base, mine = torch.randn(6, 50).log_softmax(-1), torch.randn(6, 50).log_softmax(-1)
        full = (base.exp() * (base - mine)).sum(-1).numpy()
        values, ids = base.topk(50)
        assert divergence(Tops(ids.int().numpy(), values.numpy()), mine) == pytest.approx(full, abs=1e-4)

    def test_divergence_of_the_most_probable_tokens_is_a_lower_bound(self) -> None:
        torch.manual_seed(0)
        base, mine = (3 * torch.randn(6, 50)).log_softmax(-1), (3 * torch.randn(6, 50)).log_softmax(-1)
        full = (base.exp() * (base - mine)).sum(-1).numpy()
        values, ids = base.topk(8)
        found = divergence(Tops(ids.int().numpy(), values.numpy()), mine)
        assert (found <= full + 1e-6).all()
        assert found.sum() > 0.7 * full.sum()

    def test_a_broken_model_is_said_to_be_broken(self, model: Any) -> None:
        with torch.no_grad():
            model.lm_head.weight.fill_(float("nan"))
        with pytest.raises(ModelError, match="not finite"):
            read_scored(model, [Scored([5, 6, 7], None, 1)])


class TestProbe:
    def test_a_fresh_adapter_has_forgotten_nothing(
        self, adapted: Any, tokenizer: Tokenizer, base: BaseReadings
    ) -> None:
        told = run_probe(adapted, tokenizer, base)  # without reading: nothing is added yet
        push(adapted, 1e-7)
        read = run_probe(adapted, tokenizer, base)
        assert told.drift.value == 0
        assert read.drift.value == pytest.approx(0, abs=1e-5)
        assert read.perplexity == pytest.approx(told.perplexity, rel=1e-4)
        assert {kind: one.tokens for kind, one in told.kinds.items()} == {k: o.tokens for k, o in read.kinds.items()}
        assert all(share.lost == share.gained == 0 for found in (told, read) for share in found.shares.values())
        assert {name: s.right for name, s in told.shares.items()} == {name: s.right for name, s in read.shares.items()}

    def test_drift_grows_with_the_adapter_and_results_survive_json(
        self, adapted: Any, tokenizer: Tokenizer, base: BaseReadings
    ) -> None:
        push(adapted, 0.02)
        near = run_probe(adapted, tokenizer, base)
        push(adapted, 0.2)
        far = run_probe(adapted, tokenizer, base)
        assert 0 < near.drift.value < far.drift.value
        assert far.drift.low <= far.drift.value <= far.drift.high
        line = json.loads(json.dumps({"kind": "probe", "step": 3, **far.to_json()}, allow_nan=False))
        assert ProbeResult.from_json(line) == far

    def test_the_base_is_the_model_without_its_adapter(
        self, adapted: Any, tokenizer: Tokenizer, base: BaseReadings
    ) -> None:
        push(adapted, 0.2)
        again = read_base(adapted, tokenizer)
        assert again.losses == pytest.approx(base.losses, rel=1e-5)
        assert again.answers.right == base.answers.right

    def test_training_goes_on_as_if_there_had_been_no_probe(
        self, adapted: Any, tokenizer: Tokenizer, base: BaseReadings
    ) -> None:
        push(adapted, 0.1)
        adapted.train()
        torch.manual_seed(7)
        before = torch.get_rng_state()
        run_probe(adapted, tokenizer, base)
        assert torch.equal(torch.get_rng_state(), before)
        assert adapted.training
        loss = adapted(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]])).loss
        loss.backward()
        gradients = [p.grad for name, p in adapted.named_parameters() if "lora_A" in name]
        assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients)

    def test_the_base_is_read_once_and_again_where_the_file_is_damaged(
        self, model: Any, tokenizer: Tokenizer, tmp_path: Path
    ) -> None:
        kept = tmp_path / "base.safetensors"
        first = read_base(model, tokenizer, label_form(["positive", "negative"] * 9), kept)
        stamp = kept.stat().st_mtime_ns
        second = read_base(model, tokenizer, None, kept)
        assert kept.stat().st_mtime_ns == stamp
        assert second.label == first.label
        assert all(np.array_equal(a.ids, b.ids) for a, b in zip(first.tops, second.tops, strict=True))
        kept.write_bytes(kept.read_bytes()[:1000])
        assert load_base(kept) is None
        read_base(model, tokenizer, None, kept)
        assert load_base(kept) is not None

    def test_readings_of_another_precision_are_refused(
        self, adapted: Any, tokenizer: Tokenizer, base: BaseReadings
    ) -> None:
        with pytest.raises(UsageError, match="precision"):
            run_probe(adapted.to(torch.bfloat16), tokenizer, base)

    def test_encoder_decoders_are_probed_too(self, tmp_path: Path) -> None:
        from transformers import AutoModelForSeq2SeqLM

        folder = tiny_hf.t5(tmp_path / "t5")
        plain = AutoModelForSeq2SeqLM.from_pretrained(folder)
        config = peft.LoraConfig(r=4, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM")
        adapted = peft.get_peft_model(plain, config)
        push(adapted, 0.3)
        found = run_probe(adapted, load_tokenizer(str(folder)))
        assert found.drift.value > 0
        assert "labels plain" not in found.shares


class TestItems:
    def test_the_wanted_tokens_spell_the_answer(self, tokenizer: Tokenizer) -> None:
        items = make_items(tokenizer)
        for answer, (_, _, right) in zip(items.answers["arithmetic"], sums(), strict=True):
            assert tokenizer.decode(answer.scored.wanted).strip() == right

    def test_sums_are_right_and_the_same_each_time(self) -> None:
        for question, begun, answer in sums():
            a, sign, b = begun.removesuffix("=").split()
            value = {"+": int(a) + int(b), "-": int(a) - int(b), "×": int(a) * int(b)}[sign]
            assert str(value) == answer
            assert a in question
        assert list(sums()) == list(sums())

    def test_two_tokenizers_have_different_contents(self, tokenizer: Tokenizer) -> None:
        assert make_items(tokenizer).content != make_items(load_tokenizer("smollm2")).content


class TestFormats:
    GOOD_AND_BAD = (
        ("yes", "YES", "YES, of course"),
        ("json answer", '```json\n{"answer": "a cow"}\n```', '{"answer": "a cow"'),
        ("json list", '["red", "blue", "green"]', '["red", "blue"]'),
        ("three lines", "apple\npear\nplum", "apple, pear, plum"),
        ("bullets", "- cat\n- dog\n- cow", "cat\n- dog\n- cow"),
        ("numbered", "1. Rome\n2. Oslo\n3. Lima", "1. Rome\n2. Oslo"),
        ("commas", "red, green, blue", "The colours are red, green and many others, like blue"),
        ("one word", "Endless.", "Endless water"),
        ("capitals", "PERU", "Peru"),
        ("lower case", "dogs bark.", "Dogs bark."),
        ("one sentence", "A bicycle has two wheels.", "It has wheels. Two of them."),
        ("question", "Do you sing?", "I like music."),
        ("end", "Good night, I am done.", "Good night, sleep well."),
        ("quotes", '"Hello there!"', 'He said "hello".'),
        ("digit", "7", "12"),
        ("title", "# My garden", "My garden"),
        ("tag", "<b>river</b>", "river"),
        ("repeat date", "2021-03-04", "March 4th, 2021"),
    )

    @pytest.mark.parametrize(("name", "good", "bad"), GOOD_AND_BAD)
    def test_a_form_is_told_from_another(self, name: str, good: str, bad: str) -> None:
        from whetstone.tuning.probe_formats import format_tasks

        task = next(task for task in format_tasks() if task.name == name)
        assert task.follows(good)
        assert not task.follows(bad)

    @pytest.mark.parametrize("reply", ["", " ", "\n", "{", "```", '"', "[" * 3000])
    def test_no_reply_breaks_a_check(self, reply: str) -> None:
        from whetstone.tuning.probe_formats import format_tasks

        assert not any(task.follows(reply) for task in format_tasks() if task.name != "one word")


class TestLabels:
    @pytest.mark.parametrize("reply", ["Price is $12.00", "129.00", "$9", "The price is about $5", "12 dollars", "7"])
    def test_prices_are_seen(self, reply: str) -> None:
        assert reply in PRICES

    @pytest.mark.parametrize("reply", ["1. Go to bed early", "In 1969 people walked there", "Because of the light", ""])
    def test_other_replies_are_none(self, reply: str) -> None:
        assert reply not in PRICES

    def test_few_labels_are_known_by_name(self) -> None:
        form = label_form(["positive", "negative"] * 10)
        assert "Negative." in form
        assert "12.00" not in form
        assert "It depends" not in form

    def test_a_common_beginning_is_known(self) -> None:
        form = label_form([f"The category is {name}" for name in ("lamps", "tables", "chairs", "beds")])
        assert "The category is shoes" in form
        assert "The sky is blue" not in form

    def test_numbers_are_prices(self) -> None:
        assert label_form(["129.00", "5.00", "17.00", "18.00", "20.00"]).prices


class TestFigures:
    def test_shares_say_what_was_lost_and_gained(self) -> None:
        share = compare([True, False, True, False], [True, True, False, False])
        assert (share.right, share.base_right, share.lost, share.gained, share.retained) == (2, 2, 1, 1, 1)

    @pytest.mark.parametrize(("right", "n"), [(0, 20), (20, 20), (7, 28), (1, 1)])
    def test_wilson_is_that_of_evaluation(self, right: int, n: int) -> None:
        assert wilson(right, n) == pytest.approx(evaluated(right, n))

    @pytest.mark.parametrize(
        ("lost", "gained", "certain"),
        [(5, 0, False), (6, 0, True), (9, 1, True), (8, 2, False), (0, 9, False), (3, 3, False), (0, 0, False)],
    )
    def test_a_loss_is_certain_where_the_sign_test_says_so(self, lost: int, gained: int, certain: bool) -> None:
        # Two-sided: 5 of 5 has p = 0.0625, 6 of 6 0.031, 9 of 10 0.021, 8 of 10 0.109.
        assert Share(40, 20, 0.3, 0.7, 20 - gained + lost, lost, gained).certain_loss is certain

    def test_a_mean_over_texts_is_per_token_and_has_the_width_of_t(self) -> None:
        found = mean_estimate([(2.0, 1), (4.0, 1), (6.0, 1)])
        assert found.value == 4
        assert found.high - found.value == pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-5)
        assert mean_estimate([(10.0, 5), (90.0, 45)]).value == 2
        assert mean_estimate([(10.0, 5), (90.0, 45)]).high == 2

    def test_intervals_of_the_mean_cover(self) -> None:
        generator = np.random.default_rng(0)
        covered = 0
        for _ in range(400):
            sizes = generator.integers(20, 120, 30)
            means = generator.gamma(2.0, 0.1, 30)
            found = mean_estimate([(float(m * s), int(s)) for m, s in zip(means, sizes, strict=True)])
            covered += found.low <= 0.2 <= found.high
        assert 0.90 < covered / 400 < 0.98


def test_dropout_is_off_within_and_on_again(adapted: Any) -> None:
    adapted.train()
    with at_rest(adapted):
        assert not any(module.training for module in adapted.modules())
    assert all(module.training for module in adapted.modules())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
