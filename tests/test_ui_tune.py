"""The Tune tab: what it refuses, and what it reads from the folder of a run."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("trl", reason="needs the extra `tune`")


from whetstone.models.pool import ModelPool
from whetstone.storage.revision_files import write_revision
from whetstone.storage.revisions import Revision, revision_folder, run_folder
from whetstone.tuning.config import read_config
from whetstone.ui.tune_journal import Journals
from whetstone.ui.tune_process import TuneProcess, read_state
from whetstone.ui.tune_tab import TuneServer

EVIL = "<img src=x onerror=window.hacked=1>"
ROWS = "title,price\n" + "".join(
    f'"{kind} number {n}, {EVIL}",{price + n % 7}\n'
    for n in range(40)
    for kind, price in (("brass lamp", 40), ("oak table", 400))
)
COLUMNS = {"text": ["title"], "target": "price"}

Ask = Callable[..., dict[str, Any]]


def asking(server: TuneServer) -> Ask:
    functions = {one.__name__: one for one in server.functions()}
    return lambda name, /, **asked: functions[f"tune_{name}"](asked)


@pytest.fixture
def ask() -> Ask:
    return asking(TuneServer(ModelPool({"number": "scripted:number"}), own_user=True))


def sent(ask: Ask, text: str = ROWS, name: str = "shop.csv") -> str:
    found = ask("upload", name=name, data=base64.b64encode(text.encode()).decode(), at=0, last=True)
    return str(found["source"])


def a_run(name: str = "shop-tiny", steps: int = 40) -> Path:
    """A run as training leaves it: written by hand, since what is tested is how it is read."""
    folder = run_folder(name)
    folder.mkdir(parents=True)
    config = read_config(None, {"data": "shop.csv", "text": "title", "target": "price", "run": name})
    (folder / "config.yaml").write_text(config.to_yaml())
    (folder / "plan.json").write_text(json.dumps({"steps": steps}))
    lines: list[dict[str, Any]] = [validation(0, 3.0, 200.0), probe(0, 0.0)]
    for step in range(1, steps + 1):
        lines.append(step_line(step))
        if step % 20 == 0:
            lines += [validation(step, 2 - step / 40, 150 - step), probe(step, step / 100)]
            facts = Revision(
                name, step, revision_folder(folder, step), step / 40, 1.5, 150.0 - step, "MAE", "hf:smollm2"
            )
            write_revision(facts, lambda place: place.mkdir(exist_ok=True))
    lines.append({"kind": "note", "step": steps, "text": f"a note {EVIL}"})
    lines.append({"kind": "end", "step": steps, "ended": "done"})
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def step_line(step: int) -> dict[str, Any]:
    return {"kind": "step", "step": step, "loss": 3 / step, "learning_rate": 1e-4, "tokens": 900, "seconds": 0.5}


def validation(step: int, loss: float, metric: float) -> dict[str, Any]:
    ends = {"metric_name": "MAE", "metric": metric, "low": metric - 20, "high": metric + 20}
    return {"kind": "validation", "step": step, "loss": loss, **ends}


def probe(step: int, drift: float) -> dict[str, Any]:
    texts = {"drift": {"value": drift, "low": drift * 0.8, "high": drift * 1.2}, "perplexity": 20.0}
    shares = {"facts": {"n": 10, "right": 8, "base_right": 9, "lost": 1, "gained": 0}}
    return {"kind": "probe", "step": step, "texts": texts, "shares": shares}


def test_every_mistake_is_one_sentence(ask: Ask) -> None:
    source = sent(ask)

    def start(**more: Any) -> str:
        config = {"base": "hf:smollm2", "yaml": "", **more.pop("config", {})}
        return str(ask("start", **{"source": source, "columns": COLUMNS, "config": config, **more})["error"])

    assert "no data is chosen" in start(source="")
    assert "lora_r is called r here" in start(config={"yaml": "lora_r: 8"})
    assert "Did you mean lora_alpha" in start(config={"yaml": "lora_alfa: 8"})
    assert "r: 0 is wrong" in start(config={"r": "0"})
    assert "no YAML" in start(config={"yaml": "r: [1"})
    assert "data is chosen above" in start(config={"yaml": "data: other.csv"})
    assert "no YAML of keys" in start(config={"yaml": "just words"})
    assert "cannot be tuned" in start(config={"base": "smollm2"})
    assert "one column holds the text, not 2" in start(columns={"text": ["title", "price"], "target": "price"})
    assert "no tuning run named 'gone'" in ask("watch", run="gone")["error"]
    assert "cannot be a run's name" in ask("watch", run="../x")["error"]
    assert "not at work" in ask("stop", run="gone")["error"]
    assert "no longer" in ask("planned")["error"]


def test_visitors_name_no_file_and_see_no_run_that_is_not_the_pages(ask: Ask) -> None:
    a_run()
    visitor = asking(TuneServer(ModelPool({"number": "scripted:number"}), own_user=False))
    source, base = sent(ask), {"base": "hf:smollm2"}
    assert "own user only" in visitor("columns", source="/etc/passwd")["error"]
    replay = {**base, "yaml": "replay: 0.1\nreplay_data: /etc/passwd"}
    assert "replay_data is for" in visitor("start", source=source, columns=COLUMNS, config=replay)["error"]
    other = {"base": "hf:/somewhere/else"}
    assert "no base named" in visitor("start", source=source, columns=COLUMNS, config=other)["error"]
    assert "no runs yet" in visitor("runs")["html"]
    assert "no tuning run" in visitor("watch", run="shop-tiny")["error"]
    assert "no tuning run" in visitor("beside", run="shop-tiny", steps=["20"])["error"]
    taken = {**base, "run": "shop-tiny"}
    assert "is taken" in visitor("start", source=source, columns=COLUMNS, config=taken)["error"]
    assert "shop-tiny" in ask("runs")["html"]


def test_rows_are_recognised_before_anything_is_asked(ask: Ask) -> None:
    table = ask("columns", source=sent(ask))["html"]
    assert re.search(r'wh-tu-text" value="title"[^>]*checked', table)
    chats = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    assert "Recognised as messages" in ask("columns", source=sent(ask, chats + "\n", "chats.jsonl"))["html"]


def test_a_run_is_shown_as_its_folder_tells(ask: Ask) -> None:
    a_run()
    shown = ask("watch", run="shop-tiny")
    assert shown["done"] is True
    assert shown["resumable"] is False
    assert "step 40 of 40" in shown["html"]
    assert "MAE, with its 95 % interval" in shown["html"]
    assert "Drift from the base" in shown["html"]
    assert "lower left corner is best" in shown["html"]
    assert "<img" not in shown["html"]
    assert "40 (best)" in shown["revisions"]
    assert "hf:smollm2?adapter=shop-tiny@best" in shown["revisions"]
    beside = ask("beside", run="shop-tiny", steps=["20", "40"])["html"]
    assert "8 of 10" in beside
    assert "lost 1" in beside
    assert "choose the revisions" in ask("beside", run="shop-tiny", steps=[])["error"]
    arms = ask("arms", run="shop-tiny", steps=["20"])
    assert arms["techniques"] == ["tuned:shop-tiny@20"]
    assert arms["problem"]["target"] == "price"


def test_chatting_with_a_revision_offers_it_and_its_base() -> None:
    a_run()
    pool = ModelPool({"number": "scripted:number"})
    link = asking(TuneServer(pool, own_user=True))("chat", run="shop-tiny", step="20")["link"]
    assert link == "?model=hf%3Asmollm2&second=shop-tiny%4020"
    assert pool.spec("shop-tiny@20") == "hf:smollm2?adapter=shop-tiny@20"


def test_a_journal_is_read_as_it_grows_and_forgets_what_was_done_again(tmp_path: Path) -> None:
    journal, journals = tmp_path / "journal.jsonl", Journals()
    assert journals.story(tmp_path).step == 0

    def write(*lines: dict[str, Any], torn: str = "") -> None:
        with journal.open("a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines) + torn)

    write(step_line(1), step_line(2), validation(2, 1.0, 50.0), step_line(3), torn='{"kind": "st')
    assert journals.story(tmp_path).step == 3
    journal.write_text(journal.read_text().rpartition("\n")[0] + "\n")  # as the next writer cuts it off
    write({"kind": "note", "step": 2, "text": "Going on behind step 2", "resumed": True})
    story = journals.story(tmp_path)
    assert (story.step, list(story.validations), story.notes) == (2, [2], ["Going on behind step 2"])
    write(step_line(3))
    assert journals.story(tmp_path).step == 3
    journal.unlink()
    write(step_line(1))  # begun afresh
    assert journals.story(tmp_path).step == 1


def test_a_process_that_ends_without_a_word_is_told_of() -> None:
    process = TuneProcess(read_config(None, {"data": "nothing.csv", "run": "dead"}))
    process.kill()
    assert not process.running
    assert "without a word (signal 9)" in read_state("dead")["error"]
