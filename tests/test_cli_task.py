"""`whet task` as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from whetstone.cli.main import app
from whetstone.errors import DataError, WhetstoneError
from whetstone.tasks.card import NAMES


def whet(*arguments: str, given: str | bytes | None = None) -> Any:
    """Run a command in this process; an error of ours is raised as it is, which `run` would make a sentence."""
    result = CliRunner().invoke(app, ["task", *arguments], input=given)
    if isinstance(result.exception, WhetstoneError):
        raise result.exception
    return result


def plan(folder: Path, *replies: str) -> str:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"replies": [{"reply": reply} for reply in replies]}, allow_unicode=True))
    return f"scripted:{path}"


def test_every_card_is_listed_and_has_a_help_of_its_own() -> None:
    listed = json.loads(whet("list", "--json").stdout)
    assert [card["name"] for card in listed] == list(NAMES)
    assert all(name in whet("list").stdout for name in NAMES)
    for name in ("translate", "code"):
        shown = whet(name, "--help").stdout
        assert "Known failures" in shown
        assert ("--run" in shown) == (name == "code")
    assert "--glossary" in whet("translate", "--help").stdout


def test_a_file_a_pipe_and_words_are_the_text(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("\ufeffGuten Tag\n", encoding="utf-8")
    for arguments, given in (
        ((str(path),), None),
        (("-",), "Guten Tag\n"),
        ((), "Guten Tag\n"),
        (("Guten Tag",), None),
    ):
        result = whet("translate", *arguments, "--target", "en", "-m", "scripted:echo", given=given)
        assert result.exit_code == 0
        assert result.stdout.rstrip().endswith("Guten Tag")
        assert "\ufeff" not in result.stdout
        assert "1 request ·" in result.stderr


def test_documents_are_read_as_knowledge_bases_read_them(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<html><body><script>x()</script><p>The ferry &amp; the quay</p></body></html>")
    result = whet("summarize", str(path), "-m", "scripted:echo")
    assert "The ferry & the quay" in result.stdout
    assert "script" not in result.stdout


def test_options_are_the_cards_inputs(tmp_path: Path) -> None:
    glossary = tmp_path / "terms.txt"
    glossary.write_text("ferry=Fähre\nquay=Kai\n", encoding="utf-8")
    result = whet(
        "translate", "the ferry", "--target", "deutsch", "--formality", "formal", "--glossary", f"@{glossary}",
        "-m", "scripted:echo", "--json",
    )  # fmt: skip
    told = json.loads(result.stdout)
    assert "into German" in told["output"]
    assert 'Translate "quay" as "Kai"' in told["output"]
    assert "polite" in told["output"]


def test_json_has_the_steps_when_they_are_asked_for(tmp_path: Path) -> None:
    model = plan(tmp_path, json.dumps({"entities": [{"text": "Ada", "type": "person"}]}))
    told = json.loads(whet("entities", "Ada sleeps.", "-m", model, "--json", "--trace").stdout)
    assert told["output"] == [{"text": "Ada", "type": "person", "start": 0, "end": 3}]
    assert told["steps"][0]["constrained"] is True
    assert "steps" not in json.loads(whet("entities", "Ada sleeps.", "-m", model, "--json").stdout)


def test_the_trace_shows_prompts_and_replies_and_hides_what_would_control_the_terminal(tmp_path: Path) -> None:
    result = whet("summarize", "A story.", "-m", plan(tmp_path, "Short.\x1b]0;pwned\x07"), "--trace")
    assert "=== 1. answer" in result.stderr
    assert "A story." in result.stderr
    assert "\x1b" not in result.stderr


def test_shots_are_the_cards_own_solved_cases(tmp_path: Path) -> None:
    model = plan(tmp_path, '{"label": "b"}')
    told = json.loads(whet("classify", "x", "--labels", "a,b", "--shots", "2", "-m", model, "--json", "--trace").stdout)
    assert [message["role"] for message in told["steps"][0]["messages"]].count("assistant") == 2
    with pytest.raises(WhetstoneError, match="solved cases to show, not 999"):
        whet("classify", "x", "--labels", "a,b", "--shots", "999", "-m", model)


def test_a_prompt_of_the_library_can_take_the_place_of_the_cards_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    head = "name: brief\nversion: 1\nvariables: [text]\n"
    (tmp_path / "prompts" / "brief.md").write_text(f"---\n{head}---\nIn three words: {{{{ text }}}}\n")
    spec = plan(tmp_path, "Rain all day.")
    told = json.loads(whet("summarize", "It rains.", "--prompt", "brief", "-m", spec, "--json", "--trace").stdout)
    assert told["steps"][0]["messages"][-1]["content"] == "In three words: It rains."
    with pytest.raises(WhetstoneError, match="brie"):
        whet("summarize", "It rains.", "--prompt", "brie", "-m", spec)


def test_every_line_can_be_a_text_of_its_own() -> None:
    lines = "first\n\nsecond\n" + "long " * 5000 + "\nlast\n"
    result = whet("essay", "-", "--lines", "-m", "scripted:echo?concurrency=3", given=lines)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["text"][:6] for one in told] == ["first", "second", "long l", "last"]
    assert "on this topic: second" in told[1]["output"]
    assert "shorten it" in told[2]["error"]
    assert result.exit_code == 1


def test_code_that_still_fails_ends_with_exit_code_1(tmp_path: Path) -> None:
    model = plan(tmp_path, "```python\nprint('hi')\n```")
    fine = whet("code", "Say hi.", "-m", model, "--run")
    assert (fine.exit_code, fine.stdout) == (0, "print('hi')\n")
    assert "it ran to its end" in fine.stderr
    failing = whet("code", "Say hi.", "-m", model, "--run", "--tests", "assert False, 'no'", "--repairs", "0")
    assert failing.exit_code == 1
    assert "AssertionError: no" in failing.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["translate", "x"], "needs target"),
        (["translate", "x", "--target", "Germn"], "Did you mean German"),
        (["summarize", "missing.pdf"], "there is no such file"),
        (["summarize", "x", "--words", "many"], "words is a whole number"),
        (["summarize", ""], "text is empty"),
        (["summarise", "x"], "Did you mean summarize"),
        (["./nowhere/", "x"], "the card cannot be read"),
        (["code", "x", "--tables", "@nothing.sql"], "nothing.sql: the file cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: list[str], said: str) -> None:
    with pytest.raises(WhetstoneError, match=said) as caught:
        whet(*arguments, "-m", "scripted:echo")
    assert caught.value.exit_code == 2


def test_binary_and_foreign_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    for data, said in ((b"a\0b", "binary, not text"), ("Käse".encode("latin-1"), "no UTF-8 text")):
        path.write_bytes(data)
        with pytest.raises(DataError, match=said):
            whet("summarize", str(path), "-m", "scripted:echo")


def test_a_card_of_the_users_own_is_a_command(tmp_path: Path) -> None:
    folder = tmp_path / "haiku"
    folder.mkdir()
    inputs = "[{name: topic, type: text, required: true, description: about}, {name: json, type: text, description: x}]"
    card = f"title: H\ndescription: D\nmain: topic\ninputs: {inputs}\noutput: text\nmetric: rouge_l\n"
    (folder / "card.yaml").write_text(card.replace("json", "mood"))
    (folder / "prompt.md").write_text("---\nname: h\nversion: 1\nvariables: [topic, mood]\n---\n{{ mood }} {{ topic }}")
    assert whet(f"{folder}/", "rain", "--mood", "sad", "-m", "scripted:echo").stdout == "sad rain\n"
    (folder / "card.yaml").write_text(card)
    (folder / "prompt.md").write_text("---\nname: h\nversion: 1\nvariables: [topic]\n---\n{{ topic }}")
    with pytest.raises(DataError, match="the input json has the name of an option"):
        whet(f"{folder}/", "rain")


def test_the_embedded_model_does_a_task_with_a_valid_answer() -> None:
    command = [sys.executable, "-c", "from whetstone.cli.main import run; run()", "task", "entities"]
    text = "Ada Lovelace met Charles Babbage in London."
    done = subprocess.run([*command, text, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["card"], told["requests"]) == ("entities", 1)
    assert all(text[one["start"] : one["end"]] == one["text"] for one in told["output"])
    assert {one["type"] for one in told["output"]} <= {"person", "place", "organisation"}
