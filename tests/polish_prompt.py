"""A prompt in two versions, whose description tries to run as a script, for tests of the Prompts tab."""

from __future__ import annotations

EVIL = "<img src=x onerror=window.hacked=1>"
FIRST = f"""---
name: polish
version: 1
variables: [text, style]
description: Puts a text into better words. {EVIL}
---
Put this into {{{{ style }}}} words: {{{{ text }}}}
"""
SECOND = FIRST.replace("Put this", "Please put this")
