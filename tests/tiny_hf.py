"""Makes model folders with random weights and a tokenizer trained on a few sentences. Each has some 100 kB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whetstone.models.hf_model import HfModel

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SENTENCES = [
    "The price of a round diamond of one carat is 5,000 dollars.",
    "What does this lamp cost? Answer with the number only: 12.50 or 99.",
    "Ein naïver Käufer zahlt zuviel; 안녕하세요, 세계! 🎉",
    "A wooden table with four legs, colour brown, 120 by 80 centimetres.",
    "Name three animals, then say which of them is the largest one.",
]


def tokenizer(template: str | None = CHATML) -> Any:
    """A byte-level BPE tokenizer; id 0 pads, 1 and 2 begin and end a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>", chat_template=template
    )


def words_of_t5(texts: list[str]) -> Any:
    """A Unigram tokenizer as T5's: words begin with a mark for the blank before them, texts end in </s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        texts,
        trainers.UnigramTrainer(
            vocab_size=260, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False,
            initial_alphabet=list("0123456789.,$"),
        ),
    )  # fmt: skip
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def save(folder: Path, config: Any, template: str | None = CHATML, **generation: Any) -> Path:
    """Save a model of this config with random weights, large enough that its replies differ from prompt to prompt."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    tokens = tokenizer(template)
    config.vocab_size = len(tokens)
    config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 2
    torch.manual_seed(0)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = kind.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    for name, value in generation.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}

# Every eleventh token ends a reply, so that rows finish at different times.
OFTEN = [2, *range(5, 400, 11)]


def load(folder: Path, query: str = "") -> HfModel:
    """The model of a folder, as Whetstone runs it."""
    from whetstone.models import load_model
    from whetstone.models.hf_model import HfModel

    model = load_model(f"hf:{folder}{query}")
    assert isinstance(model, HfModel)
    return model


def llama(
    folder: Path, template: str | None = CHATML, *, sizes: dict[str, Any] | None = None, **generation: Any
) -> Path:
    from transformers import LlamaConfig

    return save(folder, LlamaConfig(**{**SIZES, **(sizes or {})}), template, **generation)


def t5(folder: Path, **generation: Any) -> Path:
    from transformers import T5Config

    config = T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0)
    return save(folder, config, None, **generation)


def plain_loop(folder: Path, prompts: list[str], limit: int, **generation: Any) -> list[str]:
    """What tutorials do: one `generate` per rendered prompt."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)
    kind = AutoModelForSeq2SeqLM if is_encoder_decoder(folder) else AutoModelForCausalLM
    model = kind.from_pretrained(folder)
    texts = []
    for prompt in prompts:
        inputs = tokens(prompt, return_tensors="pt", add_special_tokens=not tokens.chat_template)
        output = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=limit,
            **{"do_sample": False, **generation},
        )
        start = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        ids = output[0, start:].tolist()
        ended = ids[-1] in (OFTEN if isinstance(model.generation_config.eos_token_id, list) else ())
        texts.append(tokens.decode(ids[:-1] if ended else ids, skip_special_tokens=True))
    return texts


def is_encoder_decoder(folder: Path) -> bool:
    from transformers import AutoConfig

    return bool(AutoConfig.from_pretrained(folder).is_encoder_decoder)
