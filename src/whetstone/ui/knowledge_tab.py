"""The Knowledge tab: knowledge bases of documents, made, kept true, searched, asked and measured.

The fields are plain HTML (`knowledge_form`); `knowledge_page.js` sends what they hold to the functions of
`KnowledgeServer`, each of which takes one JSON object and gives one. A refusal comes as a sentence under "error".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.errors import StorageError, UsageError
from whetstone.models.knowledge_spec import KNOWLEDGE, knowledge_spec
from whetstone.models.pool import ModelPool
from whetstone.models.spec import parse_spec
from whetstone.retrieval import fsck, library
from whetstone.retrieval import sync as syncing
from whetstone.retrieval.kb_model import KnowledgeModel, with_knowledge
from whetstone.retrieval.measure import evaluate
from whetstone.retrieval.search import Search, SearchSettings
from whetstone.retrieval.sources import without_list
from whetstone.ui import knowledge_eval, knowledge_uploads
from whetstone.ui.asked import Answered, Asked, text_of_file, told
from whetstone.ui.knowledge_ask import Exchange, exchange_html, history_of, question_of
from whetstone.ui.knowledge_bases import KnowledgeBases
from whetstone.ui.knowledge_documents import (
    SHOWN,
    Place,
    document_html,
    documents_html,
    kinds_of,
    passage_of_source,
)
from whetstone.ui.knowledge_form import damaged_html, facts_html, filters_html, form_html, options_html
from whetstone.ui.knowledge_search import filter_of, hits_html, wanted
from whetstone.ui.knowledge_sync import faults_html, plan_html, progress_html, result_html, stopped_html
from whetstone.ui.knowledge_work import Task, Tasks, Tell
from whetstone.ui.tabs import Workbench
from whetstone.workflows.measured_search import check_places


def build_knowledge(page: Workbench, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab where it is called."""
    server = KnowledgeServer(pool, own_user=page.own_user)
    form = form_html(server.models(), any_folder=server.bases.any_folder)
    gr.HTML(
        value=f"<style>{text_of_file('knowledge_style.css')}</style>{form}",
        js_on_load=text_of_file("knowledge_page.js"),
        apply_default_css=False,
        elem_id="wh-knowledge",
        server_functions=server.functions(),
    )
    page.load(None, js=text_of_file("knowledge_open.js"))


