"""How a number problem is put to a model that is read number by number, in training as in use."""

from __future__ import annotations

from whetstone.prompting.answers import unit_in_words
from whetstone.prompting.price import LABEL, QUESTION, Form, PricePrompt
from whetstone.types import Problem


def number_form(problem: Problem, places: int, form: Form = "plain", question: str = "") -> PricePrompt:
    """The course's prompt, character by character, for dollars; the same form for anything else.

    The label ends in no blank: many tokenizers take one and the number behind it as a single token.

    Args:
        places: decimals of the candidates.
        question: of the user's own; "" for the usual one.
    """
    if problem.unit == "$":
        return PricePrompt(form, question or QUESTION, LABEL, places or None)
    target = problem.target.replace("_", " ")
    name = unit_in_words(problem.unit)
    usual = f"What is the {target}{f' in {name}' if name else ''}?"
    sign = problem.unit if name != problem.unit else ""  # a currency sign
    label = f"{target[:1].upper()}{target[1:]} {f'is {sign}' if sign else '='}"
    return PricePrompt(form, question or usual, label, places)
