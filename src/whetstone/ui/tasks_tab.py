"""The Tasks tab: everyday tasks, each with a form made of its card's inputs, its output, and what led to it.

The fields are plain HTML (`tasks_form`); `tasks_page.js` sends what they hold to the functions of `TasksServer`, each
of which takes one JSON object and gives one. A refusal comes as a sentence under "error". A task goes on when its page
is reloaded, and is found again by a name that only that page knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError
from whetstone.models.base import answers_apart
from whetstone.models.pool import ModelPool
from whetstone.models.watched import ReplyWatch, watched
from whetstone.tasks import Card, CardShelf
from whetstone.tasks.result import TaskResult
from whetstone.tasks.run import run_card
from whetstone.ui.apart import apart_html, is_apart
from whetstone.ui.asked import Answered, Asked, text_of_file, told
from whetstone.ui.knowledge_work import Task, Tasks, Tell
from whetstone.ui.price_files import sent_file
from whetstone.ui.tabs import Workbench
from whetstone.ui.tasks_cases import cases_html, expected_text, find_case, written_inputs
from whetstone.ui.tasks_form import about_html, asked_count, asked_inputs, asked_options, form_html, inputs_html
from whetstone.ui.tasks_view import progress_html, result_html, step_html
from whetstone.workflows.file_text import file_text

_REPAIRS = 2


def build_tasks(page: Workbench, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab where it is called."""
    server = TasksServer(pool, run_code=page.run_code, cards=page.cards)
    styles = text_of_file("lab_style.css") + text_of_file("tasks_style.css")
    gr.HTML(
        value=f"<style>{styles}</style>{form_html(server.models(), page.cards)}",
        js_on_load="".join(map(text_of_file, ("lab_page.js", "lab_job.js", "tasks_page.js"))),
        apply_default_css=False,
        elem_id="wh-tasks",
        server_functions=server.functions(),
    )


@dataclass
class _Doing:
    """A task under way.

    Attributes:
        card, values: what is done, with checked values for the inputs.
        model: its name.
        expected: of a case, the answer that is expected.
        watch: follows the model's replies.
        at: (what it does, replies that are there, replies asked for so far).
        result: once it is there.
        apart: whether the model is an encoder-decoder; False while that is not known.
    """

    card: Card
    values: Mapping[str, Any]
    model: str
    expected: str = ""
    watch: ReplyWatch = field(default_factory=ReplyWatch)
    at: tuple[str, int, int] = ("loading the model", 0, 0)
    result: TaskResult | None = None
    apart: bool = False


