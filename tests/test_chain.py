"""Chains: what is checked before they run, how steps branch, loop and vote, what is kept, and what is asked again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from whetstone.cli.main import app
from whetstone.errors import DataError, MisfitError, ModelError, UsageError
from whetstone.prompting.chain_file import read_chain_file
from whetstone.prompting.chain_plan import faults
from whetstone.prompting.chain_record import ChainRecord
from whetstone.prompting.chain_trace import ChainStore
from whetstone.prompting.expression import Expression
from whetstone.prompting.jinja import FillingError
from whetstone.prompting.library import PromptLibrary
from whetstone.workflows.chains import replay_chain, run_chain

TRIAGE = """
name: triage
inputs:
  letter: text
  languages: {type: list, default: []}
steps:
  - name: reply            # stands before the step that it needs
    when: kind == "complaint"
    prompt: "Apologise for: {{ letter }}"
    system: You write letters.
  - name: kind
    prompt: "Is it a complaint or a question? {{ letter }}"
    output: {label: [complaint, question]}
  - name: versions
    for_each: languages
    as: language
    most: 3
    prompt: "In {{ language }}: {{ reply }}"
  - name: words
    value: reply.split() | length if reply else 0
outputs:
  answer: reply or "nothing to say"
  count: {value: words, type: number}
  versions: versions
