"""Code for a description: taken out of the reply, read by Python, on request run, and repaired from its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from whetstone.errors import BadReplyError
from whetstone.tasks.asking import Answer, Plan
from whetstone.tasks.code_text import code_in, syntax_error
from whetstone.tasks.result import Outcome
from whetstone.tasks.task import Task

if TYPE_CHECKING:
    from whetstone.tools.contained import Ran
    from whetstone.tools.contained_sql import SqlRan

_MOST_ERROR = 1500  # characters of an error that the model is shown: the end of a traceback says what is wrong


@dataclass(frozen=True)
class _Draft:
    """Code, and what is wrong with it."""

    code: str | None
    problem: str = ""  # one sentence, "" for nothing
    detail: str = ""  # for the model
    ran: Ran | SqlRan | None = None


def code_plan(task: Task) -> Plan[Outcome]:
    """Code that does what the task says.

    Code that Python cannot read, and code that fails when it is run, is given back to the model with the error.

    Raises:
        BadReplyError: there is no code in the reply, however often it was asked for.
        ContextTooLongError: the description does not fit.
        ContainmentError: it was to be run, and this machine has no guards for it.
    """
    asking = task.asking("answer", {})
    if not task.holds(asking):
        raise task.too_long()
    (answer,) = yield [asking]
    draft = _draft(task, answer)
    notes: list[str] = []
    for number in range(1, task.settings.repairs + 1):
        if not draft.problem:
            break
        notes.append(f"attempt {number} failed: {draft.problem}")
        shown = {"code": draft.code or answer.text.strip(), "error": draft.detail or draft.problem}
        again = task.asking(f"repair {number}", shown, prompt="repair")
        if not task.holds(again):
            notes.append("the error and the code do not fit the context together, so that no repair was asked for")
            break
        (answer,) = yield [again]
        repaired = _draft(task, answer)
        if repaired.code is None and draft.code is not None:  # code that fails is better than none
            notes.append(f"the reply to that held no code, so the code before it was kept ({repaired.problem})")
            break
        draft = repaired
    if draft.code is None:
        raise BadReplyError(f"{task.model.identity.name} wrote no code: {answer.text.strip()[:80]!r}")
    if draft.problem:
        notes.append(f"the code still fails: {draft.problem}")
    elif notes:
        notes.append("the code below was repaired from that")
    if answer.cut_off:
        notes.append("the answer was cut off at the limit of tokens; max_tokens raises it")
    if not task.settings.run:
        notes.append("the code was not run")
    return Outcome(draft.code, answer.text, tuple(notes), draft.ran)


def _draft(task: Task, answer: Answer) -> _Draft:
    """The code of an answer, read and, where that is wanted, run."""
    language = str(task.values["language"])
    code = code_in(answer.text, language)
    if code is None:
        return _Draft(None, f"the answer holds no block of {language} code")
    if language == "python" and (wrong := syntax_error(code)) is not None:
        return _Draft(code, f"Python cannot read it: {wrong}")
    if not task.settings.run:
        return _Draft(code)
    return _run_sql(code, task) if language == "sql" else _run_python(code, task)


def _run_python(code: str, task: Task) -> _Draft:
    from whetstone.tools.contained import run_contained

    tests = str(task.values["tests"]).strip()
    ran = run_contained(f"{code}\n\n{tests}\n" if tests else f"{code}\n")
    if ran.fine:
        return _Draft(code, ran=ran)
    detail = ran.stderr.strip()[-_MOST_ERROR:] if ran.killed_by is None else ""
    return _Draft(code, ran.problem, detail or ran.problem, ran)


def _run_sql(code: str, task: Task) -> _Draft:
    from whetstone.tools.contained_sql import run_sql

    ran = run_sql(str(task.values["tables"]), code)
    return _Draft(code, ran.problem, ran.problem, ran)
