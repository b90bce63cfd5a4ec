"""The Compare tab: a problem, its arms, the comparison as it runs, its report, and those that ran before.

The fields are plain HTML (`compare_form`); `compare_page.js` sends what they hold to the functions of `CompareServer`,
each of which takes one JSON object and gives one. A refusal comes as a sentence under "error". A comparison belongs to
the server and to no page; what it answered is kept answer by answer, also when the server ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.datasets.build import BuiltProblem
from whetstone.datasets.catalogues import CATALOGUES
from whetstone.errors import UsageError
from whetstone.evaluation.techniques import default_techniques
from whetstone.models import parse_spec
from whetstone.models.pool import ModelPool
from whetstone.ui import lab_sources
from whetstone.ui.asked import Answered, Asked, text_of_file, told
from whetstone.ui.compare_arms import checked_techniques, techniques
from whetstone.ui.compare_earlier import SeenRuns, earlier_html, links_html, report_link
from whetstone.ui.compare_form import form_html
from whetstone.ui.compare_live import LiveComparison
from whetstone.ui.compare_seen import problem_html, problem_request
from whetstone.ui.compare_view import live_html, result_html
from whetstone.ui.knowledge_bases import KnowledgeBases
from whetstone.ui.knowledge_work import Task, Tell
from whetstone.ui.tabs import Workbench
from whetstone.workflows.comparisons import (
    Comparison,
    ComparisonRequest,
    ProblemRequest,
    comparisons,
    find_comparison,
)
from whetstone.workflows.stored import report_on_runs

_MOST_MODELS = 8


def build_compare(page: Workbench, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab where it is called."""
    server = CompareServer(pool, own_user=page.own_user)
    form = form_html(server.models(), any_source=server.any_source, any_model=pool.any_spec)
    gr.HTML(
        value=f"<style>{text_of_file('lab_style.css')}</style>{form}",
        js_on_load=text_of_file("lab_page.js") + text_of_file("compare_page.js"),
        apply_default_css=False,
        elem_id="wh-compare",
        server_functions=server.functions(),
    )


