"""The Tune tab: data, plan and loss mask, the run as it goes, its revisions, and the tuned model beside its base.

The fields are plain HTML (`tune_form`); `tune_page.js` sends what they hold to the functions of `TuneServer`, each of
which takes one JSON object and gives one. A refusal comes as a sentence under "error". A run is a process of its own
(`tune_process`), and everything that is shown of it is read from its folder, so that a page may be closed and reloaded.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr
import yaml

from whetstone.chat.store import ConversationStore
from whetstone.datasets.catalogues import CATALOGUES
from whetstone.errors import StorageError, UsageError
from whetstone.models import parse_spec
from whetstone.models.pool import ModelPool
from whetstone.registry import unknown_name
from whetstone.storage.revisions import Revision, best, revisions, run_folder, runs
from whetstone.tuning.config import TuneConfig, read_config
from whetstone.tuning.data_problem import is_curated, is_problem
from whetstone.tuning.formats import recognise
from whetstone.ui import lab_sources
from whetstone.ui.asked import Answered, Asked, text_of_file, told
from whetstone.ui.knowledge_work import Task, Tell
from whetstone.ui.tabs import Workbench
from whetstone.ui.tune_asked import config_of
from whetstone.ui.tune_form import form_html
from whetstone.ui.tune_journal import Journals
from whetstone.ui.tune_plan_view import prepared_html
from whetstone.ui.tune_process import TuneProcess, read_state, work_folder
from whetstone.ui.tune_revisions import beside_html, revisions_html
from whetstone.ui.tune_view import story_html

DEFAULT_BASE = "hf:smollm2"


def build_tune(page: Workbench, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab where it is called."""
    server = TuneServer(pool, own_user=page.own_user)
    form = form_html(server.bases(), any_source=server.any_source)
    gr.HTML(
        value=f"<style>{text_of_file('tokens_style.css')}{text_of_file('lab_style.css')}</style>{form}",
        js_on_load=text_of_file("lab_page.js") + text_of_file("tune_page.js"),
        apply_default_css=False,
        elem_id="wh-tune",
        server_functions=server.functions(),
    )


