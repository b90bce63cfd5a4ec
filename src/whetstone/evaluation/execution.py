"""Whether a program does what it was to do: it is run, contained, against the tests of its case.

A case is judged by its fields, all of them texts:

    language  "python" or "sql"
    tests     of Python: statements that raise where the program is wrong, run after it
    script    of SQL: statements that make and fill the tables
    rows      of SQL: the rows that are right, as a JSON list of lists
    ordered   of SQL: "yes" where their order counts

Programs are run in `whetstone.tools.contained`, for a tenth of a second or so; what came of one is kept, in memory and
in `checks/` below the home folder, so that a report made again runs nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from whetstone import settings
from whetstone.errors import UsageError
from whetstone.evaluation.answers import Answers
from whetstone.evaluation.intervals import Floats
from whetstone.evaluation.technique import digest
from whetstone.storage.files import write_atomically
from whetstone.types import Case

# For one program. A right one computes for a hundredth of that; the clock is generous, so that a right one passes on a
# machine that is busy with other work too.
SECONDS, PROCESSOR_SECONDS = 30.0, 3.0
FIELDS = ("language", "tests", "script", "rows", "ordered")
_VERSION = 1  # of how programs are judged; part of what is kept


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one program.

    Attributes:
        passed: whether it does what it was to do.
        problem: what is wrong with it, in a sentence; "" where it passed.
        timed_out: whether it was stopped, so that it might pass on another machine: this is not kept on the disk.
    """

    passed: bool
    problem: str = ""
    timed_out: bool = False


def outcome(case: Case, code: str) -> Outcome:
    """Run a program against its case's tests, or look up what came of it before.

    Raises:
        UsageError: the case has no tests.
        ContainmentError: this machine has no guards for code that a model wrote; nothing was run.
        StorageError: what came of it cannot be kept.
    """
    check = {name: str(case.fields.get(name) or "") for name in FIELDS}
    judge = _JUDGES.get(check["language"])
    if judge is None or not (check["tests"] or check["rows"]):
        raise UsageError(
            f"pass_rate runs programs against tests, and the case {case.id!r} has none: it needs the field language "
            "(python or sql), and tests or rows"
        )
    return _known(json.dumps(check, ensure_ascii=False, sort_keys=True), code)


def passes(answers: Answers) -> Floats:
    """1 where a program passes; 0 where it does not, or where there is none."""
    return answers.graded(lambda case, guess: float(outcome(case, guess).passed))


@lru_cache(maxsize=8192)
def _known(check: str, code: str) -> Outcome:
    name = digest(_VERSION, check, code)
    path = settings.home() / "checks" / name[:2] / f"{name}.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        return Outcome(bool(kept["passed"]), str(kept["problem"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not judged yet, or torn: the program is run
    asked: dict[str, str] = json.loads(check)
    found = _JUDGES[asked["language"]](asked, code)
    if not found.timed_out:
        write_atomically(path, json.dumps(asdict(found)))
    return found


def _python(check: Mapping[str, str], code: str) -> Outcome:
    from whetstone.tools.contained import Limits, run_contained

    # Printed by whoever reaches the end: a program that leaves early, with exit code 0, has passed no test.
    reached = f"reached the end {digest(check, code)}"
    ran = run_contained(
        f"{code}\n\n{check['tests']}\n\nprint({reached!r})\n",
        limits=Limits(seconds=SECONDS, processor_seconds=PROCESSOR_SECONDS),
    )
    if not ran.fine:
        return Outcome(False, ran.problem, ran.killed_by == "time")
    if ran.stdout.rstrip().rpartition("\n")[2] != reached:
        return Outcome(False, "it ended before its tests did")
    return Outcome(True)


def _sql(check: Mapping[str, str], code: str) -> Outcome:
    from whetstone.tools.contained import Limits
    from whetstone.tools.contained_sql import run_sql

    wanted: list[list[Any]] = json.loads(check["rows"])
    ran = run_sql(
        check["script"], code, limits=Limits(seconds=SECONDS, processor_seconds=PROCESSOR_SECONDS), rows=len(wanted) + 1
    )
    if not ran.fine:
        return Outcome(False, ran.problem, ran.killed_by == "time")
    if ran.more or len(ran.rows) != len(wanted):
        given = f"more than {len(wanted)}" if len(ran.rows) > len(wanted) else str(len(ran.rows))
        return Outcome(False, f"it gives {given} rows instead of {len(wanted)}")
    given_rows, right_rows = list(ran.rows), [tuple(row) for row in wanted]
    if check["ordered"] != "yes":
        given_rows, right_rows = sorted(given_rows, key=_order), sorted(right_rows, key=_order)
    for given_row, right_row in zip(given_rows, right_rows, strict=True):
        if not _same(given_row, right_row):
            return Outcome(False, f"it gives the row {list(given_row)!r:.80} instead of {list(right_row)!r:.80}")
    return Outcome(True)


_JUDGES: Mapping[str, Callable[[Mapping[str, str], str], Outcome]] = {"python": _python, "sql": _sql}


def _order(row: Sequence[Any]) -> list[tuple[int, Any]]:
    """Rows in an order that holds for values of different types, numbers that differ by rounding aside."""
    return [
        (0, 0) if value is None else (2, value) if isinstance(value, str) else (1, round(float(value), 6))
        for value in row
    ]


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(_equal(one, other) for one, other in zip(a, b, strict=True))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)
    return bool(a == b)
