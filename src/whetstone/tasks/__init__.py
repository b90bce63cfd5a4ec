"""Task cards: everyday tasks as folders of plain files, run on any model."""

from __future__ import annotations

from whetstone.tasks.card import Card, cards, load_card
from whetstone.tasks.cases import TaskCase
from whetstone.tasks.inputs import Input

__all__ = ["Card", "Input", "TaskCase", "cards", "load_card"]
