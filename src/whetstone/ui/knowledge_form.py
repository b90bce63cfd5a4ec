"""The fields of the Knowledge tab, as plain HTML, and the facts of one knowledge base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from whetstone.retrieval.document import DocumentRecord
from whetstone.retrieval.store import Header
from whetstone.ui.knowledge_documents import when

VIEWS = (("documents", "Documents"), ("search", "Search"), ("ask", "Ask"), ("evaluate", "Evaluate"))
MODES = {"hybrid": "meaning and words", "dense": "meaning alone", "keyword": "words alone"}


def form_html(models: Sequence[str], *, any_folder: bool) -> str:
    """The whole tab before anything was answered.

    Args:
        models: names of models that may answer.
        any_folder: folders of the server may be named.
    """
    tabs = "".join(
        f'<button type="button" role="tab" id="wh-kb-tab-{name}" aria-controls="wh-kb-view-{name}" '
        f'aria-selected="{str(not n).lower()}" tabindex="{0 if not n else -1}">{words}</button>'
        for n, (name, words) in enumerate(VIEWS)
    )
    bodies = {"documents": _documents(), "search": _search(), "ask": _ask(models), "evaluate": _evaluate()}
    views = "".join(
        f'<div role="tabpanel" id="wh-kb-view-{name}" aria-labelledby="wh-kb-tab-{name}"{" hidden" if n else ""}>'
        f"{bodies[name]}</div>"
        for n, (name, _) in enumerate(VIEWS)
    )
    return (
        f'<div class="wh-kb">{_choice()}{_new(any_folder)}<p id="wh-kb-notice" role="status" aria-live="polite"></p>'
        f'<div id="wh-kb-facts"></div>{_upkeep()}<div id="wh-kb-work"></div><div id="wh-kb-parts" hidden>'
        f'<div role="tablist" aria-label="What to do" class="wh-kb-tabs">{tabs}</div>{views}</div></div>'
    )


def options_html(names: Iterable[str], chosen: str) -> str:
    """Names to choose from."""
    return "".join(
        f'<option value="{escape(name)}"{" selected" if name == chosen else ""}>{escape(name)}</option>'
        for name in names
    )


def facts_html(header: Header | None, documents: Sequence[DocumentRecord], *, folder: str) -> str:
    """What a knowledge base is, in a line or two.

    Args:
        folder: that it follows, in words; "" where the page may not know.
    """
    if header is None or not header.synced:
        where = f" of {escape(folder)}" if folder else ""
        return f'<p class="wh-note">Nothing was synced yet{where}: see the plan, then sync.</p>'
    chunks = sum(record.chunks for record in documents)
    problems = sum(bool(record.problem) for record in documents)
    bad = f' · <b class="wh-kb-bad">{problems:,} with a problem</b>' if problems else ""
    where = f"{escape(folder)} · " if folder else ""
    return (
        f"<p><b>{len(documents):,}</b> documents · <b>{chunks:,}</b> chunks{bad} · last synced "
        f"{when(header.synced)}</p>"
        f'<p class="wh-note">{where}vectors by {escape(header.embedder_spec)}</p>'
    )


def damaged_html(error: str, name: str, *, ask_folder: bool) -> str:
    """That a knowledge base cannot be read, and how to mend it.

    Args:
        ask_folder: nobody but the person knows its folder.
    """
    field = (
        '<label class="wh-kb-grow"><span class="wh-kb-label">Folder of its documents</span>'
        '<input type="text" data-folder autocomplete="off" spellcheck="false"></label>'
        if ask_folder
        else ""
    )
    return (
        f'<p class="wh-error" role="alert">{escape(error)}</p><p class="wh-kb-options">{field}'
        f'<button type="button" class="wh-button wh-strong" data-rebuild="{escape(name)}">Rebuild</button></p>'
    )


def filters_html(kinds: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What the filters of the search offer, as options by field."""
    words = {"type": "any type", "folder": "any folder"}
    return {
        name: f'<option value="">{words[name]}</option>' + options_html(values, "") for name, values in kinds.items()
    }


def _choice() -> str:
    return (
        '<p class="wh-kb-options" id="wh-kb-choice"><label><span class="wh-kb-label">Knowledge base</span>'
        '<select id="wh-kb-base"></select></label>'
        '<button type="button" class="wh-button wh-strong" id="wh-kb-new" aria-expanded="false" '
        'aria-controls="wh-kb-making">New</button></p>'
    )


def _new(any_folder: bool) -> str:
    path = (
        '<label class="wh-kb-grow"><span class="wh-kb-label">Folder of documents on this server</span>'
        '<input type="text" id="wh-kb-folder" placeholder="/home/me/documents" autocomplete="off" spellcheck="false">'
        '</label><button type="button" class="wh-button wh-strong" id="wh-kb-make">See the plan</button>'
        '<span class="wh-kb-or">or</span>'
        if any_folder
        else ""
    )
    return (
        '<fieldset id="wh-kb-making" hidden><legend>A new knowledge base</legend><p class="wh-kb-options">'
        '<label><span class="wh-kb-label">Name</span><input type="text" id="wh-kb-name" maxlength="60" '
        f'autocomplete="off" spellcheck="false"></label>{path}{_files("wh-kb-first-files", "Upload files")}</p>'
        "</fieldset>"
    )


