"""The trunk is not a ratchet: on a schedule it is measured again, and what no longer earns its place goes.

On one fresh block of seeds the trunk is trained beside the original recipe and beside itself without each of
its changes, all at equal charged cost, on validation text. `mendel.verdicts.recheck` decides. Where the
changes together come to something else than the sum of what they were adopted for, pairs of them are left
out too, which shows the interactions. All sizes are read off the original's scaling curve: one scale, on
which effects add up, and no further runs.

After an eviction what is left is looked at again on the same seeds: that trunk was chosen on them, which
flatters its changes and can only keep one. The last check of the trunk has seeds of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, count

from mendel.campaign.adopt import evict, record_trunk
from mendel.campaign.recheck_words import sentences, told
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.trunk import Line, Refused, differences, run_pairs
from mendel.records import (
    Earning,
    Finding,
    Interaction,
    Interval,
    Plan,
    PlanKind,
    Recheck,
    RunStatus,
    Shard,
    Standing,
)
from mendel.verdicts.effects import compute_multiplier
from mendel.verdicts.factorial import in_compute
from mendel.verdicts.recheck import Judged, Test, against_sum, settle

ORIGINAL = "+original"
LEAST_CHANGES = 2
"""Of a trunk with one change the last check says the same."""
SHARE = 0.25
"""Most of what is left of the budget that goes into a recheck of a trunk that carries changes, before the
last one: its claims are few of them, and further tries add more than it takes away."""
SMOKE = 1
"""Price of smoke-testing a recipe, in runs of the lowest rung, where time is counted and not runs."""


@dataclass
class Watch:
    """When the trunk is rechecked, and the doing of it. `first` is the campaign's round 0, whose points are
    the original's scaling curve."""

    first: Round
    seen: frozenset[str] = frozenset()
    """What the trunk held when it was last rechecked."""

    def recheck(self, number: int, trunk: Line, reserve: float, last: bool = False) -> Line:
        """The trunk to go on with, before round `number`, or before the last check.

        `reserve` is what the last check will cost, in runs of the lowest rung.
        """
        needed = 1 if last else self.first.config.policy.recheck_after
        claimed = _claimed(self.first, number, trunk)
        if len(claimed) < LEAST_CHANGES or len(claimed.keys() - self.seen) < needed:
            return trunk
        for attempt in count():
            round = replace(self.first, number=number, control=trunk, ahead=trunk.ahead, reserve=reserve)
            carries = len(claimed) < len(trunk.names)
            one = _Attempt(round, attempt, SHARE if carries and not last else 1.0)
            if not one.goes():
                break
            self.seen = frozenset(trunk.names)
            after = one.make()
            if after is trunk:
                break
            trunk = after
        return trunk


def _claimed(round: Round, number: int, trunk: Line) -> dict[str, Finding]:
    """The findings behind what the trunk holds before round `number`, in its order: what comes later is on
    record when a campaign is continued."""
    findings = round.lab.store.findings(round.campaign)
    found = {one.idea.name: one for one in findings if one.round < number}
    return {name: found[name] for name in trunk.names if name in found}


