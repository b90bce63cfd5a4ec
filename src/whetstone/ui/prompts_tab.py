"""The Prompts tab: the library, an editor that checks as one types, a trial on values, and scores on a card's cases.

The fields are plain HTML (`prompts_form`); `prompts_page.js` sends what they hold to the functions of `PromptsServer`,
each of which takes one JSON object and gives one. A refusal comes as a sentence under "error". Trials and scores go on
when their page is reloaded; of scores every answer is kept, also when the server ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError, WhetstoneError
from whetstone.models import ChatModel, ModelSpec, load_model, parse_spec
from whetstone.models.pool import ModelPool
from whetstone.models.watched import ReplyWatch, watched
from whetstone.prompting.library import PromptLibrary
from whetstone.prompting.template import Template
from whetstone.tasks import Card, CardShelf
from whetstone.types import Options, Problem
from whetstone.ui.asked import Answered, Asked, text_of_file, told
from whetstone.ui.compare_earlier import links_html
from whetstone.ui.compare_live import LiveComparison
from whetstone.ui.compare_view import live_html, result_html
from whetstone.ui.knowledge_work import Task, Tasks, Tell
from whetstone.ui.prompts_form import NEW, form_html, values_html
from whetstone.ui.prompts_view import answer_html, asked_html, cases_html, diff_html, library_html, state_html
from whetstone.ui.tabs import Workbench
from whetstone.ui.tasks_form import asked_options
from whetstone.ui.tasks_view import progress_html
from whetstone.workflows.prompt_draft import Draft, draft, misfit
from whetstone.workflows.prompt_run import PromptAnswer, run_prompt
from whetstone.workflows.prompt_scores import PromptArm, score_prompts
from whetstone.workflows.task_problem import card_problem

_MOST_CHARACTERS = 100_000  # of a prompt
_USUAL = Options(temperature=0, max_tokens=512)
_OWN = "the card's own"


def build_prompts(page: Workbench, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab where it is called."""
    server = PromptsServer(pool, own_user=page.own_user, cards=page.cards)
    styles = "".join(map(text_of_file, ("lab_style.css", "tasks_style.css")))
    gr.HTML(
        value=f"<style>{styles}</style>{form_html(server.models(), page.cards, may_save=server.may_save)}",
        js_on_load="".join(map(text_of_file, ("lab_page.js", "lab_job.js", "prompts_page.js"))),
        apply_default_css=False,
        elem_id="wh-prompts",
        server_functions=server.functions(),
    )


@dataclass
class _Trial:
    """A prompt that is run on values.

    Attributes:
        model: its name.
        watch: follows the reply.
        answer: once it is there.
    """

    model: str
    watch: ReplyWatch = field(default_factory=ReplyWatch)
    answer: PromptAnswer | None = None


class _Scoring(LiveComparison):
    """A comparison whose model can be stopped in the middle of a reply."""

    def __init__(self, problem: Problem, tell: Tell[LiveComparison]) -> None:
        super().__init__(problem, tell)
        self.watch = ReplyWatch()

    def load(self, spec: str) -> ChatModel:
        """The model of a spec, followed by `watch`."""
        return watched(load_model(spec), self.watch)


