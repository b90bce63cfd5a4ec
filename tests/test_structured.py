"""Structured output: constrained where the engine can, else asked for in words, checked, and repaired within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from whetstone.errors import ContextTooLongError, LoginError, MisfitError, ModelError, RequestRefusedError, UsageError
from whetstone.models import load_model
from whetstone.models.base import ReplyStream
from whetstone.models.scripted import ScriptedModel, last_user_message
from whetstone.prompting.json_reply import json_values
from whetstone.prompting.reply_schema import ReplySchema, UnfitError
from whetstone.prompting.structured import Structured, Structurer, structured, structured_many
from whetstone.types import Message, Options, Reply, system, user

AGE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
}
ASKED = [system("You read texts."), user("Ada is 36.")]


class Person(BaseModel):
    name: str
    age: int = Field(ge=0)
    children: list[Person] = []


class WordsOnly(ScriptedModel):
    """A scripted model of an engine that cannot constrain replies."""

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
        if options.json_schema is not None:
            raise RequestRefusedError("this engine cannot constrain a reply")
        return super().stream(messages, options)


# The engine constrains


def test_the_engine_is_told_the_schema_and_the_question_stays_as_it_is() -> None:
    model = ScriptedModel(['{"name": "Ada", "age": 36}'])
    found = structured(model, ASKED, AGE, options=Options(temperature=0))
    assert found.value == {"name": "Ada", "age": 36}
    assert (found.raw, found.constrained, found.attempts, found.errors) == ('{"name": "Ada", "age": 36}', True, 1, ())
    (request,) = model.asked
    assert list(request.messages) == ASKED
    assert request.options.temperature == 0
    assert request.options.json_schema is not None
    assert request.options.json_schema["properties"] == AGE["properties"]
    assert found.usage.completion_tokens == 4


def test_a_pydantic_class_gives_its_objects() -> None:
    model = ScriptedModel(['{"name": "Ada", "age": "36", "children": [{"name": "Byron", "age": 1}]}'])
    found = structured(model, ASKED, Person)
    assert found.value == Person(name="Ada", age=36, children=[Person(name="Byron", age=1)])


@pytest.mark.parametrize(
    ("kind", "reply", "value"),
    [(list[int], "[1, 2]", [1, 2]), (Literal["yes", "no"], '"no"', "no"), (dict[str, float], '{"a": 1.5}', {"a": 1.5})],
)
def test_any_type_that_pydantic_knows_will_do(kind: Any, reply: str, value: Any) -> None:
    assert structured(ScriptedModel([reply]), ASKED, kind).value == value


def test_a_limit_of_tokens_keeps_a_local_model_from_going_on_for_ever() -> None:
    model = ScriptedModel(["1", "2"])
    structured(model, ASKED, {"type": "integer"})
    structured(model, [user("more")], {"type": "integer"}, options=Options(max_tokens=7))
    assert [request.options.max_tokens for request in model.asked] == [2048, 7]


# The engine cannot


def test_what_the_engine_refuses_is_asked_for_in_words() -> None:
    model = WordsOnly(['Sure! Here it is:\n```json\n{"name": "Ada", "age": 36}\n```\nAnything else?'])
    found = structured(model, ASKED, AGE)
    assert found.value == {"name": "Ada", "age": 36}
    assert (found.constrained, found.attempts) == (False, 1)
    (request,) = model.asked
    assert request.messages[0] == ASKED[0]
    assert last_user_message(request.messages).startswith("Ada is 36.\n\nAnswer with JSON only")
    assert json.dumps(AGE) in last_user_message(request.messages)


def test_an_engine_that_wants_every_property_gets_them_all() -> None:
    class Strict(ScriptedModel):
        def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
            asked = options.json_schema
            if asked is None or sorted(asked.get("required", ())) != sorted(asked["properties"]):
                raise RequestRefusedError("'required' must name every property")
            return super().stream(messages, options)

    optional = {**AGE, "required": ["name"]}
    assert structured(Strict(['{"name": "Ada", "age": 1}']), ASKED, optional).constrained


def test_a_refusal_of_the_question_itself_is_told_and_not_taken_for_one_of_the_schema() -> None:
    class Refusing(ScriptedModel):
        def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
            if "forbidden" in str(messages):
                raise RequestRefusedError("not about that")
            return super().stream(messages, options)

    asker = Structurer(Refusing(lambda _: "1"), {"type": "integer"})
    outcomes = dict(asker.ask_many([[user("a")], [user("forbidden")], [user("b")]]))
    assert isinstance(outcomes[1], RequestRefusedError)
    assert all(isinstance(outcomes[i], Structured) and outcomes[i].constrained for i in (0, 2))  # type: ignore[union-attr]
    assert asker.refusal == ""
    assert asker.rates.to_json() == {"asked": 2, "constrained": 2, "in_words": 0, "repaired": 0, "failed": 0}


def test_an_engine_that_refuses_is_told_the_schema_once_for_many_questions() -> None:
    refused: list[Options] = []

    class Counting(WordsOnly):
        def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
            if options.json_schema is not None:
                refused.append(options)
            return super().stream(messages, options)

    asker = Structurer(Counting(lambda _: "3", concurrency=4), {"type": "integer"})
    assert len([1 for _, one in asker.ask_many([[user(str(n))] for n in range(9)]) if one.value == 3]) == 9  # type: ignore[union-attr]
    assert len(refused) == 1
    assert "cannot constrain" in asker.refusal
    assert str(asker.rates) == "9 asked: 9 in words (100 %)"


def test_an_engine_that_answers_in_batches_and_cannot_constrain_gets_them_in_words() -> None:
    batches: list[tuple[int, bool]] = []

    class Batches(ScriptedModel):
        def reply_many(
            self,
            conversations: Sequence[Sequence[Message]],
            options: Options = Options(),  # noqa: B008
        ) -> Iterator[tuple[int, Reply | ModelError]]:
            batches.append((len(conversations), options.json_schema is not None))
            if options.json_schema is not None:
                raise RequestRefusedError("this engine cannot constrain a reply")
            for index, messages in enumerate(conversations):
                yield index, Reply("3" if len(messages) > 1 or index else "none")

    asker = Structurer(Batches(), {"type": "integer"})
    assert len(list(asker.ask_many([[user(str(n))] for n in range(5)]))) == 5
    assert batches == [(1, True), (1, False), (5, False)]
    assert asker.rates.to_json() == {"asked": 5, "constrained": 0, "in_words": 4, "repaired": 1, "failed": 0}


def test_a_spec_that_never_sends_schemas_is_asked_in_words() -> None:
    model = ScriptedModel(["3"], spec="scripted:python?omit=seed,json_schema")
    assert not structured(model, ASKED, {"type": "integer"}).constrained
    assert model.asked[0].options.json_schema is None


# Repairs


def test_a_reply_that_does_not_fit_is_held_up_to_the_model_with_what_is_wrong() -> None:
    model = WordsOnly(['{"name": "Ada", "age": -1}', '{"name": "Ada", "age": 36}'])
    found = structured(model, ASKED, AGE)
    assert (found.attempts, found.value["age"]) == (2, 36)
    assert found.errors == ("age: -1 is less than the minimum of 0",)
    *_, said, again = model.asked[1].messages
    assert said["content"] == '{"name": "Ada", "age": -1}'
    assert "age: -1 is less than the minimum of 0" in str(again["content"])
    assert [tried.raw for tried in found.tries] == ['{"name": "Ada", "age": -1}', '{"name": "Ada", "age": 36}']
    assert found.usage.completion_tokens == 8


def test_repairs_are_bounded_and_the_error_says_what_was_wrong() -> None:
    model = WordsOnly(["no", "still no", "never", "{}"])
    with pytest.raises(
        MisfitError, match="none of 3 replies fits the schema; the last: there is no complete JSON"
    ) as caught:
        structured(model, ASKED, AGE)
    assert len(model.asked) == 3
    assert caught.value.raw == "never"
    assert len(caught.value.errors) == 3
    with pytest.raises(MisfitError, match="the reply does not fit"):
        structured(WordsOnly(["no"]), ASKED, AGE, repairs=0)


def test_an_endpoint_that_ignores_the_schema_is_then_asked_in_words() -> None:
    model = ScriptedModel(["Ada, thirty-six", '{"name": "Ada", "age": 36}'])  # the first is no JSON: a BadReplyError
    found = structured(model, ASKED, AGE)
    assert (found.attempts, found.constrained) == (2, False)
    assert "a JSON reply is asked for" in found.errors[0]


def test_a_reply_that_was_cut_off_is_asked_for_again_with_less_room() -> None:
    model = ScriptedModel([json.dumps({"names": ["Ada"] * 50}), '{"names": ["Ada"]}'])
    schema = {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}}
    found = structured(model, ASKED, schema, options=Options(max_tokens=20))
    assert "cut off at its limit of 20 tokens" in found.errors[0]
    first, second = (request.options.json_schema or {} for request in model.asked)
    assert "maxItems" not in first["properties"]["names"]
    assert second["properties"]["names"]["maxItems"] == 5
    assert second["properties"]["names"]["items"]["maxLength"] == 120


NAMES = {
    "type": "object",
    "properties": {
        "names": {
            "type": "array",
            "items": {"type": "object", "properties": {"is": {"type": "string"}}, "required": ["is"]},
        }
    },
    "required": ["names"],
}


def test_where_lists_may_stay_open_a_reply_that_was_cut_off_counts_as_far_as_it_goes() -> None:
    many = json.dumps({"names": [{"is": f"name{number}"} for number in range(50)]})
    asker = Structurer(ScriptedModel([many]), NAMES, options=Options(max_tokens=20), open_lists=True)
    found = asker.ask(ASKED)
    assert (found.attempts, found.cut_off) == (1, True)
    names = [one["is"] for one in found.value["names"]]
    assert 0 < len(names) < 50
    assert names == [f"name{number}" for number in range(len(names))]


def test_a_whole_reply_is_none_that_was_cut_off() -> None:
    asker = Structurer(ScriptedModel(['{"names": [{"is": "Ada"}]}']), NAMES, open_lists=True)
    found = asker.ask(ASKED)
    assert (found.value, found.cut_off) == ({"names": [{"is": "Ada"}]}, False)


def test_a_beginning_without_a_whole_value_is_asked_for_again() -> None:
    model = ScriptedModel(['{"surname": "a name that goes on and on and on and on"}', '{"names": []}'])
    found = Structurer(model, NAMES, options=Options(max_tokens=5), open_lists=True).ask(ASKED)
    assert (found.value, found.attempts, found.cut_off) == ({"names": []}, 2, False)


@given(
    st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4), max_leaves=12), st.floats(0, 1)
)
def test_of_a_list_that_was_cut_off_only_whole_entries_are_left(value: Any, share: float) -> None:
    schema = {"type": "array", "items": {"type": "array", "minItems": 1, "items": {"type": "integer"}}}
    text = json.dumps([[1, 2], value, [3]])
    try:
        found = ReplySchema[Any](schema).read_beginning(text[: round(share * len(text))])
    except UnfitError:
        return
    jsonschema.validate(found, schema)
    assert all(
        entry == whole or entry == whole[: len(entry)]
        for entry, whole in zip(found, [[1, 2], value, [3]], strict=False)
    )


def test_a_conversation_that_grows_too_long_is_a_misfit_and_a_long_question_is_too_long() -> None:
    with pytest.raises(MisfitError, match="the context holds"):
        structured(WordsOnly(lambda _: "x " * 60, context_length=120), ASKED, AGE)
    with pytest.raises(ContextTooLongError):
        structured(WordsOnly(["{}"], context_length=20), ASKED, AGE)


def test_an_error_that_concerns_everything_is_raised() -> None:
    with pytest.raises(LoginError):
        structured(ScriptedModel(["{}"], faults={0: "login"}), ASKED, AGE)
    with pytest.raises(LoginError):
        list(structured_many(ScriptedModel(["{}"], faults={0: "login"}), [ASKED], AGE))


def test_many_questions_are_answered_each_with_its_own_outcome() -> None:
    def say(messages: Sequence[Message]) -> str:
        asked = json.dumps(messages)
        if "never" in asked:
            return '{"name": 3}'
        return '{"name": "a", "age": 1}' if "again" in asked or "good" in asked else '{"name": "a"}'

    asker = Structurer(ScriptedModel(say, concurrency=3), AGE)
    outcomes = dict(asker.ask_many([[user("good")], [user("bad")], [user("never")], [user("good too")]]))
    assert [outcomes[i].attempts for i in (0, 1, 3)] == [1, 2, 1]  # type: ignore[union-attr]
    assert isinstance(outcomes[2], ModelError)
    assert asker.rates.to_json() == {"asked": 4, "constrained": 2, "in_words": 0, "repaired": 1, "failed": 1}
    assert str(asker.rates) == "4 asked: 2 constrained (50 %), 1 repaired (25 %), 1 failed (25 %)"


def test_what_cannot_be_asked_is_said_before_anything_is_asked() -> None:
    model = ScriptedModel()
    with pytest.raises(UsageError, match="the last one is the assistant's"):
        structured(model, [user("a"), {"role": "assistant", "content": "{"}], AGE)
    with pytest.raises(UsageError, match="leave both out"):
        structured(model, ASKED, AGE, options=Options(json_schema={}))
    assert not model.asked


# Schemas


def tree(**more: Any) -> dict[str, Any]:
    node = {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, **more}
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


NESTED: dict[str, Any] = {"type": "integer"}
for _ in range(300):
    NESTED = {"type": "array", "items": NESTED}
ITSELF: dict[str, Any] = {"type": "object", "properties": {}}
ITSELF["properties"]["again"] = ITSELF


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "refers back to itself"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#"}, True]}}, "allOf": [{"$ref": "#/$defs/a"}]}, "refers back to itself"),
        (tree(properties={"child": {"$ref": "#/$defs/node"}}, required=["child"]), "no value of finite size"),
        ({"properties": {"a": False}, "required": ["a"], "type": "object"}, "no value of finite size"),
        (ITSELF, "it contains itself; write a \\$ref"),
        (NESTED, "more than 64 levels"),
        ({"$ref": "https://example.com/schema.json"}, "only references inside the schema"),
        ({"$ref": "#/$defs/none"}, "names nothing in the schema"),
        ({"type": "object", "propertys": {}}, "'propertys' is no keyword .* did you mean 'properties'"),
        ({"type": "text"}, "'text' is none of array"),
        ({"type": "array", "items": [{"type": "string"}]}, "is called prefixItems"),
        ({"type": "string", "pattern": "("}, "no regular expression"),
        ({"type": "string", "pattern": "^(a+)+$"}, "may take for ever"),
        ({"$dynamicRef": "#x"}, r"\$dynamicRef is not supported"),
        ({"$schema": "https://example.com/other"}, "of the dialect"),
        ({"enum": [object()]}, "cannot be written as JSON"),
        ({"anyOf": [{"const": n} for n in range(3000)]}, "and the limit is 2,000"),
    ],
)
def test_a_schema_that_cannot_be_worked_with_is_refused_in_one_sentence(schema: Any, complaint: str) -> None:
    model = ScriptedModel()
    with pytest.raises(UsageError, match=complaint) as caught:
        structured(model, ASKED, schema)
    assert "\n" not in str(caught.value)
    assert not model.asked


def test_recursion_is_unrolled_for_the_engine_and_free_for_the_check() -> None:
    deep: dict[str, Any] = {}
    for _ in range(12):
        deep = {"below": [deep]}
    model = ScriptedModel([json.dumps(deep)])
    assert structured(model, ASKED, tree(additionalProperties=False)).value == deep
    sent = json.dumps(model.asked[0].options.json_schema)
    assert sent.count('"type": "object"') == 4  # the root and three levels
    assert '"maxItems": 0' in sent


def test_a_schema_that_grows_without_end_when_written_out_is_kept_small() -> None:
    doubling = {f"d{n}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}, "b": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(40)}  # fmt: skip  # noqa: E501
    schema = {"$ref": "#/$defs/d0", "$defs": {**doubling, "d40": {"type": "integer"}}}
    model = ScriptedModel(["{}"])
    assert structured(model, ASKED, schema).value == {}
    assert len(json.dumps(model.asked[0].options.json_schema)) < 20_000


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({"type": "string", "pattern": r"^\d{4}$"}, {"type": "string", "pattern": "^[0-9]{4}$"}),
        ({"type": "string", "pattern": r"\bword\b"}, {"type": "string"}),
        (
            {"type": "object", "patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False},
            {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}},
        ),
        ({"type": "integer", "multipleOf": 3, "default": 6}, {"type": "integer"}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"type": "object", "properties": {"a": True}, "required": ["b"]},
            {"type": "object", "properties": {"a": {}, "b": {}}, "additionalProperties": False, "required": ["b"]},
        ),
        (
            {
                "allOf": [{"type": "object", "properties": {"a": {"type": "null"}}}, {"$ref": "#/$defs/b"}],
                "$defs": {"b": {"properties": {"b": {"const": 1}}, "required": ["b"]}},
            },
            {
                "type": "object",
                "properties": {"a": {"type": "null"}, "b": {"const": 1}},
                "additionalProperties": False,
                "required": ["b"],
            },
        ),
    ],
)  # fmt: skip
def test_an_engine_gets_the_schema_in_words_that_it_knows(schema: Any, form: Any) -> None:
    model = ScriptedModel(["1"])
    dict(structured_many(model, [ASKED], schema, repairs=0))
    assert model.asked[0].options.json_schema == form


# JSON in replies


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Of course: {"a": [1, 2]} - done', {"a": [1, 2]}),
        ("```\n[1]\n```", [1]),
        ("```json\n{\"a\": 1}", {"a": 1}),
        ("{'a': True, 'b': None, 'c': 'it\\'s',}", {"a": True, "b": None, "c": "it's"}),
        ('{name: "Ada", // the first\n "age": 36,}', {"name": "Ada", "age": 36}),
        ('{"text": "two\nlines, and a } in it"}', {"text": "two\nlines, and a } in it"}),
        ("set {x} to {\"a\": 1}", {"a": 1}),
        ('{"ko": "서울 \\ud83d\\ude00"}', {"ko": "서울 😀"}),
    ],
)  # fmt: skip
def test_json_is_found_in_a_reply(reply: str, value: Any) -> None:
    assert next(json_values(reply)) == value


@pytest.mark.parametrize(
    "reply", ["", "none", '{"a": 1', "{" * 5000, "[" * 100_000, '{"a": NaN}', '{"a": "\\ud83d"}', "{'a" * 3000]
)
def test_what_is_no_whole_json_is_none(reply: str) -> None:
    assert list(json_values(reply)) in ([], [[]])


@given(st.text(alphabet="{}[]\",:'\\ nul1Tre-/\n`", max_size=60))
def test_no_reply_breaks_the_reading(reply: str) -> None:
    for value in json_values(reply):
        json.dumps(value, allow_nan=False)


# The embedded model


def test_the_embedded_model_fills_a_schema() -> None:
    model = load_model("smollm2")
    try:
        kinds = {"type": "array", "items": {"enum": ["fruit", "tool"]}, "minItems": 1, "maxItems": 2}
        schema = {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 20}, "kinds": kinds, "below": {"$ref": "#/$defs/n"}},
            "required": ["name", "kinds"],
            "$defs": {"n": {"type": "object", "properties": {"below": {"$ref": "#/$defs/n"}}}},
        }
        options = Options(temperature=0, max_tokens=60)
        asker = Structurer(model, schema, options=options)
        questions = [[user(f"Describe: {thing}.")] for thing in ("apple", "hammer")]
        outcomes = dict(asker.ask_many(questions))
        assert asker.rates.constrained == 2, outcomes
        assert all(set(one.value["kinds"]) <= {"fruit", "tool"} for one in outcomes.values())  # type: ignore[union-attr]
    finally:
        model.close()
