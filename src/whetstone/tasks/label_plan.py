"""The label of a text: one of those offered, and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from whetstone.errors import BadReplyError
from whetstone.tasks.asking import Answer, Asking, Plan
from whetstone.tasks.reading import PartRead, Piece, read_text
from whetstone.tasks.result import Outcome
from whetstone.tasks.task import Task
from whetstone.types import assistant, user

_AGAIN = "That is not one of the labels. Answer with exactly one of them: {labels}."
_TRIES = 2  # further ones, for a model that is not constrained


def label_plan(task: Task) -> Plan[Outcome]:
    """One of the task's labels.

    Where the text is read in parts, it is the label of most of it: each part's counts by the part's length.

    Raises:
        BadReplyError: the model named none of them, however often it was asked.
    """
    labels: tuple[str, ...] = task.values["labels"]
    schema = None if task.apart else label_schema(labels, in_object=task.in_object)

    def ask(piece: Piece) -> Sequence[Asking]:
        return [task.asking(piece.name, {task.card.file.main: piece.text}, schema=schema, keep=piece.is_part)]

    read = yield from read_text(task, ask, "prompt")
    votes: Counter[str] = Counter()
    for part in read.parts:
        label = yield from _label(task, labels, part, ask(Piece(part.part.text))[0])
        votes[label] += len(part.part.text)
    notes = list(read.notes)
    (winner, share), *_ = votes.most_common(1)
    if not read.whole:
        notes.append(f"{100 * share / votes.total():.0f} % of the text, by length, has this label")
    return Outcome(winner, read.parts[-1].answers[0].text, tuple(notes))


def _label(task: Task, labels: Sequence[str], part: PartRead, asked: Asking) -> Plan[str]:
    """The label in the answer about a part; asked for again where there is none."""
    answer: Answer = part.answers[0]
    if answer.value is not None:
        return str(answer.value["label"] if task.in_object else answer.value)
    for _ in range(_TRIES):
        label = read_label(answer.text, labels)
        if label is not None:
            return label
        again = user(_AGAIN.format(labels=", ".join(labels)))
        messages = (*asked.messages, assistant(answer.text.strip() or "-"), again)
        (answer,) = yield [Asking("again", messages, asked.options)]
    label = read_label(answer.text, labels)
    if label is None:
        raise BadReplyError(
            f"{task.model.identity.name} named none of the labels, or several: {answer.text.strip()[:80]!r}"
        )
    return label


def label_schema(labels: Sequence[str], *, in_object: bool) -> dict[str, object]:
    """The JSON Schema of an answer that is one of some labels: a string, or an object that holds it as `label`."""
    label: dict[str, object] = {"type": "string", "enum": list(labels)}
    if not in_object:
        return label
    return {
        "type": "object",
        "properties": {"label": label},
        "required": ["label"],
        "additionalProperties": False,
    }


def read_label(said: str, labels: Sequence[str]) -> str | None:
    """The one label that an answer in words names; None where it names none, or several.

    Letter case and what stands around it do not count, nor does a label inside of a longer one that is named.
    """
    bare = said.strip(" .,:;!\"'`*_\n").casefold()
    words = _plain(said)
    for same in (lambda label: bare == label.casefold(), lambda label: words == _plain(label)):
        if found := [label for label in labels if same(label)]:
            return found[0] if len(found) == 1 else None
    named = set()
    for label in sorted(labels, key=len, reverse=True):
        if _plain(label) in words:
            named.add(label)
            words = words.replace(_plain(label), " | ")
    return named.pop() if len(named) == 1 else None


def _plain(text: str) -> str:
    """Words in lower case, each with a space on both sides."""
    words = " ".join(re.findall(r"\w+", text.casefold()))
    return f" {words} "
