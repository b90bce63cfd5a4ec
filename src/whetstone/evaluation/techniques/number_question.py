"""How a number problem is put to a model that is read number by number: the prompt, and the candidates."""

from __future__ import annotations

from whetstone.numeric.grid import Grid
from whetstone.numeric.problem_grid import number_grid
from whetstone.prompting.number_form import number_form
from whetstone.prompting.price import Form, PricePrompt
from whetstone.types import Problem

__all__ = ["number_grid", "number_prompt"]


def number_prompt(problem: Problem, grid: Grid, form: Form, question: str = "") -> PricePrompt:
    """The prompt whose answer is one of the candidates; see `number_form`."""
    return number_form(problem, grid.places, form, question)
