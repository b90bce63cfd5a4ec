"""One suite for both databases: SQLite in a file, and a real PostgreSQL server."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from postgres import PostgresServer, postgres  # noqa: F401 - a fixture
from whetstone.chat import tree
from whetstone.chat.store import ConversationStore
from whetstone.chat.tables import metadata, prompts, turns
from whetstone.errors import MissingPackageError, StorageError, UsageError
from whetstone.storage import schema
from whetstone.storage.database import Database, open_database
from whetstone.storage.ids import id_of, new_id
from whetstone.types import Message, ModelIdentity, Options, Origin, ToolCall, Turn, Usage, assistant, user

MODEL = ModelIdentity("scripted", "scripted", "scripted", "1", "abc")
_spawn = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Makes databases: `new_url()` with our tables, `new_url(empty=True)` without any."""
    if request.param == "sqlite":
        return lambda empty=False: f"sqlite:///{tmp_path / 'sub' / 'chats.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return lambda empty=False: server.new_database("template0" if empty else "migrated")


@pytest.fixture
def url(new_url: Callable[..., str]) -> str:
    return new_url()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url, wait=5)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> ConversationStore:
    return ConversationStore(database)


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def begin(store: ConversationStore, conversation: str, parent: str | None, prompt: str = "<prompt>"):  # type: ignore[no-untyped-def]
    return store.begin_answer(conversation, parent, model=MODEL, options=Options(temperature=0), prompt=prompt)


# What is kept


def test_a_conversation_comes_back_as_it_was_made(store: ConversationStore) -> None:
    options = Options(temperature=0.5, stop=("\n",), seed=3, json_schema={"type": "object"})
    made = store.create(model="smollm2", system="Be brief.", options=options, title="Ties")
    assert store.get(made.id) == made
    assert store.latest() == made
    assert made.created.tzinfo is UTC
    assert store.turns(made.id) == store.path(made.id) == []


def test_an_answer_keeps_where_it_came_from(store: ConversationStore) -> None:
    conversation = store.create(model="scripted")
    question = store.add(conversation.id, None, user("a tie"))
    writer = begin(store, conversation.id, question.id, "<|user|>a tie")
    assert writer.turn == store.turn(writer.turn.id)
    assert writer.turn.state == "streaming"
    writer.append("a red")
    writer.append(" one", reasoning="hm")
    call = ToolCall("1", "buy", '{"colour": "red"}')
    done = writer.finish(
        tool_calls=[call],
        usage=Usage(7, 3, 2),
        seconds=1.5,
        first_token_seconds=0.5,
        cost=0.001,
        finish_reason="tool_calls",
    )
    assert store.turn(done.id) == writer.turn == done
    assert done.origin == Origin(
        model=MODEL,
        options=Options(temperature=0),
        prompt_hash=done.origin.prompt_hash,  # type: ignore[union-attr]
        usage=Usage(7, 3, 2),
        seconds=1.5,
        first_token_seconds=0.5,
        cost=0.001,
        finish_reason="tool_calls",
    )
    assert store.prompt(done.origin.prompt_hash) == "<|user|>a tie"  # type: ignore[union-attr]
    assert done.reasoning == "hm"
    assert done.message == {
        "role": "assistant",
        "content": "a red one",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "buy", "arguments": '{"colour": "red"}'}},
        ],
    }


