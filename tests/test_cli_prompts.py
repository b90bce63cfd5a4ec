"""`whet prompts` as a person runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from whetstone.cli.prompts import app
from whetstone.errors import WhetstoneError

REPLY = """---
name: reply
version: 1
variables: [text, tone]
description: Answers a letter.
system: You answer letters in a {{ tone }} tone.
---
Answer this letter:

{{ text }}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "reply.md").write_text(REPLY)


def whet(*arguments: str, pipe: str | None = None, fails: int = 0) -> Result:
    """The result; what `whet` would say of one of our errors stands in its output."""
    result = CliRunner().invoke(app, list(arguments), input=pipe)  # not all of whet, which takes long to build
    if isinstance(result.exception, WhetstoneError):
        result.stdout_bytes += f"whet: {result.exception}".encode()
        assert result.exception.exit_code == fails, result.exception
    else:
        assert result.exit_code == fails, (result.output, result.exception)
    return result


def told(*arguments: str, **more: Any) -> Any:
    return json.loads(whet(*arguments, "--json", **more).stdout)


def plain(text: str) -> str:
    return " ".join(text.split())


def test_prompts_of_all_folders_are_listed(tmp_path: Path) -> None:
    (tmp_path / "prompts" / "broken.md").write_text("no head")
    listed = {prompt["name"]: prompt for prompt in told("list")}
    assert {"number", "label", "text", "reply", "broken"} <= set(listed)
    assert listed["reply"]["source"] == "project"
    assert listed["reply"]["variables"] == ["text", "tone"]
    assert "YAML head" in listed["broken"]["problem"]
    assert "Answers a letter." in whet("list").stdout


def test_a_prompt_is_shown_as_text_as_messages_and_as_the_model_sees_it() -> None:
    assert "You answer letters in a {{ tone }} tone." in whet("show", "reply").stdout
    shown = told("show", "reply", "--var", "text=Dear Sir", "--var", "tone=warm")
    assert shown["messages"] == [
        {"role": "system", "content": "You answer letters in a warm tone."},
        {"role": "user", "content": "Answer this letter:\n\nDear Sir"},
    ]
    seen = told("show", "reply", "--var", "text=Dear Sir", "--var", "tone=warm", "-m", "scripted:echo")
    assert seen["rendered"].endswith("assistant\n")
    assert seen["tokens"] > 10
    assert "tokens for scripted:echo" in whet("show", "number", "-m", "scripted:echo", "--file", "-", "--var",
                                              "question=How much?", "--var", "target=price", "--var", "unit_name=",
                                              pipe="A lamp\n").stdout  # fmt: skip


def test_a_missing_and_an_unknown_value_are_named() -> None:
    assert "needs a value for 'tone'" in plain(whet("show", "reply", "--var", "text=x", fails=2).stdout)
    assert "Did you mean tone" in whet("run", "reply", "--var", "tune=x", "-m", "scripted:echo", fails=2).stdout
    assert "name=value" in whet("run", "reply", "--var", "tone", "-m", "scripted:echo", fails=2).stdout
    assert "given twice" in whet("run", "reply", "--var", "tone=a", "--var", "tone=b", fails=2).stdout


def test_a_prompt_is_run_on_a_text_from_a_pipe() -> None:
    done = whet("run", "reply", "--var", "tone=warm", "--file", "-", "-m", "scripted:echo", pipe="Dear Sir\n")
    assert done.stdout == "Answer this letter:\n\nDear Sir\n"
    assert re.search(r"reply@1, \d+ \+ \d+ tokens", done.stderr)


