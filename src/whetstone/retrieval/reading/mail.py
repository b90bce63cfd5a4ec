"""Mails (EML) as blocks, by the standard library.

kreuzberg 4.10 was tried first: it takes the text of a mail in EUC-KR for UTF-8.
"""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import cast

from whetstone.errors import DataError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.html import html
from whetstone.retrieval.reading.laying import part

_SHOWN = ("Subject", "From", "To", "Cc", "Date")


def mail(data: bytes, path: str) -> tuple[dict[str, str], list[Block]]:
    """What the head of a mail says ("title", "from", "to", "cc", "date", names of "attachments"), and its text.

    Attachments are not read: save them as files of their own.

    Raises:
        DataError: it is no mail.
    """
    message = email.message_from_bytes(data, policy=email.policy.default)
    shown = {name: " ".join(str(message[name]).split()) for name in _SHOWN if message[name]}
    if not shown:
        raise DataError(f"{path} is no mail: it has neither subject nor sender")
    said = {name.lower(): value for name, value in shown.items() if name != "Subject"}
    if "Subject" in shown:
        said["title"] = shown["Subject"]
    attached = [name for name in (inner.get_filename() for inner in message.iter_attachments()) if name]
    if attached:
        said["attachments"] = ", ".join(attached)
    parts = [part("list", "\n".join(f"{name}: {value}" for name, value in shown.items()))]
    body = message.get_body(("plain", "html"))
    if body is None:
        return said, parts
    text = _text(cast(EmailMessage, body))
    if body.get_content_type() == "text/html":
        return said, parts + html(text)[1]
    return said, parts + [part("text", paragraph) for paragraph in text.replace("\r\n", "\n").split("\n\n")]


def _text(body: EmailMessage) -> str:
    try:
        return str(body.get_content())
    except (LookupError, ValueError):  # an encoding that nobody knows
        return cast(bytes, body.get_payload(decode=True) or b"").decode("latin-1")