@pytest.mark.parametrize("system", [None, "", "You sell belts.\x00"])
def test_an_answer_keeps_the_system_prompt_that_only_it_was_given(store: ConversationStore, system: str | None) -> None:
    conversation = store.create(model="scripted", system="You sell ties.")
    question = store.add(conversation.id, None, user("a tie"))
    writer = store.begin_answer(conversation.id, question.id, model=MODEL, options=Options(), prompt="p", system=system)
    writer.append("no")
    done = writer.finish()
    kept = store.turn(done.id)
    assert kept == done
    assert kept.origin is not None
    assert kept.origin.system == system
    assert store.get(conversation.id).system == "You sell ties."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "안녕하세요 😀 e\u0301",
        "a\x00b\x00",
        "\ud83d and \ude00",
        "\x1a0000 \x1a",
        "\\u0000 \\ud800",
        "\r\n\u2028\ufffe",
    ],
)
def test_any_text_is_kept_without_loss(store: ConversationStore, text: str) -> None:
    conversation = store.create(model=f"m{text}", system=text, title=f"t{text}")
    question = store.add(conversation.id, None, {"role": "user", "content": text, "name": text})
    parts: Message = {"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "n": None}]}
    other = store.add(conversation.id, question.id, parts, reasoning=text)
    writer = begin(store, conversation.id, question.id, text)
    writer.append(text, text)
    answer = writer.finish(state="failed", error=text)
    assert answer.message["content"] == answer.reasoning == answer.error == text
    assert store.turns(conversation.id) == [question, other, answer]
    assert store.get(conversation.id).title == f"t{text}"
    assert store.get(conversation.id).system == text
    assert store.get(conversation.id).model == f"m{text}"
    assert store.prompt(answer.origin.prompt_hash) == text  # type: ignore[union-attr]
    assert store.list(text)[0].id == conversation.id


def test_ids_are_short_and_in_order_of_creation(store: ConversationStore) -> None:
    made = [store.create(model="m").id for _ in range(50)]
    assert sorted(set(made)) == made
    assert {len(id) for id in made} == {14}


# Finding, naming, deleting


def test_a_unique_beginning_of_an_id_is_enough(store: ConversationStore) -> None:
    first, second = store.create(model="m"), store.create(model="m")
    same = [one == other for one, other in zip(first.id, second.id, strict=True)]
    common = first.id[: same.index(False)]
    assert store.get(first.id[: len(common) + 1]) == first
    for wrong, reason in ((common, "Several"), ("", "no conversation"), ("%", "no conversation"), ("\x00", "no conv")):
        with pytest.raises(UsageError, match=reason):
            store.get(wrong)
    store.delete(second.id)
    assert store.get(common) == first
    with pytest.raises(UsageError, match="no conversation"):
        store.get(second.id)


@pytest.mark.parametrize(
    ("said", "sought"),
    [
        ("빨간 넥타이 하나 주세요", "넥타이"),
        (unicodedata.normalize("NFD", "넥타이"), "넥타이"),
        ("넥타이", unicodedata.normalize("NFD", "타이")),
        ("À L'ÉCOLE", "à l'école"),
        ("Straße", "STRASSE"),
        ("ПРИВЕТ", "привет"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("100%_sure", "0%_S"),
        ('it\'s \\ "quoted"', "'S \\ \""),
        ("hat 👒", "👒"),
    ],
)
def test_search_ignores_case_in_any_script(store: ConversationStore, said: str, sought: str) -> None:
    in_title = store.create(model="m", title=said)
    in_message = store.create(model="m", title="other")
    store.add(in_message.id, None, user("first"))
    store.add(in_message.id, None, assistant(f"before {said} after"))
    store.create(model="m", title="100 sure, percent % and underscore", system=said)
    assert [found.id for found in store.list(sought)] == [in_message.id, in_title.id]
    store.update(in_title.id, title="renamed")
    assert [found.id for found in store.list(sought)] == [in_message.id]


@pytest.mark.parametrize("wildcard", ["%", "_", "a%c", "a_c", "\\"])
def test_search_has_no_wildcards(store: ConversationStore, wildcard: str) -> None:
    store.create(model="m", title="abc")
    assert store.list(wildcard) == []


def test_the_list_is_newest_first_in_pages(store: ConversationStore) -> None:
    ids = [store.create(model="m").id for _ in range(5)]
    store.add(ids[1], None, user("again"))
    expected = [ids[1], ids[4], ids[3], ids[2], ids[0]]
    assert [one.id for one in store.list()] == expected
    assert [one.id for one in store.list(limit=2, offset=1)] == expected[1:3]
    assert store.latest() == store.get(ids[1])


def test_the_first_message_of_the_user_gives_the_title(store: ConversationStore) -> None:
    conversation = store.create(model="m")
    store.add(conversation.id, None, assistant("Welcome"))
    assert store.get(conversation.id).title == ""
    store.add(conversation.id, None, user("\n  나는 넥타이를  사고 싶어요\nsecond line"))
    store.add(conversation.id, None, user("later"))
    assert store.get(conversation.id).title == "나는 넥타이를 사고 싶어요"
    long = store.create(model="m")
    store.add(long.id, None, user("word " * 40))
    title = store.get(long.id).title
    assert title.endswith("word…")
    assert len(title) <= 60


def test_what_is_given_is_changed_and_the_rest_stays(store: ConversationStore) -> None:
    made = store.create(model="m", system="s", title="t", options=Options(seed=1))
    changed = store.update(made.id[:14], system="", options=Options(seed=2))
    assert (changed.system, changed.options, changed.title, changed.model) == ("", Options(seed=2), "t", "m")
    assert changed.updated > made.updated
    assert store.get(made.id) == changed


def test_deleting_takes_turns_and_prompts_that_nothing_else_uses(store: ConversationStore, database: Database) -> None:
    first, second = store.create(model="m"), store.create(model="m")
    for conversation, prompt in ((first, "shared"), (first, "own"), (second, "shared")):
        begin(store, conversation.id, None, prompt).finish()
    answers = {turn.id for turn in store.turns(second.id)}
    store.delete(first.id)
    with database.read() as connection:
        assert {id for (id,) in connection.execute(sa.select(turns.c.id))} == answers
        assert len(connection.execute(sa.select(prompts.c.hash)).all()) == 1
    (kept,) = store.turns(second.id)
    assert kept.origin is not None
    assert store.prompt(kept.origin.prompt_hash) == "shared"
    with pytest.raises(UsageError, match="no conversation"):
        store.turns(first.id)


def test_deleting_while_an_answer_is_written_disturbs_nobody(store: ConversationStore) -> None:
    conversation = store.create(model="m")
    writer = begin(store, conversation.id, None)
    writer.append("text")
    store.delete(conversation.id)
    assert writer.finish().message["content"] == "text"
    assert store.list() == []


def test_a_conversation_of_any_length_can_be_deleted(store: ConversationStore) -> None:
    made = store.create(model="m")
    store.delete(made.id)
    long: list[Turn] = []
    for number in range(1500):  # SQLite gives up on a thousand deletions that each bring the next
        parent = long[-1].id if long else None
        long.append(Turn(new_id(), made.id, parent, user(str(number)), made.created))
    assert store.insert(replace(made, head=long[-1].id), long)
    assert store.path(made.id) == long
    store.delete(made.id)
    assert store.list() == []


def test_unknown_turns_and_conversations_are_named(store: ConversationStore) -> None:
    one, two = store.create(model="m"), store.create(model="m")
    foreign = store.add(two.id, None, user("x"))
    for attempt in (
        lambda: store.add(one.id, foreign.id, user("x")),
        lambda: store.update(one.id, head=foreign.id),
        lambda: store.path(one.id, foreign.id),
        lambda: store.add(one.id, "nowhere\x00", user("x")),
        lambda: store.turn("nowhere"),
        lambda: store.add("zz", None, user("x")),
        lambda: store.prompt("00"),
        lambda: store.delete("zz"),
    ):
        with pytest.raises(UsageError):
            attempt()
    assert store.turns(one.id) == []


# The tree


def test_a_conversation_branches_and_each_branch_is_a_path(store: ConversationStore) -> None:
    id = store.create(model="m").id
    question = store.add(id, None, user("a tie"))
    blue = store.add(id, question.id, assistant("blue?"))
    red = store.add(id, question.id, assistant("red?"))
    edited = store.add(id, None, user("a belt"))
    yes = store.add(id, red.id, user("yes"))
    everything = [question, blue, red, edited, yes]
    assert store.turns(id) == everything
    assert store.get(id).head == yes.id
    assert store.path(id) == [question, red, yes]
    assert store.path(id, blue.id) == [question, blue]
    store.update(id, head=edited.id)
    assert store.path(id) == [edited]
    assert tree.siblings(everything, blue.id) == [blue, red]
    assert tree.siblings(everything, edited.id) == [question, edited]
    assert tree.latest_leaf(everything, question.id) == yes
    assert tree.latest_leaf(everything, blue.id) == blue
    with pytest.raises(UsageError, match="no turn"):
        tree.siblings(everything, "nowhere")


def test_a_turn_comes_after_its_parent_whatever_the_clocks_say(store: ConversationStore) -> None:
    id = store.create(model="m").id
    moment = datetime(2031, 1, 1, tzinfo=UTC)
    early = Turn(id_of("by a fast clock", moment), id, None, user("x"), moment)
    other = store.get(id)
    store.delete(id)
    assert store.insert(other, [early])
    assert not store.insert(other, [early])
    answer = store.add(id, early.id, assistant("y"))
    assert store.turns(id) == [early, answer]


# Answers that stream


def test_an_answer_is_saved_while_it_streams_and_finishing_twice_changes_nothing(
    store: ConversationStore, url: str
) -> None:
    id = store.create(model="m").id
    writer = begin(store, id, None)
    writer.append("so ", "why ")
    writer.append("far")
    other = ConversationStore(open_database(url))
    wait_until(lambda: other.turn(writer.turn.id).message["content"] == "so far")
    assert other.turn(writer.turn.id).reasoning == "why "
    assert other.turn(writer.turn.id).state == "streaming"
    done = writer.finish(state="partial")
    writer.append("too late")
    assert writer.finish(error="other") == done == other.turn(done.id) == writer.turn
    assert done.origin is not None
    assert done.origin.seconds >= (done.origin.first_token_seconds or -1) >= 0
    assert [found.id for found in other.list("SO FAR")] == [id]


def test_many_answers_at_once_keep_their_own_text(store: ConversationStore) -> None:
    def answer(number: int) -> Turn:
        conversation = store.create(model="m").id
        question = store.add(conversation, None, user(f"question {number}"))
        writer = begin(store, conversation, question.id, f"prompt {number % 3}")
        for piece in range(200):
            writer.append(f"{number}-{piece} ")
            if piece % 50 == 0:
                time.sleep(0.02)
        return writer.finish()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(answer, range(20)))
    for number, turn in enumerate(answers):
        assert turn.message["content"] == "".join(f"{number}-{piece} " for piece in range(200))
        assert store.turn(turn.id) == turn
    assert len(store.list()) == 20
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "whetstone-saver"])