class KnowledgeServer:
    """What the page asks for. One instance serves all browser tabs.

    Args:
        pool: its models answer.
        own_user: see `Workbench`.
    """

    def __init__(self, pool: ModelPool, *, own_user: bool) -> None:
        self.bases = KnowledgeBases(pool, own_user=own_user)
        self._pool = pool
        self._tasks = Tasks()
        self._answering: dict[tuple[str, str], KnowledgeModel] = {}

    def models(self) -> list[str]:
        """Names of the models that can answer from documents."""
        offered = self._pool.offered.items()
        return [name for name, spec in offered if parse_spec(spec).provider != KNOWLEDGE]

    def functions(self) -> list[Callable[[Any], Answered]]:
        """The functions, under the names by which the page calls them."""
        return [
            told(self.knowledge_bases),
            told(self.knowledge_facts),
            told(self.knowledge_upload),
            told(self.knowledge_remove),
            told(self.knowledge_plan),
            told(self.knowledge_sync),
            told(self.knowledge_check),
            told(self.knowledge_evaluate),
            told(self.knowledge_work),
            told(self.knowledge_stop),
            told(self.knowledge_documents),
            told(self.knowledge_document),
            told(self.knowledge_search),
            told(self.knowledge_ask),
            told(self.knowledge_asked),
        ]

    # What there is.

    def knowledge_bases(self, asked: Asked) -> Answered:
        """The knowledge bases to choose from; the one that the page asks for is chosen, if there is one."""
        names = self.bases.names()
        self.bases.offer()
        wished = str(asked.get("base", ""))
        chosen = wished if wished in names else next(iter(names), "")
        return {"html": options_html(names, chosen), "base": chosen}

    def knowledge_facts(self, asked: Asked) -> Answered:
        """One knowledge base in a few words, and what its filters offer."""
        name = self.bases.require(_base(asked))
        task = self._tasks.find(name)
        found: Answered = {"work": task.what if task is not None else "", "synced": False, "filters": {}}
        try:
            header = self.bases.header(name)
            manifest = self.bases.open(name).store.manifest() if header is not None else {}
        except StorageError as error:
            uploads = self.bases.keeps_uploads(name, None)
            ask_folder = self.bases.any_folder and not uploads
            return {**found, "html": damaged_html(str(error), name, ask_folder=ask_folder), "uploads": uploads}
        uploads = self.bases.keeps_uploads(name, header)
        folder = "uploaded files" if uploads else header.folder if header and self.bases.any_folder else ""
        return {
            **found,
            "html": facts_html(header, list(manifest.values()), folder=folder),
            "uploads": uploads,
            "synced": header is not None and header.synced > 0,
            "filters": filters_html(kinds_of(manifest)),
        }

    def knowledge_documents(self, asked: Asked) -> Answered:
        """The documents of one."""
        knowledge = self.bases.open(_base(asked))
        header, query = knowledge.header, str(asked.get("query", ""))
        removable = self.bases.keeps_uploads(knowledge.name, header)
        shown = _number(asked.get("shown"), SHOWN)
        manifest = knowledge.store.manifest()
        return {"html": documents_html(manifest, query, shown, Path(header.folder), removable=removable)}

    def knowledge_document(self, asked: Asked) -> Answered:
        """A document's chunks, a passage marked."""
        store = self.bases.open(_base(asked)).store
        source = str(asked.get("source", ""))
        place = (
            passage_of_source(store, source)
            if source
            else Place(str(asked.get("path", "")), _number(asked.get("start")), _number(asked.get("end")))
        )
        first = _number(asked.get("first")) if asked.get("first") is not None else None
        return {"html": document_html(store, place, first)}

    # Making and keeping one.

    def knowledge_upload(self, asked: Asked) -> Answered:
        """A piece of a file, into a knowledge base of uploads; a new one is begun by its first file."""
        name = str(asked.get("base", ""))
        name = name if name in self.bases.names() else self.bases.new(name)
        file = str(asked.get("name", ""))
        knowledge_uploads.file_name(file)
        folder = self.bases.uploads(name)
        knowledge_uploads.take(
            folder, file, str(asked.get("data", "")), _number(asked.get("at")), last=bool(asked.get("last"))
        )
        return {"base": name}

    def knowledge_remove(self, asked: Asked) -> Answered:
        """Delete an uploaded file."""
        name = self.bases.require(_base(asked))
        knowledge_uploads.remove(self.bases.uploads(name), str(asked.get("path", "")))
        return {}

    def knowledge_plan(self, asked: Asked) -> Answered:
        """What a sync would do. For a new one, the name is checked, and the folder is the one named."""
        name, named = _base(asked), str(asked.get("folder", ""))
        name = self.bases.new(name) if asked.get("new") else self.bases.require(name)
        folder = self.bases.folder(name, named)
        store = library.open_store(name)
        try:
            return {"html": plan_html(syncing.plan(store, folder), name), "base": name}
        finally:
            store.close()

    def knowledge_sync(self, asked: Asked) -> Answered:
        """Begin a sync."""
        name, rebuild = _base(asked), bool(asked.get("rebuild"))
        name = name if name in self.bases.names() else self.bases.new(name)
        folder = self.bases.folder(name, str(asked.get("folder", "")))

        def work(tell: Tell[Any]) -> Any:
            store = library.open_store(name)
            try:
                return syncing.sync(store, folder, rebuild=rebuild, progress=tell)
            finally:
                store.close()
                self.bases.changed(name)

        return {"base": self._tasks.start("sync", work, name)}

    def knowledge_check(self, asked: Asked) -> Answered:
        """Begin to compare a knowledge base with itself and its folder."""
        name = self.bases.require(_base(asked))

        def work(tell: Tell[Any]) -> Any:
            store = library.open_store(name)
            try:
                return list(fsck.check(store, progress=tell))
            finally:
                store.close()

        return {"base": self._tasks.start("check", work, name)}

    def knowledge_evaluate(self, asked: Asked) -> Answered:
        """Begin to measure the search."""
        questions = knowledge_eval.questions_of(str(asked.get("name", "")), str(asked.get("text", "")))
        knowledge = self.bases.open(_base(asked))
        search, k = self._search(asked), wanted(asked.get("k"))
        check_places(questions, knowledge.store)

        def work(tell: Tell[Any]) -> Any:
            return evaluate(lambda text: search.find(text, k), questions, lambda done, of: tell((done, of)))

        return {"base": self._tasks.start("evaluate", work, knowledge.name)}

    def knowledge_work(self, asked: Asked) -> Answered:
        """How far the work on a knowledge base is, or what came of it."""
        name = _base(asked)
        task = self._tasks.get(name)
        done = task.done  # before what it left is looked at
        return {"what": task.what, "html": _work_html(task, name, done=done), "done": done, "error": task.error}

    def knowledge_stop(self, asked: Asked) -> Answered:
        """Stop the work on a knowledge base, or an answer."""
        task = self._tasks.get(str(asked.get("job") or _base(asked)))
        task.stop()
        if isinstance(task.news, Exchange):
            task.news.stop()
        return {}

    # Using one.

    def knowledge_search(self, asked: Asked) -> Answered:
        """Passages for a question."""
        name, question = _base(asked), str(asked.get("question", ""))
        if not question.strip():
            raise UsageError("write a question or a few words first")
        where, k, search = filter_of(asked), wanted(asked.get("k")), self._search(asked)
        began = time.perf_counter()
        hits = search.find(question, k, where)
        return {"html": hits_html(name, hits, time.perf_counter() - began, narrowed=bool(where))}

    def knowledge_ask(self, asked: Asked) -> Answered:
        """Begin an answer."""
        question, history = question_of(str(asked.get("question", ""))), history_of(asked.get("history"))
        name, model = self.bases.open(_base(asked)).name, str(asked.get("model") or self._pool.default)
        self._pool.spec(model)
        exchange = Exchange(name, model, question)
        return {"job": self._tasks.start("ask", lambda tell: exchange.run(self._model(name, model), history, tell))}

    def knowledge_asked(self, asked: Asked) -> Answered:
        """An answer as far as it has come."""
        task = self._tasks.get(str(asked.get("job")))
        done = task.done
        exchange = task.news
        if not isinstance(exchange, Exchange):
            return {"html": "", "answer": "", "done": done, "error": task.error}
        html = exchange_html(exchange, done=done, stopped=task.stopped, error=task.error)
        return {"html": html, "answer": without_list(exchange.text), "done": done}

    def _search(self, asked: Asked) -> Search:
        knowledge = self.bases.open(_base(asked))
        mode: Any = str(asked.get("mode", "hybrid"))  # SearchSettings checks it
        return Search(knowledge.store, lambda: knowledge.embedder, SearchSettings(mode=mode))

    def _model(self, name: str, model: str) -> KnowledgeModel:
        """What answers from a knowledge base by a model of the pool, which is not loaded again for it."""
        knowledge = self.bases.open(name)
        known = self._answering.get((name, model))
        if known is None or known.knowledge is not knowledge:
            spec = parse_spec(knowledge_spec(name, self._pool.spec(model)))
            known = self._answering[name, model] = with_knowledge(spec, knowledge, self._pool.get(model))
        return known


def _work_html(task: Task[Any], name: str, *, done: bool) -> str:
    if not done:
        return knowledge_eval.progress_html(task.news) if task.what == "evaluate" else progress_html(task.news)
    if task.error:
        return ""
    if task.result is None:
        return stopped_html() if task.what == "sync" else '<p class="wh-note" role="status">Stopped.</p>'
    if task.what == "sync":
        return result_html(task.result)
    return faults_html(task.result, name) if task.what == "check" else knowledge_eval.measures_html(task.result)


def _base(asked: Asked) -> str:
    return str(asked.get("base", ""))


def _number(value: Any, default: int = 0) -> int:
    """A count that the page carries; it is not trusted to be one."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 12 else default
