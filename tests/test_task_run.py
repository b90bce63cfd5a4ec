"""Cards run on models that say what is planned: whole texts and parts, batches, labels, entities, code, kills."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import (
    BadReplyError,
    ContextTooLongError,
    LoginError,
    MisfitError,
    RequestRefusedError,
    UsageError,
    WhetstoneError,
)
from whetstone.models.scripted import ScriptedModel
from whetstone.models.scripted_plan import Planned
from whetstone.settings import home
from whetstone.tasks import TaskCase, load_card
from whetstone.tasks.asking import Asking, Plan
from whetstone.tasks.driver import Driver, Finished
from whetstone.tasks.entities import Entity
from whetstone.tasks.kept import KeptReplies
from whetstone.tasks.result import TaskResult
from whetstone.tasks.run import run_card, run_card_many
from whetstone.types import Message, Options, text_of, user


def last(messages: Sequence[Message]) -> str:
    return text_of(messages[-1])


def run(name: str, model: Any, inputs: Mapping[str, Any], **more: Any) -> TaskResult:
    return run_card(load_card(name), model, inputs, **more)


def long_text(paragraphs: int) -> str:
    return "\n\n".join(f"Paragraph {n} begins. " + "It says a few words more. " * 8 for n in range(paragraphs))


def summarizer(**more: Any) -> ScriptedModel:
    """Says of a part which paragraphs it holds, and of parts how many there were."""

    def say(messages: Sequence[Message]) -> str:
        text = last(messages)
        if "sum up the parts" in text:
            return f"joined {text.count('holds')}"
        return "holds " + " ".join(re.findall(r"Paragraph (\d+)", text))

    return ScriptedModel(say, **more)


def test_a_text_that_fits_is_asked_about_once_with_the_cards_options() -> None:
    model = ScriptedModel(["  The council closes the bridge. \n"])
    result = run("summarize", model, {"text": "A long story.", "words": 40, "language": "ko"})
    assert result.output == "The council closes the bridge."
    assert result.notes == ()
    (asked,) = model.asked
    assert "at most 40 words, in Korean" in last(asked.messages)
    assert asked.options.temperature == 0
    assert asked.options.max_tokens == 256
    (step,) = result.steps
    assert step.name == "answer"
    assert step.usage == result.usage
    assert result.usage.completion_tokens == 6
    assert result.cost == 0


def test_the_users_options_come_before_the_cards() -> None:
    model = ScriptedModel(["one two three four"])
    result = run("summarize", model, {"text": "x"}, options=Options(temperature=0.5, max_tokens=2))
    assert model.asked[0].options.temperature == 0.5
    assert result.notes == ("the answer was cut off at the limit of tokens; max_tokens raises it",)


def test_a_text_beyond_the_context_is_read_in_parts_that_lose_nothing_and_said_so() -> None:
    model = summarizer(context_length=1200, concurrency=2)
    result = run("summarize", model, {"text": long_text(60)})
    parts = [step for step in result.steps if step.name.startswith("part")]
    assert len(parts) > 3
    assert [int(n) for step in parts for n in re.findall(r"\d+", step.reply)] == list(range(60))
    assert result.output == f"joined {len(parts)}"
    assert "part 2 of" in last(parts[1].messages)
    assert re.fullmatch(
        rf"text takes [\d,]+ tokens, and \S+ holds 1,200 with the question and the answer: it was read in {len(parts)} "
        r"parts",
        result.notes[0],
    )


def test_summaries_that_do_not_fit_together_are_joined_over_several_levels() -> None:
    def say(messages: Sequence[Message]) -> str:
        return "joined" if "sum up the parts" in last(messages) else "word " * 120

    result = run("summarize", ScriptedModel(say, context_length=900), {"text": long_text(120)})
    assert any(", level 1" in step.name for step in result.steps)
    assert result.steps[-1].name == "join"
    assert result.output == "joined"


def test_a_document_of_300_pages_is_read_to_its_end() -> None:
    page = " ".join(f"word{n}" for n in range(450)) + "."
    text = "\n\n".join(f"Paragraph {n}. {page}" for n in range(300))
    result = run("summarize", summarizer(context_length=8192, concurrency=4), {"text": text})
    told = [int(n) for step in result.steps if step.name.startswith("part") for n in re.findall(r"\d+", step.reply)]
    assert told == list(range(300))


def test_a_question_over_parts_passes_over_those_that_hold_no_answer() -> None:
    def say(messages: Sequence[Message]) -> str:
        if "These are answers" in last(messages):
            return "Ines Abadi"
        return "The mayor is Ines Abadi." if "secret" in last(messages) else "Not in the text."

    text = long_text(30) + "\n\nThe secret is here.\n\n" + long_text(30)
    model = ScriptedModel(say, context_length=1000)
    result = run("answer", model, {"text": text, "question": "Who is the mayor?"})
    assert result.output == "Ines Abadi"
    assert last(model.asked[-1].messages).count("- ") == 1
    nowhere = run("answer", ScriptedModel(say, context_length=1000), {"text": long_text(60), "question": "Who?"})
    assert nowhere.output == "Not in the text."


def test_parts_of_a_translation_are_put_together_as_the_text_was() -> None:
    def say(messages: Sequence[Message]) -> str:
        return last(messages).rpartition("\n\n")[2].upper() if "\n\n" in last(messages) else ""

    text = "\n".join(f"line number {n} of a long poem." for n in range(200))
    result = run("translate", ScriptedModel(say, context_length=700), {"text": text, "target": "German"})
    assert result.output == text.upper()
    assert "parts" in result.notes[0]


def test_replies_to_requests_that_a_plan_has_given_up_are_not_taken_for_others() -> None:
    def asking(name: str) -> Asking:
        return Asking(name, (user(name),), Options(temperature=0))

    def plan() -> Plan[list[str]]:
        try:
            yield [asking("first"), asking("second")]
        except RequestRefusedError:
            answers = yield [asking("third"), asking("fourth")]
        nothing = yield []
        assert nothing == []
        return [answer.text for answer in answers]

    model = ScriptedModel(last, faults={0: "refused"})
    ((_, finished),) = Driver(model, KeptReplies(model.identity)).run([plan()])
    assert isinstance(finished, Finished)
    assert finished.outcome == ["third", "fourth"]
    assert [step.name for step in finished.steps] == ["third", "fourth"]


def test_parts_are_made_when_they_are_asked_for_though_the_text_fits() -> None:
    model = ScriptedModel(lambda messages: "x", context_length=100_000)
    result = run("translate", model, {"text": long_text(20), "target": "German"}, part_tokens=200)
    assert len(result.steps) > 3
    assert "parts of at most 200 were asked for" in result.notes[0]


def test_an_endpoint_that_refuses_a_long_text_is_given_it_in_parts() -> None:
    class Endpoint:
        """A model that does not tell what it holds, and counts nothing."""

        def __init__(self) -> None:
            self._inner = summarizer(context_length=9000)
            self.identity, self.concurrency = self._inner.identity, 1

        def stream(self, messages: Sequence[Message], options: Options = Options()) -> Any:  # noqa: B008
            return self._inner.stream(messages, options)

        def close(self) -> None:
            pass

    result = run("summarize", Endpoint(), {"text": long_text(400)})
    assert "the model refused so many at once" in result.notes[0]
    assert "takes about" in result.notes[0]


def test_a_text_that_a_card_reads_whole_or_not_at_all_is_refused() -> None:
    with pytest.raises(ContextTooLongError, match="topic takes 2,001 tokens"):
        run("essay", ScriptedModel(["x"]), {"topic": "why " * 2000}, options=Options(max_tokens=3000))


def test_a_context_too_small_for_anything_says_so() -> None:
    with pytest.raises(ContextTooLongError, match="use a model with more context"):
        run("summarize", ScriptedModel(["x"], context_length=100), {"text": long_text(9)})


def test_an_empty_answer_is_an_error_and_no_summary() -> None:
    with pytest.raises(BadReplyError, match="gave an empty answer"):
        run("summarize", ScriptedModel([" \n"]), {"text": "x"})


def test_a_term_that_the_translation_lacks_is_noted() -> None:
    model = ScriptedModel(["Die Fähre legt ab."])
    glossary = {"ferry": "Fähre", "harbour": "Hafen", "bridge": "Brücke"}
    result = run("translate", model, {"text": "The ferry leaves the harbour.", "target": "de", "glossary": glossary})
    assert result.notes == ('the glossary says "Hafen" for "harbour", and the answer does not',)


def test_a_label_is_one_of_those_offered() -> None:
    labels = {"text": "great", "labels": ["good", "bad"]}
    model = ScriptedModel(['{"label": "good"}'])
    result = run("classify", model, labels)
    assert result.output == "good"
    assert model.asked[0].options.json_schema is not None
    assert result.steps[0].constrained
    with pytest.raises(MisfitError):
        run("classify", ScriptedModel(['{"label": "fine"}'] * 9), labels)


def test_the_label_of_most_of_a_long_text_wins() -> None:
    def say(messages: Sequence[Message]) -> str:
        return json.dumps({"label": "bad" if "Paragraph 3 " in last(messages) else "good"})

    model = ScriptedModel(say, context_length=700)
    result = run("classify", model, {"text": long_text(40), "labels": ["good", "bad"]})
    assert result.output == "good"
    assert re.fullmatch(r"\d\d % of the text, by length, has this label", result.notes[1])


def entities(*pairs: tuple[str, str]) -> str:
    return json.dumps({"entities": [{"text": text, "type": kind} for text, kind in pairs]}, ensure_ascii=False)


def test_entities_stand_in_the_text_and_inventions_are_dropped_and_counted() -> None:
    model = ScriptedModel([entities(("Ada Lovelace", "person"), ("London", "place"), ("Paris", "place"))])
    result = run("entities", model, {"text": "Ada Lovelace lived in London. London is large."})
    assert result.output == (
        Entity("Ada Lovelace", "person", 0, 12),
        Entity("London", "place", 22, 28),
        Entity("London", "place", 30, 36),
    )
    assert result.notes == ('the model listed 1 name that is not in the text, and was not believed: "Paris"',)
    assert result.to_json()["output"][0] == {"text": "Ada Lovelace", "type": "person", "start": 0, "end": 12}


def test_a_reply_that_is_no_list_of_entities_is_repaired() -> None:
    model = ScriptedModel(['{"names": []}', entities(("Ada", "person"))])
    result = run("entities", model, {"text": "Ada was here."})
    assert [one.text for one in result.output if isinstance(one, Entity)] == ["Ada"]
    assert result.steps[0].attempts == 2


def test_of_a_list_that_does_not_end_the_whole_entries_count_and_a_note_says_so() -> None:
    model = ScriptedModel([entities(*[("Ada", "person"), ("Bo", "person")] * 50)])
    result = run("entities", model, {"text": "Ada met Bo. " * 30}, options=Options(max_tokens=80))
    assert {one.text for one in result.output if isinstance(one, Entity)} == {"Ada", "Bo"}
    assert result.steps[0].attempts == 1
    assert any("cut off at the limit of tokens" in note for note in result.notes)


def test_entities_of_parts_are_merged_and_found_in_the_whole_text() -> None:
    def say(messages: Sequence[Message]) -> str:
        return entities(*[(name, "person") for name in re.findall(r"Name\w+", last(messages))])

    text = "\n\n".join(f"Paragraph {n}: Name{n % 7}x said something. " + "Some words. " * 20 for n in range(30))
    result = run("entities", ScriptedModel(say, context_length=2000), {"text": text})
    assert len(result.output) == 30
    assert result.notes[0].endswith("parts")


def test_shots_are_shown_as_turns_with_the_answers_as_they_are_to_be_written() -> None:
    case = TaskCase("a", "train", {"text": "Bo sleeps."}, [{"text": "Bo", "type": "person"}])
    model = ScriptedModel([entities()])
    run("entities", model, {"text": "Nobody."}, shots=[case])
    roles = [message["role"] for message in model.asked[0].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert text_of(model.asked[0].messages[2]) == entities(("Bo", "person"))
    code = TaskCase("b", "train", {"task": "One."}, {"code": "x = 1\n", "tests": "assert x"})
    model = ScriptedModel(["```python\nx = 2\n```"])
    run("code", model, {"task": "Two."}, shots=[code])
    assert text_of(model.asked[0].messages[2]) == "```python\nx = 1\n```"


def test_many_tasks_are_one_batch_and_an_error_takes_only_its_own_place() -> None:
    model = ScriptedModel(lambda messages: last(messages).split()[0], concurrency=4, delay=0.05)
    card = load_card("summarize")
    inputs = [{"text": f"t{n} x"} for n in range(8)] + [{"text": ""}, {"text": "big " * 5000, "words": 1000}]
    faults = dict(run_card_many(card, model, inputs))
    assert sorted(faults) == list(range(10))
    for n in range(8):
        found = faults[n]
        assert isinstance(found, TaskResult)
        assert found.output == f"t{n}"
    assert model.most_open > 1
    assert isinstance(faults[8], UsageError)


def test_an_error_that_concerns_every_task_ends_the_batch() -> None:
    model = ScriptedModel(["a", "b"], faults={1: "login"})
    with pytest.raises(LoginError):
        list(run_card_many(load_card("summarize"), model, [{"text": "x"}, {"text": "y"}, {"text": "z"}]))


def test_one_failed_item_of_a_batch_leaves_the_others() -> None:
    model = ScriptedModel(["a", "b", "c"], faults={1: "refused"})
    found = dict(run_card_many(load_card("summarize"), model, [{"text": "x"}, {"text": "y"}, {"text": "z"}]))
    assert [isinstance(found[n], WhetstoneError) for n in range(3)] == [False, True, False]


def test_a_long_task_goes_on_where_it_broke_off_and_leaves_nothing_behind() -> None:
    text = {"text": long_text(60)}
    broken = summarizer(context_length=1200, faults={3: "connection"})
    with pytest.raises(WhetstoneError):
        run("summarize", broken, text)
    kept = list((home() / "tasks" / "parts").glob("*.json"))
    assert len(kept) == 3
    again = summarizer(context_length=1200)
    result = run("summarize", again, text)
    assert [step.kept for step in result.steps][:4] == [True, True, True, False]
    assert len(again.asked) == len(result.steps) - 3
    assert result.output == run("summarize", summarizer(context_length=1200), text).output
    assert list((home() / "tasks" / "parts").glob("*.json")) == []


def test_entities_of_a_long_text_are_resumed_too() -> None:
    def say(messages: Sequence[Message]) -> str:
        return entities(*[(name, "person") for name in re.findall(r"Name\w+", last(messages))])

    text = {"text": "\n\n".join(f"Paragraph {n}: Name{n}x said something. " + "Some words. " * 20 for n in range(40))}
    with pytest.raises(WhetstoneError):
        run("entities", ScriptedModel(say, context_length=2000, faults={2: "connection"}), text)
    result = run("entities", ScriptedModel(say, context_length=2000), text)
    assert [step.kept for step in result.steps][:3] == [True, True, False]
    assert len(result.output) == 40


def test_a_sampled_reply_is_never_taken_from_an_earlier_run() -> None:
    options = Options(temperature=0.8)
    with pytest.raises(WhetstoneError):
        run(
            "summarize",
            summarizer(context_length=1200, faults={3: "connection"}),
            {"text": long_text(60)},
            options=options,
        )
    assert not (home() / "tasks").exists()


def test_a_task_that_was_killed_is_resumed(tmp_path: Path) -> None:
    log, text = tmp_path / "log.jsonl", tmp_path / "long.txt"
    text.write_text(long_text(60))
    model = f"scripted:echo?context_length=1500&concurrency=1&log={log}"
    command = [sys.executable, "-c", "from whetstone.cli.main import run; run()", "task", "translate", str(text)]
    command += ["--target", "German", "-m"]
    process = subprocess.Popen([*command, f"{model}&delay=0.05"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list((home() / "tasks" / "parts").glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(log.read_text().splitlines())
    done = subprocess.run([*command, model, "--json"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    asked = len(log.read_text().splitlines()) - before
    assert asked <= result["requests"] - 2
    assert "Paragraph 59" in result["output"]


PYTHON = "```python\ndef add(a, b):\n    return {}\n```"


def test_code_is_taken_out_of_its_fence_and_not_run_unless_asked_to() -> None:
    result = run("code", ScriptedModel(["Sure!\n" + PYTHON.format("a + b")]), {"task": "Add two numbers."})
    assert result.output == "def add(a, b):\n    return a + b"
    assert result.ran is None
    assert result.notes == ("the code was not run",)


def test_code_that_fails_its_tests_is_repaired_from_the_error() -> None:
    model = ScriptedModel([PYTHON.format("a - b"), PYTHON.format("a + b")])
    result = run("code", model, {"task": "Add.", "tests": "assert add(1, 2) == 3, 'sum'"}, run=True)
    assert result.output == "def add(a, b):\n    return a + b"
    assert result.ran is not None
    assert result.ran.fine
    assert [step.name for step in result.steps] == ["answer", "repair 1"]
    assert "AssertionError: sum" in last(model.asked[1].messages)
    assert "return a - b" in last(model.asked[1].messages)
    assert result.notes[0].startswith("attempt 1 failed: AssertionError")


def test_repairs_are_bounded_and_failing_code_is_given_with_its_error() -> None:
    model = ScriptedModel([PYTHON.format("a - b")] * 9)
    result = run("code", model, {"task": "Add.", "tests": "assert add(1, 2) == 3"}, run=True, repairs=1)
    assert len(result.steps) == 2
    assert result.notes[-1].startswith("the code still fails: AssertionError")
    assert result.ran is not None
    assert not result.ran.fine


def test_code_that_loops_writes_or_opens_sockets_is_contained_and_said_so() -> None:
    harm = "import socket\nsocket.create_connection(('127.0.0.1', 9))"
    model = ScriptedModel([f"```python\n{harm}\n```"])
    result = run("code", model, {"task": "x"}, run=True, repairs=0)
    assert result.ran is not None
    assert not result.ran.fine


def test_code_that_python_cannot_read_is_repaired_without_running_it() -> None:
    model = ScriptedModel(["```python\ndef add(a, b:\n    pass\n```", PYTHON.format("a + b")])
    result = run("code", model, {"task": "Add."})
    assert result.notes[0].startswith("attempt 1 failed: Python cannot read it: line 1")
    assert len(result.steps) == 2


def test_sql_runs_on_the_tables_it_is_about() -> None:
    tables = "CREATE TABLE staff (name TEXT, age INTEGER); INSERT INTO staff VALUES ('Ann', 40), ('Bo', 20);"
    model = ScriptedModel(["```sql\nSELECT nam FROM staff\n```", "```sql\nSELECT name FROM staff WHERE age > 30;\n```"])
    result = run("code", model, {"task": "Names of those over 30", "language": "sql", "tables": tables}, run=True)
    assert "CREATE TABLE staff" in last(model.asked[0].messages)
    assert "no such column: nam" in last(model.asked[1].messages)
    assert result.to_json()["ran"]["rows"] == (("Ann",),)


def test_prose_instead_of_code_is_an_error_after_the_repairs() -> None:
    with pytest.raises(BadReplyError, match="wrote no code: 'I cannot do that, Dave"):
        run("code", ScriptedModel(["I cannot do that, Dave."] * 3), {"task": "x"})


def test_only_code_is_run() -> None:
    with pytest.raises(UsageError, match="nothing to run: summarize writes no code"):
        run("summarize", ScriptedModel(["x"]), {"text": "x"}, run=True)


def test_a_dialogue_of_mixed_languages_and_text_from_right_to_left_reach_the_model_unchanged() -> None:
    text = "민수: 몇 시에 만날까?\nLena: Um acht?\nليلى: حسنا، أراكما هناك 👋🏽\u200f"
    model = ScriptedModel([Planned(reply="They meet at eight.")])
    assert run("dialogue", model, {"text": text}).output == "They meet at eight."
    assert text in last(model.asked[0].messages)
