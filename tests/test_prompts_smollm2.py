"""Prompts and the embedded model: what it is shown, and what examples cost it."""

from __future__ import annotations

from whetstone.models import load_model
from whetstone.prompting.families import family_of
from whetstone.prompting.library import PromptLibrary
from whetstone.types import Case, Problem
from whetstone.workflows.shown_shots import shown_prompt


def test_the_tokens_of_examples_are_those_that_the_embedded_model_counts() -> None:
    cases = [Case(f"c{i}", f"A thing that stands in the garden, number {i}", float(10 + i)) for i in range(9)]
    problem = Problem("toy", "number", "price", "mae", cases[3:], cases[:1], cases[1:3], "f" * 64, unit="$")
    model = load_model("smollm2")
    try:
        template = PromptLibrary().find("number", family=family_of(model)).template
        shown = shown_prompt(problem, template, "balanced:3", model=model)
        assert model.count_tokens(shown.messages) == shown.tokens  # type: ignore[attr-defined]
        text = model.render(shown.messages)  # type: ignore[attr-defined]
    finally:
        model.close()
    assert text.startswith("<|im_start|>system\nYou estimate the price.")
    assert text.count("<|im_start|>assistant\n$") == 3
    assert text.endswith("<|im_start|>assistant\n")
    assert all(shot.tokens and shot.tokens > 20 for shot in shown.shots)
    assert shown.tokens == (shown.bare_tokens or 0) + sum(shot.tokens or 0 for shot in shown.shots)
