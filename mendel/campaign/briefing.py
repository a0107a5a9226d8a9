"""What seats are told of the lab: the goal, the code, what was found. Bounded, whatever the lab has found.

Held-out numbers of runs are nowhere in it: an idea that was screened has its validation gain, one that was
claimed its published effect, and one that failed confirmation the word for that alone. Blanks look like any
idea here, for the lab itself does not know them either.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mendel.campaign.audits import terse
from mendel.campaign.lab import Lab
from mendel.campaign.trunk import Line
from mendel.ideas import machine_written
from mendel.knowledge.findings import cm
from mendel.patches import diff
from mendel.records import Finding, Idea, Interval, Patch, PlanKind, Verdict
from mendel.researchers.answers import LESSONS
from mendel.researchers.untrusted import untrusted
from mendel.store import IdeaState, Trial

SETTLED = (IdeaState.CLAIMED, IdeaState.ADOPTED, IdeaState.CARRIED)
"""What is known not to be planted."""
MOST_PATCH = 3_000
"""Characters of a patch."""
MOST_CODE = 60_000
"""Characters of source that are shown; the rest is read by tools."""
PER_CLASS = 6
"""Ideas of a class, and findings of a class, that are told one by one; of the others how many there are."""
MOST_WORDS = 240
"""Characters of a hypothesis."""
MOST_CHANGES = 8_000
"""Characters of the trunk's difference from the original recipe that are told as such."""
MOST_GUIDANCE = 4_000
MOST_MEMORY = 8_000
"""Characters of what the librarian wrote: a model did, after reading what patches say."""
MOST_WAITING = 40
"""Names of ideas that wait."""


def standing_context(lab: Lab, goal: str, line: Line) -> tuple[str, str]:
    """For seats that write no code: (context, what comes first in their question). The context is that of the
    original recipe, and so the same, and cached, as long as the campaign lasts; what adopted changes have
    made of its code comes with the question. Where that has grown too long, the context is that of the
    trunk."""
    base = lab.store.recipe(line.trunk.base.id)
    tree = lab.store.load_tree(lab.store.recipe(line.recipe).tree)
    changed = diff(lab.store.load_tree(base.tree), tree)
    if len(changed) > MOST_CHANGES:
        return lab_context(lab, goal, line.recipe), ""
    if line.recipe == base.id:
        return lab_context(lab, goal, base.id), ""
    values = lab.store.recipe(line.recipe).overrides or "none"
    told = f"# What adopted changes made of the code\n\nValues of the configuration that they set: {values}."
    if changed:
        told += "\n\n" + untrusted("the trunk against the code above", changed, MOST_CHANGES)
    return lab_context(lab, goal, base.id), f"{told}\n\n"


def lab_context(lab: Lab, goal: str, recipe: str) -> str:
    """The part of a question that stays while a recipe does: goal, scale, and its code."""
    tree = lab.store.load_tree(lab.store.recipe(recipe).tree)
    overrides, losses = lab.store.recipe(recipe).overrides, lab.campaign.fingerprint
    rungs = ", ".join(
        f"rung {n}: {rung.compute:.3g} {lab.testbed.budget.words}" for n, rung in enumerate(lab.testbed.rungs)
    )
    parts = [
        f"# The lab\n\nGoal: {goal}\nTestbed {lab.testbed.name}, base recipe {lab.campaign.recipe}; {rungs}.",
        *([f"The loss is {losses.trust.words}, in {losses.unit}."] if losses.reported else []),
        f"Values of the configuration that adopted changes set: {overrides or 'none'}.",
        "# The code\n\nFiles that may be edited:",
    ]
    left = MOST_CODE
    for path in lab.testbed.editable:
        shown = untrusted(path, tree[path], left) if len(tree[path]) <= left else f"{path}: read it by tools"
        left -= len(tree[path]) if len(tree[path]) <= left else 0
        parts.append(shown)
    others = [path for path in tree if path not in lab.testbed.editable]
    parts.append(f"Files that may not be edited: {', '.join(others) or 'none'}.")
    return "\n\n".join(parts)


def digest(lab: Lab, trunk: Line, guidance: str = "", memory: str = "", before: str = "") -> str:
    """What was found, by class of idea; what waits; what earlier campaigns found (`before`)."""
    trials = lab.store.trials([lab.campaign.id])
    findings = {finding.idea.name: finding for finding in lab.store.findings(lab.campaign.id)}
    by_class: defaultdict[str, list[Trial]] = defaultdict(list)
    waiting = [trial.idea for trial in trials if trial.state is IdeaState.QUEUED]
    for trial in trials:
        if trial.state is not IdeaState.QUEUED:
            by_class[trial.idea.idea_class].append(trial)
    parts = [f"# What was found\n\nThe trunk holds: {', '.join(trunk.names) or 'no change yet'}."]
    for name in sorted(by_class):
        parts.append(f"## {name}\n" + "\n".join(_class_lines(by_class[name], findings)))
    if waiting:
        names = ", ".join(idea.name for idea in waiting[:MOST_WAITING])
        more = f" and {len(waiting) - MOST_WAITING} more" if len(waiting) > MOST_WAITING else ""
        parts.append(f"# What waits to be tried\n\n{names}{more}.")
    if before:
        parts.append(f"# What earlier campaigns found on this testbed\n\n{before}")
    if memory:
        parts.append(f"# The lab's memory\n\n{untrusted('memory', memory, MOST_MEMORY)}")
    if guidance:
        parts.append(f"# What the user says\n\n{guidance[:MOST_GUIDANCE]}")
    return "\n\n".join(parts)


