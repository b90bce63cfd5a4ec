"""The built-in tools that need no network: calculator, date, files, SQL."""

from __future__ import annotations

import os
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postgres import PostgresServer, postgres  # noqa: F401 - a fixture
from whetstone.errors import UsageError
from whetstone.tools.builtin.calculator import calculate
from whetstone.tools.builtin.current_date import current_date, written
from whetstone.tools.builtin.file_search import files_tool
from whetstone.tools.builtin.folder import Folder
from whetstone.tools.builtin.sql import answer, sql_tool
from whetstone.tools.builtin.sql_postgres import PostgresRows
from whetstone.tools.builtin.sql_sqlite import SqliteRows

# The calculator


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 3 * 4", "14"),
        ("(19.99 * 3 + 4.5) / 2", "32.235"),
        ("0.1 + 0.2", "0.3"),
        ("2 ^ 10", "1024"),
        ("-2**2", "-4"),
        ("7 // 2 + 7 % 2", "4"),
        ("12 × 3 ÷ 4 − 1", "8"),
        ("round(sqrt(2), 4)", "1.4142"),
        ("max(1, 2.5, min(9, 8))", "8"),
        ("sum([1, 2, 3])", "6"),
        ("log(100, 10)", "2"),
        ("factorial(20)", "2432902008176640000"),
        ("2**200", str(2**200)),
        ("2 ** -1", "0.5"),
        ("1e3", "1000"),
        ("cos(pi)", "-1"),
    ],
)
def test_arithmetic_is_worked_out(expression: str, result: str) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "no expression"),
        ("1 / 0", "divides by zero"),
        ("9**9**9**9", "too large"),
        ("factorial(100000)", "from 0 to 1000"),
        ("1e308 * 10", "too large"),
        ("(10**3000) * (10**3000)", "too large"),
        ("sqrt(-1)", "has no result"),
        ("(-8) ** 0.5", "no real number"),
        ("__import__('os').system('true')", "no arithmetic|no function"),
        ("(1).__class__", "no arithmetic"),
        ("[x for x in (1, 2)]", "no arithmetic"),
        ("lambda: 1", "no arithmetic"),
        ("'a' * 100", "no arithmetic"),
        ("True + 1", "no arithmetic"),
        ("open(1)", "there is no function open"),
        ("max(1, key=2)", "no arithmetic"),
        ("2 +", "no arithmetic expression"),
        ("1 if 1 else 2", "no arithmetic"),
        ("(" * 300 + "1" + ")" * 300, "characters|nested|no arithmetic expression"),
        ("-" * 200 + "1", "nested too deeply"),
        ("x + 1", "no arithmetic"),
        ("round(1, 100000)", "at most 300"),
        ("max()", "no result"),
    ],
)
def test_what_is_no_arithmetic_is_refused_in_a_sentence(expression: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        calculate(expression)


# The date


def test_the_date_is_told_with_its_day_week_and_zone() -> None:
    moment = datetime(2026, 3, 1, 14, 5, tzinfo=UTC)
    assert written(moment) == "2026-03-01, Sunday, 14:05 (UTC+00:00), week 9 of 2026"
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d, \w+day, \d\d:\d\d \(UTC\+09:00\), week \d+ of \d{4}", current_date("Asia/Seoul")
    )
    assert "(UTC" in current_date()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "a\0b"])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(UsageError, match="there is no time zone"):
        current_date(zone)


# Files


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder of notes, beside it something secret, and links that lead there."""
    folder = tmp_path / "notes"
    (folder / "shop").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("the kettle password is swordfish")
    (tmp_path / "notes-of-others").mkdir()
    (tmp_path / "notes-of-others" / "kettle.txt").write_text("kettle")
    (folder / "prices.md").write_text("# Prices\nThe red kettle costs 24.90.\nA blue pan costs 12.\n")
    (folder / "shop" / "hours.txt").write_text("Open from 9 to 6.\nKettle repairs on Mondays. 주전자 수리\n")
    (folder / "picture.bin").write_bytes(b"kettle\0\1\2")
    (folder / ".env").write_text("KETTLE_KEY=secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "outside").symlink_to(tmp_path / "notes-of-others")
    return folder


def test_files_are_searched_and_read(notes: Path) -> None:
    tools = {tool.name: tool for tool in files_tool(str(notes)).tools}
    found = tools["file_search"].call({"query": "red KETTLE"}).text.splitlines()
    assert found[0] == "prices.md:2: The red kettle costs 24.90."
    assert found[1].startswith("shop/hours.txt:2: Kettle repairs")
    assert found[2] == "[1 files were not searched]"  # the picture
    assert len(found) == 3
    assert tools["file_search"].call({"query": "주전자", "files": "*.txt"}).text.startswith("shop/hours.txt:2")
    assert tools["file_search"].call({"query": ""}).text.splitlines() == ["picture.bin", "prices.md", "shop/hours.txt"]
    assert "none of the 3 files" in tools["file_search"].call({"query": "swordfish"}).text
    read = tools["read_file"].call({"file": "prices.md", "line": 2})
    assert read.text == "2: The red kettle costs 24.90.\n3: A blue pan costs 12."


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt", "shop/../../secret.txt", "/etc/passwd", "link.txt", "outside/kettle.txt", ".env", "", ".",
        "..", "shop", "nothing.txt", "shop//hours.txt", "..\\secret.txt", "a\0b", "picture.bin",
        "../notes-of-others/kettle.txt",
    ],
)  # fmt: skip
def test_nothing_outside_the_folder_can_be_read(notes: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"no file|cannot be read|is no text"):
        Folder(str(notes)).read(name)


def test_a_link_that_is_put_in_place_of_a_folder_is_not_followed(notes: Path, tmp_path: Path) -> None:
    folder = Folder(str(notes))
    assert "shop/hours.txt" in list(folder.names())
    (notes / "shop" / "hours.txt").unlink()
    (notes / "shop").rmdir()
    (notes / "shop").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        folder.read("shop/secret.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(notes: Path) -> None:
    os.mkfifo(notes / "pipe")
    with pytest.raises(UsageError, match="is no file"):
        Folder(str(notes)).read("pipe")


def test_a_file_that_is_too_large_is_refused(notes: Path) -> None:
    with (notes / "large.txt").open("wb") as file:
        file.truncate(6_000_000)
    with pytest.raises(UsageError, match="at most 5,000,000 are read"):
        Folder(str(notes)).read("large.txt")


# SQL


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A small database."""
    path = tmp_path / "shop's.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, price REAL);"
        "CREATE VIEW cheap AS SELECT * FROM products WHERE price < 15;"
        "INSERT INTO products (name, price) VALUES ('kettle', 24.9), ('pan', 12.0), ('주전자', NULL);"
    )
    connection.close()
    return path


