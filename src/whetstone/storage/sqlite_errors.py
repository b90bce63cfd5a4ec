"""What SQLite complains about, in sentences that say what to do. The only place that reads its messages."""

from __future__ import annotations

_SENTENCES = (  # the beginning of SQLite's message, our sentence
    ("database is locked", "{name} has been locked by another program for {wait:g} seconds: close it, or try again"),
    ("database table is locked", "{name} is locked by another program: close it, or try again"),
    (
        "attempt to write a readonly database",
        "{name} is read-only: check who owns the file and its folder (even reading it writes files beside it)",
    ),
    ("database or disk is full", "The disk with {name} is full: what was stored before is kept; free some space"),
    ("disk I/O error", "{name} cannot be read or written (disk error): check the disk, and whether it is full"),
    ("file is not a database", "{name} is no SQLite database: name another file, or move it away"),
    ("file is encrypted", "{name} is no SQLite database: name another file, or move it away"),
    ("database disk image is malformed", "{name} is damaged: restore a copy, or move it away to start anew"),
    ("unable to open database file", "{name} cannot be opened: check that its folder exists and may be written"),
)


def sqlite_sentence(said: str) -> str:
    """Our sentence for a message of SQLite, with {name} and {wait} (seconds) to fill in; "" if it is not known."""
    return next((sentence for beginning, sentence in _SENTENCES if said.startswith(beginning)), "")
