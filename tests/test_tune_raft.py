"""The regression-aware loss against candidates that are scored one by one, gradients included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tiny_tune import adapted, gradients, plain_loss, same, tiny, whole
from whetstone.errors import UsageError
from whetstone.models.token_tree import TokenTree
from whetstone.numeric.grid import parse_grid
from whetstone.numeric.trie import NumberTrie
from whetstone.tuning.collator import Collator, learned_tokens
from whetstone.tuning.rows import TuneRow

DIGITS = list(range(10, 20))  # the tokens of 0 to 9 in the tests' vocabulary; 20 is the point


def trie() -> NumberTrie:
    """1, 2, 12, 120 and 35, spelled digit by digit."""
    grid = parse_grid("1,2,12,35,120")
    one, twelve, three = (10 + 1,), (10 + 1, 10 + 2), (10 + 3,)
    nodes = [one, (12,), three, twelve]
    rows = {(): 0, **{node: place for place, node in enumerate(nodes, start=1)}}
    endings = [((11,), 0), ((12,), 1), ((11, 12), 2), ((13, 15), 3), ((11, 12, 10), 4)]
    wanted = np.array([*DIGITS, 20])
    steps = np.full((5, 3, 2), -1)
    for place, (ids, _) in enumerate(endings):
        for length, token in enumerate(ids):
            steps[place, length] = rows[ids[:length]], token - 10
    onward = np.zeros((2, 11), dtype=bool)
    onward[1] = True
    return NumberTrie(
        grid=grid,
        tree=TokenTree(np.array([node[-1] for node in nodes]), np.array([rows[node[:-1]] - 1 for node in nodes])),
        wanted=wanted,
        steps=steps,
        stops=np.array([1, 2, 4, -1, -1]),
        onward=onward,
        kinds=np.array([0, 1, 1, 1, 1]),
        candidates=np.arange(5),
    )


def price_rows() -> list[TuneRow]:
    """Prompts of several lengths, each with a number written behind it, and a row of general text."""
    random = np.random.default_rng(5)
    made = []
    for length, target, written in [(9, 12.0, [11, 12]), (4, 50.0, [15, 10]), (14, 1.0, [11])]:
        prompt = random.integers(21, 97, length).tolist()
        made.append(
            TuneRow(
                ids=[*prompt, *written, 2],
                learned=[False] * length + [True] * (len(written) + 1),
                target=target,
                number_at=length,
                weight=float(random.uniform(0.5, 2)),
            )
        )
    made.append(TuneRow(ids=random.integers(21, 97, 11).tolist(), learned=[False] * 6 + [True] * 5, replay=True))
    return made


def plain_masses(model: Any, prompt: list[int], numbers: NumberTrie) -> Any:
    """Every candidate by passes of its own over prompt and spelling."""
    import torch

    def behind(ids: list[int]) -> Any:
        return torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].float(), -1)

    found = []
    for value, stops in zip(numbers.grid.values, numbers.stops, strict=True):
        digits = [10 + int(digit) for digit in str(int(value))]
        mass = torch.ones(())
        for place, token in enumerate(digits):
            mass = mass * behind([*prompt, *digits[:place]])[token].exp()
        if stops >= 0:
            mass = mass * (1 - behind([*prompt, *digits])[[*DIGITS, 20]].exp().sum())
        found.append(mass)
    return torch.stack(found)


def plain_error(masses: Any, values: Any, target: float, error: str) -> Any:
    """By the definitions, with double sums."""
    import torch

    if error == "squared":
        return ((masses * values).sum() - target) ** 2
    farthest = (values - target).abs().argmax()
    full = masses + torch.nn.functional.one_hot(farthest, len(values)) * (1 - masses.sum())
    expected = (full * (values - target).abs()).sum()
    if error == "absolute":
        return expected
    return expected - 0.5 * (full[:, None] * full[None] * (values[:, None] - values[None]).abs()).sum()


@pytest.mark.parametrize("error", ["squared", "absolute", "crps"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_error_and_its_gradient_are_those_of_candidates_scored_alone(kind: str, error: Any) -> None:
    import torch

    from whetstone.tuning.raft import RaftLoss, check_raft

    model, made, numbers = adapted(tiny(kind)) if kind == "llama" else tiny(kind), price_rows(), trie()
    check_raft(model, 20, numbers, 0)
    values = torch.tensor(numbers.grid.values).float()
    plain = torch.zeros(())
    for row in made[:3]:
        masses = plain_masses(model, row.ids[: row.number_at], numbers)
        plain = (
            plain
            + row.weight
            * plain_error(masses, values, row.target or 0.0, error)
            / (25 if error != "squared" else 625)
            / 3
        )
    items = sum(map(learned_tokens, made))
    plain = plain + plain_loss(model, made[3:]) * 5 / items  # general text counts with its cross-entropy
    ours = RaftLoss(numbers, error, scale=25.0)(model, Collator(0)(made, whole(made)), items, num_rows=3)
    same(model, ours, plain)


def test_the_masses_are_those_that_evaluation_reads() -> None:
    import torch

    from whetstone.tuning.raft import RaftLoss

    numbers = trie()
    logits = torch.randn(2 * (1 + len(numbers.tree)), 97)
    table = torch.log_softmax(logits, -1)[:, numbers.wanted].view(2, -1, len(numbers.wanted))
    found = RaftLoss(numbers).masses(logits, 2)
    for row in range(2):
        np.testing.assert_allclose(found[row], numbers.masses(table[row].numpy()), atol=1e-6)


def test_cross_entropy_and_divergence_can_be_mixed_in() -> None:
    import torch

    from whetstone.tuning.raft import RaftLoss

    model, made, numbers = adapted(tiny("llama")), price_rows(), trie()
    items = sum(map(learned_tokens, made))
    batch = Collator(0)(made, whole(made))
    alone = RaftLoss(numbers, "crps")(model, batch, items, 3)
    mixed = RaftLoss(numbers, "crps", cross_entropy=0.5)(model, batch, items, 3, kl_weight=0.3)
    share = sum(map(learned_tokens, made[:3])) / items
    plain = 0.5 * share * plain_loss(model, made[:3])
    held = plain_loss(model, made, kl_weight=0.3) - plain_loss(model, made)
    assert mixed.item() - alone.item() == pytest.approx((plain + held).item(), rel=1e-4)
    expected = gradients(model, RaftLoss(numbers, "crps")(model, batch, items, 3) + plain + held)
    for name, gradient in gradients(model, mixed).items():
        torch.testing.assert_close(gradient, expected[name], atol=2e-5, rtol=1e-3)


def test_a_step_against_the_gradient_brings_the_number_nearer() -> None:
    import torch

    from whetstone.tuning.raft import RaftLoss

    model, made = tiny("llama"), price_rows()[:3]
    batch, loss = Collator(0)(made, whole(made)), RaftLoss(trie(), "absolute", scale=25.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    errors = []
    for _ in range(12):
        optimizer.zero_grad()
        error = loss(model, batch, 1, 3)
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]


def test_a_model_that_cannot_read_a_tree_is_refused() -> None:
    from whetstone.tuning.raft import check_raft

    for kind in ("mamba", "t5"):
        with pytest.raises(UsageError, match=f"{kind} does not; write loss: cross_entropy"):
            check_raft(tiny(kind), 20, trie(), 0)
