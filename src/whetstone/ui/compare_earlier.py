"""What was compared before: the comparisons of this page, and all runs, to open again and to report on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from whetstone.errors import StorageError, UsageError
from whetstone.evaluation.run import RunStore
from whetstone.registry import unknown_name
from whetstone.workflows.comparisons import Comparison, comparisons

REPORT_PATH = "compare/report"
_SHOWN = 60  # comparisons


@dataclass(frozen=True)
class RunLine:
    """A stored run in a list.

    Attributes:
        id: its name in the store.
        problem, fingerprint: of the items that it answers.
        label: its technique, and its model where it asks one.
        answers, cases: how far it came.
        created: ISO 8601.
    """

    id: str
    problem: str
    fingerprint: str
    label: str
    answers: int
    cases: int
    created: str


class SeenRuns:
    """The runs that a page may see: all of them for the server's own user, else those of the page's comparisons.

    Safe to use from several threads. A run is read again only when its journal has changed.
    """

    def __init__(self, *, all_runs: bool) -> None:
        self._all = all_runs
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[int, int], RunLine]] = {}

    def names(self) -> list[str]:
        """Ids of the runs."""
        there = sorted(path.parent.name for path in RunStore().folder.glob("*/run.json"))
        if self._all:
            return there
        made = {run for comparison in comparisons() for run in comparison.runs}
        return [name for name in there if name in made]

    def require(self, names: Sequence[str]) -> list[str]:
        """These runs, once each.

        Raises:
            UsageError: none is named, or one is not there, as far as this page may know.
        """
        there = self.names()
        for name in names:
            if name not in there:
                raise unknown_name("run", name, there)
        if not names:
            raise UsageError("choose at least one run")
        return list(dict.fromkeys(names))

    def lines(self) -> tuple[list[RunLine], list[str]]:
        """The runs, the latest first, and a sentence on each that cannot be read."""
        found, broken = [], []
        for name in self.names():
            try:
                found.append(self._line(name))
            except StorageError as error:
                broken.append(str(error))
        return sorted(found, key=lambda line: (line.created, line.id), reverse=True), broken

    def _line(self, name: str) -> RunLine:
        store = RunStore()
        journal = store.folder / name / "answers.jsonl"
        stamp = (journal.stat().st_mtime_ns, journal.stat().st_size) if journal.exists() else (0, 0)
        with self._lock:
            known = self._known.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        record = store.find(name)
        header = record.header
        label = f"{header['technique']} · {header['model']}" if header["model"] else str(header["technique"])
        line = RunLine(
            name,
            str(header["problem"]),
            str(header["fingerprint"]),
            label,
            len(record.answers),
            int(header["cases"]),
            str(header["created"]),
        )
        with self._lock:
            self._known[name] = (stamp, line)
        return line


def report_link(runs: Iterable[str], seed: int = 42, **more: str) -> str:
    """Where the report on these runs is, from the page on: it names the runs, so that it works tomorrow as well."""
    given = {"runs": ",".join(runs), **({"seed": str(seed)} if seed != 42 else {}), **more}
    return f"{REPORT_PATH}?{urlencode(given, safe=',')}"


def links_html(runs: Sequence[str], seed: int = 42) -> str:
    """The report on these runs: to open, to share, to download; "" where there are none yet."""
    if not runs:
        return ""
    link = escape(report_link(runs, seed))
    downloads = "".join(
        f'<a class="wh-button" href="{escape(report_link(runs, seed, form=form, save="1"))}" download>{words}</a>'
        for form, words in (("html", "Download"), ("csv", "Answers as CSV"), ("json", "JSON"))
    )
    return (
        f'<p class="wh-lab-options"><a class="wh-button wh-strong" href="{link}" target="_blank" rel="noopener">'
        f'Open the report</a><button type="button" class="wh-button" data-copy="{link}">Copy its link</button>'
        f"{downloads}</p>"
    )


def earlier_html(kept: Sequence[Comparison], lines: Sequence[RunLine], broken: Sequence[str], running: str) -> str:
    """Comparisons, and runs by the items that they answer.

    Args:
        running: id of the comparison that is at work; "" for none.
    """
    problems = "".join(f'<p class="wh-error">{escape(sentence)}</p>' for sentence in broken)
    return f"<h3>Comparisons</h3>{_comparisons_html(kept, running)}<h3>Runs</h3>{problems}{_runs_html(lines)}"


def _comparisons_html(kept: Sequence[Comparison], running: str) -> str:
    if not kept:
        return '<p class="wh-note">None yet. Set one up; it stays here, to be gone on with and to be opened again.</p>'
    rows = "".join(
        f'<tr><th scope="row"><button type="button" class="wh-lab-link" data-open="{one.id}">{escape(one.name)}'
        f'</button></th><td class="wh-lab-words">{escape(", ".join(one.request.techniques) or "all that suit")}</td>'
        f"<td>{one.cases:,}</td><td>{_state(one, running)}</td><td>{_when(one.created)}</td></tr>"
        for one in kept[:_SHOWN]
    )
    rest = f'<p class="wh-note">and {len(kept) - _SHOWN:,} older ones</p>' if len(kept) > _SHOWN else ""
    return (
        '<div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th scope="col">problem</th>'
        '<th scope="col">arms</th><th scope="col">items</th><th scope="col"></th><th scope="col">begun</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>{rest}"
    )


def _state(one: Comparison, running: str) -> str:
    return "at work" if one.id == running else "complete" if one.complete else "stopped"


def _runs_html(lines: Sequence[RunLine]) -> str:
    if not lines:
        return '<p class="wh-note">None yet: a comparison makes them, here or by <code>whet compare</code>.</p>'
    by_items: dict[str, list[RunLine]] = {}
    for line in lines:
        by_items.setdefault(line.fingerprint, []).append(line)
    return "".join(_group_html(group) for group in by_items.values())


def _group_html(group: Sequence[RunLine]) -> str:
    rows = "".join(
        f'<tr><td><input type="checkbox" value="{escape(line.id)}" aria-label="{escape(line.label)}"></td>'
        f'<th scope="row">{escape(line.label)}</th><td>{line.answers:,} of {line.cases:,}</td>'
        f"<td>{_when(line.created)}</td></tr>"
        for line in group
    )
    first = group[0]
    return (
        f'<details class="wh-lab-group"><summary>{escape(first.problem)}: {first.cases:,} items, {len(group):,} '
        f"{'run' if len(group) == 1 else 'runs'} <code>{escape(first.fingerprint[:12])}</code></summary>"
        '<div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th></th><th scope="col">technique</th>'
        f'<th scope="col">answers</th><th scope="col">begun</th></tr></thead><tbody>{rows}</tbody></table></div>'
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-strong" data-report>Report on the chosen '
        "runs</button></p><div></div></details>"
    )


def _when(created: str) -> str:
    """A moment; the page writes it in its reader's time."""
    return f'<time datetime="{escape(created)}">{escape(created[:16].replace("T", " "))}</time>'