def _class_lines(trials: Sequence[Trial], findings: Mapping[str, Finding]) -> list[str]:
    """The weightiest first: claims by their effect, then what was screened, then what failed."""
    told = sorted(trials, key=lambda one: _weight(one, findings.get(one.idea.name)))
    lines = [f"- {outcome(one, findings.get(one.idea.name))}" for one in told[:PER_CLASS]]
    return lines + (
        [f"- and {len(told) - PER_CLASS} more of smaller or no effect"] if len(told) > PER_CLASS else []
    )


def _weight(trial: Trial, finding: Finding | None) -> tuple[int, float, str]:
    if finding is not None:
        return 0, -abs(finding.log2_cm.value), trial.idea.name
    shown = _screened(trial)
    if shown is None:
        return 2, 0.0, trial.idea.name
    return 1, -abs(shown.value), trial.idea.name


def outcome(trial: Trial, finding: Finding | None) -> str:
    """One line on what became of an idea."""
    words = textwrap.shorten(trial.idea.hypothesis, MOST_WORDS, placeholder=" ...")
    text = untrusted(trial.idea.name, words, MOST_WORDS)
    if finding is not None:
        standing = "adopted" if finding.adopted else f"not in the trunk{', evicted' * bool(finding.evicted)}"
        return f"{trial.idea.name}: claimed, CM {cm(finding.log2_cm)} {finding.measured}; {standing}. {text}"
    if trial.state is IdeaState.REJECTED:
        return f"{trial.idea.name}: {terse('')}. {text}"
    if trial.state in (IdeaState.FAILED, IdeaState.STALE):
        return f"{trial.idea.name}: {trial.state.value}. {text}"
    shown = _screened(trial)
    kinds = [verdict.kind.value for kind, verdict in trial.measured if kind is PlanKind.CONFIRM]
    confirmed = f"; in confirmation: {kinds[-1]}" if kinds else ""
    measured = f"screened, CM {cm(shown)}" if shown else trial.state.value
    if trial.state is IdeaState.CARRIED:
        measured += "; the trunk holds it, proved with the trunk and not apart"
    return f"{trial.idea.name}: {measured}{confirmed}. {text}"


def _screened(trial: Trial) -> Interval | None:
    """The validation gain of its last screen."""
    found: list[Verdict] = [verdict for kind, verdict in trial.measured if kind is PlanKind.SCREEN]
    return found[-1].log2_cm if found else None


def side_by_side(new: str, words: str, earlier: Iterable[Trial], patch: Patch | None = None) -> str:
    """An idea named `new` and those that it may be again, for the judge. No patch that is not settled: that
    of a blank would give it away."""
    parts = [f"## The new idea\n{new}: {untrusted(new, words)}"]
    parts += [] if patch is None else [shown_patch(f"patch of {new}", patch)]
    for trial in earlier:
        one = trial.idea
        text = untrusted(one.name, f"{one.hypothesis} {one.mechanism}", 900)
        told = machine_written(one) or trial.state in SETTLED
        parts.append(f"## The earlier idea {one.name}\n{text}" + (f"\n{patch_text(one)}" if told else ""))
    return "\n\n".join(parts)


def patch_text(idea: Idea, cap: int = MOST_PATCH) -> str:
    """The patch of an idea as data."""
    return shown_patch(f"patch of {idea.name}", idea.patch, cap)


def shown_patch(what: str, patch: Patch, cap: int = MOST_PATCH) -> str:
    """A patch as data."""
    rows = [f"{key} = {value!r}" for key, value in patch.overrides.items()]
    for edit in patch.edits:
        rows += [f"--- {edit.path}", *(f"-{line}" for line in edit.search.splitlines())]
        rows += [f"+{line}" for line in edit.replace.splitlines()]
    return untrusted(what, "\n".join(rows), cap)


def memory_text(memory: dict[str, Any]) -> str:
    """A librarian's memory, to be read."""
    parts = []
    for key, title in LESSONS.items():
        lessons = [f"- {one['words']} ({', '.join(one['evidence'])})" for one in memory.get(key, [])]
        if lessons:
            parts.append("\n".join([f"## {title}", *lessons]))
    return "\n\n".join(parts)