class PromptsServer:
    """What the page asks for. One instance serves all browser tabs.

    Args:
        pool: names the models. Scores load their own copies: what else they are asked must not touch the answers.
        own_user: see `Workbench`; others save no prompts on the server, and open no reports on all of its runs.
        cards: see `Workbench`.
    """

    def __init__(self, pool: ModelPool, *, own_user: bool, cards: CardShelf) -> None:
        self._pool = pool
        self._cards = cards
        self.may_save = own_user or pool.any_spec
        self._tasks = Tasks()

    def models(self) -> list[str]:
        """Names of the models that may be asked: all but those that answer from documents."""
        return self._pool.answering_alone()

    def functions(self) -> list[Callable[[Any], Answered]]:
        """The functions, under the names by which the page calls them."""
        return [
            told(self.prompts_list),
            told(self.prompts_new),
            told(self.prompts_open),
            told(self.prompts_card),
            told(self.prompts_check),
            told(self.prompts_values),
            told(self.prompts_preview),
            told(self.prompts_save),
            told(self.prompts_run),
            told(self.prompts_score),
            told(self.prompts_watch),
            told(self.prompts_stop),
        ]

    def _card(self, asked: Asked) -> Card:
        """The card that a page chose: one of those that are offered."""
        return self._cards.find(str(asked.get("card", "")))

    # The library and the editor.

    def prompts_list(self, asked: Asked) -> Answered:
        """The library, and the prompts of the cards."""
        library = PromptLibrary()
        prompts = library.list()
        versions = {prompt.stem: _versions(library, prompt.stem) for prompt in prompts}
        return {"html": library_html(prompts, versions, self._cards)}

    def prompts_new(self, asked: Asked) -> Answered:
        """A text to begin with."""
        return {"name": "", "source": NEW}

    def prompts_open(self, asked: Asked) -> Answered:
        """A prompt of the library, or a version of it."""
        prompt = PromptLibrary().find(str(asked.get("prompt", "")))
        return {"name": prompt.stem, "source": prompt.template.source}

    def prompts_card(self, asked: Asked) -> Answered:
        """A card's own prompt, to begin with."""
        card = self._card(asked)
        which = str(asked.get("prompt", "prompt"))
        template = card.prompts.get(which)
        if template is None:
            raise UsageError(f"the card {card.name} has no prompt {which!r}")
        name = card.name if which == "prompt" else f"{card.name}-{which.replace('.', '-')}"
        return {"name": name, "source": template.source}

    def prompts_check(self, asked: Asked) -> Answered:
        """What a text is as a prompt: its problem or its variables, and what changed since the version before."""
        found = self._draft(asked)
        beside = [(found.before.reference, found.before.reference)] if found.before is not None else []
        fits = [card.name for card in self._cards if found.template and not misfit(card, found.template)]
        return {
            "state": state_html(found),
            "diff": diff_html(found),
            "variables": list(found.template.variables) if found.template is not None else None,
            "label": found.label if found.template is not None else "",
            "new": not found.problem and found.kept is None and bool(found.name),
            "version": found.template.version if found.template is not None else 0,
            "versions": _versions(PromptLibrary(), found.name),
            "beside": [*beside, ("card", f"{_OWN} prompt"), ("", "nothing else")],
            "fits": fits,
        }

    def prompts_values(self, asked: Asked) -> Answered:
        """Fields for a prompt's variables."""
        return {"html": values_html(self._template(asked).variables)}

    def prompts_preview(self, asked: Asked) -> Answered:
        """What a model would be asked with values."""
        return {"html": asked_html(self._template(asked).messages(_values(asked)))}

    def prompts_save(self, asked: Asked) -> Answered:
        """Keep a text as a new version."""
        if not self.may_save:
            raise UsageError("prompts are saved by the server's own user only")
        found = self._usable(asked)
        if not found.name:
            raise UsageError("give the prompt a name first")
        if found.kept is None:
            saved = PromptLibrary().save(found.name, found.source)
            words = f"Saved as {saved.reference}, in the prompts of the {saved.source}."
        else:
            saved, words = found.kept, f"This text is saved already, as {found.kept.reference}."
        return {"words": words, "source": saved.template.source}

    # Trials and scores.

    def prompts_run(self, asked: Asked) -> Answered:
        """Begin to ask a model once, with values."""
        template = self._template(asked)
        name = str(asked.get("model", ""))
        self._pool.spec(name)
        values = _values(asked)
        template.messages(values)  # before a model is loaded
        options = _USUAL.model_copy(update=asked_options(asked).model_dump(exclude_none=True, exclude_defaults=True))
        trial = _Trial(name)

        def work(tell: Tell[_Trial]) -> None:
            tell(trial)
            model = self._pool.get(name)
            tell(trial)
            ((_, trial.answer),) = run_prompt(template, watched(model, trial.watch), [values], options=options)

        return {"job": self._tasks.start("trial", work)}

    def prompts_score(self, asked: Asked) -> Answered:
        """Begin to score a prompt on the cases of a card, with another one beside it."""
        found = self._usable(asked)
        card = self._card(asked)
        spec = _bare(parse_spec(self._pool.spec(str(asked.get("model", "")))))
        arms = [PromptArm(found.label, found.template)]
        beside = str(asked.get("beside", ""))
        if beside == "card":
            arms.insert(0, PromptArm(f"{_OWN} @{card.prompt().version}"))
        elif beside:
            other = PromptLibrary().find(beside)
            arms.insert(0, PromptArm(other.reference, other.template))
        for arm in arms:
            if arm.template is not None and (why := misfit(card, arm.template)):
                raise UsageError(why)

        def work(tell: Tell[Any]) -> str:
            problem = card_problem(card)
            live = _Scoring(problem, tell)
            report = score_prompts(card, arms, model=spec, watcher=live, load=live.load)
            links = links_html([result.run_id for result in report.results]) if self.may_save else ""
            return f"{result_html(report)}{links}{cases_html(report)}"

        return {"job": self._tasks.start("scores", work)}

    def prompts_watch(self, asked: Asked) -> Answered:
        """How far a trial or scores are, or what came of them."""
        task = self._tasks.get(str(asked.get("job")))
        done, news, error = task.done, task.news, task.error
        if isinstance(news, _Trial):
            return {"html": _trial_html(news, task, done), "done": done, "error": error, "stopping": task.stopped}
        if done and task.result is not None:
            return {"html": task.result, "done": True}
        html = live_html(news) if isinstance(news, LiveComparison) else ""
        if done and task.stopped:
            html = f'<p class="wh-note">Stopped. What was answered is kept: score it again to go on.</p>{html}'
        return {"html": html, "done": done, "error": error, "stopping": task.stopped}

    def prompts_stop(self, asked: Asked) -> Answered:
        """Stop a trial or scores, in the middle of a reply if need be."""
        task = self._tasks.get(str(asked.get("job")))
        task.stop()
        if isinstance(task.news, _Trial | _Scoring):
            task.news.watch.stop()
        return {}

    def _draft(self, asked: Asked) -> Draft:
        source = str(asked.get("source", ""))
        if len(source) > _MOST_CHARACTERS:
            raise UsageError(f"the prompt has more than {_MOST_CHARACTERS:,} characters: shorten it")
        return draft(PromptLibrary(), str(asked.get("name", "")).strip(), source)

    def _usable(self, asked: Asked) -> Draft:
        """The draft of the page.

        Raises:
            UsageError: it cannot be used.
        """
        found = self._draft(asked)
        if found.problem:
            raise UsageError(found.problem)
        return found

    def _template(self, asked: Asked) -> Template:
        """The prompt of the page.

        Raises:
            UsageError: it cannot be used.
        """
        template = self._usable(asked).template
        assert template is not None  # what has no problem is a prompt
        return template


