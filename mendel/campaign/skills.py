"""What pairs of runs say skill by skill. It describes a claim; it makes none (docs/probes.md)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from mendel.records import RunResult, Skill, SkillEffect
from mendel.verdicts.effects import paired_interval


def skill_effects(pairs: Sequence[tuple[RunResult, RunResult]]) -> tuple[SkillEffect, ...]:
    """Treatment against control, (control, treatment) pairs: each skill and span that two of them answered.

    What one of the two models cannot look back on is left out: it would compare a skill with a context.
    """
    found: dict[str, list[tuple[Skill, Skill]]] = {}
    for control, treatment in pairs:
        for skill, before in control.skills.items():
            after = treatment.skills.get(skill)
            if before is not None and after is not None:
                found.setdefault(skill, []).append((before, after))
    return tuple(_effect(skill, both) for skill, both in found.items() if len(both) >= 2)


def _effect(skill: str, both: Sequence[tuple[Skill, Skill]]) -> SkillEffect:
    return SkillEffect(
        skill=skill,
        pairs=len(both),
        control_accuracy=fmean(control.accuracy for control, _ in both),
        treatment_accuracy=fmean(treatment.accuracy for _, treatment in both),
        control_advantage=fmean(control.advantage for control, _ in both),
        control_sd=stdev(control.advantage for control, _ in both),
        gain=paired_interval([treatment.advantage - control.advantage for control, treatment in both]),
    )
