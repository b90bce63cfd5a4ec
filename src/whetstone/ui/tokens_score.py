"""How likely a model of the pool finds each token of a text: the work, and how it is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from whetstone.errors import UsageError
from whetstone.models import LogitModel, parse_spec
from whetstone.models.pool import ModelPool
from whetstone.tokens.pieces import visible_text
from whetstone.ui.panels import probability_step
from whetstone.ui.tokens_pieces import Facts
from whetstone.workflows.scoring import ScoredToken, perplexity, score_text

MOST_TOKENS = 512  # of a text that is scored here
_ALTERNATIVES = 6
_ELSEWHERE = {"openai", "ollama", "kb"}  # providers that never show all probabilities

LEGEND = "".join(
    f'<span class="wh-token wh-p{step}">{words}</span>'
    for step, words in enumerate(("under 10%", "10 to 30%", "30 to 60%", "60 to 90%", "over 90%"))
)


def local_models(pool: ModelPool) -> list[str]:
    """Names of the models that may show their probabilities; known for sure only once they are loaded."""
    return [name for name, spec in pool.offered.items() if parse_spec(spec).provider not in _ELSEWHERE]


def score(pool: ModelPool, name: str, text: str) -> Iterator[ScoredToken]:
    """Each token's probability.

    Raises:
        UsageError: the model shows none, or the text is too long.
        WhetstoneError: as `ModelPool.get` and `score_text`.
    """
    if not text:
        raise UsageError("there is no text to score: write one")
    model = pool.get(name)
    if not isinstance(model, LogitModel):
        raise UsageError(f"{name} does not show its probabilities; choose a model that runs here, such as smollm2")
    count = len(model.encode(text))
    if count > MOST_TOKENS:
        raise UsageError(
            f"the text has {count:,} tokens for {name}; at most {MOST_TOKENS:,} are scored here: `whet tokens score` "
            "takes what the model's context holds"
        )
    yield from score_text(model, text, top=_ALTERNATIVES)


def scored_html(tokens: Sequence[ScoredToken], first: int) -> tuple[str, Facts]:
    """Tokens in colours, numbered from `first`, and what is known of each."""
    html: list[str] = []
    facts: Facts = {}
    for number, token in enumerate(tokens, first):
        shown = visible_text(token.text).replace("·", " ").replace("⏎", "⏎\n")
        known = token.logprob is not None
        kind = f"wh-p{probability_step(token.logprob)}" if token.logprob is not None else "wh-tk-unscored"
        html.append(f'<i class="{kind}" data-k="{number}">{escape(shown) or "∅"}</i>')
        told = [("token", visible_text(token.text) or "∅"), ("id", str(token.id))]
        if token.logprob is not None:
            told += [
                ("probability", percent(token.logprob)),
                ("log-probability", f"{token.logprob:.3f}"),
                ("rank", f"{token.rank:,}"),
            ]
            told += [
                ("" if n else "most probable", f"{visible_text(text) or '∅'}  {percent(logprob)}")
                for n, (_, text, logprob) in enumerate(token.top)
            ]
        facts[str(number)] = told if known else [*told, ("probability", "none: nothing precedes it")]
    return "".join(html), facts


def summary(tokens: Sequence[ScoredToken], *, done: bool) -> str:
    """Perplexity and ranks, in one line of HTML."""
    scored = [token for token in tokens if token.rank is not None]
    found = perplexity(tokens)
    if found is None:
        return "No token has a probability yet." if not done else "Nothing precedes the only token: it has none."
    first = sum(token.rank == 1 for token in scored)
    ten = sum((token.rank or 0) <= 10 for token in scored)
    state = "" if done else " so far"
    return (
        f'Perplexity{state} <b class="wh-tk-perplexity">{found:.2f}</b> over {len(scored):,} tokens; '
        f"{first / len(scored):.0%} are the model’s favourite, {ten / len(scored):.0%} among its ten."
    )


def percent(logprob: float) -> str:
    """A probability in words."""
    probability = math.exp(min(0.0, logprob))
    return f"{probability:.1%}" if probability >= 0.001 else f"{probability:.1e}"
