"""Makes GGUF files, byte by byte, so that tests can make broken ones. A whole tiny model has 50 kB."""

from __future__ import annotations

import random
import struct
from typing import Any

ALIGNMENT = 32
F32 = 0


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(item: Any) -> bytes:
    """A metadata value with its kind: bool, int (u32; negative: i32), float (f32), str, a list of str or int (i32).

    Bytes are taken for a kind and a value that are packed already.
    """
    if isinstance(item, bytes):
        return item
    if isinstance(item, list):
        strings = bool(item) and isinstance(item[0], str)
        body = b"".join(text(each) if strings else struct.pack("<i", each) for each in item)
        return struct.pack("<IIQ", 9, 8 if strings else 5, len(item)) + body
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<Ii", 5, item) if item < 0 else struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    return struct.pack("<I", 8) + text(item)


def gguf(
    metadata: dict[str, Any],
    tensors: dict[str, tuple[tuple[int, ...], bytes]],
    *,
    version: int = 3,
    offsets: dict[str, int] | None = None,
) -> bytes:
    """A GGUF file. A tensor is (shape, float32 data)."""
    out = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(metadata))]
    out += [text(key) + value(item) for key, item in metadata.items()]
    body = b""
    for name, (shape, data) in tensors.items():
        offset = (offsets or {}).get(name, len(body))
        out.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, F32, offset))
        body += data + bytes(-len(data) % ALIGNMENT)
    head = b"".join(out)
    return head + bytes(-len(head) % ALIGNMENT) + body


WIDTH, HIDDEN, HEADS, CONTEXT = 16, 32, 2, 128


def vocabulary() -> list[str]:
    """The 256 bytes in GPT-2's spelling, then the control tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)] + ["<|start|>", "<|end|>"]


def tiny_model(seed: int = 0, **changes: Any) -> tuple[dict[str, Any], dict[str, tuple[tuple[int, ...], bytes]]]:
    """Metadata and tensors of a llama with one layer and random weights. `changes` override metadata (None removes);
    write the dots of a key as two underscores."""
    tokens = vocabulary()
    metadata: dict[str, Any] = {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "tiny",
        "llama.block_count": 1,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * 256 + [3, 3],
        "tokenizer.ggml.merges": ["a b", "c d"],
        "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.eos_token_id": 257,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{% for m in messages %}<|start|>{{ m['content'] }}<|end|>{% endfor %}",
    }
    for key, change in changes.items():
        name = key.replace("__", ".")
        if change is None:
            metadata.pop(name)
        else:
            metadata[name] = change
    rng = random.Random(seed)

    def weights(*shape: int) -> tuple[tuple[int, ...], bytes]:
        count = 1
        for size in shape:
            count *= size
        return shape, struct.pack(f"<{count}f", *(rng.gauss(0, 0.2) for _ in range(count)))

    def ones(size: int) -> tuple[tuple[int, ...], bytes]:
        return (size,), struct.pack(f"<{size}f", *[1.0] * size)

    return metadata, {
        "token_embd.weight": weights(WIDTH, len(tokens)),
        "output_norm.weight": ones(WIDTH),
        "output.weight": weights(WIDTH, len(tokens)),
        "blk.0.attn_norm.weight": ones(WIDTH),
        "blk.0.attn_q.weight": weights(WIDTH, WIDTH),
        "blk.0.attn_k.weight": weights(WIDTH, WIDTH),
        "blk.0.attn_v.weight": weights(WIDTH, WIDTH),
        "blk.0.attn_output.weight": weights(WIDTH, WIDTH),
        "blk.0.ffn_norm.weight": ones(WIDTH),
        "blk.0.ffn_gate.weight": weights(WIDTH, HIDDEN),
        "blk.0.ffn_up.weight": weights(WIDTH, HIDDEN),
        "blk.0.ffn_down.weight": weights(HIDDEN, WIDTH),
    }
