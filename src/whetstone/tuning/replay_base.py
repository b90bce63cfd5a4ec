"""The base's own replies to a list of instructions: made once, a line each, and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from whetstone import settings
from whetstone.models import load_model, replies
from whetstone.models.spec import parse_spec
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.tuning.formats import Talk
from whetstone.tuning.rows import Progress
from whetstone.types import Options, Reply, assistant, user

# Longer replies are cut off, and a reply without its end teaches to stop in the middle: those are left out.
_TOKENS = 200


def base_talks(base: str, instructions: Sequence[str], progress: Progress | None = None) -> list[Talk]:
    """The base's greedy replies as conversations, those that it ended by itself.

    They are kept under the model's identity; a process that is killed leaves the replies it had.

    Args:
        base: the model's spec, without an adapter.
        instructions: what it is asked.
        progress: told how far it is.

    Raises:
        ModelError: the base cannot answer.
        StorageError: another process makes the same replies now, or the disk is full.
    """
    model = load_model(parse_spec(base))
    try:
        identity = model.identity
        key = sha256(json.dumps([identity.engine, identity.revision, identity.template, _TOKENS]).encode())
        path = settings.home() / "cache" / "replay" / f"{key.hexdigest()[:32]}.jsonl"
        known = {str(line["instruction"]): line for line in read_journal(path)}
        missing = [text for text in instructions if text not in known]
        if missing:
            options = Options(temperature=0, max_tokens=_TOKENS)
            with JournalWriter(path) as journal:
                for done, (number, reply) in enumerate(replies(model, [[user(text)] for text in missing], options)):
                    ended = isinstance(reply, Reply) and reply.finish_reason == "stop"
                    text = reply.text if isinstance(reply, Reply) else ""
                    line = {"instruction": missing[number], "reply": text.strip(), "ended": ended}
                    journal.append(line)
                    known[missing[number]] = line
                    if progress is not None:
                        progress("the base's own replies", done + 1, len(missing))
    finally:
        model.close()
    found = [known[text] for text in instructions if text in known]
    return [
        Talk([user(str(line["instruction"])), assistant(str(line["reply"]))])
        for line in found
        if line["ended"] and line["reply"]
    ]
