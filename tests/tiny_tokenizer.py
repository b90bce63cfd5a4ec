"""A tokenizer folder made on the spot: byte-level BPE, ChatML, everything small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHATML = (
    "{%- for message in messages %}{%- if loop.first and message.role != 'system' %}"
    "{{- '<|im_start|>system\nYou are Tiny, made in a test.<|im_end|>\n' }}{%- endif %}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_TEXTS = [
    "the tie is red and the shop sells ties",
    "Price is $1,299.00 or $42",
    "You are a helpful assistant, user",
] * 3


def tokenizer_folder(
    folder: Path, template: str | None = CHATML, *, digits: bool = False, bos: str | None = None, **config: Any
) -> Path:
    """Write tokenizer.json and tokenizer_config.json.

    Args:
        folder: is made.
        template: the chat template.
        digits: cut numbers into single digits, before anything else.
        bos: a control token that the tokenizer puts before texts when it is asked to add special tokens.
        **config: more entries of tokenizer_config.json.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    steps = [pre_tokenizers.Digits(individual_digits=True), byte_level]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if digits else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXTS, trainer)
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        **({"bos_token": bos} if bos else {}),
        **({"chat_template": template} if template is not None else {}),
        **config,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
    return folder
