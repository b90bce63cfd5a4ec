"""The Compare tab: what it refuses, what it keeps, and how a comparison goes on."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")


from whetstone.datasets.build import build_problem
from whetstone.models.pool import ModelPool
from whetstone.ui.compare_earlier import SeenRuns
from whetstone.ui.compare_report import report_routes
from whetstone.ui.compare_tab import CompareServer
from whetstone.workflows.compare import compare

PATIENCE = 30.0  # seconds after which a test has failed; never a thing that is measured
EVIL = "<img src=x onerror=window.hacked=1>"
ROWS = "title,price\n" + "".join(
    f'"{kind} number {n}, {EVIL}",{price + n % 7}\n'
    for n in range(30)
    for kind, price in (("brass lamp", 40), ("oak table", 400), ("wool rug", 150))
)

Ask = Callable[..., dict[str, Any]]


def asking(server: CompareServer) -> Ask:
    functions = {one.__name__: one for one in server.functions()}
    return lambda name, /, **asked: functions[f"compare_{name}"](asked)


def server_of(*, own_user: bool = True) -> CompareServer:
    return CompareServer(
        ModelPool({"slow": "scripted:number?delay=0.02", "number": "scripted:number"}), own_user=own_user
    )


@pytest.fixture
def ask() -> Ask:
    return asking(server_of())


def sent(ask: Ask, text: str = ROWS, name: str = "shop.csv") -> str:
    found = ask("upload", name=name, data=base64.b64encode(text.encode()).decode(), at=0, last=True)
    return str(found["source"])


FIELDS: dict[str, Any] = {"text": ["title"], "target": "price", "test": "20", "validation": "", "train": ""}


def watched(ask: Ask, name: str) -> dict[str, Any]:
    """The comparison once it has ended."""
    ends = time.monotonic() + PATIENCE
    while not (found := ask("watch", id=name))["done"]:
        assert time.monotonic() < ends, "the comparison does not end"
        time.sleep(0.05)
    return found


def test_every_mistake_is_one_sentence(ask: Ask) -> None:
    source = sent(ask)

    def begin(**more: Any) -> str:
        asked = {"source": source, "problem": FIELDS, "techniques": ["constant"], "models": ["number"], **more}
        found = ask("start", **asked)
        return str(found["error"] if "error" in found else watched(ask, found["id"])["error"])

    assert "no data is chosen" in begin(source="")
    assert "at least one technique" in begin(techniques=[])
    assert "Did you mean tfidf" in begin(techniques=["tfdif"])
    assert "tfidf is there twice" in begin(techniques=["tfidf", "tfidf"])
    assert "choose a model" in begin(models=[])
    assert "nobody" in begin(models=["nobody"])
    assert "test items: 'many' is no number" in begin(problem={**FIELDS, "test": "many"})
    assert "neither a count nor a share" in begin(problem={**FIELDS, "test": "1.5"})
    assert "'cost'" in begin(problem={**FIELDS, "target": "cost"})
    assert "constant takes" in begin(techniques=["constant:best"])
    assert "upload it again" in ask("columns", source="upload:0000000000000000/gone.csv")["error"]
    assert "upload it again" in ask("columns", source="upload:../../etc/passwd")["error"]
    assert "hold no rows that can be read" in ask("upload", name="x.exe", data="", at=0, last=True)["error"]
    assert "a piece of the file is missing" in ask("upload", name="x.csv", data="", at=5, part="0" * 16)["error"]
    assert "not at work" in ask("stop", id="gone")["error"]
    assert (
        "no comparison named 'gone'" in ask("open", id="gone")["error"]
        or "no comparisons" in ask("open", id="gone")["error"]
    )
    assert "choose at least one run" in ask("report", runs=[])["error"]


def test_what_is_wrong_with_an_uploaded_file_is_said_by_its_name_alone(ask: Ask) -> None:
    source = sent(ask, "PAR1 what is this", "shop.csv")
    error = ask("columns", source=source)["error"]
    assert error.startswith("shop.csv")
    assert "uploads" not in error


def test_a_file_arrives_in_pieces_and_its_columns_are_told_apart(ask: Ask) -> None:
    first, second = ROWS[:100], ROWS[100:]
    begun = ask("upload", name="shop.csv", data=base64.b64encode(first.encode()).decode(), at=0, last=False)
    data = base64.b64encode(second.encode()).decode()
    found = ask("upload", name="shop.csv", data=data, at=100, last=True, part=begun["part"])
    assert found["source"] == sent(ask)
    html = ask("columns", source=found["source"])["html"]
    assert re.search(r'wh-cm-text" value="title"[^>]*checked', html)
    assert re.search(r'wh-cm-target" value="price"[^>]*checked', html)
    assert "<img" not in html


def test_visitors_name_no_file_and_see_no_run_that_is_not_the_pages() -> None:
    own, visitor = asking(server_of()), asking(server_of(own_user=False))
    source = sent(own)
    assert "own user only" in visitor("columns", source="/etc/passwd")["error"]
    asked = {"source": source, "problem": FIELDS, "models": ["number"]}
    assert "only its own user" in visitor("start", **asked, techniques=["guesses:/etc/passwd"])["error"]
    assert "only its own user" in visitor("start", **asked, techniques=["ensemble:tfidf+guesses:/etc/passwd"])["error"]
    assert "knowledge base" in visitor("start", **asked, techniques=["retrieved:secrets:3"])["error"]


def test_a_stopped_comparison_goes_on_where_it_was_also_after_the_server_has_gone(ask: Ask) -> None:
    asked = {"source": sent(ask), "problem": FIELDS, "techniques": ["constant", "ask"], "models": ["slow"]}
    name = ask("start", **asked)["id"]
    assert "at work" in ask("start", **{**asked, "techniques": ["tfidf"]})["error"]
    ends = time.monotonic() + PATIENCE
    while "Newest answers" not in ask("watch", id=name)["html"] or "ask" not in ask("watch", id=name)["html"]:
        assert time.monotonic() < ends
    ask("stop", id=name)
    stopped = watched(ask, name)
    assert stopped["complete"] is False
    assert stopped["error"] == ""
    again = asking(server_of())  # another server, which finds what was kept
    assert "stopped" in again("earlier")["html"]
    before = again("open", id=name)
    assert "of 20 items answered so far" in before["html"]
    assert again("resume", id=name)["id"] == name
    done = watched(again, name)
    assert done["complete"] is True
    assert "<b>100.0 %</b>" in done["html"]
    assert "<img" not in done["html"]
    assert "compare/report?runs=" in done["links"]
    assert again("start", **asked)["id"] == name  # the same question is the same comparison
    assert watched(again, name)["complete"] is True
    runs = re.findall(r'value="(shop-[^"]+)"', again("earlier")["html"])
    assert len(runs) == 2
    assert again("report", runs=runs)["link"].startswith("compare/report?runs=shop-")


def test_techniques_are_told_by_what_their_classes_say(ask: Ask) -> None:
    found = ask("techniques")["techniques"]
    assert found["knn"]["takes"] == "[:K]"
    assert found["few-shot"]["takes"] == "[:METHOD[:K[:DRAW]]]"
    assert all(one["says"] for one in found.values())
    assert not any("`" in one["says"] for one in found.values())


def test_a_visitor_opens_reports_on_the_pages_runs_alone(ask: Ask) -> None:
    compare(build_problem("diamonds", test_size=5, train_size=20, validation_size=5).problem, ["constant:median"])
    asked = {"source": sent(ask), "problem": FIELDS, "techniques": ["constant"], "models": ["number"]}
    watched(ask, ask("start", **asked)["id"])
    everybody, visitor = SeenRuns(all_runs=True), SeenRuns(all_runs=False)
    (terminal,) = set(everybody.names()) - set(visitor.names())
    (page,) = visitor.names()
    opened = opening(visitor)(names=page)
    assert opened.status_code == 200
    assert opened.headers["content-security-policy"].startswith("sandbox")
    assert b"uploads" not in opened.body
    assert opening(visitor)(names=page, form="json", save="1").headers["content-disposition"].endswith('report.json"')
    assert json.loads(opening(visitor)(names=page, form="json").body)["runs"]
    for wrong in ({"names": terminal}, {"names": ""}, {"names": page, "form": "exe"}, {"names": "<script>"}):
        refused = opening(visitor)(**wrong)
        assert refused.status_code == 404
        assert b"<script>" not in refused.body
    assert opening(everybody)(names=terminal).status_code == 200


def opening(seen: SeenRuns) -> Callable[..., Any]:
    """The function behind the address of reports."""
    (route,) = report_routes(seen).routes
    return lambda **query: route.endpoint(**{"seed": 42, "form": "html", "save": "", **query})  # type: ignore[attr-defined]
