"""From the verdicts on one idea to a finding in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from mendel.records import Finding, Idea, Interval, SkillEffect, Transfer, Verdict


def make_finding(
    idea: Idea,
    *,
    round: int,
    control: str,
    treatment: str,
    rung: int,
    cost_ratio: float,
    cpu_ratio: Interval | None,
    log2_cm: Interval,
    verdicts: Sequence[Verdict],
    runs: int,
    adopted: bool,
    shrunk: bool = False,
    skills: Sequence[SkillEffect] = (),
) -> Finding:
    """A claim with its evidence: `verdicts` from confirmation to the fresh pairs after the claim, if any."""
    return Finding(
        idea=idea,
        round=round,
        control=control,
        treatment=treatment,
        rung=rung,
        cost_ratio=cost_ratio,
        cpu_ratio=cpu_ratio,
        log2_cm=log2_cm,
        shrunk=shrunk,
        together=verdicts[-1].together,
        verdicts=tuple(verdict.id for verdict in verdicts),
        runs=runs,
        adopted=adopted,
        refuted_by=refutation(rung, log2_cm),
        skills=tuple(skills),
    )


def refutation(rung: int, log2_cm: Interval) -> str:
    """What further evidence would take the claim back."""
    if log2_cm.low <= 0:
        return (
            f"Not established yet: on fresh seeds at rung {rung} the interval of the compute multiplier "
            f"({2**log2_cm.low:.2f} to {2**log2_cm.high:.2f}) includes 1."
        )
    return (
        f"Fresh pairs at rung {rung} whose {log2_cm.level:.0%} interval of the compute multiplier lies below "
        f"{2**log2_cm.low:.2f}; or, for any larger rung, an interval that includes 1."
    )


def transfer_words(finding: Finding, least: float) -> str:
    """What the rungs of a climbed idea say, in a sentence or two; `least` is the log2 CM that counts."""
    top, ahead = finding.by_rung[-1], finding.extrapolation
    said = {
        Transfer.TRANSFERS: "transfers to",
        Transfer.DOES_NOT: "does not transfer to",
        Transfer.NOT_SHOWN: "is not shown to transfer to",
        Transfer.NOT_MEASURED: "was not measured at",
    }[finding.transfer]
    gains = "; ".join(f"CM {cm(one.log2_cm)} at rung {one.rung}" for one in finding.by_rung)
    words = f"{finding.idea.name} {said} rung {top.rung}: {gains} (least that counts: {2**least:.3f})."
    if ahead is None:
        return words
    chance = f"{100 * min(max(ahead.probability, 0.01), 0.99):.0f} %"  # it is a model's: never sure
    return (
        f"{words} At the target scale of {ahead.flops:.3g} {ahead.currency} the trend has CM "
        f"{cm(ahead.log2_cm)}; the probability of a gain that counts is {chance} there."
    )


def cm(log2_cm: Interval) -> str:
    """A compute multiplier in words, such as `1.42 [1.31, 1.55]`."""
    least, most = ">= " if log2_cm.bounded else "", "> " if log2_cm.high_bounded else ""
    beyond = " (extrapolated)" if log2_cm.extrapolated else ""
    return f"{least}{2**log2_cm.value:.2f} [{2**log2_cm.low:.2f}, {most}{2**log2_cm.high:.2f}]{beyond}"
