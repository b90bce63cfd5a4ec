"""A task card of a user's own."""

from __future__ import annotations

from pathlib import Path

OWN = """
title: Haiku
description: A poem of three lines.
main: topic
inputs:
  - {name: topic, type: text, required: true, description: what it is about}
output: text
metric: rouge_l
"""
PROMPT = "---\nname: haiku\nversion: 1\nvariables: [topic]\n---\nA haiku on {{ topic }}.\n"


def own_card(folder: Path, card: str = OWN, prompt: str = PROMPT) -> str:
    """Write a card into a folder; how the command line names it."""
    folder.mkdir(exist_ok=True)
    (folder / "card.yaml").write_text(card)
    (folder / "prompt.md").write_text(prompt)
    return f"{folder}/"
