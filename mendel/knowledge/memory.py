"""What the campaigns of a store know of each idea: the claim or the failure, how sure it is, and what has
happened to it since.

Nothing is stored for this: findings and verdicts are, and whatever a later campaign says of the same change
is read beside them. Failures are kept like claims. Planted ideas are left out as soon as the lab knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from mendel.knowledge.findings import cm
from mendel.records import (
    Finding,
    Idea,
    Interval,
    Plan,
    PlanKind,
    Transfer,
    Verdict,
    VerdictKind,
    content_hash,
)
from mendel.store import Campaign, IdeaState, Store, Trial

Points = Callable[[Store, Campaign], Sequence[Mapping[str, Any]]]
"""Where a campaign's trunk stood: rows with a round, a recipe and the names of what was adopted."""


class Grade(StrEnum):
    """What stands behind what is said of an idea, from most to least."""

    TRANSFERRED = "confirmed, and transferred to a higher rung"
    CONFIRMED = "measured and confirmed"
    REFUTED = "refuted"
    """Claimed once; a recheck or a later campaign took it back."""
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    NOT_SHOWN = "no difference shown"
    CARRIED = "carried: proved with the trunk, not apart"
    SCREENED = "screened only"
    REJECTED = "rejected by an audit"
    FAILED = "failed"
    STALE = "stale"


CLAIMS = (Grade.TRANSFERRED, Grade.CONFIRMED)
NEGATIVE = (Grade.REFUTED, Grade.WORSE, Grade.EQUIVALENT, Grade.NOT_SHOWN)
BY_VERDICT = {
    VerdictKind.WORSE: Grade.WORSE,
    VerdictKind.EQUIVALENT: Grade.EQUIVALENT,
    VerdictKind.NO_DIFFERENCE_SHOWN: Grade.NOT_SHOWN,
    VerdictKind.BETTER: Grade.NOT_SHOWN,  # e-BH did not make a claim of it
    VerdictKind.STALE: Grade.STALE,
    VerdictKind.FAILED: Grade.FAILED,
    VerdictKind.REJECTED: Grade.REJECTED,
}
BY_STATE = {
    IdeaState.STALE: Grade.STALE,
    IdeaState.FAILED: Grade.FAILED,
    IdeaState.REJECTED: Grade.REJECTED,
}
BY_CONFIRMATION, BY_SCREEN = "by confirmation", "by a screen, which picks the lucky ones"
BUILT = "built on a fallen one"
UNTRIED = (IdeaState.QUEUED, IdeaState.REVIEW)


@dataclass(frozen=True)
class Link:
    """What one piece of knowledge has to do with another."""

    kind: str
    """supersedes, superseded by, refuted by, measured again, differs on, built on a fallen one."""
    idea: str
    campaign: str
    words: str


@dataclass(frozen=True)
class Known:
    """What one campaign found out about one idea."""

    store: str
    campaign: str
    when: datetime
    testbed: str
    fingerprint: str
    unit: str
    trust: str
    idea: Idea
    patch: str
    """Content hash of what it changes: equal patches are one idea, whatever it is called."""
    grade: Grade
    round: int = 0
    rung: int | None = None
    log2_cm: Interval | None = None
    """Published with a claim, or of the confirmation that made none; of a screen where there was no more."""
    measured: str = ""
    pairs: int = 0
    adopted: bool = False
    note: str = ""
    by_rung: tuple[tuple[int, Interval], ...] = ()
    refuted_by: str = ""
    """What would take the claim back."""
    trunk: tuple[str, ...] = ()
    """What its control held."""
    links: tuple[Link, ...] = field(default=())

    @property
    def fallen(self) -> bool:
        return self.grade is Grade.REFUTED

    @property
    def told(self) -> str:
        """The effect in words; empty where there is none."""
        return "" if self.log2_cm is None else f"CM {cm(self.log2_cm)}"


def remember(stores: Sequence[Store], points: Points) -> list[Known]:
    """Everything that the campaigns of some stores know, oldest campaign first, with its links."""
    found = [one for store in stores for one in _of_store(store, points)]
    return linked(sorted(found, key=lambda one: one.when))


