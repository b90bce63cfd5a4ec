"""Runs: the append-only record of one technique on one problem.

A run is a folder `runs/<id>/` with `run.json` (what was asked of what, written once) and `answers.jsonl` (a journal:
one line per fit and per answer). The id is derived from the fingerprint of the problem and the identity of the
technique, so asking for the same comparison again finds the same run and goes on where it stopped.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from whetstone import settings
from whetstone.errors import StorageError, UsageError
from whetstone.evaluation.technique import Classed, Technique, Training, Way, digest
from whetstone.registry import unknown_name
from whetstone.storage.files import write_atomically
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.types import Prediction, Problem


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-").lower()[:40] or "x"


@dataclass(frozen=True)
class RunRecord:
    """A stored run, read back.

    Attributes:
        id: its name in the store.
        header: what `run.json` holds: problem, technique, model, identity, number of cases, creation time, versions.
        answers: the last answer to each case, by case id.
        build_seconds: seconds the technique's first complete fit took.
        remarks: what the technique said of itself when it was last fitted.
    """

    id: str
    header: Mapping[str, Any]
    answers: Mapping[str, Prediction]
    build_seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every test case has an answer."""
        return len(self.answers) >= int(self.header["cases"])

    @property
    def ways(self) -> tuple[Way, ...]:
        """By which ways the technique answers; () where an earlier version ran it."""
        return tuple(self.header.get("ways", ()))

    @property
    def training(self) -> Training | None:
        """What tuning its model took; None where none was tuned."""
        return Training.from_json(self.header.get("training"))

    def predictions(self, problem: Problem) -> list[Prediction]:
        """The answers in the order of the test cases; those not answered yet are left out."""
        return [self.answers[case.id] for case in problem.test if case.id in self.answers]


class Run:
    """A run that is open for writing. Use as a context manager: it holds a lock."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.id = path.name
        self.header = header
        self._journal = JournalWriter(path / "answers.jsonl")
        self.answers, self.build_seconds, self.remarks = _read_answers(path / "answers.jsonl")

    def record_fit(self, seconds: float) -> None:
        """Note how long the technique took to build; the first figure stands, since a resumed run builds again."""
        if self.build_seconds is None:
            self.build_seconds = seconds
            self._journal.append({"fit": {"seconds": seconds}})

    def record_remarks(self, remarks: Sequence[str]) -> None:
        """Note what the technique says of itself, instead of what it said before."""
        if tuple(remarks) != self.remarks:
            self.remarks = tuple(remarks)
            self._journal.append({"remarks": list(remarks)})

    def record(self, prediction: Prediction) -> None:
        """Keep one answer. It survives a kill as soon as this returns."""
        self.answers[prediction.case_id] = prediction
        self._journal.append(prediction.to_json())

    def has_answer(self, case_id: str, key: str) -> bool:
        """Whether this case was answered to just this question (an edited prompt makes another key)."""
        return case_id in self.answers and self.answers[case_id].key == key

    def forget_errors(self) -> None:
        """Let answers that are errors be asked for again."""
        self.answers = {case_id: a for case_id, a in self.answers.items() if a.reading.status != "error"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()


def _read_answers(path: Path) -> tuple[dict[str, Prediction], float | None, tuple[str, ...]]:
    answers: dict[str, Prediction] = {}
    build_seconds: float | None = None
    remarks: tuple[str, ...] = ()
    for number, entry in enumerate(read_journal(path), start=1):
        try:
            if "fit" in entry:
                build_seconds = build_seconds if build_seconds is not None else float(entry["fit"]["seconds"])
            elif "remarks" in entry:
                remarks = tuple(map(str, entry["remarks"]))
            else:
                prediction = Prediction.from_json(entry)
                answers[prediction.case_id] = prediction
        except (KeyError, TypeError):
            raise StorageError(f"{path}, line {number}: not an answer of this version of Whetstone") from None
    return answers, build_seconds, remarks


class RunStore:
    """All runs under one home folder (`WHETSTONE_HOME` by default)."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or settings.home()
        self.folder = self.home / "runs"

    def open(self, problem: Problem, technique: Technique) -> Run:
        """The run of this technique on this problem, new or resumed.

        Raises:
            StorageError: another process writes this run, or the disk refuses.
        """
        identity = dict(technique.identity)
        name = f"{technique.name}-{technique.model}" if technique.model else technique.name
        # Which rows share a fold is no part of the fingerprint, and settles what a cross-fitted technique learns.
        folds = [problem.cross_fit, *problem.groups] if technique.needs_training and problem.cross_fit else []
        path = self.folder / f"{_slug(problem.name)}-{_slug(name)}-{digest(problem.fingerprint, identity, folds)[:10]}"
        header_path = path / "run.json"
        if not header_path.exists():
            header = {
                "run": path.name,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "problem": problem.name,
                "fingerprint": problem.fingerprint,
                "kind": problem.kind,
                "metric": problem.metric,
                "cases": len(problem.test),
                "cross_fit": problem.cross_fit if technique.needs_training else 0,
                "technique": technique.name,
                "model": technique.model,
                "uses_training": technique.needs_training,
                **_class(technique),
                "identity": identity,
                "versions": {"whetstone": version("whetstone-llm"), "python": platform.python_version()},
            }
            write_atomically(header_path, json.dumps(header, ensure_ascii=False, indent=1, default=str))
        return Run(path, _read_header(header_path))

    def __iter__(self) -> Iterator[RunRecord]:
        """Every stored run, oldest first."""
        headers = [_read_header(path) for path in self.folder.glob("*/run.json")]
        for header in sorted(headers, key=lambda h: (str(h["created"]), str(h["run"]))):
            yield self._record(header)

    def replies_of(self, model: str, keys: Set[str], *, besides: str) -> dict[str, Prediction]:
        """Replies of a model under these keys, from all its runs but one. Errors are no replies."""
        found: dict[str, Prediction] = {}
        for path in self.folder.glob("*/run.json"):
            header = _read_header(path)
            if header["model"] == model and header["run"] != besides:
                answers, *_ = _read_answers(path.parent / "answers.jsonl")
                found.update({a.key: a for a in answers.values() if a.key in keys and a.reading.status != "error"})
        return found

    def find(self, reference: str) -> RunRecord:
        """The run whose id is, or alone begins with, `reference`.

        Raises:
            UsageError: no run, or several, answer to it.
        """
        names = sorted(path.parent.name for path in self.folder.glob("*/run.json"))
        if not names:
            raise UsageError(f"There are no runs in {self.folder} yet: `whet compare` makes some")
        matches = [reference] if reference in names else [name for name in names if name.startswith(reference)]
        if not matches:
            raise unknown_name("run", reference, names)
        if len(matches) > 1:
            raise UsageError(f"{reference!r} could be any of {', '.join(matches)}: write more of it")
        return self._record(_read_header(self.folder / matches[0] / "run.json"))

    def _record(self, header: dict[str, Any]) -> RunRecord:
        answers, build_seconds, remarks = _read_answers(self.folder / str(header["run"]) / "answers.jsonl")
        return RunRecord(str(header["run"]), header, answers, build_seconds or 0.0, remarks)


def _class(technique: Technique) -> dict[str, Any]:
    if not isinstance(technique, Classed):
        return {}
    training = technique.training
    return {"ways": list(technique.ways), "training": None if training is None else asdict(training)}


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: the header of this run cannot be read ({error}); delete its folder") from None
    return header
