"""Tokens: bulk encoding, labelled rendering, the parity check, each against a peer in the same run.

    uv run python benchmarks/tokens.py [FOLDER ...] [--megabytes 10]

FOLDERs hold tokenizer.json and chat template of a family; the embedded SmolLM2 is always there (its GGUF, and the same
tokenizer written to a folder).

- encoding texts of mixed languages: `encode_ids_many` against the bare `encode_batch_fast` of the `tokenizers`
  library, and against `tiktoken` with the same vocabulary where the tokenizer is byte-level BPE; ratio of speeds
- a conversation of 100 turns: rendered with every character named, against transformers' plain rendering; ratio of
  times
- the parity check of a folder with transformers, against one plain rendering and encoding of each of its conversations

Exits 1 when encoding is below 0.9 of `tokenizers` or slower than tiktoken, labelled rendering takes 3 times the plain
one or more, or a parity check takes 30 times or more.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whetstone.tokens.chat import template_of
from whetstone.tokens.compare import sample_texts
from whetstone.tokens.parity import CONVERSATIONS, Facts, check
from whetstone.tokens.sources import load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.workflows.parity import TokenizerPath, TransformersPath

REPEATS = 7


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def by_turns(one: Callable[[], Any], two: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, float]:
    """Median seconds of both, which take turns, after one call of each that is not counted."""
    one(), two()
    pairs = [(seconds(one), seconds(two)) for _ in range(repeats)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def mixed_texts(megabytes: float) -> list[str]:
    """Texts of many scripts, of 100 to 4,000 characters, as many as make up so many megabytes."""
    drawn = random.Random(0)
    known = [text for texts in sample_texts().values() for text in texts]
    texts: list[str] = []
    size = 0
    while size < megabytes * 1e6:
        text = " ".join(drawn.choices(known, k=drawn.randint(1, 12)))[: drawn.randint(100, 4000)]
        texts.append(text)
        size += len(text.encode())
    return texts


def encoding(tokenizer: Tokenizer, texts: Sequence[str]) -> bool:
    """Bulk encoding against the bare library, and against tiktoken."""
    import tokenizers

    bare = tokenizers.Tokenizer.from_file(str(Path(tokenizer.source) / "tokenizer.json"))
    bare.no_truncation()
    size = sum(len(text.encode()) for text in texts) / 1e6

    def ours() -> list[Any]:
        return list(tokenizer.encode_ids_many(texts, special=True))

    def library() -> list[list[int]]:
        return [encoded.ids for encoded in bare.encode_batch_fast(list(texts), add_special_tokens=False)]

    assert [list(ids) for ids in ours()] == library()
    mine, theirs = by_turns(ours, library, 3)
    print(
        f"  encoding {size:.0f} MB: {size / mine:.2f} MB/s, bare tokenizers {size / theirs:.2f}, "
        f"ratio {theirs / mine:.2f}"
    )
    peer = tiktoken_encoding(bare)
    if peer is None:
        return theirs / mine >= 0.9
    mine, tik = by_turns(ours, lambda: peer.encode_ordinary_batch(list(texts), num_threads=2), 3)
    print(f"  tiktoken with the same vocabulary: {size / tik:.2f} MB/s, ratio {tik / mine:.2f}")
    return theirs / mine >= 0.9 and tik >= mine


def tiktoken_encoding(bare: Any) -> Any:
    """The same vocabulary in tiktoken; None where it is not installed, or the tokenizer is no byte-level BPE."""
    import json

    try:
        import tiktoken
    except ImportError:
        return None
    state = json.loads(bare.to_str())
    steps = state["pre_tokenizer"] or {}
    steps = steps.get("pretokenizers", [steps])
    patterns = [
        step["pattern"]["Regex"] for step in steps if step.get("type") == "Split" and "Regex" in step["pattern"]
    ]
    if state["model"]["type"] != "BPE" or not any(step.get("type") == "ByteLevel" for step in steps):
        return None
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    ranks = {}
    for token, number in state["model"]["vocab"].items():
        if all(character in byte_of for character in token):
            ranks[bytes(byte_of[character] for character in token)] = number
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    return tiktoken.Encoding(
        "same", pat_str=patterns[0] if patterns else gpt2, mergeable_ranks=ranks, special_tokens={}
    )


def rendering(tokenizer: Tokenizer, plain: Any) -> bool:
    """Labelled rendering against transformers' plain one."""
    roles = ("user", "assistant")
    said = "says something of the usual length about bees, prices and the weather. " * 3
    talk = [{"role": roles[n % 2], "content": f"Turn {n} {said}"} for n in range(100)]
    template = template_of(tokenizer)
    text = plain.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert template.render(talk, add_generation_prompt=True).text == text
    mine, theirs = by_turns(
        lambda: template.render(talk, add_generation_prompt=True).spans,
        lambda: plain.apply_chat_template(talk, tokenize=False, add_generation_prompt=True),
        41,
    )
    print(
        f"  100 turns, every character named: {1e3 * mine:.2f} ms, plain {1e3 * theirs:.2f} ms, "
        f"ratio {mine / theirs:.2f}"
    )
    return mine / theirs < 3


def parity(tokenizer: Tokenizer, folder: Path, plain: Any) -> bool:
    """The whole check against one plain rendering and encoding of each conversation."""
    paths = [TokenizerPath(tokenizer), TransformersPath(folder)]
    facts = Facts(tokenizer.spelling, tokenizer.bos_id)
    mine, theirs = by_turns(
        lambda: list(check(paths, facts)),
        lambda: [
            plain.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False)
            for _, messages in CONVERSATIONS
        ],
    )
    print(f"  parity check: {1e3 * mine:.1f} ms, one rendering each {1e3 * theirs:.2f} ms, ratio {mine / theirs:.1f}")
    return mine / theirs < 30


def embedded_folder(folder: Path) -> Path:
    """The embedded model's tokenizer and template as a folder."""
    from whetstone.models.hf_convert import converted_folder
    from whetstone.tokens.embedded import embedded_weights

    made = converted_folder(embedded_weights())
    folder.symlink_to(made)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=10)
    arguments = parser.parse_args()
    from transformers import AutoTokenizer

    texts = mixed_texts(arguments.megabytes)
    fine = True
    with tempfile.TemporaryDirectory() as temporary:
        for folder in [embedded_folder(Path(temporary) / "smollm2"), *arguments.folders]:
            tokenizer = load_tokenizer(str(folder))
            print(f"{folder.name}:")
            fine &= encoding(tokenizer, texts)
            if tokenizer.template:
                plain: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                fine &= rendering(tokenizer, plain)
                fine &= parity(tokenizer, folder, plain)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