def _of_store(store: Store, points: Points) -> list[Known]:
    campaigns = store.campaigns()
    ids = [one.id for one in campaigns]
    claims = store.findings_of(ids)
    trials: dict[str, list[Trial]] = {campaign: [] for campaign in ids}
    for trial in store.trials(ids):
        trials[trial.campaign].append(trial)
    found = []
    for campaign in campaigns:
        plans = {plan.id: plan for plan in store.plans(campaign.id)}
        notes = {entry.idea.name: entry.note for entry in store.ideas(campaign.id)}
        held = _Trunks(points(store, campaign))
        by_name = {finding.idea.name: finding for finding in claims[campaign.id]}
        for trial in trials[campaign.id]:
            if trial.state in UNTRIED:
                continue
            base = _base(store, campaign, trial.idea, notes.get(trial.idea.name, ""))
            finding = by_name.get(trial.idea.name)
            one = _failure(base, trial, plans) if finding is None else _claim(base, finding, trial)
            control = finding.control if finding else _control(trial, plans)
            found.append(replace(one, trunk=held.of(control, one.round)))
    return found


def _base(store: Store, campaign: Campaign, idea: Idea, note: str) -> Known:
    print_ = campaign.fingerprint
    return Known(
        store=str(store.root),
        campaign=campaign.id,
        when=campaign.created,
        testbed=campaign.testbed.rstrip("/").rpartition("/")[2],
        fingerprint=print_.id,
        unit=print_.unit,
        trust=print_.trust.words,
        idea=idea,
        patch=patch_hash(idea),
        grade=Grade.SCREENED,
        note=note,
    )


def patch_hash(idea: Idea) -> str:
    """Content hash of what an idea changes; the values that a search found count, the slot does not."""
    return content_hash(idea.patch.model_dump(mode="json", exclude={"slot", "tuned"}))


def _claim(base: Known, finding: Finding, trial: Trial) -> Known:
    grade = Grade.TRANSFERRED if finding.transfer is Transfer.TRANSFERS else Grade.CONFIRMED
    confirmed = [verdict for kind, verdict in trial.measured if kind is not PlanKind.SCREEN]
    return replace(
        base,
        # The same idea with other values would be another patch: what was proposed says which it is.
        grade=Grade.REFUTED if finding.evicted else grade,
        round=finding.round,
        rung=finding.rung,
        log2_cm=finding.log2_cm,
        measured=finding.measured,
        pairs=sum(verdict.pairs for verdict in confirmed),
        adopted=finding.adopted,
        note=finding.evicted or base.note,
        by_rung=tuple((one.rung, one.log2_cm) for one in finding.by_rung),
        refuted_by=finding.refuted_by,
    )


def _failure(base: Known, trial: Trial, plans: Mapping[str, Plan]) -> Known:
    verdict = _last(trial)
    confirmed = verdict is not None and verdict[0] is PlanKind.CONFIRM
    grade = BY_STATE.get(trial.state, Grade.SCREENED)
    if trial.state is IdeaState.CARRIED:
        grade = Grade.CARRIED
    elif grade is Grade.SCREENED and verdict is not None and confirmed:
        grade = BY_VERDICT[verdict[1].kind]
    if verdict is None:
        return replace(base, grade=grade)
    plan = plans.get(verdict[1].plan)
    # Of a failed or rejected run the numbers are not about the idea.
    told = grade not in (Grade.FAILED, Grade.STALE, Grade.REJECTED)
    return replace(
        base,
        grade=grade,
        round=plan.round if plan else 0,
        rung=plan.rung if plan else None,
        log2_cm=verdict[1].log2_cm if told else None,
        measured=(BY_CONFIRMATION if confirmed else BY_SCREEN) if told else "",
        pairs=verdict[1].pairs,
    )


def _last(trial: Trial) -> tuple[PlanKind, Verdict] | None:
    """The verdict that says most of an idea: the last confirmation, or the last screen."""
    for kind in (PlanKind.CONFIRM, PlanKind.SCREEN):
        found = [one for one in trial.measured if one[0] is kind]
        if found:
            return found[-1]
    return None


