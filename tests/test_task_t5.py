"""Cards on an encoder-decoder: a small T5, trained here on the prompts that the cards make for its family."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_hf
from whetstone.errors import UsageError
from whetstone.models import load_model
from whetstone.models.base import answers_apart
from whetstone.tasks import cards, load_card
from whetstone.tasks.entities import Entity
from whetstone.tasks.run import run_card, run_card_many
from whetstone.types import text_of

LABELS = ["good", "bad"]
TEXT = "Ada Lovelace lived in London."
MAIN = {"text": TEXT, "types": ["person", "place"]}
# card, inputs, what a prompt is given besides them, the answer that is learned
LESSONS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("summarize", {"text": TEXT}, {}, "Ada in London."),
    ("classify", {"text": "I like it.", "labels": LABELS}, {}, "good"),
    ("classify", {"text": "It broke.", "labels": LABELS}, {}, "bad"),
    ("answer", {"text": TEXT, "question": "Where?"}, {}, "London"),
    ("translate", {"text": "Good day", "target": "German"}, {}, "Guten Tag"),
    ("entities", MAIN, {"type": "person"}, "Ada Lovelace; Bo"),
    ("entities", MAIN, {"type": "place"}, "London"),
]


def train(folder: Path) -> str:
    """A T5 that has learned the lessons by heart."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    tiny_hf.t5(folder)
    spec = f"hf:{folder}?device=cpu"
    model: Any = load_model(spec)
    prompts, answers = [], []
    for name, inputs, more, answer in LESSONS:
        card = load_card(name)
        messages = card.prompt(family="t5").messages({**card.check(inputs), **more})
        prompts.append(model.prompt_ids(messages))
        answers.append([*model.encode(answer), 2])
    model.close()
    torch.manual_seed(1)
    untrained = AutoModelForSeq2SeqLM.from_pretrained(folder)
    weights = type(untrained)(untrained.config).eval()  # with the weights that training begins from, and no dropout
    ids, labels = padded(prompts, 0), padded(answers, -100)
    optimizer = torch.optim.Adam(weights.parameters(), lr=0.005)
    for _ in range(300):
        loss = weights(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
        if loss.item() < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights.save_pretrained(folder)
    return spec


def padded(rows: list[list[int]], value: int) -> Any:
    import torch

    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    loaded = load_model(train(tmp_path_factory.mktemp("tiny") / "t5"))
    yield loaded
    loaded.close()


def test_every_card_that_suits_it_runs_on_it_through_its_spec(model: Any) -> None:
    assert answers_apart(model)
    learned = {
        ("summarize", TEXT): "Ada in London.",
        ("classify", "I like it."): "good",
        ("classify", "It broke."): "bad",
        ("answer", TEXT): "London",
        ("translate", "Good day"): "Guten Tag",
    }
    for name, inputs, _, _ in LESSONS[:5]:
        assert run_card(load_card(name), model, inputs).output == learned[name, inputs["text"]]


def test_it_is_asked_for_entities_one_type_at_a_time(model: Any) -> None:
    result = run_card(load_card("entities"), model, MAIN)
    assert result.output == (Entity("Ada Lovelace", "person", 0, 12), Entity("London", "place", 22, 28))
    assert [step.name for step in result.steps] == ["answer: person", "answer: place"]
    assert '"Bo"' in result.notes[0]


def test_it_sees_its_own_prompts_without_a_chat_template(model: Any) -> None:
    result = run_card(load_card("summarize"), model, {"text": TEXT})
    (message,) = result.steps[0].messages
    assert text_of(message) == f"summarize: {TEXT}"
    assert model.render(result.steps[0].messages) == f"summarize: {TEXT}"


def test_what_its_prompts_have_no_place_for_is_said(model: Any) -> None:
    inputs = {"text": "Good day", "target": "German", "formality": "formal", "glossary": {"tree": "Baum"}}
    result = run_card(load_card("translate"), model, inputs)
    assert result.notes[0] == "the prompt for t5 models has no place for formality and glossary, which were passed over"


def test_a_batch_goes_through_it_together(model: Any) -> None:
    inputs = [{"text": text, "labels": LABELS} for text in ("I like it.", "It broke.", "I like it.")]
    found = dict(run_card_many(load_card("classify"), model, inputs))
    assert [getattr(found[n], "output", None) for n in range(3)] == ["good", "bad", "good"]


def test_a_long_text_is_given_to_it_in_parts_though_no_end_is_built_in(model: Any) -> None:
    text = f"{TEXT} " * 120
    result = run_card(load_card("translate"), model, {"text": text, "target": "German"})
    assert all(step.usage.prompt_tokens <= 1024 for step in result.steps)
    assert "holds 1,024" in result.notes[0]


def test_cards_that_do_not_suit_it_say_why(model: Any) -> None:
    refused = {card.name for card in cards() if card.file.not_encoder_decoder}
    assert refused == {"essay", "code"}
    with pytest.raises(UsageError, match="cannot do essay: an encoder-decoder such as T5"):
        run_card(load_card("essay"), model, {"topic": "Rain"})
    with pytest.raises(UsageError, match="no line breaks, indentation or braces"):
        run_card(load_card("code"), model, {"task": "Add"})
