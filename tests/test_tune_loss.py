"""Losses at the labelled positions against plain computations over all logits, gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from tiny_tune import adapted, gradients, plain_loss, rows, same, tiny, whole
from whetstone.tuning.batches import BatchOrder, MicroBatch
from whetstone.tuning.collator import Collator, learned_tokens
from whetstone.tuning.rows import TuneRow

KINDS = ["llama", "gemma2", "cohere", "granite", "gpt2", "mamba"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_at_labels_is_that_over_all_logits(kind: str) -> None:
    from whetstone.tuning.loss import causal_loss

    model, made = tiny(kind), rows()
    batch = Collator(0)(made, whole(made))
    same(model, causal_loss(model, batch, sum(map(learned_tokens, made))), plain_loss(model, made))


def test_the_output_layer_sees_labelled_positions_only() -> None:
    from whetstone.tuning.loss import causal_loss

    model, made = tiny("llama"), rows()
    seen = []
    model.lm_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[:-1].numel()))
    causal_loss(model, Collator(0)(made, whole(made)), 1)
    assert seen == [sum(map(learned_tokens, made))]


def test_micro_batches_add_up_to_the_effective_batch_on_any_number_of_processes() -> None:
    from whetstone.tuning.loss import causal_loss

    model, made = tiny("llama"), rows(12)
    items = sum(map(learned_tokens, made))
    for processes, packed in [(1, False), (3, False), (1, True), (16, False)]:
        order = BatchOrder(np.array([len(row.ids) for row in made]), 0, 12, 60, processes=processes, packed=packed)
        collate = Collator(0, packed=packed)
        shares = order.shared_out(range(12))
        assert sum(map(len, shares)) > 3
        losses = [causal_loss(model, collate(made, micro), items) for share in shares for micro in share]
        same(model, sum(losses), plain_loss(model, made))


def test_packed_rows_do_not_see_one_another() -> None:
    from whetstone.tuning.loss import causal_loss

    model, made = tiny("llama"), rows(4)
    batch = Collator(0, packed=True)(made, whole(made))
    assert batch["input_ids"].shape == (1, sum(len(row.ids) for row in made))
    same(model, causal_loss(model, batch, sum(map(learned_tokens, made))), plain_loss(model, made))


def test_the_divergence_from_the_base_is_added_at_the_labels() -> None:
    from whetstone.tuning.loss import causal_loss

    model, made = adapted(tiny("llama")), rows()
    batch = Collator(0)(made, whole(made))
    items = sum(map(learned_tokens, made))
    same(model, causal_loss(model, batch, items, kl_weight=0.7), plain_loss(model, made, kl_weight=0.7))
    assert all("lora" in name for name in gradients(model, causal_loss(model, batch, items, kl_weight=0.7)))


def test_an_adapter_on_the_output_layer_is_learned_too() -> None:
    from peft import LoraConfig, get_peft_model

    from whetstone.tuning.loss import causal_loss

    model, made = get_peft_model(tiny("gpt2"), LoraConfig(r=4, target_modules=["lm_head", "c_attn"])), rows()
    loss = causal_loss(model, Collator(0)(made, whole(made)), sum(map(learned_tokens, made)))
    same(model, loss, plain_loss(model, made))


def test_an_encoder_decoder_learns_its_labels() -> None:
    import torch

    from whetstone.tuning.loss import seq2seq_loss

    model = tiny("t5")
    made = [
        TuneRow(ids=[5, 9, 33, 2], learned=[False] * 4, labels=[7, 8, 1], weight=1.5),
        TuneRow(ids=[6] * 11, learned=[False] * 11, labels=[11, 1]),
    ]
    loss = seq2seq_loss(model, Collator(0)(made, whole(made)), sum(map(learned_tokens, made)))
    plain = torch.zeros(())
    for row in made:
        labels = row.labels or []
        logits = model(input_ids=torch.tensor([row.ids]), decoder_input_ids=torch.tensor([[0, *labels[:-1]]])).logits[0]
        plain = plain + row.weight * torch.nn.functional.cross_entropy(logits, torch.tensor(labels), reduction="sum")
    same(model, loss, plain / 5)


def test_a_stand_in_changes_nothing_and_reaches_every_parameter() -> None:
    from whetstone.tuning.loss import causal_loss

    model, made = adapted(tiny("llama")), rows()
    found = gradients(model, causal_loss(model, Collator(0)(made, MicroBatch((1,), 0, counted=False)), 7))
    assert len(found) == sum(p.requires_grad for p in model.parameters())
    assert not any(gradient.any() for gradient in found.values())


def test_measuring_keeps_the_logits_as_they_are() -> None:
    import torch

    from whetstone.tuning.labelled import cross_entropy

    logits, labels, weights = torch.randn(5, 11), torch.arange(5), torch.ones(5)
    kept = logits.clone()
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(cross_entropy(logits, labels, weights), expected)
    assert torch.equal(logits, kept)


def test_using_logits_again_after_their_loss_is_refused() -> None:
    import torch

    from whetstone.tuning.labelled import cross_entropy

    start = torch.randn(5, 11, requires_grad=True)
    logits = start * 2
    other = logits.exp().square().sum() + logits.square().sum()  # needs the logits in its backward pass
    loss = cross_entropy(logits, torch.arange(5), torch.ones(5)) + other
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
