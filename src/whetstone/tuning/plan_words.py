"""The plan of a run in words, for the terminal and for the workbench."""

from __future__ import annotations

from whetstone.tuning.plan import Plan


def plan_lines(plan: Plan) -> list[tuple[str, str]]:
    """The plan as names and what is said under them."""
    aside = [f"{plan.rejected:,} set aside"] if plan.rejected else []
    aside += [f"{plan.cut:,} with a cut text"] if plan.cut else []
    twice = ", activations computed twice" if plan.checkpointing else ""
    return [
        ("run", plan.run),
        (
            "base",
            f"{plan.base}: {_millions(plan.parameters)} weights, {plan.method} adapter of "
            f"{_millions(plan.trained)}, {plan.dtype} on {plan.device}",
        ),
        ("data", f"{plan.data}: {plan.layout}"),
        ("rows", ", ".join([f"{plan.rows:,} to train on", f"{plan.validation_rows:,} to validate on", *aside])),
        (
            "tokens",
            f"{plan.tokens:,}, of which {plan.learned:,} are learned ({plan.learned / max(1, plan.tokens):.1%}); "
            f"padding {plan.padding:.1%}; longest row {plan.longest:,}",
        ),
        ("steps", f"{plan.steps:,} ({plan.epochs:g} passes over the rows)"),
        ("memory", f"about {plan.memory / 1e9:.1f} GB of {plan.free / 1e9:.1f} GB that are free{twice}"),
        ("time", f"about {minutes_in_words(plan.minutes)}, by {plan.minutes_from}"),
        (
            "cost",
            "nothing, on your own machine"
            if plan.cost is None
            else f"about {plan.cost:,.2f} at the configured price per hour",
        ),
    ]


def minutes_in_words(minutes: float) -> str:
    """ "20 seconds", "3.5 minutes", "2.1 hours"."""
    if minutes < 1:
        seconds = round(minutes * 60)
        return f"{seconds} seconds" if seconds > 1 else "a second"
    return f"{minutes:,.1f} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"


def _millions(count: int) -> str:
    if count < 1e6:
        return f"{count:,}"
    return f"{count / 1e6:,.0f} million" if count >= 1e8 else f"{count / 1e6:,.2f} million"
