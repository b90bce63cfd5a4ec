"""Text that strangers wrote, made safe for a terminal: what would control it is shown instead of obeyed.

A model, a document in its context or an imported conversation may hold escape sequences that retitle the window, write
the clipboard or hide text, and marks that turn the reading direction so that a command reads as another one.
"""

from __future__ import annotations

_HARMLESS = "\t\n"
_TURNS_DIRECTION = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # embeddings, overrides, isolates


def _shown() -> dict[int, str]:
    shown = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _HARMLESS}  # ␛ for ESC
    shown[0x7F] = "␡"
    shown |= {code: f"⟨{code:02X}⟩" for code in range(0x80, 0xA0)}
    shown |= {code: f"⟨U+{code:04X}⟩" for code in _TURNS_DIRECTION}
    shown |= {0x2028: "\n", 0x2029: "\n"}
    return shown | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # lone surrogates cannot be written at all


_SHOWN = _shown()


def visible(text: str) -> str:
    """The text with every control character but tab and line feed replaced by something that shows it.

    Line ends of any kind become line feeds. Doing it twice changes nothing.
    """
    return text.replace("\r\n", "\n").translate(_SHOWN)


def one_line(text: str, most: int = 0) -> str:
    """The visible text on one line, cut to `most` characters (0: not cut) with an ellipsis."""
    line = " ".join(visible(text).split())
    return line if not most or len(line) <= most else f"{line[: most - 1].rstrip()}…"
