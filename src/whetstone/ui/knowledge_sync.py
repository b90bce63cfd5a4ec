"""Plans, syncs and checks of a knowledge base as HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from whetstone.retrieval.fsck import ON_DISK
from whetstone.retrieval.plan import Plan
from whetstone.retrieval.progress import Progress
from whetstone.retrieval.store import Fault
from whetstone.retrieval.sync import SyncResult

_LISTED = 30  # of one kind
_STAGES = {
    "looking": "Looking at the folder",
    "reading": "Reading documents",
    "embedding": "Embedding",
    "saving": "Saving the new state",
    "checking": "Checking documents",
}
_SIGNS = {"added": "+", "changed": "~", "removed": "-", "renamed": ">", "unreadable": "!"}


def plan_html(plan: Plan, name: str) -> str:
    """What a sync would do, and the button that does it."""
    renamed = [(new, f"was {old}") for new, old in sorted(plan.renamed.items())]
    lists = (
        _list("To add", _bare(plan.added))
        + _list("Changed", _bare(plan.changed))
        + _list("To remove", _bare(plan.removed))
        + _list("Renamed", renamed)
        + _list("To try again", _bare(plan.retried))
        + _skipped(plan.skipped)
    )
    nothing = plan.nothing and not plan.retried
    told = f"Nothing to do: {plan.unchanged:,} documents are as they were." if nothing else "Nothing was changed yet."
    button = (
        ""
        if nothing
        else f'<p><button type="button" class="wh-button wh-strong" data-sync="{escape(name)}">Sync now</button></p>'
    )
    return (
        f'<p role="status"><b class="wh-kb-plan">{escape(str(plan))}</b> <span class="wh-note">{told} '
        f"{_estimate(plan)}</span></p>{lists}{button}"
    )


def _estimate(plan: Plan) -> str:
    return "" if plan.seconds in (None, 0.0) else "The time is an estimate, by how fast the embedder was here before."


def progress_html(progress: Progress | None) -> str:
    """How far the work is."""
    if progress is None:
        return '<p role="status">Beginning …</p>'
    counted = []
    if progress.documents_total:
        counted.append(f"{progress.documents:,} of {progress.documents_total:,} documents")
    if progress.chunks_total:
        counted.append(f"{progress.chunks:,} of {progress.chunks_total:,} chunks")
    done, total = (
        (progress.documents, progress.documents_total)
        if progress.documents_total
        else (progress.chunks, progress.chunks_total)
    )
    value = f' value="{done}" max="{total}"' if total else ""
    words = f"{_STAGES[progress.stage]} …" + (f" {', '.join(counted)}" if counted else "")
    return f'<p role="status">{words}</p><progress aria-label="Progress"{value}></progress>'


def result_html(result: SyncResult) -> str:
    """What a sync did, by document."""
    counts = ", ".join(f"{result.count(kind):,} {kind}" for kind in _SIGNS if result.count(kind))
    lists = "".join(
        _list(kind.capitalize(), [(one.path, one.detail) for one in result.changes if one.kind == kind])
        for kind in _SIGNS
    )
    told = {change.path for change in result.changes if change.kind == "unreadable"}
    problems = _list("Not searched", [(path, why) for path, why in result.problems.items() if path not in told])
    return (
        f'<p role="status"><b>{counts or "Nothing changed"}</b>; {result.embedded:,} chunk'
        f"{'s' if result.embedded != 1 else ''} embedded; {result.seconds:.1f}&nbsp;s</p>"
        f"{lists}{problems}{_skipped(result.skipped)}"
    )


def stopped_html() -> str:
    """What is so after a sync was stopped."""
    return (
        '<p role="status">Stopped. The vectors computed so far are kept, and the state before goes on answering: '
        "syncing again goes on from there.</p>"
    )


def faults_html(faults: Sequence[Fault], name: str) -> str:
    """Faults that a check found, and the button that mends them."""
    if not faults:
        return '<p role="status" class="wh-kb-good">No faults: manifest, chunks, vectors and files say the same.</p>'
    rows = "".join(
        f'<tr><th scope="row" data-name="Fault">{escape(fault.kind)}</th>'
        f'<td data-name="Where">{escape(fault.where)}</td><td data-name="What">{escape(fault.detail)}</td></tr>'
        for fault in faults[:_LISTED]
    )
    more = f'<p class="wh-note">and {len(faults) - _LISTED:,} more</p>' if len(faults) > _LISTED else ""
    gone_on = all(fault.kind in ON_DISK for fault in faults)
    told = "the folder went on: a sync brings the knowledge base up to date." if gone_on else "a rebuild mends them."
    does = "data-sync" if gone_on else "data-rebuild"
    count = f"{len(faults):,} fault{'s' if len(faults) != 1 else ''}"
    return (
        f'<p role="status"><b class="wh-kb-bad">{count}</b>: {told}</p>'
        '<table class="wh-kb-table"><thead><tr><th scope="col">Fault</th><th scope="col">Where</th><th scope="col">'
        f"What</th></tr></thead><tbody>{rows}</tbody></table>{more}"
        f'<p><button type="button" class="wh-button wh-strong" {does}="{escape(name)}">'
        f"{'Sync now' if gone_on else 'Rebuild'}</button></p>"
    )


def _bare(paths: Iterable[str]) -> list[tuple[str, str]]:
    return [(path, "") for path in paths]


def _list(name: str, entries: Sequence[tuple[str, str]]) -> str:
    """Paths with what is said of each, folded beyond a few."""
    if not entries:
        return ""
    items = "".join(
        f"<li>{escape(path)}{f' <span>({escape(detail)})</span>' if detail else ''}</li>"
        for path, detail in entries[:_LISTED]
    )
    more = f"<li>and {len(entries) - _LISTED:,} more</li>" if len(entries) > _LISTED else ""
    opened = " open" if len(entries) <= 5 else ""
    return (
        f'<details class="wh-kb-paths"{opened}><summary>{name}: {len(entries):,}</summary><ul>{items}{more}</ul>'
        "</details>"
    )


def _skipped(skipped: Mapping[str, str]) -> str:
    reasons = Counter(skipped.values())
    entries = []
    for reason, count in reasons.most_common():
        example = next(path for path, why in skipped.items() if why == reason)
        entries.append((example + (f" and {count - 1:,} more" if count > 1 else ""), reason))
    return _list("Left out", entries)
