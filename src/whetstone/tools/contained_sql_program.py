"""Runs SQL in a new database in memory; the half of `contained_sql.py` that is itself run contained.

Its input is JSON: the script, the query, how many rows to give. It prints JSON: the columns, the rows, whether there
were more, or what SQLite found wrong.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from typing import Any

# Nothing outside this one database: no other files, and no settings that change what SQL means.
_REFUSED = {sqlite3.SQLITE_ATTACH: "ATTACH", sqlite3.SQLITE_DETACH: "DETACH"}
_PRAGMAS = ("foreign_keys", "foreign_key_list", "index_info", "index_list", "table_info", "table_list", "table_xinfo")
_REFUSED_FUNCTIONS = ("load_extension",)
_LONGEST = 1 << 20  # bytes of one text or blob


def main() -> None:
    """Answer the one request on standard input."""
    asked = json.load(sys.stdin)
    print(json.dumps(_answer(asked["script"], asked["query"], int(asked["rows"]))))


def _answer(script: str, query: str, most: int) -> dict[str, Any]:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    refused: list[str] = []

    def allow(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _REFUSED:
            refused.append(f"{_REFUSED[action]} is not allowed here")
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in _PRAGMAS:
            refused.append(f"PRAGMA {first} is not allowed here")
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS:
            refused.append(f"the function {second} is not allowed here")
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    database.set_authorizer(allow)
    try:
        database.executescript(script)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        return {"error": f"in the script: {refused[-1] if refused else error}"}
    try:
        cursor = database.execute(query)
        rows = cursor.fetchmany(most + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        return {"error": refused[-1] if refused else str(error)}
    columns = [column[0] for column in cursor.description or ()]
    shown = [[value.hex() if isinstance(value, bytes) else value for value in row] for row in rows[:most]]
    return {"columns": columns, "rows": shown, "more": len(rows) > most}


if __name__ == "__main__":
    main()
