"""tiktoken's ranks, run in the `tokenizers` library.

tiktoken joins the two neighbours whose union has the lowest rank, however the union came about. A list of merges says
the same when it holds every way to cut a token in two, in the order of ranks: of these ways only one can come up in a
text, because what happens inside a token's bytes is the same wherever they stand.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from whetstone.errors import ModelFileError
from whetstone.tokens.tokenizer_bytes import byte_letters


def parse_ranks(data: bytes, where: str) -> dict[bytes, int]:
    """The ranks in a `.tiktoken` file: lines of a token in base64, a space, its rank.

    Raises:
        ModelFileError: a line is something else, or a single byte has no rank.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ModelFileError(
                f"{where}, line {number}: no tiktoken rank (a token in base64, a space, a number): {line[:40]!r}"
            ) from None
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ModelFileError(f"{where} holds no complete tiktoken ranks: the byte {missing[0]:#04x} has none")
    return ranks


def looks_like_ranks(data: bytes) -> bool:
    """Whether a file begins as one of tiktoken ranks does."""
    first = data[:400].split(b"\n", 1)[0].split()
    if len(first) != 2 or not first[1].isdigit():
        return False
    try:
        return bool(base64.b64decode(first[0], validate=True))
    except (ValueError, binascii.Error):
        return False


def ranks_engine(ranks: Mapping[bytes, int], pattern: str, special: Mapping[str, int]) -> tokenizers.Tokenizer:
    """A pipeline that gives tiktoken's ids.

    Args:
        ranks: token -> rank, which is its id.
        pattern: how text is split before joining, in Oniguruma's notation.
        special: control tokens and their ids.
    """
    letters = byte_letters()
    spelled = {token: "".join([letters[byte] for byte in token]) for token in ranks}
    merges: list[tuple[str, str]] = []
    for token in sorted(ranks, key=ranks.__getitem__):
        for cut in range(1, len(token)):
            left = spelled.get(token[:cut])
            if left is not None and (right := spelled.get(token[cut:])) is not None:
                merges.append((left, right))
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()} | dict(special)
    # A piece that is in the vocabulary is taken whole, whether or not merges lead to it; so does tiktoken.
    engine = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False) for text in special])
    return engine