class TasksServer:
    """What the page asks for. One instance serves all browser tabs.

    Args:
        pool: the models.
        run_code, cards: see `Workbench`.
    """

    def __init__(self, pool: ModelPool, *, run_code: bool, cards: CardShelf) -> None:
        self._pool = pool
        self._run_code = run_code
        self._cards = cards
        self._tasks = Tasks()

    def models(self) -> list[str]:
        """Names of the models that may be asked: all but those that answer from documents."""
        return self._pool.answering_alone()

    def functions(self) -> list[Callable[[Any], Answered]]:
        """The functions, under the names by which the page calls them."""
        return [
            told(self.tasks_card),
            told(self.tasks_model),
            told(self.tasks_file),
            told(self.tasks_cases),
            told(self.tasks_case),
            told(self.tasks_start),
            told(self.tasks_watch),
            told(self.tasks_step),
            told(self.tasks_stop),
        ]

    def _card(self, asked: Asked) -> Card:
        """The card that a page chose: one of those that are offered, since a path would name a folder of the server."""
        return self._cards.find(str(asked.get("card", "")))

    # The form.

    def tasks_card(self, asked: Asked) -> Answered:
        """The fields of a card, and what is to be known of it."""
        card = self._card(asked)
        return {"about": about_html(card, self._cards.source(card)), "html": inputs_html(card, run_code=self._run_code)}

    def tasks_model(self, asked: Asked) -> Answered:
        """What is to be said of a model, before it is asked."""
        name = str(asked.get("model", ""))
        apart = is_apart(self._pool.spec(name))
        return {"html": apart_html(name, self._card(asked)) if apart else ""}

    def tasks_file(self, asked: Asked) -> Answered:
        """The text of a file."""
        with sent_file(asked, instead="whet task") as path:
            return {"text": file_text(path)}

    def tasks_cases(self, asked: Asked) -> Answered:
        """The cases of a card."""
        return {"html": cases_html(self._card(asked))}

    def tasks_case(self, asked: Asked) -> Answered:
        """One case, as the form takes it."""
        card = self._card(asked)
        return {"inputs": written_inputs(card, find_case(card, str(asked.get("case", ""))))}

    # A task.

    def tasks_start(self, asked: Asked) -> Answered:
        """Begin a task."""
        card = self._card(asked)
        name = str(asked.get("model", ""))
        self._pool.spec(name)
        inputs = asked_inputs(card, asked)
        given: dict[str, Any] = {
            "options": asked_options(asked),
            "shots": card.cases("train")[: asked_count(asked, "shots", "Solved cases shown first", 0)],
            "part_tokens": asked_count(asked, "part_tokens", "Tokens of a part", 0),
            "repairs": asked_count(asked, "repairs", "Repairs", _REPAIRS),
            "run": self._runs(asked),
        }
        case = find_case(card, str(asked["case"])) if asked.get("case") else None
        doing = _Doing(card, card.check(inputs), name, expected_text(case) if case is not None else "")

        def work(tell: Tell[_Doing]) -> None:
            def progress(what: str, done: int, count: int) -> None:
                doing.at = (what, done, count)
                tell(doing)

            tell(doing)
            model = self._pool.get(name)
            doing.apart = answers_apart(model)
            progress("asking the model", 0, 1)
            doing.result = run_card(card, watched(model, doing.watch), inputs, progress=progress, **given)

        return {"job": self._tasks.start("task", work)}

    def _runs(self, asked: Asked) -> bool:
        if asked.get("run") and not self._run_code:
            raise UsageError("This server runs no code; whet serve --run-code allows it")
        return bool(asked.get("run"))

    def tasks_watch(self, asked: Asked) -> Answered:
        """How far a task is, or what came of it."""
        task = self._tasks.get(str(asked.get("job")))
        done, doing = task.done, _doing(task)
        if doing is None:
            return {"html": "", "done": done, "error": task.error}
        if doing.result is not None:
            return {"html": result_html(doing.card, doing.values, doing.result, doing.expected), "done": True}
        if not done:
            return {"html": progress_html(*doing.at, doing.watch.text), "done": False, "stopping": task.stopped}
        html = apart_html(doing.model, doing.card) if doing.apart and task.error else ""
        if task.stopped:
            kept = doing.at[1] > 0
            more = " Parts that were read are kept: do it again, and it goes on from there." if kept else ""
            html = f'<p class="wh-note" role="status">Stopped.{more}</p>'
        return {"html": html, "done": True, "error": task.error}

    def tasks_step(self, asked: Asked) -> Answered:
        """A step of a result: what the model was asked, and what it replied."""
        doing = _doing(self._tasks.get(str(asked.get("job"))))
        number = asked.get("step")
        if doing is None or doing.result is None or not isinstance(number, int):
            raise UsageError("the server knows this step no longer: do the task again")
        steps = doing.result.steps
        if not 0 <= number < len(steps):
            raise UsageError(f"there are {len(steps)} steps, and no step {number + 1}")
        return {"html": step_html(steps[number])}

    def tasks_stop(self, asked: Asked) -> Answered:
        """Stop a task, in the middle of a reply if need be."""
        task = self._tasks.get(str(asked.get("job")))
        task.stop()
        doing = _doing(task)
        if doing is not None:
            doing.watch.stop()
        return {}


def _doing(task: Task[Any]) -> _Doing | None:
    news = task.news
    return news if isinstance(news, _Doing) else None