def _control(trial: Trial, plans: Mapping[str, Plan]) -> str:
    verdict = _last(trial)
    plan = plans.get(verdict[1].plan) if verdict else None
    return plan.control if plan else ""


class _Trunks:
    """What the trunk held by recipe and, where a control is none of its recipes, by round."""

    def __init__(self, points: Sequence[Mapping[str, Any]]) -> None:
        self._recipes = {str(one.get("recipe", "")): tuple(one["adopted"]) for one in points}
        self._rounds = [(int(one["round"]), tuple(one["adopted"])) for one in points]

    def of(self, recipe: str, round: int) -> tuple[str, ...]:
        if recipe in self._recipes:
            return self._recipes[recipe]
        before = [names for number, names in self._rounds if number < round]
        return before[-1] if before else ()


# --- what one says of another -----------------------------------------------------------------------------


def linked(found: Sequence[Known]) -> list[Known]:
    """The same with their links, and with the grade that later campaigns leave a claim."""
    judged = [_again(one, [other for other in found if other.patch == one.patch]) for one in found]
    judged = [_slots(one, judged) for one in judged]
    fallen = {(one.campaign, one.idea.name) for one in judged if one.fallen}
    return [_built(one, fallen) for one in judged]


def _again(one: Known, same: Sequence[Known]) -> Known:
    """What later campaigns measured of the same patch."""
    links = list(one.links)
    grade = one.grade
    if one.fallen and one.note:
        links.append(Link("refuted by", one.idea.name, one.campaign, one.note))
    for other in same:
        if other.when <= one.when or other.grade not in (*CLAIMS, *NEGATIVE):
            continue
        where = f"campaign {other.campaign} on {other.testbed}"
        # The number of a confirmation that made no claim is told with it alone: a digest leaves it out.
        words = f"{where}: {other.grade.value}{f', {other.told}' if other.grade in CLAIMS else ''}"
        if not contradicts(one, other):
            links.append(Link("measured again", other.idea.name, other.campaign, words))
        elif (other.testbed, other.rung) == (one.testbed, one.rung):
            links.append(Link("refuted by", other.idea.name, other.campaign, words))
            grade = Grade.REFUTED
        else:
            links.append(Link("differs on", other.idea.name, other.campaign, words))
    return replace(one, grade=grade, links=tuple(links))


def contradicts(claim: Known, later: Known) -> bool:
    """Whether a later measurement is what would take a claim back: it is worse, nothing within a band, or its
    interval lies wholly below the claim's. Mere doubt is none."""
    if claim.grade not in CLAIMS:
        return False
    if later.grade in (Grade.WORSE, Grade.EQUIVALENT):
        return True
    if claim.log2_cm is None or later.log2_cm is None:
        return False
    return later.log2_cm.high < claim.log2_cm.low and not later.log2_cm.high_bounded


def _slots(one: Known, found: Sequence[Known]) -> Known:
    """Alternatives to the same thing that the same campaign claimed before or after."""
    slot = one.idea.patch.slot
    if slot is None or one.grade not in (*CLAIMS, Grade.REFUTED):
        return one
    links = list(one.links)
    for other in found:
        rival = other.campaign == one.campaign and other.idea.patch.slot == slot
        if not rival or other.round == one.round or other.grade not in CLAIMS:
            continue
        kind = "supersedes" if other.round < one.round else "superseded by"
        if (one if kind == "supersedes" else other).adopted:
            links.append(Link(kind, other.idea.name, other.campaign, f"slot {slot}, {other.told}"))
    return replace(one, links=tuple(links))


def _built(one: Known, fallen: set[tuple[str, str]]) -> Known:
    links = [
        Link(BUILT, name, one.campaign, f"built on {name}, which has fallen since")
        for name in one.trunk
        if (one.campaign, name) in fallen and name != one.idea.name
    ]
    return replace(one, links=(*one.links, *links))
