"""Instructions that a model proposes: other words for the question, by what training cases look like.

After Zhou et al. 2023, "Large Language Models Are Human-Level Prompt Engineers": a model that is shown inputs and
outputs writes instructions, and the search finds out which are any good.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from whetstone.errors import ModelError
from whetstone.evaluation.technique import digest
from whetstone.models import ChatModel, reply
from whetstone.models.catalogue import cost
from whetstone.prompting.answers import write_number
from whetstone.prompting.few_shot import BalancedExamples
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.types import Case, Options, Problem, Usage, user

_SHOWN, _SHOWN_CHARACTERS, _MOST_CHARACTERS = 4, 400, 300
_ATTEMPTS = 3  # requests per proposal that is wanted: a small model repeats itself
_PROMPT = """\
Somebody answers questions about texts. Here are texts, each with the right answer:

{examples}

The question that is asked about each text is: {question}

Write another question that would lead to the same answers, clearer or more exact than this one. Write the question \
only, in one or two sentences."""


class Proposer:
    """Asks a model for questions. What it wrote is kept, and not asked for again.

    Args:
        model: that writes.
        problem: whose training cases it is shown.
        question: the one that it is to improve.
        seed: of which cases it is shown, and of its sampler.
        path: the journal in which its replies are kept.

    Attributes:
        calls, usage, cost: of all its requests, those of earlier processes included.
    """

    def __init__(self, model: ChatModel, problem: Problem, question: str, seed: int, path: Path) -> None:
        self._model, self._problem, self._question, self._seed, self._path = model, problem, question, seed, path
        self.calls = 0
        self.usage = Usage()
        self.cost: float | None = 0.0

    def propose(self, count: int) -> list[str]:
        """So many different questions, or fewer where the model repeats itself.

        Raises:
            ModelError: the model cannot answer.
        """
        found: dict[str, None] = {}
        kept = {entry["key"]: entry for entry in read_journal(self._path)}
        with JournalWriter(self._path) as journal:
            for number in range(count * _ATTEMPTS):
                if len(found) == count:
                    break
                prompt, options = self._request(number)
                key = digest(prompt, options.model_dump(exclude_defaults=True), asdict(self._model.identity))
                entry = kept.get(key)
                if entry is None:
                    entry = {"key": key, **self._ask(prompt, options)}
                    journal.append(entry)
                self._count(entry)
                question = tidied(entry["text"])
                if question and question != self._question:
                    found[question] = None
        return list(found)

    def _request(self, number: int) -> tuple[str, Options]:
        chooser = BalancedExamples(self._problem.train, _SHOWN, self._problem.kind, self._seed)
        (shown,) = chooser.choose([Case(f"proposal {number}", "", "")])
        examples = "\n\n".join(f"{case.text[:_SHOWN_CHARACTERS]}\nAnswer: {self._written(case)}" for case in shown)
        options = Options(temperature=0.8, max_tokens=100, seed=self._seed + number)
        return _PROMPT.format(examples=examples, question=self._question), options

    def _written(self, case: Case) -> str:
        if isinstance(case.expected, str):
            return case.expected[:_SHOWN_CHARACTERS]
        return write_number(case.expected, self._problem.unit)

    def _ask(self, prompt: str, options: Options) -> dict[str, object]:
        try:
            given = reply(self._model, [user(prompt)], options)
        except ModelError as error:
            if not error.concerns_one_item:
                raise
            return {"text": "", "usage": asdict(Usage()), "cost": 0.0}
        return {"text": given.text, "usage": asdict(given.usage), "cost": cost(self._model.identity, given.usage)}

    def _count(self, entry: dict[str, object]) -> None:
        self.calls += 1
        self.usage += Usage(**entry["usage"])  # type: ignore[arg-type]
        spent = entry["cost"]
        self.cost = self.cost + spent if self.cost is not None and isinstance(spent, int | float) else None


def tidied(text: str) -> str:
    """A proposal on one line, without quotation marks around it; "" for what is empty or no question of this size."""
    line = " ".join(text.split()).strip("\"'“”„«»` ")
    return line if len(line) <= _MOST_CHARACTERS else ""