def _trial_html(trial: _Trial, task: Task[Any], done: bool) -> str:
    if trial.answer is not None:
        return answer_html(trial.answer, trial.model)
    if done:
        return '<p class="wh-note">Stopped.</p>' if task.stopped else ""
    return progress_html("asking the model", 0, 1, trial.watch.text)


def _versions(library: PromptLibrary, name: str) -> list[int]:
    """The versions of a prompt that can be opened, the newest first."""
    try:
        return [one.version for one in library.versions(name) if not one.problem]
    except WhetstoneError:  # it is new, or its name is none
        return []


def _values(asked: Asked) -> dict[str, Any]:
    """The values of a prompt's variables: texts, and JSON where the page says so.

    Raises:
        UsageError: what is to be JSON is none.
    """
    given, as_json = asked.get("values"), asked.get("json")
    values = {str(name): str(text) for name, text in given.items()} if isinstance(given, Mapping) else {}
    read: dict[str, Any] = dict(values)
    for name in as_json if isinstance(as_json, list) else []:
        try:
            read[name] = json.loads(values.get(name, ""))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name}: this is no JSON: {error}") from None
    return read


def _bare(spec: ModelSpec) -> str:
    """A spec without slots, which are for a server's many readers, and no part of what is judged."""
    return str(replace(spec, options={key: value for key, value in spec.options.items() if key != "slots"}))
