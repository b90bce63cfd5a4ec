"""Prompt templates, example answers, and the choice of examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from whetstone.embeddings import load_embedder
from whetstone.errors import DataError, UnknownNameError, UsageError
from whetstone.prompting.answers import unit_in_words, write_number
from whetstone.prompting.few_shot import (
    BalancedExamples,
    ExampleChooser,
    FixedExamples,
    NearestExamples,
    RandomExamples,
    SharedExamples,
)
from whetstone.prompting.template import Template, load_template
from whetstone.types import Case, assistant, system, user

HEAD = "---\nname: mine\nversion: 3\nkind: number\nvariables: [text]\n---\n"


def cases(count: int) -> list[Case]:
    return [Case(f"c{index}", f"thing number {index}", float(index)) for index in range(count)]


@pytest.mark.parametrize("kind", ["number", "label", "text"])
def test_each_kind_has_a_template_that_asks_with_the_users_question_or_its_own(kind: str) -> None:
    template = load_template(kind)
    values = {"text": "a drill", "question": "", "target": "tool type", "unit_name": "", "labels": ["saw", "drill"]}
    plain = template.messages(values)
    asked = template.messages({**values, "question": "What is it?"})
    assert template.kind == kind
    assert [message["role"] for message in plain] == ["system", "user"]
    assert "a drill" in str(plain[1]["content"])
    assert "What is the tool type" in str(plain[1]["content"])
    assert "What is it?" in str(asked[1]["content"])
    assert "tool type" not in str(asked[1]["content"])


def test_examples_become_earlier_turns() -> None:
    template = Template(
        "---\nname: t\nversion: 1\nkind: number\nvariables: [text]\nsystem: Be brief.\n---\n<{{ text }}>\n", "t"
    )
    messages = template.messages({"text": "c"}, [({"text": "a"}, "$1"), ({"text": "b"}, "$2")])
    assert messages == [
        system("Be brief."),
        user("<a>"), assistant("$1"),
        user("<b>"), assistant("$2"),
        user("<c>"),
    ]  # fmt: skip


def test_a_missing_value_is_named() -> None:
    with pytest.raises(UsageError, match="needs a value for 'text'"):
        Template(HEAD + "{{ text }}", "mine.md").messages({"target": "price"})


def test_what_is_filled_in_is_never_read_as_a_template() -> None:
    text = "{{ 7 * 7 }} {% raw %} <b>&amp;"
    assert Template(HEAD + "{{ text }}", "mine.md").messages({"text": text}) == [user(text)]


def test_templates_run_in_a_sandbox() -> None:
    with pytest.raises(UsageError, match="cannot be filled in"):
        Template(HEAD + "{{ text.__class__.__mro__ }}", "mine.md").messages({"text": "x"})


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("no head", "YAML head"),
        ("---\nname: [\n---\n{{ text }}", "not valid YAML"),
        ("---\nname: x\n---\n{{ text }}", "version"),
        (HEAD.replace("number", "numbre") + "{{ text }}", "kind"),
        (HEAD.replace("version: 3", "version: 3\ncolour: red") + "{{ text }}", "colour"),
        (HEAD + "{% if %}", "not valid Jinja"),
        (HEAD + "{{ text }} {{ txet }}", "'txet' is used but not listed"),
        (HEAD + "nothing", "'text' is listed under variables but not used"),
    ],
)
def test_a_broken_template_is_refused_with_its_file_and_reason(tmp_path: Path, source: str, complaint: str) -> None:
    path = tmp_path / "mine.md"
    path.write_text(source)
    with pytest.raises(DataError, match=complaint) as caught:
        load_template(str(path))
    assert "mine.md" in str(caught.value)


def test_unknown_and_missing_templates_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean number"):
        load_template("numbr")
    with pytest.raises(DataError, match="cannot be read"):
        load_template(str(tmp_path / "none.md"))


def test_the_digest_changes_with_the_text_only() -> None:
    one, same, other = (Template(HEAD + body, "t") for body in ("{{ text }}", "{{ text }}", "{{ text }}?"))
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (326.0, "$", "$326"), (325.6, "$", "$326"), (8.5, "$", "$8.50"), (0.5, "$", "$0.50"), (-8.5, "$", "-$8.50"),
        (1299.99, "$", "$1300"), (12.0, "€", "€12"), (2.5, "kg", "2.50 kg"), (40.0, "%", "40%"), (7.0, "", "7"),
        (0.01234, "", "0.0123"), (0.0, "$", "$0"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_a_model_is_to_write_them(value: float, unit: str, written: str) -> None:
    assert write_number(value, unit) == written


def test_units_are_named_in_words() -> None:
    assert [unit_in_words(unit) for unit in ("$", "₩", "kg", "")] == ["dollars", "won", "kg", ""]


def test_fixed_examples_span_the_answers_and_do_not_depend_on_the_order_of_the_pool() -> None:
    pool = cases(60)
    (chosen,) = FixedExamples(pool, 3, "number").choose([Case("new", "x", 0.0)])
    assert sorted(case.expected for case in chosen) == [10, 30, 50]
    assert FixedExamples(pool[::-1], 3, "number").choose([Case("new", "x", 0.0)]) == [chosen]


def test_fixed_examples_show_every_label_before_any_twice() -> None:
    pool = [Case(f"c{index}", f"text {index}", "rare" if index == 33 else "often") for index in range(60)]
    (chosen,) = FixedExamples(pool, 3, "label").choose([Case("new", "x", "often")])
    assert sorted(str(case.expected) for case in chosen) == ["often", "often", "rare"]


def test_random_examples_depend_on_the_seed_and_the_case_alone() -> None:
    pool = cases(50)
    asked = [Case(f"q{index}", "x", 0.0) for index in range(8)]
    chooser = RandomExamples(pool, 3, seed=1)
    forward = chooser.choose(asked)
    assert forward == chooser.choose(asked[::-1])[::-1]
    assert len({tuple(case.id for case in chosen) for chosen in forward}) > 1
    assert RandomExamples(pool, 3, seed=2).choose(asked) != forward


def test_nearest_examples_put_the_most_similar_last() -> None:
    pool = [
        Case("1", "Cordless drill with battery", 90.0),
        Case("2", "Sonnet about the sea", 5.0),
        Case("3", "Electric drill", 70.0),
    ]
    (chosen,) = NearestExamples(pool, 2, load_embedder()).choose([Case("q", "Cordless drill with two batteries", 0.0)])
    assert [case.id for case in chosen] == ["3", "1"]


def test_balanced_examples_give_every_label_its_share_however_rare() -> None:
    pool = [Case(f"c{index}", f"text {index}", "rare" if index < 3 else "often") for index in range(60)]
    asked = [Case(f"q{index}", "x", "often") for index in range(20)]
    chosen = BalancedExamples(pool, 4, "label", seed=1).choose(asked)
    assert {tuple(sorted(str(case.expected) for case in found)) for found in chosen} == {
        ("often", "often", "rare", "rare")
    }
    assert len({found[-1].expected for found in chosen}) == 2  # neither stands last every time
    assert len({tuple(case.id for case in found) for found in chosen}) > 5
    # A label without enough cases leaves its turns to the others; with fewer turns than labels these alternate.
    more = BalancedExamples(pool, 10, "label", seed=1).choose(asked)
    assert {sum(case.expected == "rare" for case in found) for found in more} == {3}
    single = BalancedExamples(pool, 1, "label", seed=1).choose(asked)
    assert {str(found[0].expected) for found in single} == {"rare", "often"}


def test_balanced_examples_of_numbers_come_one_from_every_band() -> None:
    pool = cases(60)
    for chosen in BalancedExamples(pool, 3, "number", seed=1).choose([Case(f"q{i}", "x", 0.0) for i in range(10)]):
        assert sorted(float(case.expected) // 20 for case in chosen) == [0, 1, 2]


def test_shared_examples_are_one_balanced_set_for_every_case() -> None:
    pool = [Case(f"c{index}", f"text {index}", "ab"[index % 2]) for index in range(40)]
    asked = [Case(f"q{index}", "x", "a") for index in range(8)]
    chosen = SharedExamples(pool, 4, "label", seed=1).choose(asked)
    assert all(found == chosen[0] for found in chosen)
    assert sorted(str(case.expected) for case in chosen[0]) == ["a", "a", "b", "b"]
    assert SharedExamples(pool, 4, "label", seed=2).choose(asked) != chosen


def test_balanced_examples_depend_on_the_seed_and_the_case_alone() -> None:
    pool = [Case(f"c{index}", f"text {index}", "ab"[index % 2]) for index in range(40)]
    asked = [Case(f"q{index}", "x", "a") for index in range(8)]
    chooser = BalancedExamples(pool, 3, "label", seed=1)
    assert chooser.choose(asked) == chooser.choose(asked[::-1])[::-1]
    assert BalancedExamples(pool[::-1], 3, "label", seed=1).choose(asked) == chooser.choose(asked)
    assert BalancedExamples(pool, 3, "label", seed=2).choose(asked) != chooser.choose(asked)


@pytest.mark.parametrize("method", ["fixed", "random", "balanced", "shared", "nearest"])
@pytest.mark.parametrize("count", [1, 4, 50])
def test_a_case_is_never_its_own_example(method: str, count: int) -> None:
    pool = cases(8)
    choosers: dict[str, ExampleChooser] = {
        "fixed": FixedExamples(pool, count, "number"),
        "random": RandomExamples(pool, count, seed=0),
        "balanced": BalancedExamples(pool, count, "number", seed=0),
        "shared": SharedExamples(pool, count, "number", seed=0),
        "nearest": NearestExamples(pool, count, load_embedder()),
    }
    for case, chosen in zip(pool, choosers[method].choose(pool), strict=True):
        assert case not in chosen
        assert len(chosen) == min(count, 7)
        assert len({other.id for other in chosen}) == len(chosen)
