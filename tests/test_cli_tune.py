"""`whet tune` as a person runs it: the plan, the rows, the run, what came of it; and mistakes told in a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

import tiny_hf
from whetstone import settings
from whetstone.cli.main import app
from whetstone.cli.tune_plot import loss_plot
from whetstone.cli.tune_view import finite
from whetstone.errors import WhetstoneError

_SMALL = ("--set", "probe=false", "--set", "dtype=float32", "--set", "device=cpu", "--set", "learning_rate=0.01")


@dataclass
class Whet:
    """The command in this process: starting Python and its libraries for each call would take most of the time."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.capture.readouterr()
        code = app(["tune", *arguments], standalone_mode=False) or 0
        told = self.capture.readouterr()
        return code, told.out, told.err


@pytest.fixture
def whet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Whet:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Whet(capsys)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{tiny_hf.llama(tmp_path_factory.mktemp('tiny'))}"


def test_a_run_from_the_plan_to_its_revisions(whet: Whet, tiny: str) -> None:
    rows = [{"text": f"A wooden table, number {n}", "price": 10 * (n % 9) + 5} for n in range(80)]
    rejected = {"text": "A table without a price", "price": "unknown"}
    Path("items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rejected]))
    asked = ("items.jsonl", "--text", "text", "--target", "price", "--base", tiny, "--run", "tables", *_SMALL)
    code, out, err = whet(*asked, "--set", "max_steps=4", "--set", "eval_steps=2", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["run"] == "tables"
    assert report["ended"] == "done"
    assert [one["step"] for one in report["revisions"]] == [2, 4]
    assert report["plan"]["rows"] == 56
    assert report["actual"]["steps"] == 4
    assert "a problem that asks for a number: price" in err
    assert "are learned (underlined)" in err
    assert "Price is $" in err
    assert "step 4: validation loss" in err
    assert "planned: " in err
    assert "A table without a price" in (Path(report["folder"]) / "rejects.jsonl").read_text()

    assert "4/4" in whet("runs")[1]
    assert json.loads(whet("runs", "--json")[1])[0]["state"] == "finished"
    shown = whet("show", "tables")[1]
    assert "● validation loss" in shown
    assert "best" in shown
    everything = json.loads(whet("show", "tables", "--json")[1])
    assert [one["step"] for one in everything["revisions"]] == [2, 4]
    assert everything["plan"]["actual"]["steps"] == 4

    with pytest.raises(WhetstoneError, match="exists with another configuration"):
        whet(*asked, "--set", "max_steps=5", "--set", "eval_steps=2")


def test_the_plan_alone_trains_nothing(whet: Whet, tiny: str) -> None:
    talk = {"messages": [{"role": "user", "content": "Name a cat"}, {"role": "assistant", "content": "Tom"}]}
    rejected = {"messages": "Tom"}
    Path("talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*[talk] * 20, rejected]))
    Path("tune.yaml").write_text(f"base: {tiny}\ndata: talks.jsonl\nrun: cats\nr: 4\n")
    code, out, err = whet("--config", "tune.yaml", "--plan", "--json")
    assert code == 0
    plan = json.loads(out)["plan"]
    assert (plan["layout"], plan["run"], plan["rejected"]) == ("messages", "cats", 1)
    assert "1 row is not trained on" in err
    assert "talks.jsonl, line 21, field messages: it holds a text where a list of messages is expected" in err
    assert not (settings.home() / "tuning" / "cats").exists()
    assert "the chat template holds in" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rows.jsonl", "--set", "learnin_rate=1"), "Did you mean learning_rate?"),
        (("rows.jsonl", "--set", "r"), "--set takes KEY=VALUE"),
        (("nothing.jsonl",), "There is no file nothing.jsonl"),
        (("rows.jsonl", "--base", "openai:gpt-4o"), "only hf: models can"),
        (("show", "nothing"), "There is no tuning run"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: tuple[str, ...], says: str, whet: Whet, tiny: str) -> None:
    Path("rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    base = ("--base", tiny) if arguments == ("nothing.jsonl",) else ()
    with pytest.raises(WhetstoneError) as raised:
        whet(*arguments, *base)
    assert says in str(raised.value)
    assert raised.value.exit_code == 2


def test_the_curve_falls_where_the_loss_does() -> None:
    plot = loss_plot([(step, 10 - step) for step in range(10)], [(9, 0.5)], width=10, height=5).plain.splitlines()
    assert plot[0].endswith("│··        ")
    assert plot[4].endswith("│         ●")
    assert "10.000" in plot[0]
    assert "0.500" in plot[4]
    flat = loss_plot([(1, 2.0), (2, 2.0)], [], width=4, height=3).plain
    assert flat.count("·") == 3  # two of them, and the one in the legend


def test_numbers_that_json_does_not_have_are_null() -> None:
    assert finite({"loss": float("nan"), "all": (float("inf"), 1.0, "x")}) == {"loss": None, "all": [None, 1.0, "x"]}
