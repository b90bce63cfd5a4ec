"""SQL that a model wrote, run on a database of its own: in memory, filled by a script, gone afterwards.

SQLite runs as contained code does (`contained.py`), so that a query that never ends, or fills the memory, is stopped by
the kernel; an authorizer keeps it from other files besides.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from whetstone.tools.contained import Limits, run_contained

Value = str | int | float | None

_PROGRAM = Path(__file__).with_name("contained_sql_program.py")
_ROWS = 1000


@dataclass(frozen=True, slots=True)
class SqlRan:
    """What became of a query.

    Attributes:
        columns: their names; none for a statement that gives no rows.
        rows: the first ones; blobs as hexadecimal text.
        more: whether there were more rows than asked for.
        killed_by: as of contained code: "time", "memory", "output"; None for SQL that ended itself.
        seconds: by the clock, the starting of SQLite included.
        problem: what was wrong, in one sentence for a model or a person, SQLite's own where it has one; "" for none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    more: bool
    killed_by: str | None
    seconds: float
    problem: str

    @property
    def fine(self) -> bool:
        """Whether the query was answered."""
        return not self.problem


def run_sql(script: str, query: str, *, limits: Limits | None = None, rows: int = _ROWS) -> SqlRan:
    """Run a query on a new SQLite database that a script has filled.

    Args:
        script: statements that make and fill the tables.
        query: one statement.
        rows: how many rows to give, at most.

    Raises:
        ContainmentError: this machine has no guards for it; nothing was run.
    """
    asked = json.dumps({"script": script, "query": query, "rows": rows})
    ran = run_contained(_PROGRAM.read_text(), stdin=asked, limits=limits)
    if ran.problem:
        return SqlRan((), (), False, ran.killed_by, ran.seconds, ran.problem)
    answer = json.loads(ran.stdout)
    if "error" in answer:
        return SqlRan((), (), False, None, ran.seconds, answer["error"])
    given = tuple(tuple(row) for row in answer["rows"])
    return SqlRan(tuple(answer["columns"]), given, answer["more"], None, ran.seconds, "")
