"""The table of a finding that says which kind of skill the change moved."""

from __future__ import annotations

from collections.abc import Sequence

from mendel.records import SKILL_CHANCE, SkillEffect
from mendel.report.html import Child, Html, el, join, table
from mendel.report.text import signed


def skills_table(effects: Sequence[SkillEffect], pairs_are: str = "fresh pairs") -> Html | None:
    """Effects by skill with what they are measured against; None where nothing was asked."""
    if not effects:
        return None
    pairs = max(effect.pairs for effect in effects)
    told = (
        f"Probes on {pairs} {pairs_are} (skill/span in bytes; spans beyond either model's context are left "
        "out). Advantage is log2 p(answer) − log2 p(foil) in bits; its chance level is 0, that of accuracy "
        f"{SKILL_CHANCE:.0%}. These {len(effects)} intervals describe and claim nothing: each is a 95 % "
        f"interval by itself, so among {len(effects)} without any effect about {0.05 * len(effects):.1f} "
        "would miss 0 by luck."
    )
    head = (
        "skill",
        "accuracy, control → treatment",
        "advantage of control",
        "its sd over seeds",
        "gain, bits",
    )
    rows = [_row(effect) for effect in effects]
    return join(
        el("h4", "By kind of skill"), table(head, rows, numeric=(1, 2, 3, 4)), el("p", told, cls="note")
    )


def _row(effect: SkillEffect) -> list[Child]:
    gain = effect.gain
    text = f"{signed(gain.value)} [{signed(gain.low)}, {signed(gain.high)}]"
    return [
        effect.skill,
        f"{effect.control_accuracy:.0%} → {effect.treatment_accuracy:.0%}",
        signed(effect.control_advantage),
        f"{effect.control_sd:.3f}",
        el("b", text) if gain.low > 0 or gain.high < 0 else text,
    ]
