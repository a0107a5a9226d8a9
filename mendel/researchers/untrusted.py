"""Text that a patch or its run may have written, made safe to show to a seat: capped, delimited, data.

Delimiting does not stop a model from being talked over; that is why no seat can decide anything. It keeps the
text from passing for the lab's own words, and its size from crowding out the question.
"""

from __future__ import annotations

import re

from pydantic_ai.framing import register_tag, wrap

UNTRUSTED = register_tag("untrusted")
CAP = 4_000
"""Characters of one text."""
_INVISIBLE = re.compile(
    r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f]|[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
    r"|[\U000e0000-\U000e007f]"
)
"""Control characters, terminal escapes, and what a person would not see: direction marks, tag characters."""


def untrusted(what: str, text: str, cap: int = CAP) -> str:
    """`text` as data named `what`: its end is kept where it is too long, for errors come last."""
    clean = _INVISIBLE.sub(" ", text)
    left_out = len(clean) - cap
    if left_out > 0:
        clean = f"[{left_out} characters left out]\n{clean[-cap:]}"
    return wrap(UNTRUSTED, clean, what=_INVISIBLE.sub(" ", what)[:80])
