"""Finding what is known again: by words, by a patch that is alike, and as a digest of bounded length."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence

from mendel.knowledge.memory import BUILT, BY_CONFIRMATION, CLAIMS, Grade, Known, patch_hash
from mendel.records import Idea, Patch

K1, B = 1.2, 0.75
"""Of BM25, as usual: how soon a word that comes again adds no more, and how much length counts."""
MOST_WORDS = 160
"""Characters of a hypothesis in a digest."""
LEAST_DIGEST = 200


# --- by words ---------------------------------------------------------------------------------------------


def search(text: str, found: Sequence[Known]) -> list[Known]:
    """What has a word of the text in it, best first, by BM25 (Robertson & Zaragoza 2009, equation 3.15)."""
    documents = [Counter(_terms(_document(one))) for one in found]
    sizes = [sum(one.values()) for one in documents]
    mean = sum(sizes) / max(len(sizes), 1) or 1.0
    scored = []
    wanted = dict.fromkeys(_terms(text))
    holding = {term: sum(term in one for one in documents) for term in wanted}
    for place, (words, size) in enumerate(zip(documents, sizes, strict=True)):
        score = 0.0
        for term in wanted:
            if not words[term]:
                continue
            rare = math.log(1 + (len(found) - holding[term] + 0.5) / (holding[term] + 0.5))
            count = words[term]
            score += rare * count * (K1 + 1) / (count + K1 * (1 - B + B * size / mean))
        if score:
            scored.append((-score, -place))  # of equals the newest first
    return [found[-place] for _, place in sorted(scored)]


def _document(one: Known) -> str:
    idea = one.idea
    patch = [*idea.patch.overrides, *idea.patch.tune, idea.patch.slot or ""]
    patch += [f"{edit.path} {edit.search} {edit.replace}" for edit in idea.patch.edits]
    words = (idea.name, idea.name, idea.idea_class, idea.hypothesis, idea.mechanism, idea.citation, one.note)
    return " ".join((*words, one.grade.value, one.testbed, *patch))


def _terms(text: str) -> list[str]:
    words = re.findall(r"[a-z]+|[0-9]+", text.lower())
    return [word.removesuffix("s") if len(word) > 3 else word for word in words]


# --- by a patch -------------------------------------------------------------------------------------------


def related(idea: Idea, found: Sequence[Known]) -> list[tuple[Known, str]]:
    """What is known of patches like that of an idea, the nearest first, each with why it is like it."""
    scored = []
    for place, one in enumerate(found):
        likeness, why = _alike(idea, one)
        if likeness:
            scored.append((-likeness, -place, why))
    return [(found[-place], why) for _, place, why in sorted(scored)]


def _alike(idea: Idea, one: Known) -> tuple[float, str]:
    if patch_hash(idea) == one.patch:
        return 10.0, "the same patch"
    mine, its = idea.patch, one.idea.patch
    likeness, why = 0.0, []
    knobs = sorted({*mine.overrides, *mine.tune} & {*its.overrides, *its.tune})
    equal = [key for key in knobs if _value(mine, key) == _value(its, key)]
    if knobs:
        likeness += 2 + len(equal) / len(knobs)
        told = ", ".join(f"{key} ({_value(mine, key)} here, {_value(its, key)} there)" for key in knobs[:4])
        why.append(f"the same knobs: {told}")
    if lines := _touched(mine) & _touched(its):
        share = len(lines) / len(_touched(mine) | _touched(its))
        likeness += 2 + 2 * share
        files = ", ".join(sorted({path for path, _ in lines}))
        why.append(f"edits {len(lines)} of the same lines of {files}")
    if mine.slot is not None and mine.slot == its.slot:
        likeness += 2
        why.append(f"the same slot, {mine.slot}")
    if idea.name == one.idea.name:
        likeness += 1
        why.append("the same name")
    return likeness, "; ".join(why)


def _value(patch: Patch, key: str) -> str:
    return str(patch.overrides[key]) if key in patch.overrides else f"tuned {patch.tune[key]}"


def _touched(patch: Patch) -> set[tuple[str, str]]:
    """Lines of the source that a patch looks for: what it replaces, and what it stands beside."""
    return {
        (edit.path, line.strip())
        for edit in patch.edits
        for line in edit.search.splitlines()
        if len(line.strip()) > 2  # a bracket alone is nobody's
    }


# --- a digest ---------------------------------------------------------------------------------------------


def digest(
    found: Sequence[Known], most: int, shown: Callable[[str, str], str] | None = None, held_out: bool = False
) -> str:
    """What is known in at most so many characters, what matters most for the next decision first: claims by
    their effect, what has fallen, what was shown to do nothing or harm, what failed.

    `shown` makes a foreign text fit for its reader: (name, text) -> text. Without `held_out` the numbers of
    confirmations that made no claim are left out, as whoever proposes must not see them. ValueError for less
    than LEAST_DIGEST characters.
    """
    if most < LEAST_DIGEST:
        raise ValueError(f"a digest of {most} characters: at least {LEAST_DIGEST}")
    ideas: dict[str, list[Known]] = {}
    for one in found:
        ideas.setdefault(one.patch, []).append(one)
    ordered = sorted(ideas.values(), key=lambda group: _weight(_speaker(group)))
    lines: list[str] = []
    left = [_speaker(group).grade for group in ordered]
    room = most
    for group in ordered:
        line = _line(group, shown, held_out)
        rest = _rest(left[1:])
        if len(line) + 1 + len(rest) > room:
            break
        lines.append(line)
        room -= len(line) + 1
        left = left[1:]
    return "\n".join([*lines, *([_rest(left)] if left else [])])


def _speaker(group: Sequence[Known]) -> Known:
    """Of several campaigns on one patch the one that says most: the newest of the best grade, where a claim
    that fell is told as such."""
    fallen = [one for one in group if one.fallen]
    order = list(Grade)
    best = min(group, key=lambda one: order.index(one.grade))
    return fallen[-1] if fallen and best.grade not in CLAIMS else best


def _weight(one: Known) -> tuple[int, float, str]:
    """What comes first: claims, then what fell, then what was shown, then the rest; larger effects first."""
    order = (*CLAIMS, Grade.REFUTED, Grade.WORSE, Grade.EQUIVALENT, Grade.NOT_SHOWN)
    place = 0 if one.grade in CLAIMS else order.index(one.grade) if one.grade in order else len(order)
    size = abs(one.log2_cm.value) if one.log2_cm else 0.0
    return place, -size, one.idea.name


def _line(group: Sequence[Known], shown: Callable[[str, str], str] | None, held_out: bool) -> str:
    one = _speaker(group)
    where = [one.testbed] + ([f"rung {one.rung}"] if one.rung is not None else [])
    secret = not held_out and one.measured == BY_CONFIRMATION
    told = "" if secret or not one.told else f", {one.told}"
    standing = ", in the trunk" if one.adopted and not one.fallen else ""
    links = [
        link.words if link.kind == BUILT else f"{link.kind} {link.idea}, {link.words}"
        for link in one.links
        if link.kind in (BUILT, "superseded by", "differs on")
    ]
    more = "".join(f"; {link}" for link in links[:3])
    campaigns = len({one.campaign for one in group})
    again = f"; {campaigns} campaigns" if campaigns > 1 else ""
    words = textwrap.shorten(one.idea.hypothesis, MOST_WORDS, placeholder=" ...")
    text = words if shown is None else shown(one.idea.name, words)
    scope = ", ".join([one.idea.idea_class, *where])
    return f"- {one.idea.name} ({scope}): {one.grade.value}{told}{standing}{more}{again}. {text}"


def _rest(grades: Sequence[Grade]) -> str:
    """What no line is left for."""
    counts = Counter(grades)
    told = ", ".join(f"{counts[grade]} {grade.value}" for grade in Grade if counts[grade])
    return f"- and {len(grades)} more: {told}" if grades else ""


def weightiest(found: Sequence[Known]) -> list[Known]:
    """Everything, what matters most for the next decision first."""
    return sorted(found, key=_weight)
