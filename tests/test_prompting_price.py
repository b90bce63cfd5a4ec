"""The price prompt: the course's form to the letter, and truncation that touches nothing but the item's text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_hf
from whetstone.errors import RequestRefusedError, UsageError
from whetstone.models import load_model
from whetstone.models.scripted import ScriptedModel
from whetstone.prompting.price import PricePrompt
from whetstone.types import assistant, user

LAMP = "A brass lamp"
FORGETS_THE_END = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}\nReply:"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("models")
    templates = {"chatml": tiny_hf.CHATML, "none": None, "forgets": FORGETS_THE_END}
    loaded = {name: load_model(f"hf:{tiny_hf.llama(folder / name, text)}") for name, text in templates.items()}
    yield loaded
    for model in loaded.values():
        model.close()


def test_the_form_is_the_courses() -> None:
    prompt = PricePrompt()
    assert prompt.text(LAMP) == "How much does this cost to the nearest dollar?\n\nA brass lamp\n\nPrice is $"
    assert [prompt.completion(price) for price in (129, 129.49, 129.51, 0.2)] == ["129.00", "129.00", "130.00", "0.00"]


def test_it_is_the_text_that_the_courses_items_carry(shared_data: Path) -> None:
    lines = (shared_data / "price_is_right" / "items_250.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    written = PricePrompt()
    for prompt in prompts:
        item = prompt.removeprefix(f"{written.question}\n\n").removesuffix(f"\n\n{written.label}")
        assert len(item) < len(prompt) - 40
        assert written.text(item) == prompt


def test_examples_stand_before_the_item_each_with_its_price() -> None:
    written = PricePrompt().written(LAMP, [("A drill", 90.4), ("A sofa", 899.0)])
    first, second, asked = written.split("How much does this cost to the nearest dollar?\n\n")[1:]
    assert first == "A drill\n\nPrice is $90.00\n\n"
    assert second == "A sofa\n\nPrice is $899.00\n\n"
    assert asked == f"{LAMP}\n\nPrice is $"


def test_the_chat_has_examples_as_earlier_turns_and_a_reply_that_has_begun() -> None:
    prompt = PricePrompt("chat", "What is it worth?")
    assert prompt.messages(LAMP, [("A drill", 90.4)]) == [
        user("What is it worth?\n\nA drill"),
        assistant("Price is $90.00"),
        user(f"What is it worth?\n\n{LAMP}"),
        assistant("Price is $"),
    ]


def test_other_numbers_have_their_own_decimals() -> None:
    prompt = PricePrompt(question="What is the rating?", label="Rating =", places=1)
    assert prompt.written("x", [("y", 4.25)]).startswith("What is the rating?\n\ny\n\nRating =4.2\n\nWhat")


@pytest.mark.parametrize(("form", "model"), [("plain", "none"), ("plain", "chatml"), ("chat", "chatml")])
def test_the_tokens_spell_the_prompt_and_end_where_the_number_follows(
    form: Any, model: str, models: dict[str, Any]
) -> None:
    prompt, engine = PricePrompt(form), models[model]
    found = prompt.ids(engine, LAMP)
    text = engine.vocabulary.decode(found.ids)
    assert found.cut == 0
    assert text.endswith("A brass lamp\n\nPrice is $" if form == "plain" else "Price is $")
    assert text.count(prompt.question) == 1
    if form == "plain":
        assert text == prompt.text(LAMP)
    else:
        assert found.ids == engine.prompt_ids(prompt.messages(LAMP))


@settings(max_examples=60, deadline=None)
@given(
    item=st.text(max_size=120), room=st.integers(0, 60), form=st.sampled_from(["plain", "chat"]), shown=st.booleans()
)
def test_what_does_not_fit_is_cut_from_the_item_and_from_nothing_else(
    models: dict[str, Any], item: str, room: int, form: Any, shown: bool
) -> None:
    prompt, model = PricePrompt(form), models["chatml"]
    examples = [("A drill", 90.0)] if shown else []
    item = "".join(character for character in item if not 0xD800 <= ord(character) < 0xE000)
    limit = len(prompt.ids(model, "", examples=examples).ids) + room
    found = prompt.ids(model, item, limit, examples)
    assert len(found.ids) <= limit
    kept = item[: len(item) - found.cut]
    assert found.ids == prompt.ids(model, kept, examples=examples).ids
    if found.cut:
        assert len(prompt.ids(model, item, examples=examples).ids) > limit  # nothing is cut without need


def test_a_long_text_fills_the_limit(models: dict[str, Any]) -> None:
    item = " ".join(["A wooden table with four legs, colour brown."] * 80)
    found = PricePrompt().ids(models["none"], item, 200)
    assert 198 <= len(found.ids) <= 200
    assert models["none"].vocabulary.decode(found.ids).startswith("How much does this cost")
    assert found.cut > 2000


def test_a_limit_below_the_prompt_itself_is_refused(models: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="tokens alone, and the limit is 5"):
        PricePrompt().ids(models["none"], LAMP, 5)


class Swallows:
    """A model whose template closes every message, also one that is only begun."""

    def __init__(self, model: Any) -> None:
        self.vocabulary, self.identity = model.vocabulary, model.identity

    def render(self, messages: Any, options: Any = None) -> str:
        return "".join(f"{message['content']}</s>" for message in messages)

    def prompt_ids(self, messages: Any, options: Any = None) -> list[int]:
        ids: list[int] = self.vocabulary.encode(self.render(messages)).ids
        return ids


def test_a_template_that_swallows_the_prompts_end_is_refused(models: dict[str, Any]) -> None:
    with pytest.raises(RequestRefusedError, match=r"does not leave 'Price is \$' at the prompt's end"):
        PricePrompt("chat").ids(Swallows(models["chatml"]), LAMP)  # type: ignore[arg-type]
    with pytest.raises(RequestRefusedError, match="chat template refuses these messages"):
        PricePrompt("chat").ids(models["forgets"], LAMP)
    assert models["forgets"].vocabulary.decode(PricePrompt().ids(models["forgets"], LAMP).ids).endswith("Price is $")


def test_a_model_that_hides_its_tokens_is_refused() -> None:
    with pytest.raises(UsageError, match="does not show its tokens: take a local model"):
        PricePrompt().ids(ScriptedModel(["$1"]), LAMP)
