"""SQL that a model wrote, on a database of its own."""

from __future__ import annotations

import pytest

from whetstone.tools.contained import Limits, containment
from whetstone.tools.contained_sql import run_sql

pytestmark = pytest.mark.skipif(containment().plan is None, reason=containment().reason)

SHOP = """
create table item(name text, price real, photo blob);
insert into item values ('chair', 40.5, x'00ff'), ('Tür', null, null);
"""
BRIEF = Limits(seconds=0.3, memory_mb=128)


def test_a_query_gives_its_columns_and_rows() -> None:
    ran = run_sql(f"pragma foreign_keys = on; {SHOP}", "select name, price, photo from item order by name")
    assert ran.fine
    assert ran.columns == ("name", "price", "photo")
    assert ran.rows == (("Tür", None, None), ("chair", 40.5, "00ff"))
    assert not ran.more


def test_rows_beyond_the_limit_are_counted_out() -> None:
    ran = run_sql(SHOP, "select name from item", rows=1)
    assert (len(ran.rows), ran.more) == (1, True)


@pytest.mark.parametrize(
    ("script", "query", "problem"),
    [
        (SHOP, "select nope from item", "no such column: nope"),
        (SHOP, "select 1; drop table item", "You can only execute one statement at a time."),
        ("create tabel x", "select 1", 'in the script: near "tabel": syntax error'),
        (SHOP, "attach '/etc/passwd' as other", "ATTACH is not allowed here"),
        (SHOP, "vacuum into '/tmp/copy.db'", "ATTACH is not allowed here"),
        ("attach 'file:/tmp/x?mode=rwc' as other", "select 1", "in the script: ATTACH is not allowed here"),
        (SHOP, "pragma writable_schema = 1", "PRAGMA writable_schema is not allowed here"),
        (SHOP, "select load_extension('x')", "the function load_extension is not allowed here"),
        (SHOP, "select zeroblob(100000000)", "string or blob too big"),
        (SHOP, "select '\udcff'", "surrogates not allowed"),
    ],
)
def test_what_is_wrong_or_not_allowed_is_one_sentence(script: str, query: str, problem: str) -> None:
    ran = run_sql(script, query)
    assert not ran.fine
    assert problem in ran.problem
    assert ran.rows == ()


def test_a_query_without_end_is_stopped() -> None:
    ran = run_sql(
        "", "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n", limits=BRIEF
    )
    assert (ran.killed_by, ran.problem) == ("time", "it was stopped after 0.3 s")
