"""Items of a problem as rows: a number, a label or a text for an answer, asked for as at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice

from whetstone.datasets.rejects import Reject
from whetstone.errors import UsageError
from whetstone.numeric.grid import Grid
from whetstone.numeric.problem_grid import number_grid
from whetstone.prompting.answers import unit_in_words
from whetstone.prompting.fitting import fitted
from whetstone.prompting.number_form import number_form
from whetstone.prompting.price import PricePrompt
from whetstone.prompting.template import Template, load_template
from whetstone.tokens.chat import RenderedChat
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.encoding import Encoded, Encoder
from whetstone.tuning.formats import Talk, Unusable
from whetstone.tuning.number_rows import NumberEncoder
from whetstone.tuning.rows import PackedRows, Progress, RowBuilder, TuneRow
from whetstone.types import Case, Problem, assistant

_PIECE = 2_048
_WITHOUT_LIMIT = 1 << 62


class ProblemRows:
    """Items of a problem as rows.

    Args:
        problem: whose items they are.
        encoder: of the model.
        config: form and question.
    """

    def __init__(self, problem: Problem, encoder: Encoder, config: TuneConfig) -> None:
        self.problem, self.encoder = problem, encoder
        self.form: PricePrompt | None = None
        self.grid: Grid | None = None
        self._numbers: NumberEncoder | None = None
        self._template: Template | None = None
        self._question = config.question
        if problem.kind == "number":
            self.grid = number_grid(problem)
            self.form = number_form(problem, self.grid.places, config.form, config.question)
            known = (float(case.expected) for case in (*problem.train, *problem.validation))
            self._numbers = NumberEncoder(encoder, self.form).with_room_for(known)
        else:
            if config.form != "plain":
                raise UsageError(f"form: chat is for numbers, and {problem.name} asks for a {problem.kind}")
            self._template = load_template(problem.kind)

    def rows(
        self, cases: Sequence[Case], name: str, progress: Progress | None
    ) -> tuple[PackedRows, list[float | str], list[Reject]]:
        """The items as rows, the answer of each, and the items that cannot be used.

        Args:
            name: of the split, for messages.
            progress: told how many items are done.
        """
        builder = RowBuilder()
        expected: list[float | str] = []
        rejects: list[Reject] = []
        for done, piece in _pieces(cases):
            if progress is not None:
                progress(f"{name} items into tokens", done, len(cases))
            for case, encoded in zip(piece, self._encoded(piece), strict=True):
                where = f"{self.problem.name}, {name}, item {case.id}"
                if isinstance(encoded, Unusable):
                    rejects.append(Reject(where, 0, None, encoded.field, str(encoded), {}))
                    continue
                target = float(case.expected) if self._numbers is not None else None
                row = TuneRow(encoded.ids, encoded.learned, encoded.labels, target, encoded.number_at)
                builder.add(replace(row, where=where, cut=encoded.cut))
                expected.append(case.expected)
        return builder.finish(), expected, rejects

    def shown(self, cases: Sequence[Case]) -> list[RenderedChat]:
        """Items as text, tokens and mask; those that cannot be used are left out."""
        found = []
        for case, encoded in zip(cases, self._encoded(list(cases)), strict=True):
            if isinstance(encoded, Unusable):
                continue
            if self._numbers is not None:
                found.append(self._numbers.shown(case.text, float(case.expected), encoded.cut))
            else:
                text = case.text[: len(case.text) - encoded.cut].rstrip() if encoded.cut else case.text
                found.append(self.encoder.shown(self._talk(case, text)))
        return found

    def _encoded(self, cases: Sequence[Case]) -> list[Encoded | Unusable]:
        if self._numbers is not None:
            return self._numbers.encode([(case.text, float(case.expected)) for case in cases])
        found = self.encoder.encode([self._talk(case, case.text) for case in cases])
        return [
            self._cut(case) if isinstance(each, Unusable) or self._too_long(case, each) else each
            for case, each in zip(cases, found, strict=True)
        ]

    @cached_property
    def _label_tokens(self) -> dict[str, int]:
        """How long each label is; none of texts."""
        encode = self.encoder.tokenizer.encode
        return {label: len(encode(label).ids) for label in self.problem.labels}

    def _too_long(self, case: Case, encoded: Encoded) -> bool:
        """Whether an item would not fit with the longest label: were each cut by its own, its length would tell it."""
        if encoded.labels is not None or not self._label_tokens:
            return False
        longest = max(self._label_tokens.values())
        shorter = longest - self._label_tokens.get(str(case.expected), longest)
        return len(encoded.ids) + shorter > self.encoder.max_length

    def _cut(self, case: Case) -> Encoded | Unusable:
        """An item that was too long, with as much of its text as fits beside the longest label."""
        longest = max(self._label_tokens, key=self._label_tokens.__getitem__, default=str(case.expected))
        roomy = replace(self.encoder, max_length=_WITHOUT_LIMIT)

        def length(text: str) -> list[int]:
            (encoded,) = roomy.encode([self._talk(replace(case, expected=longest), text)])
            if isinstance(encoded, Unusable):
                raise encoded
            return encoded.ids

        try:
            cut = fitted(length, self.encoder.tokenizer, case.text, self.encoder.max_length).cut
        except UsageError as error:
            return Unusable("", str(error))
        except Unusable as reason:
            return reason
        (encoded,) = self.encoder.encode([self._talk(case, case.text[: len(case.text) - cut])])
        if isinstance(encoded, Unusable):
            return encoded
        return Encoded(encoded.ids, encoded.learned, encoded.labels, encoded.number_at, cut)

    def _talk(self, case: Case, text: str) -> Talk:
        """The conversation in which `ask` asks about an item, with the true answer."""
        assert self._template is not None
        asked = self._template.messages(
            {
                "text": text,
                "fields": case.fields,
                "question": self._question,
                "target": self.problem.target.replace("_", " "),
                "unit": self.problem.unit,
                "unit_name": unit_in_words(self.problem.unit),
                "labels": list(self.problem.labels),
            }
        )
        return Talk([*asked, assistant(str(case.expected))], learn_from=len(asked))


def _pieces(cases: Sequence[Case]) -> Iterator[tuple[int, list[Case]]]:
    """`(how many came before, some cases)`."""
    waiting, done = iter(cases), 0
    while piece := list(islice(waiting, _PIECE)):
        yield done, piece
        done += len(piece)
