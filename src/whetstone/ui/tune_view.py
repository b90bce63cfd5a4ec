"""A tuning run as HTML: how far it is, its curves, and what was remarked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from whetstone.ui.tune_curves import drift_plot, loss_plot, metric_plot, tradeoff_plot
from whetstone.ui.tune_journal import Story


def story_html(story: Story, plan: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Where a run is.

    Args:
        plan: `plan.json`; {} where there is none.
        state: see `tune_process.read_state`; {} for a run of the terminal.
    """
    return (
        f"{_progress_html(story, plan, state)}{_figures_html(story, plan)}"
        f"{_notes_html([*story.notes, *map(str, state.get('remarks') or ())])}"
    )


def _progress_html(story: Story, plan: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    if state.get("phase") in ("begins", "prepares") and not state.get("error"):
        done, total = int(state.get("done") or 0), int(state.get("total") or 0)
        count = f": {done:,} of {total:,}" if total else f": {done:,}" if done else ""
        words = str(state.get("what") or "The libraries are loaded")
        at = f' max="{total}" value="{done}"' if total else ""
        return f'<p role="status">{escape(words)}{count} …</p><progress aria-label="Preparing"{at}></progress>'
    if not story.steps:
        return ""
    total = int(plan.get("steps") or story.step)
    line = story.steps[story.step]
    facts = [f"step {story.step:,} of {total:,}"]
    seconds = [float(step["seconds"]) for step in list(story.steps.values())[-50:] if step.get("seconds")]
    tokens = [float(step["tokens"]) for step in list(story.steps.values())[-50:] if step.get("seconds")]
    if seconds and sum(seconds) > 0:
        facts.append(f"{sum(tokens) / sum(seconds):,.0f} tokens a second")
        if state.get("phase") == "trains":
            facts.append(f"{_time(sum(seconds) / len(seconds) * (total - story.step))} of steps to go")
    if line.get("learning_rate") is not None:
        facts.append(f"learning rate {float(line['learning_rate']):.2g}")
    return (
        f'<p role="status">{escape(" · ".join(facts))}</p>'
        f'<progress max="{max(1, total)}" value="{story.step}" aria-label="Steps"></progress>'
    )


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _figures_html(story: Story, plan: Mapping[str, Any]) -> str:
    end = float(max(int(plan.get("steps") or 0), story.step, 1))
    figures = [("Loss", loss_plot(story, end)), ("", metric_plot(story, end)), ("", drift_plot(story, end))]
    figures.append(("What was gained, against what was forgotten", tradeoff_plot(story)))
    shown = "".join(
        f'<section class="wh-lab-card">{f"<h4>{title}</h4>" if title else ""}{html}</section>'
        for title, html in figures
        if html
    )
    return f'<div class="wh-lab-cards wh-lab-wide">{shown}</div>' if shown else ""


def _notes_html(notes: Sequence[str]) -> str:
    listed = "".join(f"<li>{escape(words)}</li>" for words in dict.fromkeys(notes))
    return f'<ul class="wh-lab-notes">{listed}</ul>' if listed else ""