class CompareServer:
    """What the page asks for. One instance serves all browser tabs.

    Args:
        pool: names the models. A comparison loads its own copies: what else they are asked must not touch its answers.
        own_user: see `Workbench`.
    """

    def __init__(self, pool: ModelPool, *, own_user: bool) -> None:
        self._pool = pool
        self._bases = KnowledgeBases(pool, own_user=own_user)
        self.any_source = self._bases.any_folder
        self._runs = SeenRuns(all_runs=self.any_source)
        self._lock = threading.Lock()
        self._built: tuple[ProblemRequest, BuiltProblem] | None = None
        self._tasks: dict[str, Task[Any]] = {}

    def models(self) -> list[str]:
        """Names of the models that may answer: all but those that answer from documents."""
        return self._pool.answering_alone()

    def functions(self) -> list[Callable[[Any], Answered]]:
        """The functions, under the names by which the page calls them."""
        return [
            told(self.compare_techniques),
            told(self.compare_upload),
            told(self.compare_columns),
            told(self.compare_problem),
            told(self.compare_start),
            told(self.compare_open),
            told(self.compare_watch),
            told(self.compare_stop),
            told(self.compare_resume),
            told(self.compare_earlier),
            told(self.compare_report),
        ]

    # The problem and its arms.

    def compare_techniques(self, asked: Asked) -> Answered:
        """What there is to choose from."""
        return {"techniques": techniques()}

    def compare_upload(self, asked: Asked) -> Answered:
        """Take a piece of a file."""
        return lab_sources.upload(asked)

    def compare_columns(self, asked: Asked) -> Answered:
        """The columns of a source; a packaged catalogue brings its own."""
        place = self._place(asked)
        if place in CATALOGUES:
            return {"html": "", "options": lab_sources.options_html((), "number of the row")}
        peek = lab_sources.Peek.at(place)
        return {
            "html": lab_sources.columns_html(peek, "wh-cm"),
            "options": lab_sources.options_html(peek.names, "number of the row"),
            "groups": lab_sources.options_html(peek.names, "rows with the same text"),
        }

    def compare_problem(self, asked: Asked) -> Answered:
        """Build the problem, and say what it is and which techniques suit it."""
        built = self._build(problem_request(asked, self._place(asked)))
        return {"html": problem_html(built), "suit": default_techniques(built.problem)}

    # The comparison.

    def compare_start(self, asked: Asked) -> Answered:
        """Begin a comparison; one that was asked for before goes on where it was."""
        chosen = checked_techniques(asked.get("techniques"), self._bases)
        request = ComparisonRequest(
            problem_request(asked, self._place(asked)),
            chosen,
            self._models(asked.get("models")),
            str(asked.get("question") or "").strip(),
            str(asked.get("grid") or "").strip(),
        )
        return self._start(request)

    def compare_resume(self, asked: Asked) -> Answered:
        """Go on with a comparison that was stopped, here or by the end of the server."""
        return self._start(self._find(asked).request)

    def compare_open(self, asked: Asked) -> Answered:
        """A comparison of before, or the one that is at work; {} where there is none."""
        name = str(asked.get("id") or "") or self._running()
        if not name:
            return {}
        task = self._tasks.get(name)
        if task is not None and not task.done:
            return {"id": name, "done": False}
        comparison = self._find({"id": name})
        runs = list(comparison.runs)
        html = result_html(report_on_runs(runs, seed=comparison.request.problem.seed)) if runs else ""
        return {**self._shown(comparison), "html": html, "done": True}

    def compare_watch(self, asked: Asked) -> Answered:
        """How far a comparison is, or what came of it."""
        name = str(asked.get("id", ""))
        task = self._tasks.get(name)
        if task is None:
            return self.compare_open(asked)
        done, live, error = task.done, task.news, task.error
        shown = self._shown(find_comparison(name)) if live is not None else {"id": name}
        if done and task.result is not None:
            return {**shown, "html": task.result, "done": True, "error": error}
        html = live_html(live) if live is not None else '<p class="wh-note" role="status">Reading the rows …</p>'
        return {**shown, "html": html, "done": done, "error": error, "stopping": task.stopped and not done}

    def compare_stop(self, asked: Asked) -> Answered:
        """Stop a comparison; every answer that has arrived is kept."""
        task = self._tasks.get(str(asked.get("id", "")))
        if task is None:
            raise UsageError("this comparison is not at work")
        task.stop()
        return {}

    # What ran before.

    def compare_earlier(self, asked: Asked) -> Answered:
        """Comparisons and runs."""
        lines, broken = self._runs.lines()
        return {"html": earlier_html(list(comparisons()), lines, broken, self._running())}

    def compare_report(self, asked: Asked) -> Answered:
        """Links to the report on runs, once it is known that there can be one."""
        given = asked.get("runs")
        runs = self._runs.require([str(run) for run in given] if isinstance(given, list) else [])
        report_on_runs(runs)
        return {"html": links_html(runs), "link": report_link(runs)}

    def _start(self, request: ComparisonRequest) -> Answered:
        name = request.id
        with self._lock:
            if running := self._running():
                what = "this comparison" if running == name else "another comparison"
                raise UsageError(f"{what} is at work: wait until it has ended, or stop it")
            self._tasks.clear()  # those that have ended are opened from the disk
            self._tasks[name] = Task("comparison", lambda tell: self._work(request, tell))
        return {"id": name}

    def _work(self, request: ComparisonRequest, tell: Tell[Any]) -> str:
        built = self._build(request.problem)
        live = LiveComparison(built.problem, tell)
        comparison = Comparison.begin(request, built.problem)
        comparison.save()
        tell(live)
        return result_html(comparison.run(built.problem, live))

    def _running(self) -> str:
        return next((name for name, task in self._tasks.items() if not task.done), "")

    def _find(self, asked: Asked) -> Comparison:
        return find_comparison(str(asked.get("id", "")))

    def _shown(self, comparison: Comparison) -> Answered:
        """What stands above a comparison: what it is, and its report."""
        seed = comparison.request.problem.seed
        return {
            "id": comparison.id,
            "name": comparison.name,
            "complete": comparison.complete,
            "links": links_html(comparison.runs, seed) if comparison.runs else "",
        }

    def _place(self, asked: Asked) -> str:
        return lab_sources.place_of(str(asked.get("source") or ""), any_source=self.any_source)

    def _build(self, request: ProblemRequest) -> BuiltProblem:
        """The problem; the last one is kept, since it is looked at before it is compared on."""
        known = self._built
        if known is not None and known[0] == request:
            return known[1]
        with lab_sources.naming_files():
            built = request.build()
        # The report says where the rows are from: by the name of the file, as its reader knows no folder of ours.
        origin = {
            name: lab_sources.without_place(value) if isinstance(value, str) else value
            for name, value in built.problem.source.items()
        }
        built = replace(built, problem=replace(built.problem, source=origin))
        self._built = (request, built)
        return built

    def _models(self, given: Any) -> tuple[str, ...]:
        """Specs of the chosen models; slots are for a server's many readers, and no part of what is compared."""
        names = [str(name) for name in given] if isinstance(given, Sequence) and not isinstance(given, str) else []
        if not names:
            raise UsageError("choose a model for the arms that ask one")
        if len(names) > _MOST_MODELS:
            raise UsageError(f"{len(names)} models are too many for one comparison: take at most {_MOST_MODELS}")
        specs = [parse_spec(self._pool.spec(name)) for name in names]
        bare = [replace(spec, options={k: v for k, v in spec.options.items() if k != "slots"}) for spec in specs]
        return tuple(dict.fromkeys(map(str, bare)))
