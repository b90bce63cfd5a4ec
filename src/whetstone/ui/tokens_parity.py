"""Findings of a parity check as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whetstone.tokens.parity import Finding
from whetstone.tokens.pieces import visible_text


def findings_html(findings: Sequence[Finding], *, done: bool) -> str:
    """A verdict, a row for each path and check, and the first difference of each check that fails."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.path, finding.check), []).append(finding)
    rows = "".join(_row(path, check, group) for (path, check), group in sorted(groups.items()))
    return (
        f'{_verdict(findings, done=done)}<div class="wh-tk-scroll"><table class="wh-tk-table wh-tk-findings"><thead>'
        '<tr><th scope="col">path</th><th scope="col">check</th><th scope="col">result</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _verdict(findings: Sequence[Finding], *, done: bool) -> str:
    bad = sum(not finding.good for finding in findings)
    if bad:
        return f'<p class="wh-tk-bad" role="status">The paths depart: {bad:,} of {len(findings):,} checks fail.</p>'
    if not done:
        return f'<p class="wh-note" role="status">Checking … {len(findings):,} checks hold so far.</p>'
    if not findings:
        return '<p class="wh-note" role="status">There was nothing to check.</p>'
    return f'<p class="wh-tk-good" role="status">Every path makes the same of it: {len(findings):,} checks hold.</p>'


def _row(path: str, check: str, group: Sequence[Finding]) -> str:
    bad = [finding for finding in group if not finding.good]
    if not bad:
        told = f'<td class="wh-tk-good wh-tk-words">✓ holds in {len(group):,}</td>'
    else:
        first = bad[0]
        where = f"{first.conversation}: " if first.conversation else ""
        told = (
            f'<td class="wh-tk-bad wh-tk-words">✗ fails in {len(bad):,} of {len(group):,}'
            f"<p>{escape(where + _visible(first.detail))}</p></td>"
        )
    return f'<tr><th scope="row">{escape(path)}</th><td>{escape(check)}</td>{told}</tr>'


def _visible(text: str) -> str:
    return " ".join(visible_text(word) for word in text.split(" "))
