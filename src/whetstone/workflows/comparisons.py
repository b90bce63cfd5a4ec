"""Comparisons as they were asked for, kept on disk: each can be gone on with and reported on, long after it began.

A comparison is a file `comparisons/<id>.json` below the home folder. Its id is a digest of what was asked, so asking
for the same once more finds the same file, and through it the same runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from whetstone import settings
from whetstone.datasets.build import BuiltProblem, build_problem
from whetstone.errors import FingerprintError, StorageError, UsageError
from whetstone.evaluation.harness import Following, Watcher
from whetstone.evaluation.report import Report
from whetstone.evaluation.technique import digest
from whetstone.models import ChatModel, load_model
from whetstone.registry import unknown_name
from whetstone.storage.files import storage_error, write_atomically
from whetstone.types import Prediction, Problem
from whetstone.workflows.compare import EMBEDDED_MODEL, compare


@dataclass(frozen=True)
class ProblemRequest:
    """Where a problem's rows are and how they become one, as `build_problem` takes it; () and None leave it to that.

    Attributes:
        source: a file, a hub id, or the name of a packaged catalogue.
    """

    source: str
    text: tuple[str, ...] = ()
    target: str | None = None
    id: str | None = None
    group: str | None = None
    kind: Any = None
    metric: str | None = None
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    test_size: int | float | None = None
    validation_size: int | float | None = None
    train_size: int | float | None = None
    test_all: bool = False
    seed: int = 42

    def build(self, progress: Callable[[float], None] | None = None) -> BuiltProblem:
        """The problem.

        Args:
            progress: told the share of a text file that has been read.

        Raises:
            DataError, UsageError: as `build_problem`.
        """
        arguments = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return build_problem(**arguments, progress=progress)


@dataclass(frozen=True)
class ComparisonRequest:
    """What is to be compared.

    Attributes:
        problem: on which items.
        techniques: specs; () for all that suit the problem.
        models: specs of the models that answer where a technique asks one.
        question: instead of the default one; "" for that.
        grid: the candidate numbers of techniques that read distributions; "" for those seen from the training items.
    """

    problem: ProblemRequest
    techniques: tuple[str, ...] = ()
    models: tuple[str, ...] = (EMBEDDED_MODEL,)
    question: str = ""
    grid: str = ""

    @property
    def id(self) -> str:
        """The name of the comparison: the same request, the same name."""
        return digest(asdict(self))[:12]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """From JSON values."""
        tuples = {name: tuple(data[name]) for name in ("techniques", "models")}
        problem = {**data["problem"], "text": tuple(data["problem"]["text"])}
        return cls(**{**data, **tuples, "problem": ProblemRequest(**problem)})


@dataclass(frozen=True)
class Comparison:
    """A comparison that was begun.

    Attributes:
        request: what was asked for.
        name: of the problem, for lists.
        fingerprint: of the problem when it was begun; with another one it cannot be gone on with.
        cases: test items.
        created: when it was begun, ISO 8601 in UTC.
        runs: ids of its runs so far, in the order in which they began.
        complete: every technique has answered every item.
    """

    request: ComparisonRequest
    name: str
    fingerprint: str
    cases: int
    created: str
    runs: tuple[str, ...] = ()
    complete: bool = False

    @property
    def id(self) -> str:
        """Its name."""
        return self.request.id

    def save(self) -> None:
        """Write it.

        Raises:
            StorageError: it cannot be written.
        """
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1)
        write_atomically(_folder() / f"{self.id}.json", text)

    @classmethod
    def begin(cls, request: ComparisonRequest, problem: Problem) -> Self:
        """The comparison of this request, new or begun before.

        Raises:
            FingerprintError: it was begun on other items: the file was changed meanwhile.
        """
        path = _folder() / f"{request.id}.json"
        if not path.exists():
            created = datetime.now(UTC).isoformat(timespec="seconds")
            return cls(request, problem.name, problem.fingerprint, len(problem.test), created)
        known = cls.read(path)
        if known.fingerprint != problem.fingerprint:
            raise FingerprintError(
                f"{problem.name} is no longer the problem that this comparison was begun on: its items, or the way "
                "they are split, have changed; begin a new comparison, with another seed or file"
            )
        return known

    @classmethod
    def read(cls, path: Path) -> Self:
        """From its file.

        Raises:
            StorageError: the file is damaged.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            request = ComparisonRequest.from_json(data["request"])
            return cls(**{**data, "request": request, "runs": tuple(data["runs"])})
        except OSError as error:
            raise storage_error(path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: this comparison cannot be read ({error}); delete the file") from error

    def run(
        self,
        problem: Problem,
        watcher: Watcher,
        *,
        load: Callable[[str], ChatModel] = load_model,
        retry_errors: bool = False,
    ) -> Report:
        """Begin it, or go on with it; see `whetstone.workflows.compare.compare`."""
        keeper = _Keeper(self, watcher)
        self.save()
        request = self.request
        report = compare(
            problem,
            request.techniques or None,
            models=request.models,
            question=request.question or None,
            grid=request.grid or None,
            seed=request.problem.seed,
            watcher=keeper,
            retry_errors=retry_errors,
            load=load,
        )
        replace(keeper.comparison, complete=True).save()
        return report


class _Keeper:
    """Notes the runs of a comparison as they are opened, and passes everything on."""

    def __init__(self, comparison: Comparison, watcher: Watcher) -> None:
        self.comparison = comparison
        self._watcher = watcher
        self.preparing, self.start = watcher.preparing, watcher.start
        self.item, self.finish = watcher.item, watcher.finish

    def planned(self, labels: Sequence[str]) -> None:
        if isinstance(self._watcher, Following):
            self._watcher.planned(labels)

    def opened(self, run: str, answers: Sequence[Prediction]) -> None:
        if run not in self.comparison.runs:
            self.comparison = replace(self.comparison, runs=(*self.comparison.runs, run))
            self.comparison.save()
        if isinstance(self._watcher, Following):
            self._watcher.opened(run, answers)


def find_comparison(name: str) -> Comparison:
    """The comparison of that name.

    Raises:
        UsageError: there is none.
        StorageError: it cannot be read.
    """
    paths = {path.stem: path for path in _folder().glob("*.json")}
    if name not in paths:
        if not paths:
            raise UsageError("there are no comparisons yet: begin one")
        raise unknown_name("comparison", name, paths)
    return Comparison.read(paths[name])


def comparisons() -> Iterator[Comparison]:
    """Every comparison that can be read, the latest first."""
    found = []
    for path in _folder().glob("*.json"):
        try:
            found.append(Comparison.read(path))
        except StorageError:  # whoever asks for it by its name is told
            continue
    return iter(sorted(found, key=lambda one: (one.created, one.id), reverse=True))


def _folder() -> Path:
    return settings.home() / "comparisons"
