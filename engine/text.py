"""Untrusted text made safe for a terminal: no escape sequence, control or direction character survives."""

from __future__ import annotations

import re

MAX_CHARACTERS = 4096

# CSI; OSC, DCS, SOS, PM and APC whether terminated or not; two-byte escapes; and their C1 forms.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# C0 but TAB and LF, DEL, C1, direction marks and overrides, characters without width (or whose width terminals
# disagree on), separators, surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e01ef]"
)


def clean(text: str) -> str:
    """`text` as it may be shown, one line: sequences dropped, other control characters as U+FFFD.

    A carriage return keeps what was written last over the line, as a terminal would show it. At most 4096 characters.
    """
    text = text[: MAX_CHARACTERS * 4]
    if text.isascii() and text.isprintable():
        return text[:MAX_CHARACTERS]
    if "\r" in text:
        text = next((part for part in reversed(text.rstrip("\r\n").split("\r")) if part), "")
    text = _SEQUENCE.sub("", text).replace("\n", " ").expandtabs(4)
    return _UNSAFE.sub("\ufffd", text)[:MAX_CHARACTERS]