@dataclass
class _Attempt:
    """One trunk against the original and against itself without each change."""

    round: Round
    number: int
    share: float
    """Most of what is left of the budget that it may take."""
    lines: dict[str, Line] = field(default_factory=dict)
    """What the trunk is compared with: the original, and by name of a change the trunk without it."""
    plans: dict[str, Plan] = field(default_factory=dict)
    gains: dict[str, list[float]] = field(default_factory=dict)
    """By arm: loss of the trunk minus loss of the arm, bits per byte, in planned order."""
    lost: dict[str, str] = field(default_factory=dict)
    """Why a change could not be left out."""

    @property
    def key(self) -> str:
        return f"recheck/{self.round.number}/{self.number}"

    @property
    def trunk(self) -> Line:
        return self.round.control

    @cached_property
    def claimed(self) -> dict[str, Finding]:
        """Findings of the changes that are looked at; what is only carried was never proved apart."""
        return _claimed(self.round, self.round.number, self.trunk)

    @cached_property
    def test(self) -> Test:
        policy = self.round.config.policy
        least = self.round.rule().min_loss_gain
        return Test(least, policy.alpha, policy.recheck_pairs, policy.recheck_max_pairs)

    @property
    def arm_price(self) -> int:
        """Of the first look at one arm, in runs of the lowest rung."""
        return self.round.config.policy.recheck_pairs + (0 if self.round.lab.meter.counts_runs else SMOKE)

    def goes(self) -> bool:
        """Whether there is something to recheck, and the budget has room for it beside the last check."""
        if not self.claimed:
            return False
        price = len(self.claimed) * self.arm_price
        if self.number == 0:  # later the trunk and the original have their runs
            price += 2 * self.round.config.policy.recheck_pairs
        left = self.round.lab.meter.remaining() - self.round.reserve
        room = self.round.lab.once(f"{self.key}/room", lambda: {"left": left, "price": price})
        if self.share * room["left"] >= room["price"]:
            return True
        what = "not rechecked" if self.number == 0 else "what is left is not looked at again"
        self.round.lab.say(
            f"{self.key}/skip",
            "recheck",
            f"trunk before round {self.round.number}: {what}, that takes {room['price']} runs and the budget "
            f"has room for {max(0, int(self.share * room['left']))} beside the last check",
        )
        return False

    def make(self) -> Line:
        """Measure, judge, write down and evict; returns the trunk that is left."""
        self.prepare({ORIGINAL: self.round.original} | {name: self.left_out(name) for name in self.claimed})
        names = [name for name in self.claimed if name in self.plans]
        judged = settle(names, self.test, self.measure)
        record = self.record(judged)
        evicted = next((one for one in record.changes if one.standing is Standing.EVICTED), None)
        for place, sentence in enumerate(record.summary):
            self.round.lab.say(f"{self.key}/said/{place}", "recheck", sentence)
        if evicted is None:
            if self.number == 0:
                self.keep_trunk(self.trunk, record.whole)
            return self.trunk
        return self.evict(evicted)

    # --- arms and their runs ------------------------------------------------------------------------------

    def left_out(self, *names: str) -> Line:
        """The trunk without these changes; the original, where nothing is left of it."""
        label = f"trunk before round {self.round.number} without {' and '.join(names)}"
        line = self.round.shelf.without(self.trunk, names, label)
        return self.round.original if line.recipe == self.round.original.recipe else line

    def prepare(self, lines: Mapping[str, Line]) -> None:
        """Smoke-test arms and fix their plans, before any of their runs; those that cannot run are lost."""
        round = self.round
        smoked = round.lab.smoke([(line.recipe, round.rung, None) for line in lines.values()])
        seeds = round.seeds(PlanKind.RECHECK, self.test.looks[-1])
        with round.lab.store.transaction():
            for name, line in lines.items():
                result = smoked[line.recipe, round.rung]
                if result.status is not RunStatus.DONE:
                    self.lost[name] = f"without it a smoke run {result.status}: {result.reason}"
                    continue
                try:
                    plan = round.plan(PlanKind.RECHECK, None, line, seeds, Shard.VALIDATION)
                except Refused as error:
                    self.lost[name] = f"without it: {error}"
                    continue
                round.lab.store.put_plan(round.campaign, plan)
                self.lines[name], self.plans[name], self.gains[name] = line, plan, []

    def measure(self, names: Sequence[str], first: int, last: int) -> dict[str, list[float]] | None:
        """What each of these changes adds, pair by pair; None where the budget has no room for it."""
        arms = [*names, ORIGINAL]
        price = (last - first) * (len(arms) + 1)
        meter, reserve = self.round.lab.meter, self.round.reserve
        if first and not self.round.lab.once(
            f"{self.key}/look/{first}", lambda: meter.remaining() - reserve >= price
        ):
            return None
        self.train(arms, first, last)
        return {name: [-gain for gain in self.gains[name][first:]] for name in names}

    def train(self, arms: Sequence[str], first: int, last: int) -> None:
        """Pairs of the trunk with each of these arms. Two arms may be one recipe."""
        unique = {self.plans[name].id: self.plans[name] for name in arms}
        pairs = run_pairs(self.round.lab, list(unique.values()), first, last)
        for name in arms:
            plan = self.plans[name]
            self.gains[name] += at_bound(differences(pairs[plan.id]), plan.rule)

    # --- what the runs say --------------------------------------------------------------------------------

    def record(self, judged: Mapping[str, Judged]) -> Recheck:
        """What came of it, kept as one record."""
        found = self.claimed
        changes = tuple(self.earning(name, judged, found[name]) for name in found)
        whole = self.over_original(None)
        total, beyond = self.at_adoption(whole, found) if self.number == 0 else (None, None)
        last = self.beyond_last(changes) if self.number == 0 else None
        disagree = any(gap is not None and not gap.low <= 0 <= gap.high for gap in (beyond, last))
        record = Recheck(
            round=self.round.number,
            attempt=self.number,
            rung=self.round.rung,
            recipe=self.trunk.recipe,
            adopted=self.trunk.names,
            whole=whole,
            sum_at_adoption=total,
            beyond_adoption=beyond,
            beyond_last=last,
            least=self.round.config.policy.min_gain,
            changes=changes,
            interactions=self.interactions(changes) if disagree else (),
        )
        record = record.model_copy(update={"summary": sentences(record, self.round.lab.campaign.recipe)})
        self.round.lab.once(self.key, lambda: record.model_dump(mode="json"))
        return record

    def earning(self, name: str, judged: Mapping[str, Judged], finding: Finding) -> Earning:
        adopted = finding.log2_cm
        if name not in judged:
            return Earning(
                name=name, standing=Standing.UNTESTED, at_adoption=adopted, reason=self.lost.get(name, "")
            )
        found, line = judged[name], self.lines[name]
        gone = tuple(other for other in self.trunk.names if other not in (*line.names, name))
        return Earning(
            name=name,
            with_it=gone,
            standing=found.standing,
            pairs=found.pairs,
            difference=found.gain,
            log2_cm=self.compute({name: -1.0}, found.gain.level),
            at_adoption=adopted,
            reason=told(found, self.round.config.policy.min_gain),
        )

    def at_adoption(
        self, whole: Interval, found: Mapping[str, Finding]
    ) -> tuple[Interval | None, Interval | None]:
        """Sum of the effects at adoption, and the whole minus it; None where one of them is only a bound."""
        effects = [finding.log2_cm for finding in found.values()]
        if len(effects) < len(self.trunk.names) or any(one.bounded for one in (whole, *effects)):
            return None, None
        rounds = sorted({finding.round for finding in found.values()})
        return against_sum(
            whole, [[f.log2_cm for f in found.values() if f.round == number] for number in rounds]
        )

    def beyond_last(self, changes: Sequence[Earning]) -> Interval | None:
        """The whole minus the sum of what each change adds; None where a sum would miss one or count it
        twice."""
        if len(changes) < len(self.trunk.names):
            return None
        if any(one.standing is Standing.UNTESTED or one.with_it for one in changes):
            return None
        return self.compute({ORIGINAL: -1.0} | {one.name: 1.0 for one in changes}, 0.95)

    def compute(self, weights: Mapping[str, float], level: float) -> Interval:
        """A contrast of the trunk (whose weight makes the sum zero) and arms, as log2 CM."""
        weights = {ORIGINAL: 0.0, **weights}
        pairs = min(len(self.gains[arm]) for arm in weights)
        values = [[0.0, *(self.gains[arm][place] for arm in weights)] for place in range(pairs)]
        scale = in_compute(self.round.points, self.round.flops, values, reference=1)
        contrast = [-sum(weights.values()), *weights.values()]
        effect = scale.estimate([contrast], level)[0]
        return Interval(
            value=effect.value, low=effect.low, high=effect.high, level=level, bounded=bool(scale.bounded)
        )

    def over_original(self, arm: str | None) -> Interval:
        """log2 CM of the trunk, or of an arm, over the original."""
        original = self.gains[ORIGINAL]
        own = self.gains[arm] if arm else [0.0] * len(original)
        over = [gain - base for gain, base in zip(own, original, strict=False)]
        round = self.round
        return compute_multiplier(round.points, round.flops, over, rng_seed=round.config.seed)

    # --- interactions -------------------------------------------------------------------------------------

    def interactions(self, changes: Sequence[Earning]) -> tuple[Interaction, ...]:
        """What pairs of changes add beyond their sum: first those that add least of what they were adopted
        for, at most as many as there are changes, and as the budget has room for."""
        tested = {one.name: one for one in changes if one.standing is not Standing.UNTESTED}
        wanted = [
            (one, other)
            for one, other in combinations(tested, 2)
            if other not in tested[one].with_it and one not in tested[other].with_it
        ]
        wanted.sort(key=lambda pair: -sum(_changed(tested[name]) for name in pair))
        pairs = self.round.config.policy.recheck_pairs
        left = self.round.lab.meter.remaining() - self.round.reserve
        most = min(len(tested), max(0, int(left / self.arm_price)))
        room = self.round.lab.once(f"{self.key}/pairs", lambda: most)
        names = {f"{one}+{other}": (one, other) for one, other in wanted[:room]}
        self.prepare({arm: self.left_out(*pair) for arm, pair in names.items()})
        arms = [arm for arm in names if arm in self.plans]
        if arms:
            self.train(arms, 0, pairs)
        level = 1 - self.round.config.policy.alpha / max(1, len(arms))
        return tuple(
            Interaction(
                changes=(one, other),
                pairs=pairs,
                log2_cm=self.compute({one: -1.0, other: -1.0, arm: 1.0}, level),
            )
            for arm, (one, other) in names.items()
            if arm in arms
        )

    # --- eviction -----------------------------------------------------------------------------------------

    def evict(self, earning: Earning) -> Line:
        """Take a change out of the trunk, with those that do not fit without it."""
        round, line = self.round, self.lines[earning.name]
        log2_cm = self.over_original(earning.name)
        why = f"evicted before round {round.number}: {earning.reason}"
        evict(round, (earning.name, *earning.with_it), why, f"recheck/{self.number}")
        self.keep_trunk(line, log2_cm)
        return replace(line, ahead=log2_cm.value)

    def keep_trunk(self, line: Line, log2_cm: Interval) -> None:
        """Where the trunk stands; the one that an eviction left was chosen on these seeds."""
        evicted = line is not self.trunk
        what = f"trunk rechecked before round {self.round.number}"
        if evicted:
            what += f", without {', '.join(name for name in self.trunk.names if name not in line.names)}"
        key = f"/recheck/{self.number}"
        record_trunk(self.round, line, log2_cm, checked=not evicted, key=key, what=what)


def _changed(earning: Earning) -> float:
    """By how much a change adds something else than what it was adopted for, log2 CM."""
    if earning.at_adoption is None or earning.log2_cm is None:
        return 0.0
    return abs(earning.at_adoption.value - earning.log2_cm.value)
