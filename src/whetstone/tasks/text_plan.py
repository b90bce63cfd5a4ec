"""Texts for texts: summaries, translations, answers, essays."""

from __future__ import annotations

from collections.abc import Sequence

from whetstone.errors import BadReplyError
from whetstone.tasks.asking import Asking, Plan
from whetstone.tasks.map_reduce import joined
from whetstone.tasks.reading import Piece, read_text
from whetstone.tasks.result import Outcome
from whetstone.tasks.task import Task


def text_plan(task: Task) -> Plan[Outcome]:
    """A text made of the main input.

    Raises:
        BadReplyError: the model said nothing.
    """
    reduces = task.card.file.beyond == "reduce"
    part_prompt = "part" if reduces else "prompt"

    def ask(piece: Piece) -> Sequence[Asking]:
        values = {task.card.file.main: piece.text}
        if not piece.is_part:
            return [task.asking(piece.name, values)]
        if not reduces:
            return [task.asking(piece.name, values, keep=True)]
        numbered = {**values, "number": piece.number, "count": piece.count}
        return [task.asking(piece.name, numbered, prompt="part", keep=True)]

    read = yield from read_text(task, ask, part_prompt)
    notes = list(read.notes)
    replies = [part.answers[0] for part in read.parts]
    if read.whole:
        text = raw = replies[0].text
    elif reduces:
        answer = yield from joined(task, read)
        replies.append(answer)
        text = raw = answer.text
    else:
        text = raw = "".join(part.answers[0].text.strip() + part.part.after for part in read.parts)
    if cut := sum(reply.cut_off for reply in replies):
        what = "the answer was" if len(replies) == 1 else f"{cut} of {len(replies)} replies were"
        notes.append(f"{what} cut off at the limit of tokens; max_tokens raises it")
    text = text.strip()
    if not text:
        raise BadReplyError(f"{task.model.identity.name} gave an empty answer; try another model, or other options")
    notes += _unheard(task, text)
    return Outcome(text, raw, tuple(notes))


def _unheard(task: Task, text: str) -> list[str]:
    """Notes on wishes that the answer plainly does not meet."""
    notes = []
    glossary = next((one.name for one in task.card.inputs if one.type == "glossary"), None)
    for term, translation in (task.values[glossary] if glossary else {}).items():
        if term.casefold() in task.text.casefold() and translation.casefold() not in text.casefold():
            notes.append(f'the glossary says "{translation}" for "{term}", and the answer does not')
    return notes