def _write_many(url: str, conversation: str, name: str) -> None:
    store = ConversationStore(open_database(url, wait=60))
    for number in range(20):
        store.add(conversation, None, user(f"{name} {number}"))


def test_processes_write_one_conversation_at_once(store: ConversationStore, url: str) -> None:
    id = store.create(model="m").id
    writers = [_spawn.Process(target=_write_many, args=(url, id, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    _write_many(url, id, "c")
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    said = [turn.message["content"] for turn in store.turns(id)]
    assert sorted(said) == sorted(f"{name} {number}" for name in "abc" for number in range(20))  # type: ignore[type-var]
    for name in "abc":
        own = [text for text in said if str(text).startswith(name)]
        assert own == [f"{name} {number}" for number in range(20)]


def _answer_for_ever(url: str, conversation: str) -> None:
    writer = begin(ConversationStore(open_database(url)), conversation, None)
    writer.append("half an answer", "half a thought")
    time.sleep(600)


def test_the_answer_of_a_killed_process_is_there_and_partial_at_once(store: ConversationStore, url: str) -> None:
    id = store.create(model="m").id
    process = _spawn.Process(target=_answer_for_ever, args=(url, id))
    process.start()
    wait_until(lambda: any(turn.message["content"] for turn in store.turns(id)))
    assert store.turns(id)[0].state == "streaming"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT) is None:  # it may stay a zombie: still gone
        pass
    (turn,) = store.path(id)
    assert (turn.state, turn.message["content"], turn.reasoning) == ("partial", "half an answer", "half a thought")
    process.join()
    assert store.turn(turn.id) == turn
    assert store.list("HALF AN")


@pytest.mark.parametrize(("silent", "state"), [(0, "streaming"), (29, "streaming"), (31, "partial")])
def test_a_writer_on_another_machine_is_judged_by_its_heartbeat(
    store: ConversationStore, database: Database, silent: float, state: str
) -> None:
    writer = begin(store, store.create(model="m").id, None)
    with database.write() as connection:
        connection.execute(sa.update(turns).values(writer="elsewhere 1 1", heartbeat=turns.c.heartbeat - silent))
    assert store.turn(writer.turn.id).state == state
    writer.finish()


def test_a_writer_that_waits_for_its_model_gives_signs_of_life(
    store: ConversationStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whetstone.chat.writer.HEARTBEAT_SECONDS", 0.0)
    writer = begin(store, store.create(model="m").id, None)
    with database.write() as connection:
        connection.execute(sa.update(turns).values(writer="elsewhere 1 1", heartbeat=turns.c.heartbeat - 60))
    wait_until(lambda: store.turn(writer.turn.id).state == "streaming")
    writer.finish()


def test_an_answer_outlives_a_locked_database(url: str) -> None:
    store = ConversationStore(open_database(url, wait=0.1))
    writer = begin(store, store.create(model="m").id, None)
    with locked(url):
        writer.append("kept")
        with pytest.raises(StorageError, match=r"locked by another program for 0\.1 seconds"):
            writer.finish()
    assert writer.turn.state == "streaming"
    assert store.turn(writer.finish().id).message["content"] == "kept"


# The database


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another program holds the tables."""
    if url.startswith("sqlite"):
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.close()
    else:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE turns, conversations IN ACCESS EXCLUSIVE MODE")
            yield
        engine.dispose()


def test_a_locked_database_is_one_sentence(url: str) -> None:
    store = ConversationStore(open_database(url, wait=0.1))
    with locked(url), pytest.raises(StorageError, match=r"has been locked by another program for 0\.1 seconds"):
        store.create(model="m")
    store.create(model="m")


def test_a_read_only_database_is_read_and_not_written(url: str, database: Database, store: ConversationStore) -> None:
    made = store.create(model="m")
    if database.sqlite:
        read_only = f"sqlite:///file:{url.removeprefix('sqlite:///')}?mode=ro&uri=true"
    else:
        read_only = f"{url}&options=-cdefault_transaction_read_only%3Don"
    opened = ConversationStore(open_database(read_only))
    assert opened.get(made.id) == made
    with pytest.raises(StorageError, match="is read-only"):
        opened.create(model="m")


def _open_at_once(url: str, barrier: threading.Barrier) -> None:
    barrier.wait()
    ConversationStore(open_database(url)).create(model="m")


def test_processes_that_open_a_new_database_at_once_all_succeed(new_url: Callable[..., str]) -> None:
    url = new_url(empty=True)
    barrier = _spawn.Barrier(3)
    processes = [_spawn.Process(target=_open_at_once, args=(url, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(ConversationStore(open_database(url)).list()) == 3


@pytest.mark.parametrize("start", [None, *schema.revisions()])
def test_migrations_lead_from_every_revision_to_the_tables_of_the_program(
    new_url: Callable[..., str], start: str | None
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    url = new_url(empty=True)
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite"):
        path.parent.mkdir()
    if start is not None:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            schema.migrate(connection, "old", start)
        engine.dispose()
    database = open_database(url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == schema.revisions()[-1]
    assert ConversationStore(database).create(model="m")


def test_a_database_of_a_newer_program_is_left_alone(url: str, database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StorageError, match="newer version of Whetstone"):
        open_database(url)


def test_opening_imports_alembic_only_to_migrate(url: str, database: Database) -> None:
    code = (
        "import sys; from whetstone.storage.database import open_database; open_database(sys.argv[1]);"
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True)


# SQLite alone


def test_without_a_url_the_file_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WHETSTONE_DATABASE_URL", raising=False)
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "100% mine"))
    database = open_database()
    assert (tmp_path / "100% mine" / "whetstone.db").is_file()
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    monkeypatch.setenv("WHETSTONE_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    assert open_database().name == f"{tmp_path}/other.db"


def test_files_that_are_no_database_of_ours_are_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Dear diary, " * 1000)
    with pytest.raises(StorageError, match=r"notes\.txt is no SQLite database"):
        open_database(f"sqlite:///{text}")
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    with pytest.raises(StorageError, match=r"foreign\.db is a database of another program .* birds"):
        open_database(f"sqlite:///{foreign}")
    with pytest.raises(StorageError, match=r"The folder of the database .*sub\.db cannot be made"):
        open_database(f"sqlite:///{text}/sub.db")


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/chats.db")
    store = ConversationStore(database)
    made = store.create(model="m")

    def fill(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # as many as there are: not one more

    sa.event.listen(database.engine, "connect", fill)
    database.engine.dispose()
    with pytest.raises(StorageError, match=r"disk with .*chats\.db is full"):
        store.add(made.id, None, user(os.urandom(100_000).hex()))
    assert store.list() == [made]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "nonsense", "a b://"])
def test_other_databases_are_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_database(url)
    assert "secret" not in str(raised.value)


# PostgreSQL alone


def test_a_wrong_password_is_said_without_the_password(postgres: PostgresServer) -> None:  # noqa: F811
    url = sa.make_url(postgres.new_database())
    postgres.want_password("guarded", "right horse")
    guarded = url.set(username="guarded")
    with pytest.raises(StorageError, match="refused the user or the password") as raised:
        open_database(guarded.set(password="wrong horse").render_as_string(hide_password=False))
    assert "horse" not in str(raised.value)
    with pytest.raises(StorageError, match="wants a password"):
        open_database(guarded.set(password=None).render_as_string(hide_password=False))


def test_what_is_not_there_is_said_without_the_password(postgres: PostgresServer) -> None:  # noqa: F811
    url = sa.make_url(postgres.new_database()).set(password="battery")
    for wrong, reason in (
        (url.set(database="nowhere"), "nowhere.* does not exist on the server"),
        (url.set(host="127.0.0.1", port=1, query={}), "cannot be reached .*refused"),
        (url.set(query={"host": "/nowhere"}), "cannot be reached"),
    ):
        with pytest.raises(StorageError, match=reason) as raised:
            open_database(wrong.render_as_string(hide_password=False), wait=2)
        assert "battery" not in str(raised.value)
    in_query = url.set(password=None, host="127.0.0.1", port=1, query={"password": "battery"})
    with pytest.raises(StorageError, match="cannot be reached") as raised:
        open_database(in_query.render_as_string(), wait=2)
    assert "battery" not in str(raised.value)


def test_a_user_without_rights_is_told_so(postgres: PostgresServer) -> None:  # noqa: F811
    url = sa.make_url(postgres.new_database("template0"))
    postgres.execute("CREATE ROLE visitor LOGIN")
    with pytest.raises(StorageError, match="may not do that there"):
        open_database(url.set(username="visitor").render_as_string(hide_password=False))


def test_a_missing_driver_names_its_install_line() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from whetstone.storage.database import open_database\n"
        "from whetstone.errors import MissingPackageError\n"
        "try: open_database('postgres://u:p@h/d')\n"
        "except MissingPackageError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'whetstone-llm[postgres]'" in said
    assert issubclass(MissingPackageError, UsageError)


def test_a_server_that_was_restarted_is_found_again(postgres: PostgresServer) -> None:  # noqa: F811
    store = ConversationStore(open_database(postgres.new_database()))
    made = store.create(model="m")
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    assert store.get(made.id) == made