def test_a_database_is_described_and_asked(shop: Path) -> None:
    tool = sql_tool(str(shop))
    assert "SQLite" in tool.description
    assert "products(id INTEGER, name TEXT, price REAL)" in tool.description
    result = tool.call({"query": "SELECT name, price FROM products ORDER BY id"})
    assert result.text.splitlines() == ["name | price", "kettle | 24.9", "pan | 12.0", "주전자 | NULL"]
    assert tool.call({"query": "WITH x AS (SELECT count(*) n FROM cheap) SELECT n FROM x;"}).text == "n\n1"
    assert tool.call({"query": "SELECT 1 AS one WHERE 0"}).text == "one\n(no rows)"


MEAN = [
    "DELETE FROM products", "INSERT INTO products (name) VALUES ('x')", "DROP TABLE products", "CREATE TABLE t (a)",
    "UPDATE products SET price = 0", "CREATE TEMP TABLE t (a)", "ATTACH 'other.db' AS other", "VACUUM", "BEGIN", "",
    "PRAGMA writable_schema = 1", "PRAGMA journal_mode", "SELECT load_extension('x')", "ANALYZE",
    "SELECT 1; DELETE FROM products", "VACUUM INTO 'copy.db'", "SELECT writefile('x', 'y')",
]  # fmt: skip


@pytest.mark.parametrize("query", MEAN)
def test_a_sqlite_database_cannot_be_changed(shop: Path, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.parent)
    before = shop.read_bytes()
    rows = SqliteRows(shop)
    if query:
        with pytest.raises(UsageError, match=r"only reading|one statement|no such function|the database answered"):
            answer(rows, query)
    else:
        assert answer(rows, query).text == "the statement gives no rows"
    assert shop.read_bytes() == before
    assert [path.name for path in shop.parent.iterdir()] == [shop.name]


def test_rows_and_values_are_bounded(shop: Path) -> None:
    rows = SqliteRows(shop)
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    result = answer(rows, count)
    assert len(result.text.splitlines()) == 52
    assert "more than 50 rows" in result.text
    assert len(answer(rows, "SELECT printf('%.*c', 100000, 'x')").text) < 400
    assert answer(rows, "SELECT zeroblob(2000)").text.endswith("(2,000 bytes)")
    with pytest.raises(UsageError, match="too big"):
        answer(rows, "SELECT zeroblob(2000000000)")


def test_a_query_that_never_ends_is_stopped(shop: Path) -> None:
    rows = SqliteRows(shop, seconds=0.3)
    with pytest.raises(UsageError, match=r"took longer than 0\.3 s"):
        answer(rows, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database, and long enough to look at" * 50)
    for name, said in (("x.db", "cannot be read as a SQLite database"), ("none.db", "is no file")):
        with pytest.raises(UsageError, match=said):
            sql_tool(str(tmp_path / name))
    assert not (tmp_path / "none.db").exists()


def test_a_postgres_database_is_asked_and_cannot_be_changed(postgres: PostgresServer) -> None:  # noqa: F811
    import sqlalchemy as sa

    url = postgres.new_database("template0")
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE products (id int, name text)")
        connection.exec_driver_sql("INSERT INTO products VALUES (1, 'kettle'), (2, 'pan')")
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    tool = sql_tool(plain)
    assert "products(id integer, name text)" in tool.description
    assert tool.call({"query": "SELECT name FROM products ORDER BY id"}).text == "name\nkettle\npan"
    assert "more than 50 rows" in tool.call({"query": "SELECT generate_series(1, 1000000000)"}).text
    rows = PostgresRows(plain, seconds=1.0)
    for query in (
        "DELETE FROM products",
        "WITH gone AS (DELETE FROM products RETURNING 1) SELECT * FROM gone",
        "SELECT 1; DELETE FROM products",
        "SELECT 1; COMMIT; BEGIN READ WRITE; DELETE FROM products; COMMIT",
        "/* /* */ SELECT */ COPY products TO '/tmp/x'",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT * INTO copied FROM products",
        "SELECT nextval('nothing')",
    ):
        with pytest.raises(UsageError, match=r"only reading|the database answered"):
            answer(rows, query)
    answer(rows, "SELECT set_config('default_transaction_read_only', 'off', false)")
    with pytest.raises(UsageError, match="took longer than 1 s"):
        answer(rows, "SELECT pg_sleep(600)")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM products").scalar() == 2
        assert connection.exec_driver_sql("SELECT to_regclass('copied')").scalar() is None
    engine.dispose()


def test_a_postgres_that_is_not_there_is_said_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(UsageError, match="cannot be reached") as caught:
        sql_tool("postgresql://somebody:swordfish@127.0.0.1:9/shop")
    assert "swordfish" not in str(caught.value)