class TuneServer:
    """What the page asks for. One instance serves all browser tabs.

    Args:
        pool: tuned models are offered in it, to chat with.
        own_user: see `Workbench`.
    """

    def __init__(self, pool: ModelPool, *, own_user: bool) -> None:
        self._pool = pool
        self.any_source = own_user or pool.any_spec
        self._lock = threading.Lock()
        self._process: TuneProcess | None = None
        self._planning: tuple[str, Task[Any]] | None = None  # its name, and the work
        self._journals = Journals()

    def bases(self) -> list[str]:
        """Specs that can be tuned: the embedded model, and what is served through transformers, without adapters."""
        specs = [parse_spec(spec) for spec in self._pool.offered.values()]
        served = [str(spec) for spec in specs if spec.provider == "hf" and "adapter" not in spec.options]
        return list(dict.fromkeys([DEFAULT_BASE, *served]))

    def functions(self) -> list[Callable[[Any], Answered]]:
        """The functions, under the names by which the page calls them."""
        return [
            told(self.tune_upload),
            told(self.tune_columns),
            told(self.tune_plan),
            told(self.tune_planned),
            told(self.tune_start),
            told(self.tune_resume),
            told(self.tune_stop),
            told(self.tune_open),
            told(self.tune_watch),
            told(self.tune_runs),
            told(self.tune_beside),
            told(self.tune_chat),
            told(self.tune_arms),
        ]

    # Data and plan.

    def tune_upload(self, asked: Asked) -> Answered:
        """Take a piece of a file."""
        return lab_sources.upload(asked)

    def tune_columns(self, asked: Asked) -> Answered:
        """What the rows are recognised as; the columns to choose from where they are a table."""
        place = self._place(asked)
        if place in CATALOGUES:
            return {"html": f'<p class="wh-note">{escape(CATALOGUES[place].origin)}.</p>'}
        if lab_sources.is_folder(place):
            return {"html": '<p class="wh-note">A folder: the plan says what is in it.</p>'}
        peek = lab_sources.Peek.at(place)
        layout = recognise(peek.names)
        if layout is not None:
            return {"html": f'<p class="wh-note">Recognised as {escape(layout.name)}.</p>'}
        return {"html": lab_sources.columns_html(peek, "wh-tu", several=False)}

    def tune_plan(self, asked: Asked) -> Answered:
        """Begin to prepare a run: rows are read and checked, the plan is made."""
        config, name = self._config(asked), secrets.token_urlsafe(8)
        with self._lock:
            if self._planning is not None and not self._planning[1].done:
                raise UsageError("another plan is being made: wait a moment")
            self._planning = (name, Task("plan", lambda tell: _prepared(config, tell)))
        return {"plan": name}

    def tune_planned(self, asked: Asked) -> Answered:
        """How far the plan is, or the plan."""
        name, task = self._planning or ("", None)
        if task is None or name != asked.get("plan"):
            raise UsageError("the server knows this plan no longer: ask for it again")
        done, news = task.done, task.news
        words = "Reading the rows …"
        if news is not None:
            what, at, total = news
            words = f"{what}: {at:,} of {total:,} …" if total else f"{what}: {at:,} …" if at else f"{what} …"
        waiting = f'<p class="wh-note" role="status">{escape(lab_sources.without_place(words))}</p>'
        error = lab_sources.without_place(task.error)
        return {"html": (task.result or "") if done else waiting, "done": done, "error": error}

    # A run.

    def tune_start(self, asked: Asked) -> Answered:
        """Begin a run, or go on with the one of this name."""
        return self._start(self._config(asked), overwrite=bool(asked.get("overwrite")))

    def tune_resume(self, asked: Asked) -> Answered:
        """Go on with a run."""
        return self._start(read_config(self._folder(asked) / "config.yaml"), overwrite=False)

    def tune_stop(self, asked: Asked) -> Answered:
        """Stop the run after the step that it is at."""
        process = self._process
        if process is None or not process.running or process.run != str(asked.get("run", "")):
            raise UsageError("this run is not at work here")
        process.stop()
        return {}

    def tune_open(self, asked: Asked) -> Answered:
        """The run that is at work; {} where there is none."""
        return {"run": self._running()} if self._running() else {}

    def tune_watch(self, asked: Asked) -> Answered:
        """Where a run is, as its folder tells, and its revisions."""
        name = str(asked.get("run", ""))
        folder = run_folder(name)  # first: it looks at the name
        state, at_work = read_state(name), self._running() == name
        if not folder.is_dir() and not state:
            raise unknown_name("tuning run", name, self._runs())
        if not self.any_source and not state:
            raise unknown_name("tuning run", name, self._runs())
        story = self._journals.story(folder)
        plan = _plan_of(name)
        found = revisions(folder)
        error = lab_sources.without_place(str(state.get("error") or ""))
        stopping = at_work and self._process is not None and self._process.stopping
        over = story.ended is not None and story.ended.get("ended") in ("done", "early")
        return {
            "run": name,
            "html": lab_sources.without_place(
                story_html(story, plan, state if at_work else {**state, "phase": "ended"})
            ),
            "revisions": revisions_html(found, story, best(found) if found else None),
            "error": error,
            "done": not at_work,
            "stopping": stopping,
            "resumable": not at_work and folder.is_dir() and not over,
            "what": _what_html(name, folder),
        }

    # Runs and revisions.

    def tune_runs(self, asked: Asked) -> Answered:
        """All runs that the page may see."""
        rows = "".join(self._run_html(name) for name in self._runs())
        if not rows:
            return {
                "html": '<p class="wh-note">There are no runs yet: tune a model, here or by <code>whet tune</code>.</p>'
            }
        return {
            "html": '<div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th scope="col">run</th>'
            '<th scope="col">data</th><th scope="col">base</th><th scope="col">steps</th><th scope="col">revisions</th>'
            f'<th scope="col">best</th><th scope="col"></th></tr></thead><tbody>{rows}</tbody></table></div>'
        }

    def tune_beside(self, asked: Asked) -> Answered:
        """Revisions of a run side by side."""
        folder = self._folder(asked)
        wanted = {str(step) for step in asked.get("steps") or ()}
        found = [one for one in revisions(folder) if str(one.step) in wanted]
        if not found:
            raise UsageError("choose the revisions to compare")
        return {"html": beside_html(found, self._journals.story(folder))}

    def tune_chat(self, asked: Asked) -> Answered:
        """Offer a revision and its base to chats; where both answer side by side."""
        one = self._revision(asked)
        name = f"{one.run}@{one.step}"
        spec = f"{one.base}{'&' if '?' in one.base else '?'}adapter={name}"
        self._pool.offer({one.base: one.base, name: spec})
        return {"link": f"?{urlencode({'model': one.base, 'second': name})}"}

    def tune_arms(self, asked: Asked) -> Answered:
        """Revisions as arms of a comparison on the test items that their run has never seen."""
        folder = self._folder(asked)
        wanted = {str(step) for step in asked.get("steps") or ()}
        found = [one for one in revisions(folder) if str(one.step) in wanted]
        if not found:
            raise UsageError("choose the revisions to compare")
        config = read_config(folder / "config.yaml")
        if config.test_data or is_curated(config.data) or not is_problem(config):
            raise UsageError(
                "this run holds no test items back: compare its revisions in the Compare tab, as tuned:RUN@STEP, on "
                "items that it has not learned from"
            )
        return {
            "techniques": [f"tuned:{one.run}@{one.step}" for one in found],
            "source": lab_sources.source_of(config.data),
            "name": Path(config.data).name,
            "problem": {
                "text": config.text,
                "target": config.target,
                "group": config.group or "",
                "kind": config.kind or "",
                "unit": config.unit or "",
                "seed": str(config.seed),
                "test": _size(config.test_size),
                "validation": _size(config.validation_size),
                "train": "",
            },
        }

    def _start(self, config: TuneConfig, *, overwrite: bool) -> Answered:
        with self._lock:
            if running := self._running():
                raise UsageError(f"the run {running} is at work: wait until it has ended, or stop it")
            if not self.any_source and config.run in runs() and config.run not in self._runs():
                raise UsageError(f"the name {config.run} is taken: choose another one")
            self._process = TuneProcess(config, overwrite=overwrite)
        return {"run": config.run}

    def _running(self) -> str:
        process = self._process
        return process.run if process is not None and process.running else ""

    def _runs(self) -> list[str]:
        """Names of the runs that the page may see: all for the server's own user, else those that it began."""
        if self.any_source:
            return runs()
        return [name for name in runs() if (work_folder() / f"{name}.json").is_file()]

    def _folder(self, asked: Asked) -> Path:
        name = str(asked.get("run", ""))
        if name not in self._runs():
            raise unknown_name("tuning run", name, self._runs())
        return run_folder(name)

    def _revision(self, asked: Asked) -> Revision:
        found = {str(one.step): one for one in revisions(self._folder(asked))}
        step = str(asked.get("step", ""))
        if step not in found:
            raise UsageError(f"there is no revision of step {step} any more: look at the list again")
        return found[step]

    def _run_html(self, name: str) -> str:
        try:
            config = read_config(run_folder(name) / "config.yaml")
            found, story = revisions(run_folder(name)), self._journals.story(run_folder(name))
        except (StorageError, UsageError) as error:
            why = f'<td class="wh-lab-words" colspan="6">{escape(str(error))}</td>'
            return f'<tr><th scope="row">{escape(name)}</th>{why}</tr>'
        chosen = best(found) if found else None
        worth = ""
        if chosen is not None:
            value = chosen.metric if chosen.metric is not None else chosen.validation_loss
            label = chosen.metric_name if chosen.metric is not None else "validation loss"
            worth = f"step {chosen.step:,}" + (f": {value:.4g} {label}" if value is not None else "")
        state = "at work" if self._running() == name else ""
        total = int(_plan_of(name).get("steps") or 0)
        return (
            f'<tr><th scope="row"><button type="button" class="wh-lab-link" data-open="{escape(name)}">{escape(name)}'
            f'</button></th><td class="wh-lab-words">{escape(lab_sources.without_place(config.data))}</td>'
            f"<td>{escape(config.base)}</td><td>{story.step:,}{f' of {total:,}' if total else ''}</td>"
            f"<td>{len(found)}</td><td>{escape(worth)}</td><td>{state}</td></tr>"
        )

    def _config(self, asked: Asked) -> TuneConfig:
        return config_of(asked, self._place(asked), self.bases(), any_source=self.any_source)

    def _place(self, asked: Asked) -> str:
        return lab_sources.place_of(str(asked.get("source") or ""), any_source=self.any_source)


def _size(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _prepared(config: TuneConfig, tell: Tell[Any]) -> str:
    from whetstone.workflows.tune import prepare

    return prepared_html(prepare(config, progress=lambda what, done, total: tell((what, done, total))))


def _plan_of(run: str) -> Mapping[str, Any]:
    try:
        plan: dict[str, Any] = json.loads((run_folder(run) / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plan


def _what_html(name: str, folder: Path) -> str:
    """A run's name, and its configuration folded away."""
    try:
        written = (folder / "config.yaml").read_text(encoding="utf-8")
        values = yaml.safe_load(written)
    except (OSError, yaml.YAMLError):
        return f"<h3>{escape(name)}</h3>"
    known = TuneConfig.model_fields
    told = {key: value for key, value in values.items() if key not in known or value != known[key].default}
    shown = lab_sources.without_place(yaml.safe_dump(told, sort_keys=False, allow_unicode=True))
    return (
        f"<h3>{escape(name)}</h3><details><summary>Its configuration, where it is not the usual one</summary>"
        f'<pre class="wh-prompt">{escape(shown)}</pre></details>'
    )
