"""Which earlier ideas a new one may be again: candidates by their words and by what their patches change.

Candidates only. That two texts are alike does not make the ideas one, and a knob turned the other way has
nearly the same patch: a judge sees the two side by side (`mendel.researchers`). The words of an idea are
compared by the cosine of their term weights (Salton & Buckley 1988: tf-idf), patches by the share of the
changed lines that they have in common (Jaccard).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mendel.records import Idea, Patch

ALIKE_WORDS = 0.35
ALIKE_PATCH = 0.5
"""From here on two ideas are shown to the judge."""
MOST = 3
"""Candidates that are shown for one idea: the nearest."""
_COMMON = re.compile(
    r"\b(an?|and|are|as|at|be|because|by|each|for|from|has|have|in|instead|into|is|its?|less|more|no|not|of|on|or"
    r"|other|over|same|so|than|that|the|their|them|then|there|these|they|this|to|use|with)\b"
)


class Alike(NamedTuple):
    """An earlier idea that is like a new one."""

    name: str
    words: float
    """Cosine, 0 to 1."""
    patch: float
    """Share of changed lines in common, 0 to 1."""


def candidates(words: str, patch: Patch | None, earlier: Sequence[Idea]) -> list[Alike]:
    """The earlier ideas that are most like one of these words and, once it is written, this patch."""
    texts = [_terms(f"{idea.name} {idea.hypothesis} {idea.mechanism}") for idea in earlier]
    mine = _terms(words)
    seen = Counter(term for text in texts for term in set(text))
    weight = {term: math.log((1 + len(texts)) / (1 + count)) + 1 for term, count in seen.items()}
    rare = math.log(1 + len(texts)) + 1
    changed = set() if patch is None else _changes(patch)
    found = []
    for idea, text in zip(earlier, texts, strict=True):
        other = _changes(idea.patch)
        shared = len(changed & other) / len(changed | other) if changed else 0.0
        one = Alike(idea.name, _cosine(mine, text, weight, rare), shared)
        if one.words >= ALIKE_WORDS or one.patch >= ALIKE_PATCH:
            found.append(one)
    return sorted(found, key=lambda one: (-max(one.words, one.patch), one.name))[:MOST]


def _terms(text: str) -> Counter[str]:
    words = re.findall(r"[a-z][a-z0-9]+", _COMMON.sub(" ", text.lower()))
    return Counter(word.removesuffix("s") for word in words)


def _cosine(one: Counter[str], other: Counter[str], weight: Mapping[str, float], rare: float) -> float:
    def size(terms: Counter[str]) -> float:
        return math.sqrt(sum((count * weight.get(term, rare)) ** 2 for term, count in terms.items()))

    product = sum(count * other[term] * weight.get(term, rare) ** 2 for term, count in one.items())
    return product / (size(one) * size(other)) if product else 0.0


def _changes(patch: Patch) -> set[tuple[str, str]]:
    """What a patch sets or writes: (knob, value) and (file, line). A line that is only moved is no change."""
    found = {(key, repr(float(v) if isinstance(v, int) else v)) for key, v in patch.overrides.items()}
    found |= {(key, str(one)) for key, one in patch.tune.items()}
    for edit in patch.edits:
        before = {line.strip() for line in edit.search.splitlines()}
        found |= {
            (edit.path, line.strip())
            for line in edit.replace.splitlines()
            if line.strip() and line.strip() not in before
        }
    return found
