"""Task cards: everyday tasks as folders of plain files, run on any model."""

from __future__ import annotations

from whetstone.tasks.card import Card, cards, load_card
from whetstone.tasks.cases import TaskCase
from whetstone.tasks.inputs import Input
from whetstone.tasks.shelf import CardShelf

__all__ = ["Card", "CardShelf", "Input", "TaskCase", "cards", "load_card"]
