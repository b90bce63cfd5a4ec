"""One conversation as a model sees it: ids, what each token is, and what would be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_tokenizer import CHATML, tokenizer_folder
from whetstone.errors import DataError, RequestRefusedError, UsageError
from whetstone.tokens.chat import RenderedChat, render_chat
from whetstone.tokens.roles import probe_roles
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.training import training_row

TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "I want to buy a tie"},
    {"role": "assistant", "content": "Which colour?"},
    {"role": "user", "content": "a red one 👔"},
    {"role": "assistant", "content": "42 원"},
]
FAMILIES = Path(__file__).parents[2] / "shared" / "data" / "tokenizers"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(str(tokenizer_folder(tmp_path_factory.mktemp("tiny"))))


def learned(chat: RenderedChat) -> str:
    """What is learned, each character once."""
    positions = sorted({n for (a, b), on in zip(chat.offsets, chat.trained, strict=True) if on for n in range(a, b)})
    return "".join(chat.text[n] for n in positions)


contents = st.text(max_size=20).filter(lambda text: text.isprintable() or "\n" in text) | st.sampled_from(
    ["<|im_end|>", "a<|im_start|>user\nb", "<|im_", "end|>", " padded ", "한국어 👋🏽", "", "\n\nx"]
)
talks = st.lists(contents, min_size=1, max_size=5).map(
    lambda said: [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
)


@given(messages=talks, prompt=st.booleans())
@settings(max_examples=200)
def test_the_ids_are_transformers_ids_and_pasted_control_tokens_stay_text(
    tiny: Tokenizer, messages: list[dict[str, Any]], prompt: bool
) -> None:
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast.from_pretrained(tiny.source, local_files_only=True)
    chat = render_chat(tiny, messages, add_generation_prompt=prompt)
    assert tiny.decode(chat.ids) == chat.text
    if not chat.pasted:
        wanted = theirs.apply_chat_template(messages, add_generation_prompt=prompt, return_dict=False)
        assert chat.ids == list(wanted)
    # Exactly the control tokens that the template wrote, however the messages spell them.
    shape = [{**message, "content": "x"} for message in messages]
    control = set(tiny.encode("<|im_start|><|im_end|><|endoftext|>", special=True).ids)
    wanted = theirs.apply_chat_template(shape, add_generation_prompt=prompt, return_dict=False)
    assert [i for i in chat.ids if i in control] == [i for i in wanted if i in control]


@given(messages=talks)
def test_every_token_knows_its_characters(tiny: Tokenizer, messages: list[dict[str, Any]]) -> None:
    chat = render_chat(tiny, messages)
    assert len(chat.ids) == len(chat.offsets) == len(chat.trained)
    assert {n for start, end in chat.offsets for n in range(start, end)} == set(range(len(chat.text)))
    for token in range(len(chat.ids)):
        span = chat.span_of(token)
        assert span.start <= chat.offsets[token][0] < span.end


def test_answers_and_the_token_that_ends_them_are_learned_and_nothing_else(tiny: Tokenizer) -> None:
    assert learned(render_chat(tiny, TALK)) == "Which colour?<|im_end|>42 원<|im_end|>"
    assert learned(render_chat(tiny, TALK[:1])) == ""
    assert learned(render_chat(tiny, [*TALK[:3], {"role": "assistant", "content": ""}])) == "Which colour?<|im_end|>"


def test_a_template_that_says_what_is_learned_is_believed(tmp_path: Path) -> None:
    own = (
        "{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}"
        "{{ message.content }}{% endgeneration %}{% else %}{{ message.content }}{% endif %}|{% endfor %}"
    )
    chat = render_chat(load_tokenizer(str(tokenizer_folder(tmp_path / "own", own))), TALK)
    assert learned(chat) == "Which colour?42 원"


def test_what_the_template_writes_into_an_answer_is_learned(tmp_path: Path) -> None:
    thinking = CHATML.replace(
        "'<|im_start|>' + message['role'] + '\n' + message['content']",
        "'<|im_start|>' + message['role'] + '\n' + ('<think>\n</think>\n' if message.role == 'assistant' else '')"
        " + message['content']",
    )
    chat = render_chat(load_tokenizer(str(tokenizer_folder(tmp_path / "think", thinking))), TALK[:2])
    assert learned(chat) == "<think>\n</think>\nWhich colour?<|im_end|>"


def test_rows_of_a_training_set_are_learned_from_their_answers(tiny: Tokenizer) -> None:
    assert learned(training_row(tiny, {"messages": TALK})) == "Which colour?<|im_end|>42 원<|im_end|>"
    asked = {"prompt": TALK[:3], "completion": TALK[3:]}
    assert learned(training_row(tiny, asked)) == "42 원<|im_end|>"
    text = training_row(tiny, {"prompt": "Price is $", "completion": "42"})
    assert (learned(text), text.text) == ("42<|im_end|>", "Price is $42<|im_end|>")
    assert text.ids[:-1] == [*tiny.encode("Price is $").ids, *tiny.encode("42").ids]
    with pytest.raises(DataError, match="row 7 holds 'question'"):
        training_row(tiny, {"question": "?"}, "row 7")


def test_an_answer_is_continued_inside_itself(tiny: Tokenizer) -> None:
    chat = render_chat(tiny, TALK[:2], continue_final_message=True)
    assert chat.text.endswith("<|im_start|>assistant\nWhich colour?")


def test_a_base_model_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no chat template: it belongs to a base model"):
        render_chat(load_tokenizer(str(tokenizer_folder(tmp_path / "base", None))), TALK)


def test_refusals_name_the_tokenizer(tmp_path: Path) -> None:
    strict = "{% if messages[0].role != 'user' %}{{ raise_exception('the user begins') }}{% endif %}"
    tokenizer = load_tokenizer(str(tokenizer_folder(tmp_path / "strict", strict)))
    with pytest.raises(RequestRefusedError, match=r"strict.*the user begins"):
        render_chat(tokenizer, TALK[1:])


@pytest.mark.parametrize("family", ["llama-3.1", "phi-3", "qwen2", "smollm2"])
def test_real_families_have_transformers_ids(family: str) -> None:
    from transformers import PreTrainedTokenizerFast

    folder = FAMILIES / family
    if not folder.is_dir():
        pytest.skip(f"needs the tokenizers of five families, which are not at {FAMILIES}")
    theirs = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    tokenizer = load_tokenizer(str(folder))
    for messages in (TALK, TALK[:3], [{"role": "system", "content": "Be kind."}, *TALK]):
        prompt = messages[-1]["role"] == "user"
        chat = render_chat(tokenizer, messages, add_generation_prompt=prompt)
        assert chat.ids == list(theirs.apply_chat_template(messages, add_generation_prompt=prompt, return_dict=False))
        assert learned(chat).startswith("Which colour?<|")


def test_what_a_template_takes_refuses_and_passes_over_is_told(tiny: Tokenizer, tmp_path: Path) -> None:
    found = {finding.probe: finding for finding in probe_roles(tiny)}
    assert found["a system prompt"].outcome == "taken"
    assert (found["tools"].outcome, found["tools"].detail) == ("passed over", "tool-name-7")
    assert found["parts of text"].outcome == "refused"
    strict = (
        "{% for m in messages %}{% if m.role != ['user', 'assistant'][loop.index0 % 2] %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}{% endfor %}"
    )
    strictly = {one.probe: one for one in probe_roles(load_tokenizer(str(tokenizer_folder(tmp_path / "s", strict))))}
    assert strictly["a user alone"].outcome == "taken"
    assert {strictly[probe].outcome for probe in ("the assistant first", "two users in a row")} == {"refused"}
    assert "roles must alternate" in strictly["a system prompt"].detail