def _files(id: str, words: str) -> str:
    return f'<label class="wh-button wh-strong wh-kb-file">{words}<input type="file" id="{id}" multiple></label>'


def _upkeep() -> str:
    return (
        '<div id="wh-kb-upkeep" class="wh-kb-options" hidden>'
        '<button type="button" class="wh-button wh-strong" id="wh-kb-plan">See the plan</button>'
        '<button type="button" class="wh-button wh-strong" id="wh-kb-sync">Sync</button>'
        f'<span id="wh-kb-adding" hidden>{_files("wh-kb-files", "Add files")}</span>'
        '<button type="button" class="wh-button" id="wh-kb-check" title="Compare manifest, chunks, vectors and files">'
        "Check</button>"
        '<button type="button" class="wh-button wh-danger" id="wh-kb-stop" hidden>Stop</button></div>'
    )


def _documents() -> str:
    return (
        '<div id="wh-kb-list"><label class="wh-kb-label" for="wh-kb-query">Title, path or problem holds</label>'
        '<input type="text" id="wh-kb-query" autocomplete="off" spellcheck="false"><div id="wh-kb-documents"></div>'
        "</div>"
        '<div id="wh-kb-reading" hidden><p><button type="button" class="wh-button wh-strong" id="wh-kb-back">Back'
        '</button></p><div id="wh-kb-document"></div></div>'
    )


def _search() -> str:
    return (
        '<form id="wh-kb-search-form"><p class="wh-kb-options"><label class="wh-kb-grow"><span class="wh-kb-label">'
        'Question, or a few words</span><input type="text" id="wh-kb-question" autocomplete="off"></label>'
        '<button type="submit" class="wh-button wh-strong">Search</button></p><p class="wh-kb-options">'
        f"{_way('')}"
        '<label><span class="wh-kb-label">Type</span><select id="wh-kb-type"></select></label>'
        '<label><span class="wh-kb-label">Folder</span><select id="wh-kb-in"></select></label>'
        '<label><span class="wh-kb-label">Path fits</span><input type="text" id="wh-kb-pattern" size="14" '
        'placeholder="contracts/*.md" autocomplete="off" spellcheck="false"></label>'
        '<label><span class="wh-kb-label">Metadata</span><input type="text" id="wh-kb-where" size="14" '
        'placeholder="author=Kim" autocomplete="off" spellcheck="false"></label></p></form>'
        '<div id="wh-kb-hits"></div>'
    )


def _way(name: str) -> str:
    """How to search, and for how many passages."""
    modes = "".join(f'<option value="{mode}">{words}</option>' for mode, words in MODES.items())
    return (
        f'<label><span class="wh-kb-label">Search by</span><select id="wh-kb-{name}mode">{modes}</select></label>'
        f'<label><span class="wh-kb-label">Passages</span><input type="text" id="wh-kb-{name}k" value="10" size="3" '
        'inputmode="numeric" autocomplete="off"></label>'
    )


def _ask(models: Sequence[str]) -> str:
    offered = options_html(models, models[0] if models else "")
    return (
        '<div id="wh-kb-exchanges" role="log" aria-live="off" aria-label="Questions and answers"></div>'
        '<label class="wh-kb-label" for="wh-kb-ask">Question to the documents; Enter asks, Shift+Enter begins a new '
        'line</label><textarea id="wh-kb-ask" rows="2"></textarea><p class="wh-kb-options">'
        f'<label><span class="wh-kb-label">Answered by</span><select id="wh-kb-model">{offered}</select></label>'
        '<button type="button" class="wh-button wh-strong" id="wh-kb-ask-start">Ask</button>'
        '<button type="button" class="wh-button wh-danger" id="wh-kb-ask-stop" hidden>Stop</button>'
        '<button type="button" class="wh-button" id="wh-kb-ask-new">Begin anew</button></p>'
    )


def _evaluate() -> str:
    return (
        '<p class="wh-note">A file of questions, JSONL: {"question", "keywords", "category"} on each line, or "spans" '
        'in place of keywords: [{"path", "start", "end"}].</p><p class="wh-kb-options">'
        '<label class="wh-button wh-strong wh-kb-file"><span id="wh-kb-questions-name">Choose a file</span>'
        '<input type="file" id="wh-kb-questions" accept=".jsonl,.json,.txt"></label>'
        f"{_way('eval-')}"
        '<button type="button" class="wh-button wh-strong" id="wh-kb-evaluate">Evaluate</button></p>'
        '<div id="wh-kb-measures"></div>'
    )
