"""What a prompt search chooses among: instructions, numbers of examples, and ways to choose them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques.examples import DRAWN, METHODS
from whetstone.prompting.library import PromptFile
from whetstone.registry import unknown_name

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Instruction:
    """How a case is asked about.

    Attributes:
        name: of the prompt in the library, "number@1"; for tables and commands.
        path: of its file.
        digest: of its text.
        question: what is asked in place of the prompt's own question; "" for that.
        proposed: whether a model wrote the question.
    """

    name: str
    path: str
    digest: str
    question: str = ""
    proposed: bool = False

    def __str__(self) -> str:
        if not self.question:
            return self.name
        shown = self.question if len(self.question) <= _SHOWN_CHARACTERS else f"{self.question[:_SHOWN_CHARACTERS]}…"
        return f"{self.name} “{shown}”"


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to ask: an instruction, and examples.

    Attributes:
        shots: how many examples.
        method: how they are chosen; "" for none.
        draw: seed of methods that draw; 0 for the others.
    """

    instruction: Instruction
    shots: int = 0
    method: str = ""
    draw: int = 0

    @property
    def technique(self) -> str:
        """Its spec: "ask", "few-shot:shared:3:1"."""
        if not self.shots:
            return "ask"
        return f"few-shot:{self.method}:{self.shots}" + (f":{self.draw}" if self.method in DRAWN else "")

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of its technique, see `TechniqueContext.options`."""
        question = {"question": self.instruction.question} if self.instruction.question else {}
        return {"template": self.instruction.path, **question}

    def context(self, base: TechniqueContext) -> TechniqueContext:
        """A context to build its technique with."""
        return TechniqueContext(
            seed=base.seed,
            load_model=base.load_model,
            model=base.model,
            options=self.options,
            progress=base.progress,
        )

    def __str__(self) -> str:
        return f"{self.instruction}, {self.technique}"


@dataclass(frozen=True)
class SearchSpace:
    """All choices.

    Attributes:
        instructions: the first one is where the search starts.
        shots: numbers of examples, rising.
        methods: ways to choose them.
        draws: seeds of methods that draw: 0, 1, and so on up to this number.
    """

    instructions: tuple[Instruction, ...]
    shots: tuple[int, ...] = (0,)
    methods: tuple[str, ...] = ("shared",)
    draws: int = 4

    def __post_init__(self) -> None:
        if not self.instructions or not self.shots:
            raise UsageError("a search needs at least one instruction and one number of examples")
        for method in self.methods:
            if method not in METHODS:
                raise unknown_name("way to choose examples", method, list(METHODS))
        if self.draws < 1 or (self.shots[-1] and not self.methods):
            raise UsageError("a search with examples needs a way to choose them, and at least one draw")

    @property
    def start(self) -> Choice:
        """The first instruction with the fewest examples, by the first method."""
        return self._choice(self.instructions[0], self.shots[0], self.methods[0] if self.methods else "", 0)

    def choices(self) -> list[Choice]:
        """Every choice, the start first."""
        found: dict[Choice, None] = {}
        for instruction, shots, method, draw in itertools.product(
            self.instructions, self.shots, self.methods or ("",), range(self.draws)
        ):
            found[self._choice(instruction, shots, method, draw)] = None
        return list(found)

    def suggest(self, trial: Any) -> Choice:
        """What an optuna trial takes. Examples are asked for only where there are any."""
        position = trial.suggest_categorical("instruction", list(range(len(self.instructions))))
        shots = trial.suggest_categorical("shots", list(self.shots))
        method = trial.suggest_categorical("method", list(self.methods)) if shots else ""
        draw = trial.suggest_categorical("draw", list(range(self.draws))) if method in DRAWN else 0
        return self._choice(self.instructions[position], shots, method, draw)

    def parameters(self, choice: Choice) -> dict[str, Any]:
        """What optuna would have to suggest for this choice."""
        wanted: dict[str, Any] = {"instruction": self.instructions.index(choice.instruction), "shots": choice.shots}
        if choice.shots:
            wanted["method"] = choice.method
        if choice.method in DRAWN:
            wanted["draw"] = choice.draw
        return wanted

    def _choice(self, instruction: Instruction, shots: int, method: str, draw: int) -> Choice:
        if not shots:
            return Choice(instruction)
        return Choice(instruction, shots, method, draw if method in DRAWN else 0)


def instruction_of(prompt: PromptFile, question: str = "") -> Instruction:
    """A prompt of the library as an instruction.

    Raises:
        UsageError: there is a question, and the prompt has no place for it.
        DataError: the prompt cannot be used.
    """
    if question and "question" not in prompt.template.variables:
        raise UsageError(f"the prompt {prompt.reference} has no variable 'question', so it cannot ask {question!r}")
    return Instruction(prompt.reference, str(prompt.path), prompt.digest, question)


def with_questions(start: PromptFile, questions: Sequence[str]) -> list[Instruction]:
    """A prompt with each of these questions; equal ones count once.

    Raises:
        UsageError: the prompt has no place for a question.
    """
    return [instruction_of(start, question) for question in dict.fromkeys(questions)]