"""

PLAN: dict[str, Any] = {
    "replies": [
        {"match": "^Is it a .* late", "reply": "Answer: Complaint."},
        {"match": "^Is it a ", "reply": "a question"},
        {"match": "^Apologise", "reply": "We are sorry."},
        {"match": "^In (de|fr)", "reply": "übersetzt"},
    ]
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where chains, plans and the log of what was asked stand."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, chain: str | dict[str, Any], plan: Any = None, name: str = "chain.yaml") -> Path:
    (folder / name).write_text(chain if isinstance(chain, str) else yaml.safe_dump(chain, sort_keys=False))
    (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN if plan is None else plan))
    return folder / name


MODEL = "scripted:plan.yaml?log=log.jsonl"


def asked(folder: Path) -> list[str]:
    """The last message of every request so far."""
    log = folder / "log.jsonl"
    return (
        [json.loads(line)["messages"][-1]["content"] for line in log.read_text().splitlines()] if log.exists() else []
    )


def run(path: Path, **inputs: Any) -> ChainRecord:
    return run_chain(path, inputs, model=MODEL)


def one_step(**step: Any) -> dict[str, Any]:
    return {
        "name": "one",
        "inputs": {"n": {"type": "number", "default": 2}},
        "steps": [{"name": "it", "prompt": "say {{ n }}", **step}],
        "outputs": {"it": "it", "n": "n"},
    }


# Running


def test_steps_run_in_the_order_in_which_they_need_one_another(folder: Path) -> None:
    record = run(write(folder, TRIAGE), letter="It came late.", languages=["de", "fr"])
    assert record.outputs == {"answer": "We are sorry.", "count": 3, "versions": ["übersetzt", "übersetzt"]}
    assert [end.step for end in record.ends] == ["kind", "reply", "versions", "words"]
    assert asked(folder) == [
        "Is it a complaint or a question? It came late.",
        "Apologise for: It came late.",
        "In de: We are sorry.",
        "In fr: We are sorry.",
    ]


def test_a_step_whose_condition_does_not_hold_is_left_out(folder: Path) -> None:
    record = run(write(folder, TRIAGE), letter="Where are you?")
    assert record.outputs == {"answer": "nothing to say", "count": 0, "versions": []}
    assert [end.step for end in record.ends if end.skipped] == ["reply"]
    assert len(asked(folder)) == 1


def test_the_trace_holds_everything_about_a_request(folder: Path) -> None:
    record = run(write(folder, TRIAGE), letter="It came late.")
    reply = next(one for one in record.requests if one.step == "reply")
    assert [message["content"] for message in reply.messages] == ["You write letters.", "Apologise for: It came late."]
    assert (reply.raw, reply.value, reply.cost) == ("We are sorry.", "We are sorry.", 0.0)
    assert reply.usage.completion_tokens == 3
    assert reply.model == "scripted:plan.yaml"
    assert reply.revision
    assert reply.options == {"temperature": 0.0, "max_tokens": 512}
    assert record.usage.completion_tokens == 2 + 3


def test_a_loop_ends_when_its_condition_holds_or_at_its_limit(folder: Path) -> None:
    chain = one_step(prompt="round {{ round }} after {{ previous }}", output="number",
                     repeat={"until": "it > n", "most": 4})  # fmt: skip
    plan = {"replies": [{"match": f"^round {i}", "reply": str(i)} for i in (1, 2, 3, 4)]}
    record = run(write(folder, chain, plan))
    assert record.outputs == {"it": 3, "n": 2}
    assert asked(folder) == ["round 1 after None", "round 2 after 1", "round 3 after 2"]
    assert record.ends[0].remarks == ()
    record = run(write(folder, chain, plan), n=9)
    assert record.outputs == {"it": 4, "n": 9}
    assert "did not hold after 4 rounds" in record.ends[0].remarks[0]


def test_samples_vote_each_with_a_seed_of_its_own(folder: Path) -> None:
    chain = one_step(prompt="how much?", output="number", vote={"samples": 5, "how": "median"})
    record = run(write(folder, chain, {"replies": [{"match": "how", "reply": "about 12"}]}))
    assert record.outputs is not None
    assert record.outputs["it"] == 12
    assert record.ends[0].remarks == ("5 of 5 samples agree",)
    seeds = [one.options["seed"] for one in record.requests]
    assert len(set(seeds)) == 5
    assert {one.options["temperature"] for one in record.requests} == {0.7}
    again = run_chain(folder / "chain.yaml", {}, model=MODEL, fresh=True)
    assert [one.options["seed"] for one in again.requests] == seeds
    assert again.id != record.id


def test_a_step_gives_a_value_of_its_schema_and_repairs_it(folder: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["age"],
    }
    chain = one_step(prompt="who?", output={"schema": schema})
    chain["outputs"] = {"older": {"value": "it.age + n", "type": "number"}}
    replies = [{"match": "^who", "reply": '{"age": "old"}'}, {"match": "cannot be used", "reply": '{"age": 36}'}]
    record = run(write(folder, chain, {"replies": replies}))
    assert record.outputs == {"older": 38}
    assert [bool(tried["error"]) for tried in record.requests[0].tries] == [True, False]


def test_a_number_that_cannot_be_read_is_asked_for_again_and_then_given_up(folder: Path) -> None:
    chain = one_step(prompt="how many?", output={"number": {"min": 0, "max": 10}})
    plan = {"replies": [{"match": "^how", "reply": "no idea"}, {"match": "Answer again", "reply": "7"}]}
    record = run(write(folder, chain, plan))
    assert record.outputs == {"it": 7, "n": 2}
    assert [one.attempt for one in record.requests] == [0, 1]
    chain["steps"][0]["output"] = {"number": {"min": 5}}
    assert run(write(folder, chain, {"replies": [{"match": "", "reply": "12"}]})).outputs == {"it": 12, "n": 2}
    with pytest.raises(MisfitError, match="step it: "):
        run(write(folder, chain, {"replies": [{"match": "", "reply": "4"}]}), n=3)


def test_a_reply_that_was_cut_off_is_kept_and_said(folder: Path) -> None:
    record = run(write(folder, one_step(options={"max_tokens": 2}), {"replies": [{"match": "", "reply": "a b c d"}]}))
    assert record.outputs == {"it": "a b", "n": 2}
    assert record.ends[0].remarks == ("step it: the reply was cut off at its limit of 2 tokens",)


def test_prompts_come_from_files_beside_the_chain_with_values_by_name(folder: Path) -> None:
    (folder / "ask.md").write_text("---\nname: ask\nversion: 1\nvariables: [text]\n---\nsay {{ text }}!\n")
    chain = one_step(file="ask.md", **{"with": {"text": "'number %s' | format(n + 1)"}})
    del chain["steps"][0]["prompt"]
    assert run(write(folder, chain, {"replies": [{"match": "", "reply": "yes"}]})).outputs == {"it": "yes", "n": 2}
    assert asked(folder) == ["say number 3!"]


# Resuming and replaying


def test_the_same_command_asks_nothing_twice(folder: Path) -> None:
    path = write(folder, TRIAGE)
    first = run(path, letter="It came late.", languages=["de"])
    assert run(path, letter="It came late.", languages=["de"]) == first
    assert len(asked(folder)) == 3
    assert len(list(ChainStore())) == 1
    assert run(path, letter="It came late!").id != first.id


def test_a_run_that_failed_goes_on_where_it_was(folder: Path) -> None:
    path = write(folder, TRIAGE, {**PLAN, "faults": {2: "connection"}})
    with pytest.raises(ModelError):
        run(path, letter="It came late.", languages=["de", "fr"])
    kept = ChainStore().find("last")
    assert kept.outputs is None
    write(folder, TRIAGE)
    record = run(path, letter="It came late.", languages=["de", "fr"])
    assert record.id == kept.id
    assert record.outputs is not None
    assert len(record.requests) == 4


def test_a_replay_takes_over_what_came_before_and_asks_the_rest_again(folder: Path) -> None:
    path = write(folder, TRIAGE)
    first = run(path, letter="It came late.", languages=["de"])
    path.write_text(TRIAGE.replace("Apologise for:", "Apologise warmly for:"))
    record = replay_chain("triage", "reply", path=path)
    assert asked(folder)[3:] == ["Apologise warmly for: It came late.", "In de: We are sorry."]
    assert [one.reused for one in record.requests] == [first.id, "", ""]
    assert record.header["replayed"] == {"run": first.id, "from": "reply"}
    assert record.usage.completion_tokens < first.usage.completion_tokens
    assert replay_chain(first.id, "reply", path=path) == record
    assert len(asked(folder)) == 5
    path.write_text(TRIAGE.replace("Is it", "Would it be"))
    with pytest.raises(UsageError, match=r"step kind is not as it was .* --from kind"):
        replay_chain(first.id, "reply", path=path)
    with pytest.raises(UsageError, match=r"no step .* named 'repli'\. Did you mean reply"):
        replay_chain(first.id, "repli")


def test_a_replay_with_another_model_asks_it_only_from_the_step_on(folder: Path) -> None:
    first = run(write(folder, TRIAGE), letter="It came late.")
    record = replay_chain(first.id, "reply", model="scripted:reply?text=Sorry")
    assert record.outputs is not None
    assert record.outputs["answer"] == "Sorry"
    assert [one.model for one in record.requests] == ["scripted:plan.yaml", "scripted:reply?text=Sorry"]


def test_a_killed_run_loses_nothing_and_asks_nothing_twice(folder: Path) -> None:
    chain = {
        "name": "long",
        "steps": [{"name": "it", "for_each": "range(12)", "most": 12, "prompt": "item {{ item }}"}],
        "outputs": {"it": "it"},
    }
    path = write(folder, chain, {"replies": [{"match": "item", "reply": "done"}]})
    command = [sys.executable, "-c", "from whetstone.cli.main import run; run()", "chain", "run", str(path), "-m"]
    slow = f"{MODEL}&delay=0.1"
    process = subprocess.Popen([*command, slow], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            journals = list((Path(os.environ["WHETSTONE_HOME"]) / "chains").glob("*/trace.jsonl"))
            if journals and len(journals[0].read_bytes().splitlines()) >= 3:
                break
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (record,) = ChainStore()
    assert record.outputs is None
    done = len(record.requests)
    assert done >= 3
    assert run_chain(path, {}, model=slow).outputs == {"it": ["done"] * 12}
    assert len(asked(folder)) - 12 in (0, 1)  # the one that was under way
    (record,) = ChainStore()
    assert len(record.requests) == 12


# What is wrong with a chain


def changed(**parts: Any) -> dict[str, Any]:
    return {**one_step(), **parts}


@pytest.mark.parametrize(
    ("chain", "complaint"),
    [
        ("name: [", "no YAML"),
        ("a: &a [1]\nb: *a", "no YAML aliases"),
        ("- 1", "a chain is a mapping"),
        (changed(name="../x"), "name: "),
        (changed(colour=1), "colour: Extra inputs"),
        (one_step(prompt="{{ m }}"), "step it uses 'm', which is neither an input nor a step"),
        (one_step(when="kin == 1"), "uses 'kin'"),
        (one_step(when="n =="), "when is no expression"),
        (one_step(prompt="{% if %}"), "the prompt is not valid Jinja"),
        (one_step(prompt="{{ it }} {{ n }}"), "wait for one another: it -> it"),
        (one_step(for_each="[n]"), "for_each needs a limit"),
        (one_step(repeat={"until": "true"}), "repeat, most: Field required"),
        (one_step(repeat={"until": "true", "most": 1000}), "less than or equal to 100"),
        (one_step(vote={"samples": 3, "how": "median"}), "a median is of numbers"),
        (one_step(output={"label": ["a"]}), "a label is one of two or more"),
        (one_step(output="words"), "write text, number"),
        (one_step(output={"schema": {"$ref": "#/$defs/x"}}), "names nothing in the schema"),
        (one_step(value="n"), "one of prompt, file, library and value"),
        (one_step(name="round"), "this name means something else"),
        (one_step(name="n"), "stands for two things"),
        (one_step(options={"temprature": 1}), "temprature"),
        (one_step(prompt="hello"), "with gives"),
        (changed(outputs={"it": "itt"}), "output it uses 'itt', .* did you mean 'it'"),
        (changed(inputs={"n": "number", "unused": "text"}), "the input 'unused' is used nowhere"),
        (changed(inputs={"n": {"type": "number", "default": "x"}}), "is to be a number"),
        (changed(inputs={"n": {"type": "label"}}), "labels go with the type label"),
    ],
)  # fmt: skip
def test_a_wrong_chain_is_refused_before_anything_is_asked(folder: Path, chain: Any, complaint: str) -> None:
    if complaint == "with gives":
        chain["steps"][0]["with"] = {"text": "n"}
    path = write(folder, chain)
    with pytest.raises(DataError, match=complaint) as caught:
        run(path)
    assert str(caught.value).startswith(str(path))
    assert not asked(folder)


def test_a_circle_of_steps_is_named(folder: Path) -> None:
    steps = [{"name": "a", "prompt": "{{ c }}"}, {"name": "b", "prompt": "{{ a }}"}, {"name": "c", "prompt": "{{ b }}"}]
    path = write(folder, {"name": "circle", "steps": steps, "outputs": {"a": "a"}})
    assert faults(read_chain_file(path)) == ["the steps wait for one another: a -> c -> b -> a"]


def test_a_step_asks_with_a_prompt_of_the_library_and_the_run_keeps_its_text(folder: Path) -> None:
    prompts = PromptLibrary()
    prompts.save("say", "---\nname: say\nversion: 1\nvariables: [n]\n---\nsay {{ n }}\n")
    prompts.save("say", "---\nname: say\nversion: 2\nvariables: [n]\n---\nsay {{ n }} twice\n")
    chain = one_step(library="say@1")
    del chain["steps"][0]["prompt"]
    chain["steps"].append({"name": "more", "library": "say", "with": {"n": "it"}})
    plan = {"replies": [{"match": "", "reply": "hello"}]}
    record = run(write(folder, chain, plan))
    assert asked(folder) == ["say 2", "say hello twice"]
    assert record.chain.files["library:say@1"].endswith("say {{ n }}\n")
    prompts.save("say", "---\nname: say\nversion: 3\nvariables: [n]\n---\nsay {{ n }} again\n")
    run(folder / "chain.yaml")  # another prompt makes another run
    assert asked(folder)[2:] == ["say 2", "say hello again"]
    chain["steps"][1]["library"] = "sey"
    with pytest.raises(DataError, match=r"no prompt named 'sey'. Did you mean say"):
        run(write(folder, chain, plan))


@pytest.mark.parametrize("name", ["../secret.md", "/etc/hostname", "link.md"])
def test_a_prompt_file_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.md").write_text("---\nname: s\nversion: 1\n---\nsecret\n")
    (inside / "link.md").symlink_to(tmp_path / "secret.md")
    chain = one_step(file=name)
    del chain["steps"][0]["prompt"]
    with pytest.raises(DataError, match="outside the chain's folder"):
        read_chain_file(write(inside, chain))


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({}, "the chain needs letter"),
        ({"letter": "a", "leter": "b"}, "Did you mean letter"),
        ({"letter": 3}, "the input letter is to be a text, not 3"),
        ({"letter": "a", "languages": "de"}, "the input languages is to be a list, not 'de'"),
        ({"letter": "it is late", "languages": '["de", "fr", "de", "fr"]'}, "for_each has 4 items, and most is 3"),
    ],
)
def test_wrong_inputs_are_told(folder: Path, inputs: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        run(write(folder, TRIAGE), **inputs)


def test_a_run_is_bounded_in_requests_and_outputs_are_of_their_type(folder: Path) -> None:
    chain = one_step(for_each="range(n)", most=50)
    chain["steps"][0]["prompt"] = "item {{ item }}"
    with pytest.raises(UsageError, match="more than 10 requests"):
        run(write(folder, {**chain, "requests": 10}), n=30)
    assert not asked(folder)
    wrong = changed(outputs={"it": {"value": "it", "type": "number"}})
    with pytest.raises(UsageError, match="the output it is to be a number"):
        run(write(folder, wrong, {"replies": [{"match": "", "reply": "hello"}]}))


def test_failing_expressions_and_endless_ones_are_told() -> None:
    with pytest.raises(FillingError, match="division by zero"):
        Expression("1 / n").value({"n": 0})
    with pytest.raises(FillingError, match="too large"):
        Expression("'a' * 10 ** 12").value({})
    with pytest.raises(FillingError, match=r"unsafe|undefined"):
        Expression("x.__class__.__mro__").value({"x": ""})
    with pytest.raises(FillingError):
        Expression("missing.deep").value({"missing": {}})
    assert Expression("items | map(attribute='a') | list").names == {"items"}
    assert Expression("items | map(attribute='a')").value({"items": [{"a": 1}]}) == [1]
    for source in ("a b", "x) %}{{ 7 }}{% set y = (1", ""):
        with pytest.raises(ValueError, match=r"expected|end of|unexpected|chunk"):
            Expression(source)


# The command


def whet(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["chain", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_commands_run_show_replay_and_check(folder: Path) -> None:
    path = str(write(folder, TRIAGE))
    code, out, err = whet("run", path, "-i", "letter=It came late.", "-i", 'languages:=["de"]', "-m", MODEL)
    assert code == 0
    assert out.splitlines() == ["answer: We are sorry.", "count: 3", 'versions: ["übersetzt"]']
    assert "3 requests" in err
    assert "nothing was asked" not in err
    _, _, err = whet("run", path, "-i", "letter=It came late.", "-i", 'languages:=["de"]', "-m", MODEL)
    assert "nothing was asked now; --fresh asks again" in err
    _, out, _ = whet("run", path, "-i", "letter=It came late.", "-i", 'languages:=["de"]', "-m", MODEL, "--json")
    told = json.loads(out)
    assert told["outputs"]["count"] == 3
    _, out, _ = whet("show", "last")
    for expected in ("== kind", "[reply] Answer: Complaint.", "greedy", "-- comes to: complaint", "output count: 3"):
        assert expected in out
    _, out, _ = whet("show", told["run"], "--step", "reply", "--json")
    assert [one["step"] for one in json.loads(out)["requests"]] == ["reply"]
    code, out, err = whet("replay", "last", "--from", "reply")
    assert (code, out.splitlines()[0]) == (0, "answer: We are sorry.")
    assert "2 requests and 1 taken over" in err
    _, out, _ = whet("runs", "--json")
    assert [row["finished"] for row in json.loads(out)["runs"]] == [True, True]
    code, out, _ = whet("check", path)
    assert code == 0
    assert "at most 5 requests" in out


def test_check_tells_every_fault(folder: Path) -> None:
    chain = changed(outputs={"it": "itt", "n": "n m"})
    code, _, err = whet("check", str(write(folder, chain)))
    assert code == 1
    assert len(err.splitlines()) == 2
    code, out, _ = whet("check", str(folder / "none.yaml"), "--json")
    assert code == 1
    assert "cannot be read" in json.loads(out)["faults"][0]