def test_values_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Madam\n")
    (tmp_path / "values.yaml").write_text("text: Hello\ntone: cold\n")
    answer = told("run", "reply", "--var", "tone=@@home", "--var", "text=@letter.txt", "-m", "scripted:echo")
    assert answer["values"] == {"tone": "@home", "text": "Dear Madam"}
    assert (answer["text"], answer["error"], answer["cost"]) == ("Answer this letter:\n\nDear Madam", None, 0.0)
    assert told("run", "reply", "--file", "values.yaml", "-m", "scripted:echo")["values"]["tone"] == "cold"
    labels = told("show", "label", "--var", 'labels:=["a", "b"]', "--var", "text=x", "--var", "question=", "--var",
                  "target=kind")["messages"]  # fmt: skip
    assert "one of these and nothing else: a, b." in labels[0]["content"]
    assert "no JSON" in whet("show", "label", "--var", "labels:=[a", fails=2).stdout
    assert "which variable" in plain(whet("run", "text", "--file", "letter.txt", "--var", "text=x", fails=2).stdout)


def test_rows_of_a_file_are_answered_in_their_order_and_failures_have_their_line(tmp_path: Path) -> None:
    rows = [{"text": "one"}, {"text": "two " * 500}, {"text": "three"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = "scripted:echo?context_length=200&concurrency=3"
    done = whet("run", "reply", "--var", "tone=warm", "--file", "rows.jsonl", "-m", model, fails=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["values"]["text"][:3] for line in lines] == ["one", "two", "thr"]
    assert [bool(line["error"]) for line in lines] == [False, True, False]
    assert "1 of 3 rows have no answer" in done.stderr
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n["b"]\n')
    wrong = whet("run", "reply", "--file", "rows.jsonl", "-m", model, fails=2)
    assert "rows.jsonl, line 2: there must be names" in wrong.stdout
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    assert "row 2" in whet("run", "reply", "--file", "rows.jsonl", "-m", model, fails=2).stdout


def test_a_reply_is_made_to_fit_a_schema(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(
        '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'
    )
    (tmp_path / "plan.yaml").write_text('replies:\n  - reply: \'{"name": "Anna"}\'\n')
    values = ["--var", "text=I am Anna", "--var", "tone=warm", "-m", "scripted:plan.yaml"]
    assert json.loads(whet("run", "reply", *values, "--schema", "schema.json").stdout) == {"name": "Anna"}
    (tmp_path / "plan.yaml").write_text("replies:\n  - reply: nothing\n")
    unfit = whet("run", "reply", *values, "--schema", "schema.json", fails=1)
    assert unfit.stdout == ""
    assert "whet:" in unfit.stderr
    (tmp_path / "schema.json").write_text("[]")
    assert "is an object" in whet("run", "reply", *values, "--schema", "schema.json", fails=2).stdout


def test_a_new_text_becomes_a_new_version_and_the_difference_is_shown(tmp_path: Path) -> None:
    changed = REPLY.replace("Answer this letter", "Reply to this letter")
    (tmp_path / "next.md").write_text(changed)
    assert "`version: 2`" in whet("save", "reply", "next.md", fails=2).stdout
    assert "reply@2" in whet("save", "reply", "next.md", "--raise-version").stdout
    assert "+Reply to this letter:" in whet("diff", "reply@1", fails=1).stdout
    assert "are the same" in whet("diff", "reply@2", "reply").stdout
    assert [one["version"] for one in told("show", "reply")["versions"]] == [2, 1]
    assert (tmp_path / "prompts" / "reply@1.md").read_text() == REPLY


def test_a_new_prompt_can_be_run_at_once(tmp_path: Path) -> None:
    assert "mail/sort@1" in whet("new", "mail/sort", "--kind", "label", "--description", "Sorts: all mail.").stdout
    answer = told("run", "mail/sort", "--var", "text=Hi", "--var", 'labels:=["a"]', "-m", "scripted:echo")
    assert answer["text"] == "Hi\n\nWhich of these is it: a?"
    assert "already" in whet("new", "mail/sort", fails=2).stdout
    whet("new", "copy", "--from", "reply")
    assert "name: copy\n" in (tmp_path / "prompts" / "copy.md").read_text()
    assert told("show", "copy")["variables"] == ["text", "tone"]
    assert "kind of answer" in whet("new", "other", "--kind", "pictures", fails=2).stdout


def test_the_variant_of_the_models_family_is_run(tmp_path: Path) -> None:
    (tmp_path / "prompts" / "reply.qwen.md").write_text(REPLY.replace("Answer", "Qwen, answer"))
    assert told("show", "reply", "--var", "text=x", "--var", "tone=warm")["family"] is None
    shown = whet("show", "reply.qwen").stdout
    assert "Qwen, answer" in shown
    answer = told("run", "reply", "--var", "text=x", "--var", "tone=y", "-m", "scripted:echo")
    assert answer["prompt"] == "reply@1"


@pytest.mark.parametrize("name", ["../reply", "/etc/hosts", "prompts/../../x"])
def test_a_file_outside_the_folders_is_refused(name: str) -> None:
    for command in ("show", "run", "diff"):
        assert "one of the library's folders" in plain(whet(command, name, fails=2).stdout)


def test_what_a_prompt_or_a_model_says_does_not_reach_the_terminal_as_control(tmp_path: Path) -> None:
    (tmp_path / "prompts" / "evil.md").write_text(REPLY.replace("letter:", "letter:\x1b]0;owned\x07"))
    assert "\x1b" not in whet("show", "evil").stdout


@pytest.fixture
def things(tmp_path: Path) -> list[str]:
    """A source of 60 rows, as arguments."""
    rows = [{"id": f"r{i}", "text": f"thing number {i}", "topic": ["home", "tools"][i % 2]} for i in range(60)]
    (tmp_path / "things.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["things.jsonl", "--text", "text", "--target", "topic", "--id", "id", "-m", "scripted:plan.yaml"]


def test_the_examples_of_an_item_are_shown_with_their_tokens(things: list[str], tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("replies:\n  - reply: home\n")
    shown = told("shots", *things, "-e", "balanced:4")
    assert sorted(shot["answer"] for shot in shown["shots"]) == ["home", "home", "tools", "tools"]
    assert shown["tokens"] == shown["bare_tokens"] + sum(shot["tokens"] for shot in shown["shots"])
    assert len(shown["messages"]) == 2 + 8
    shown = told("shots", *things, "-e", "shared:2:7", "--item", "r3", "--question", "Which?")
    assert shown["item"] == "r3"
    assert "Which?" in shown["messages"][-1]["content"]
    printed = plain(whet("shots", *things, "--messages").stdout)
    assert "without the examples" in printed
    assert "What is the topic: home, tools?" in printed
    assert "has no item" in whet("shots", *things, "--item", "none", fails=2).stdout
    assert "is for a text" in plain(whet("shots", *things, "--prompt", "reply", fails=2).stdout)


def test_a_search_is_shown_choice_by_choice_and_proven(things: list[str], tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the package optuna")
    plan = [{"match": "Think hard[^$]*", "reply": "tools"}, {"reply": "home"}]
    (tmp_path / "plan.yaml").write_text(json.dumps({"replies": plan}))
    (tmp_path / "questions.txt").write_text("Think hard about the topic.\n\nWell?\n")
    sizes = ["--test-size", "20", "--validation-size", "20", "--shots", "0"]
    done = whet(
        "search", *things, *sizes, "--questions", "questions.txt", "--json", "found.json", "--html", "found.html"
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["trials"][0]["question"] is None
    assert {trial["question"] for trial in found["trials"]} == {None, "Well?", "Think hard about the topic."}
    assert found["calls"] == 60
    assert "Prompt search" in done.stdout
    assert f"{found['calls']} calls" in plain(done.stdout)
    assert "start: label@1" in plain(done.stdout)
    assert (tmp_path / "found.html").exists()
    (tmp_path / "questions.txt").write_text("\n")
    assert "no question in it" in whet("search", *things, "--questions", "questions.txt", fails=2).stdout
    assert "write numbers of examples" in whet("search", *things, "--shots", "few", fails=2).stdout
