"""The Tokens tab: what models make of texts and conversations, while these are typed.

The fields are plain HTML (`tokens_form`); `tokens_page.js` sends what they hold to the functions of `TokensServer`,
each of which takes one JSON object and gives one. A refusal comes as a sentence under "error".
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError
from whetstone.models.pool import ModelPool
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.ui.asked import Answered, Asked, text_of_file, told
from whetstone.ui.tokens_answer import of_answer
from whetstone.ui.tokens_conversation import conversation_of, conversation_view
from whetstone.ui.tokens_facts import VocabularySets, facts_html
from whetstone.ui.tokens_form import chip, form_html
from whetstone.ui.tokens_jobs import Jobs
from whetstone.ui.tokens_parity import findings_html
from whetstone.ui.tokens_pieces import box
from whetstone.ui.tokens_rows import rows_view
from whetstone.ui.tokens_score import local_models, score, scored_html, summary
from whetstone.ui.tokens_sources import OfferedTokenizers
from whetstone.ui.tokens_text import text_view
from whetstone.ui.tokens_vocabulary import found_html

MOST_TOKENIZERS = 6  # side by side


def build_tokens(page: gr.Blocks, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab where it is called."""
    server = TokensServer(pool, store)
    tokenizers = server.tokenizers
    form = form_html(list(tokenizers.sources), tokenizers.default, local_models(pool), any_name=tokenizers.any_name)
    gr.HTML(
        value=f"<style>{text_of_file('tokens_style.css')}</style>{form}",
        js_on_load=text_of_file("tokens_page.js"),
        apply_default_css=False,
        elem_id="wh-tokens",
        server_functions=server.functions(),
    )
    page.load(None, js=text_of_file("tokens_open.js"))


def open_with(turn: str, words: str = "Show tokens") -> str:
    """A link, as HTML, that opens this tab with the exact prompt of an answer and its tokenizer.

    It stands on any page that has this tab; `tokens_open.js` hears it. It also works as an address of its own,
    `?tokens=TURN`.

    Args:
        turn: id of the answer.
        words: what is written on it.
    """
    return (
        f'<a class="wh-button" href="?tokens={escape(turn)}" data-open-tokens="{escape(turn)}" '
        f'title="Show the prompt of this answer in the Tokens tab">{escape(words)}</a>'
    )


class TokensServer:
    """What the page asks for. One instance serves all browser tabs, and keeps nothing of any of them but jobs."""

    def __init__(self, pool: ModelPool, store: ConversationStore) -> None:
        self.tokenizers = OfferedTokenizers(pool)
        self._pool = pool
        self._store = store
        self._sets = VocabularySets()
        self._jobs = Jobs()

    def functions(self) -> list[Callable[[Any], Answered]]:
        """The functions, under the names by which the page calls them."""
        return [
            told(self.tokens_add),
            told(self.tokens_text),
            told(self.tokens_facts),
            told(self.tokens_chat),
            told(self.tokens_rows),
            told(self.tokens_vocabulary),
            told(self.tokens_answer),
            told(self.tokens_score),
            told(self.tokens_scored),
            told(self.tokens_check),
            told(self.tokens_checked),
            told(self.tokens_stop),
        ]

    def tokens_add(self, asked: Asked) -> Answered:
        """A further tokenizer, by the name that a person wrote: a chip to choose it."""
        name = str(asked.get("name", "")).strip()
        self.tokenizers.get(name)
        return {"html": chip(name, True), "name": name}

    def tokens_text(self, asked: Asked) -> Answered:
        """Pieces and counts of a text."""
        parts, facts = text_view(
            self._chosen(asked),
            str(asked.get("text", "")),
            special=bool(asked.get("special")),
            add_special_tokens=bool(asked.get("around")),
        )
        return {"parts": parts, "facts": facts}

    def tokens_facts(self, asked: Asked) -> Answered:
        """What is so of the tokenizers whatever the text."""
        return {"html": facts_html(self._chosen(asked), self._sets)}

    def tokens_chat(self, asked: Asked) -> Answered:
        """A conversation, rendered."""
        conversation = conversation_of(str(asked.get("messages", "")), str(asked.get("tools", "")))
        conversation.setdefault("add_generation_prompt", bool(asked.get("generation")))
        html, facts = conversation_view(self._chosen(asked), conversation)
        return {"html": html, "facts": facts}

    def tokens_rows(self, asked: Asked) -> Answered:
        """Training rows with their loss masks."""
        tokenizer = next(iter(self._chosen(asked).values()))
        html, facts = rows_view(tokenizer, str(asked.get("text", "")), int(asked.get("seed", 0)))
        return {"html": html, "facts": facts}

    def tokens_vocabulary(self, asked: Asked) -> Answered:
        """Tokens that a query finds."""
        return {"html": found_html(self._chosen(asked), str(asked.get("query", "")), str(asked.get("by", "text")))}

    def tokens_answer(self, asked: Asked) -> Answered:
        """The prompt of a chat's answer, its messages and its tokenizer."""
        return of_answer(self._store, self.tokenizers, str(asked.get("turn", "")))

    def tokens_score(self, asked: Asked) -> Answered:
        """Begin to score a text."""
        name, text = str(asked.get("model", "")), str(asked.get("text", ""))
        self._pool.spec(name)
        return {"job": self._jobs.start(lambda: score(self._pool, name, text))}

    def tokens_scored(self, asked: Asked) -> Answered:
        """The tokens that were scored since the page last asked: it has seen `seen` of them."""
        job = self._jobs.get(str(asked.get("job")))
        done, tokens, seen = job.done, list(job.results), max(0, int(asked.get("seen", 0)))
        html, facts = scored_html(tokens[seen:], seen)
        told = summary(tokens, done=done) if tokens else ""
        return {
            "html": html,
            "box": box("Tokens of the text", "", "wh-tk-scored"),
            "facts": facts,
            "seen": len(tokens),
            "summary": told,
            "done": done,
            "error": job.error,
        }

    def tokens_check(self, asked: Asked) -> Answered:
        """Begin to check the first chosen tokenizer."""
        from whetstone.workflows.parity import check_parity

        name = next(iter(self._names(asked)))
        source = self.tokenizers.source(name)
        return {"job": self._jobs.start(lambda: check_parity(source))}

    def tokens_checked(self, asked: Asked) -> Answered:
        """The findings so far."""
        job = self._jobs.get(str(asked.get("job")))
        done, findings = job.done, list(job.results)
        html = findings_html(findings, done=done) if findings or not job.error else ""
        return {"html": html, "done": done, "error": job.error}

    def tokens_stop(self, asked: Asked) -> Answered:
        """End a job."""
        self._jobs.get(str(asked.get("job"))).stop()
        return {}

    def _names(self, asked: Asked) -> list[str]:
        given = asked.get("tokenizers")
        names = list(dict.fromkeys(map(str, given))) if isinstance(given, list) else []
        if not names:
            raise UsageError("no tokenizer is chosen: tick at least one")
        if len(names) > MOST_TOKENIZERS:
            raise UsageError(f"{len(names)} tokenizers are chosen; at most {MOST_TOKENIZERS} are shown side by side")
        return names

    def _chosen(self, asked: Asked) -> dict[str, Tokenizer]:
        return {name: self.tokenizers.get(name) for name in self._names(asked)}
