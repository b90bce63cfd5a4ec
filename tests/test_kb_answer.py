"""Questions answered from documents, from the folder to the citation: real search, scripted and embedded models."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kb_small import HANDBOOK, synced, write
from whetstone.errors import ContextTooLongError, ModelConnectionError, UnknownNameError, UsageError
from whetstone.models import ContextModel, RenderingModel, TokenizingModel, load_model, parse_spec, reply
from whetstone.models.catalogue import cost
from whetstone.models.knowledge_spec import answering_spec, knowledge_name, knowledge_spec
from whetstone.models.scripted import ScriptedModel
from whetstone.retrieval.confidence import THRESHOLD
from whetstone.retrieval.kb_model import KnowledgeModel, with_knowledge
from whetstone.retrieval.library import open_knowledge
from whetstone.retrieval.prompt import NOT_SAID
from whetstone.retrieval.sources import ATTRIBUTED, CITED, UNSUPPORTED
from whetstone.types import Chunk, Message, ModelIdentity, Options, Usage, assistant, system, text_of, user

LEAVE = "How many days of annual leave does everyone at Hazelworks have?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "docs", HANDBOOK)
    synced(tmp_path / "docs")
    return tmp_path / "docs"


Answering = Callable[..., KnowledgeModel]


@pytest.fixture
def answering(folder: Path) -> Iterator[Answering]:
    """Makes a model that answers from the handbook."""
    made: list[KnowledgeModel] = []

    def with_model(model: ScriptedModel) -> KnowledgeModel:
        spec = parse_spec(f"kb:handbook@{model.identity.spec}")
        made.append(with_knowledge(spec, open_knowledge("handbook"), model))
        return made[-1]

    yield with_model
    for model in made:
        model.close()


def number_of(messages: Sequence[Message], words: str) -> int:
    """The number of the passage that holds some words, as the request gives it."""
    before = text_of(messages[-1]).partition(words)[0]
    return int(before.rpartition("Passage [")[2].partition("]")[0])


def test_an_answer_cites_the_passage_and_the_citation_opens_it(answering: Answering, folder: Path) -> None:
    model = answering(ScriptedModel(lambda m: f"27 days [{number_of(m, '27 days')}]."))
    answer = reply(model, [user(LEAVE)])
    (citation,) = answer.citations
    assert (citation.base, citation.path, citation.attributed) == ("handbook", "leave.md", False)
    assert citation.trail.startswith("Leave")
    # What is cited is what stands in the document's text.
    assert citation.text in (folder / "leave.md").read_text()
    assert citation.end - citation.start == len(citation.text)
    ((start, end),) = citation.spans
    assert answer.text[start:end] == f"[{citation.number}]"
    assert answer.text.endswith(f"\n\n{CITED}\n- [{citation.number}] {citation.where}")
    assert answer.finish_reason == "stop"


def test_a_number_that_was_not_given_is_taken_out(answering: Answering) -> None:
    answer = reply(answering(ScriptedModel(["27 days [99][1]."])), [user(LEAVE)])
    assert answer.text.startswith("27 days [1].")
    assert [citation.number for citation in answer.citations] == [1]


def test_what_a_model_without_citations_says_is_attributed_and_said_to_be(answering: Answering) -> None:
    said = "Everyone has 27 days of annual leave."
    answer = reply(answering(ScriptedModel([said])), [user(LEAVE)])
    (citation,) = answer.citations
    assert citation.attributed
    assert "27 days" in citation.text
    assert [answer.text[start:end] for start, end in citation.spans] == [said]
    assert f"\n\n{ATTRIBUTED}\n- [{citation.number}] leave.md" in answer.text


def test_what_no_passage_supports_is_said_to_be_unsupported(answering: Answering) -> None:
    answer = reply(answering(ScriptedModel(["They have 99 weeks on the moon with free cheese."])), [user(LEAVE)])
    assert answer.citations == ()
    assert answer.text.endswith(UNSUPPORTED)


def test_the_documents_do_not_say_without_asking_the_model(answering: Answering) -> None:
    inner = ScriptedModel(["never said"])
    for question in ("What is the boiling point of ethanol?", "Who painted the Sistine Chapel?"):
        answer = reply(answering(inner), [user(question)])
        assert (answer.text, answer.citations, answer.usage) == (NOT_SAID, (), Usage())
    assert inner.asked == []
    assert reply(answering(inner), [user("프랑스의 수도는 어디인가요?")]).text.startswith("문서에는")


def test_a_model_that_says_so_itself_gets_no_sources(answering: Answering) -> None:
    answer = reply(answering(ScriptedModel([NOT_SAID])), [user(LEAVE)])
    assert answer.text == NOT_SAID


def test_certainty_tells_apart_what_the_documents_say(answering: Answering) -> None:
    model = answering(ScriptedModel(["x"]))
    said = (LEAVE, "Who is the founder of Hazelworks?", "What may a hotel cost in Norway?", "who bakes on fridays")
    not_said = ("Who discovered penicillin?", "How do I tune a guitar?", "When did the Berlin Wall fall?")
    assert min(model.prepare([user(question)]).confidence for question in said) >= THRESHOLD
    assert max(model.prepare([user(question)]).confidence for question in not_said) < THRESHOLD


def test_the_model_is_sent_the_conversation_with_passages_in_the_question(answering: Answering) -> None:
    inner = ScriptedModel(["x"])
    talk = [system("Be brief."), user("Hello"), assistant("Hello."), user(LEAVE)]
    model = answering(inner)
    rendered = model.render(talk)  # type: ignore[attr-defined]
    reply(model, talk)
    (asked,) = inner.asked
    assert list(asked.messages[:3]) == talk[:3]
    assert "27 days of annual leave" in text_of(asked.messages[3])
    assert rendered == inner.render(asked.messages)


def test_a_question_that_leans_on_the_conversation_is_searched_for_in_full(answering: Answering) -> None:
    def say(messages: Sequence[Message]) -> str:
        asked = text_of(messages[-1])
        return "How many days does Ingrid Solberg bake?" if "Write the last question again" in asked else "x [1]"

    model = answering(ScriptedModel(say))
    talk = [
        user("Who is Ingrid Solberg?"),
        assistant("The founder of Hazelworks."),
        user("How many days does she bake?"),
    ]
    made = model.prepare(talk)
    assert made.question == "How many days does she bake?"
    assert "Ingrid Solberg" in made.standalone
    assert made.usage.completion_tokens > 0
    # What rewriting took is counted with the answer.
    inner = made.packed
    assert inner is not None
    assert reply(model, talk).usage.prompt_tokens == made.usage.prompt_tokens + inner.tokens


def test_the_page_changes_and_the_next_answer_is_the_new_name(answering: Answering, folder: Path) -> None:
    def founder(messages: Sequence[Message]) -> str:
        line = next(line for line in text_of(messages[-1]).splitlines() if "founder" in line and line.startswith("> "))
        return f"{line[2:].partition(' is the ')[0]} [1]"

    model = answering(ScriptedModel(founder))
    question = [user("Who is the founder of Hazelworks?")]
    assert reply(model, question).text.startswith("Ingrid Solberg [1]")
    write(folder, {"people.md": HANDBOOK["people.md"].replace("Ingrid Solberg", "Amina Diallo")})
    synced(folder)
    assert reply(model, question).text.startswith("Amina Diallo [1]")
    (folder / "people.md").unlink()
    synced(folder)
    assert all(hit.chunk.path != "people.md" for hit in model.prepare(question).hits)


def test_what_does_not_fit_is_left_out_and_a_question_that_leaves_no_room_is_refused(answering: Answering) -> None:
    small = answering(ScriptedModel(["x"], context_length=250))
    packed = small.prepare([user(LEAVE)], Options(max_tokens=60)).packed
    assert packed is not None
    assert packed.left_out
    assert packed.tokens + 60 <= 250
    with pytest.raises(ContextTooLongError, match="no passage"):
        reply(small, [user(f"{LEAVE} {'please ' * 220}")])


def test_json_and_tools_are_passed_on_untouched(answering: Answering) -> None:
    model = answering(ScriptedModel(['{"days": [27]}']))
    assert reply(model, [user(LEAVE)], Options(json_schema={"type": "object"})).text == '{"days": [27]}'


def test_a_conversation_without_a_question_is_refused(answering: Answering) -> None:
    for talk in ([system("Be brief.")], [user("  ")]):
        with pytest.raises(UsageError, match="holds none"):
            reply(answering(ScriptedModel(["x"])), talk)


def test_a_failing_model_fails_and_what_came_before_is_passed_on(answering: Answering) -> None:
    model = answering(ScriptedModel(["half of this never comes because it breaks"], faults={0: "half_stream"}))
    came: list[Chunk] = []
    stream = model.stream([user(LEAVE)])
    with pytest.raises(ModelConnectionError):
        came += iter(lambda: next(stream), None)
    assert "half of this never comes because it breaks".startswith("".join(chunk.text for chunk in came))


def test_an_answer_is_stopped_from_another_thread(answering: Answering) -> None:
    model = answering(ScriptedModel(["word " * 500], delay=0.05))
    stream = model.stream([user(LEAVE)])
    next(stream)
    threading.Timer(0.05, stream.close).start()
    assert sum(1 for _ in stream) < 500


def test_protocols_are_those_of_the_answering_model(answering: Answering) -> None:
    model = answering(ScriptedModel(["x"], context_length=1000))
    assert isinstance(model, ContextModel)
    assert isinstance(model, RenderingModel)
    assert isinstance(model, TokenizingModel)
    assert model.context_length == 500  # the other half is kept for passages
    assert model.identity.engine == "scripted"
    assert "state 1" in model.identity.revision


def test_specs_hold_a_spec_of_any_kind() -> None:
    for text, name, answers in (
        ("kb:docs", "docs", "smollm2"),
        ("kb:docs@scripted:echo", "docs", "scripted:echo"),
        (
            "kb:문서@hf:Qwen/Qwen2.5-0.5B-Instruct@main?quantize=nf4",
            "문서",
            "hf:Qwen/Qwen2.5-0.5B-Instruct@main?quantize=nf4",
        ),
        ("kb:docs@ollama:llama3.2:1b?base_url=http://h/v1", "docs", "ollama:llama3.2:1b?base_url=http://h/v1"),
        ("kb:docs?context=8192", "docs", "smollm2?context=8192"),
    ):
        spec = parse_spec(text)
        assert (knowledge_name(spec), str(answering_spec(spec))) == (name, answers)
        assert str(parse_spec(str(spec))) == str(spec)
    assert str(answering_spec(parse_spec("scripted:echo"))) == "scripted:echo"
    assert knowledge_spec("docs", "kb:other@openai:x") == "kb:docs@openai:x"


def test_an_answer_costs_what_its_model_costs() -> None:
    plain = ModelIdentity("openai:gpt-4o-mini", "openai", "gpt-4o-mini")
    usage = Usage(1000, 1000)
    assert cost(replace(plain, spec="kb:docs@openai:gpt-4o-mini"), usage) == cost(plain, usage) != None  # noqa: E711
    assert cost(replace(plain, spec="kb:docs@vllm:x"), usage) == 0


def test_unknown_and_nested_knowledge_bases_are_refused(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="handbook"):
        load_model("kb:handbok@scripted:echo")
    with pytest.raises(UsageError, match="behind the @"):
        load_model("kb:handbook@kb:handbook")
    with pytest.raises(UsageError, match="name the knowledge base"):
        load_model("kb:")


def test_knowledge_bases_are_listed_as_models(folder: Path) -> None:
    from whetstone.workflows.inventory import list_models

    assert "kb:handbook" in [listing.spec for listing in list_models() if listing.usable]


def test_the_embedded_model_answers_and_every_answer_has_its_sources_or_says_that_it_has_none(folder: Path) -> None:
    model = load_model("kb:handbook@smollm2?context=2048")
    try:
        answer = reply(model, [user(LEAVE)], Options(temperature=0, max_tokens=60))
    finally:
        model.close()
    assert answer.text.strip()
    assert bool(answer.citations) == ((CITED in answer.text) or (ATTRIBUTED in answer.text))
    assert answer.usage.prompt_tokens > 100
    assert json.dumps(answer.text)


def test_an_answer_that_goes_in_circles_is_stopped_and_says_so(answering: Answering) -> None:
    circling = "Everyone has 27 days. " + "Leave is given by the manager [1]. It has to be asked for. " * 200
    answer = reply(answering(ScriptedModel([circling])), [user(LEAVE)])
    told, _, sources = answer.text.partition(" […]")
    assert told.count("It has to be asked for.") == 3
    assert CITED in sources
    assert answer.finish_reason == "stop"


def test_a_list_of_like_sentences_is_no_circle(answering: Answering) -> None:
    listed = "".join(f"In year {year} everyone has 27 days. " for year in range(2000, 2020))
    answer = reply(answering(ScriptedModel([listed])), [user(LEAVE)])
    assert "In year 2019" in answer.text
