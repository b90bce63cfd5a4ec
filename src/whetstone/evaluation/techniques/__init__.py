"""The techniques by name: ways to answer that a comparison lets compete.

A spec is `name` or `name:arguments`: "constant:median", "knn:10", "few-shot:nearest:3", "guesses:human.csv". What a
name stands for is called with the arguments (the text after the first colon) and the context, and gives a
`Technique`.
"""

from __future__ import annotations

from whetstone.errors import UsageError
from whetstone.evaluation.technique import Technique, TechniqueContext
from whetstone.registry import Registry
from whetstone.types import Problem

_FOLDER = "whetstone.evaluation.techniques"

TECHNIQUES = Registry(
    "technique",
    {
        "constant": f"{_FOLDER}.constant:Constant",
        "linear": f"{_FOLDER}.linear:Linear",
        "tfidf": f"{_FOLDER}.tfidf:TfidfRidge",
        "knn": f"{_FOLDER}.knn:NearestNeighbours",
        "lightgbm": f"{_FOLDER}.boosted:BoostedTrees",
        "ask": f"{_FOLDER}.asked:Ask",
        "few-shot": f"{_FOLDER}.asked:FewShot",
        "vote": f"{_FOLDER}.voted:Voted",
        "price": f"{_FOLDER}.priced:Priced",
        "calibrated": f"{_FOLDER}.calibrated:Calibrated",
        "hidden-ridge": f"{_FOLDER}.hidden:HiddenRidge",
        "ensemble": f"{_FOLDER}.ensemble:Ensemble",
        "tuned": f"{_FOLDER}.tuned:Tuned",
        "retrieved": f"{_FOLDER}.retrieved:Retrieved",
        "guesses": f"{_FOLDER}.guesses:Guesses",
    },
    group="whetstone.techniques",
)

__all__ = ["TECHNIQUES", "build_technique", "default_techniques"]


def build_technique(spec: str, context: TechniqueContext) -> Technique:
    """The technique that a spec names, not fitted yet.

    Raises:
        UnknownNameError: no such technique; near matches are offered.
        UsageError: its arguments cannot be read; the sentence names what it takes.
    """
    name, colon, arguments = spec.strip().partition(":")
    if colon and not arguments:
        raise UsageError(f"{spec!r} ends in a colon: write {name!r} alone, or an argument after the colon")
    technique: Technique = TECHNIQUES.resolve(name)(arguments, context)
    return technique


def default_techniques(problem: Problem) -> list[str]:
    """The specs that a comparison runs when none is asked for: every one that can work on this problem."""
    from whetstone.evaluation.techniques.columns import FieldColumns

    trainable = problem.train or (problem.test if problem.cross_fit else ())
    if not trainable:
        return ["ask"]
    if problem.kind == "text":
        return ["ask", "few-shot:nearest:3"]
    constants = ["constant:mean", "constant:median"] if problem.kind == "number" else ["constant:mode"]
    linear = ["linear"] if FieldColumns(trainable) else []
    return [*constants, *linear, "tfidf", "knn:10", "lightgbm", "ask", "few-shot:nearest:3"]
