"""After the claim: effects that are not flattered, unblinding, and the joint adoption of what holds.

The claimed ideas, their stack and the original recipe are trained on one fresh block of seeds. Effect sizes
come from this block and not from the pairs that made the claim, which flatter it. Where claims are many, or
were confirmed together, they are not trained one by one here: only their stack is, and their effects are
those of screening and confirmation, shrunk towards what was expected. The stack is the working line of the
round's screening where that holds more than the claims (`mendel.campaign.carry`), and where the block proves
it; else that of the claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mendel.campaign.audits import failed, full
from mendel.campaign.carry import LINE_PAIRS, drop_superseded, is_proved, record_carried, to_carry, with_pairs
from mendel.campaign.claim_audits import audit_costs, audit_runs
from mendel.campaign.confirm import AGAIN, Claim
from mendel.campaign.forward import Working
from mendel.campaign.known import Effect, effect_of, gain_of, is_known, room_for
from mendel.campaign.planting import claimed_words
from mendel.campaign.rounds import Points, Round, at_bound
from mendel.campaign.skills import skill_effects
from mendel.campaign.trunk import Line, Pairs, affords, by_window, differences, run_pairs
from mendel.knowledge.findings import cm, make_finding
from mendel.records import (
    Audit,
    Interval,
    Plan,
    PlanKind,
    RunResult,
    RunStatus,
    Shard,
    Verdict,
    VerdictKind,
)
from mendel.store import IdeaState
from mendel.verdicts.effects import compute_multiplier, paired_interval

STACK, ORIGINAL = "+stack", "+original"
"""Arms beside the ideas; no idea can have such a name."""
OVER_TRUNK = "+trunk"
"""Ends the name of an arm that has a control of its own and is compared with the trunk as well."""


def adopt_claims(
    round: Round, claims: Sequence[Claim], original_points: Points, working: Working | None = None
) -> Line:
    """Measure the claims and the working line, adopt what gains most of the line, the stack of the claims and
    the best of them, and return the trunk of the next round."""
    real = [claim for claim in claims if not _is_planted(round, claim.candidate.idea.name)]
    line = to_carry(round, working, real)
    if not real and line is None:
        return round.control
    prices = {claim.candidate.idea.name: claim.charge for claim in real}
    lines = {claim.candidate.idea.name: claim.candidate.line for claim in real}
    controls = {claim.candidate.idea.name: claim.candidate.control for claim in real}
    known = {claim.candidate.idea.name: claim for claim in real if is_known(round, claim, len(real))}
    arms = {name: line for name, line in lines.items() if name not in known}
    stack = line or _stack_of(round, real)
    charged = stack.excess
    few = with_pairs(round, LINE_PAIRS) if line is not None and not arms else round
    stack, plans, pairs, effects, leads = _try(few, arms, controls, stack)
    if line is not None and not (STACK in plans and is_proved(plans[STACK], pairs[plans[STACK].id])):
        round.lab.say(f"{round.number}/line", "adopt", "the working line is not taken up: no gain was proved")
        stack = _stack_of(round, real)
        charged = stack.excess
        stack, plans, pairs, effects, leads = _try(round, arms, controls, stack)
    best_known = max((gain_of(round, claim).value for claim in known.values()), default=-math.inf)
    gains = {name: _gain(plans, pairs, name) for name in (*arms, STACK) if name in plans}
    good = gains.get(STACK, 0.0) > 0 and gains[STACK] >= max(best_known, *gains.values())
    if known and not good and room_for(round, len(known), "apart"):
        # Without the stack they can only be adopted one by one, and are measured so.
        known, arms = {}, lines
        stack = stack if STACK in plans else round.control  # what did not hold is not tried again
        stack, plans, pairs, effects, leads = _try(round, arms, controls, stack)
    arms = {name: line for name, line in arms.items() if name in effects}
    chosen, new = _choose(round, arms, stack, plans, pairs)
    measured = {name: _on_fresh_pairs(effect, pairs[plans[name].id]) for name, effect in effects.items()}
    measured |= {name: effect_of(round, claim) for name, claim in known.items()}
    _record(round, [claim for claim in real if claim.candidate.idea.name in measured], measured, new)
    if not chosen:
        return new
    joined = {name: line for name, line in lines.items() if name in new.names}
    ahead = {name: round.control.ahead + leads.get(name, 0.0) for name in joined}
    controls = {name: replace(controls[name], ahead=ahead[name]) for name in joined}
    round.shelf.adopted(round.number, controls, joined, prices)
    if chosen == STACK and stack.excess > charged:
        round.shelf.surplus.append((frozenset(stack.names), stack.excess / charged))
    over, windows = _over_original(plans, pairs, chosen)
    log2_cm = compute_multiplier(original_points, round.flops, over, by_window=windows)
    record_trunk(round, new, log2_cm, checked=False)
    record_carried(round, new)
    return replace(new, ahead=log2_cm.value)


def _stack_of(round: Round, real: Sequence[Claim]) -> Line:
    """The trunk with as many claims as compose. Their order is fixed before the block is seen: by the effect
    at confirmation."""
    prices = {claim.candidate.idea.name: claim.charge for claim in real}
    order = sorted(real, key=lambda c: (-_interval(c.verdict).value, c.candidate.idea.name))
    ideas = [claim.candidate.idea for claim in order]
    return round.shelf.stack(round.control, ideas, prices, f"trunk of round {round.number + 1}")


def _try(
    round: Round, arms: dict[str, Line], controls: dict[str, Line], stack: Line
) -> tuple[Line, dict[str, Plan], Pairs, dict[str, Verdict], dict[str, float]]:
    """Measure arms and the stack; withdraw claims, and leave out a stack, that do not hold. Returns the stack
    as charged, plans, pairs, the effects of the arms that are left, and how far ahead of the trunk the
    control of each is."""
    plans, pairs = _measure(round, arms, controls, stack)
    # Charges that hold for each change need not hold for all of them together.
    if STACK in plans and (ratio := _beyond_charge(round, plans[STACK], pairs[plans[STACK].id])):
        dearer = replace(stack, excess=stack.excess * ratio)
        if affords(round.lab, dearer, round.rung) and room_for(round, 1, "dearer"):
            words = f"the stack takes {ratio:.2f} times the CPU seconds that it is charged: charged them"
            round.lab.say(f"{round.number}/stack/charge", "audit", words)
            stack = dearer
            plans.pop(STACK)
            again, more = _measure(round, {}, controls, stack)
            plans, pairs = plans | again, pairs | more
    leads = {name: _lead(round, name, plans, pairs) for name in arms if name in plans}
    effects = {
        name: _estimate(replace(round, ahead=round.ahead + lead), plans[name], pairs[plans[name].id])
        for name, lead in leads.items()
    }
    gone = {name for name in effects if _withdrawn(round, plans[name], effects[name], pairs[plans[name].id])}
    if gone:  # and with them the stack that holds them
        effects = {name: verdict for name, verdict in effects.items() if name not in gone}
        plans.pop(STACK, None)
    if STACK in plans and (violation := _violation(round, plans[STACK], pairs[plans[STACK].id])):
        round.lab.say(f"{round.number}/stack", "audit", f"the stack is not adopted: {full(violation)}")
        plans.pop(STACK)
    return stack, plans, pairs, effects, leads


def _beyond_charge(round: Round, plan: Plan, pairs: Sequence[tuple[RunResult, RunResult]]) -> float:
    """How many times its charge a treatment takes to train, in CPU seconds; 0 where no audit minds."""
    train, *_ = audit_costs(round, plan, pairs)
    return 0.0 if train.passed else float(train.evidence["ratio"])


def _on_fresh_pairs(effect: Verdict, pairs: Sequence[tuple[RunResult, RunResult]]) -> Effect:
    return Effect(_interval(effect), skill_effects(pairs), effect)


def _measure(
    round: Round, arms: dict[str, Line], controls: dict[str, Line], stack: Line
) -> tuple[dict[str, Plan], Pairs]:
    """Pairs of each arm with its control; and of the trunk with each arm, with the stack of them all, and
    with the original recipe."""
    wanted = dict(arms)
    if stack.recipe not in {line.recipe for line in [round.control, *wanted.values()]}:
        wanted[STACK] = stack
    if round.original.recipe != round.control.recipe:
        wanted[ORIGINAL] = round.original
    smoked = round.lab.smoke([(line.recipe, round.rung, None) for line in wanted.values()])
    seeds = round.seeds(PlanKind.ESTIMATE, round.config.policy.estimate_pairs)
    plans = {}
    with round.lab.store.transaction():
        for name, line in wanted.items():
            runs = smoked[line.recipe, round.rung].status is RunStatus.DONE
            if runs and affords(round.lab, line, round.rung):
                idea = name if name in arms else None
                control = controls.get(name, round.control)
                plans[name] = round.plan(PlanKind.ESTIMATE, idea, line, seeds, Shard.VALIDATION, control)
                if control.recipe != round.control.recipe:
                    over = round.plan(PlanKind.ESTIMATE, None, line, seeds, Shard.VALIDATION)
                    plans[name + OVER_TRUNK] = over
        for plan in plans.values():
            round.lab.store.put_plan(round.campaign, plan)
    return plans, run_pairs(round.lab, list(plans.values()), 0, len(seeds))


def _is_planted(round: Round, name: str) -> bool:
    """Whether a claim was planted; its verdict is stored by now."""
    blank = round.lab.store.unblind(round.campaign, name)
    if blank is None:
        return False
    note = claimed_words(blank)
    round.move(name, IdeaState.DROPPED, note, "blank")
    round.lab.say(f"{round.number}/blank/{name}", "adopt", f"{name}: {note}", name)
    return True


def _estimate(round: Round, plan: Plan, results: Sequence[tuple[RunResult, RunResult]]) -> Verdict:
    why = "effect on fresh pairs, measured after the claim"
    return put_measured(round, plan, differences(results), round.multiplier(results, plan.rule), why)


def _withdrawn(
    round: Round, plan: Plan, effect: Verdict, pairs: Sequence[tuple[RunResult, RunResult]]
) -> bool:
    """Withdraw a claim whose fresh runs an audit rejects, or whose gain turned into a loss on seeds that
    nothing was chosen by. Its e-value no longer helps others."""
    assert effect.difference is not None and plan.idea is not None
    violation = _violation(round, plan, pairs)
    if violation is None and effect.difference.high <= 0:
        violation = Audit(
            name="fresh",
            passed=False,
            reason=f"{effect.pairs} pairs on fresh seeds show a loss: difference "
            f"{effect.difference.value:+.4f} {plan.rule.unit}, at most {effect.difference.high:+.4f}",
        )
    if violation is None:
        return False
    name = plan.idea
    process = f"{name}@{round.control.recipe}"
    mine = {process, f"{process}{AGAIN}"} & round.errors.frozen.keys()
    round.errors.frozen |= dict.fromkeys(mine, -math.inf)
    round.move(name, IdeaState.REJECTED, full(violation), "fresh")
    round.lab.say(
        f"{round.number}/fresh/{name}", "audit", f"{name}: claim withdrawn, {full(violation)}", name
    )
    return True


def _violation(round: Round, plan: Plan, pairs: Sequence[tuple[RunResult, RunResult]]) -> Audit | None:
    """What an audit has against the treatment's runs or their cost."""
    return failed((*audit_runs(pairs), *audit_costs(round, plan, pairs)))


def _interval(verdict: Verdict) -> Interval:
    assert verdict.log2_cm is not None
    return verdict.log2_cm


def put_measured(
    round: Round,
    plan: Plan,
    found: Sequence[float | None],
    log2_cm: Interval,
    reason: str,
    audits: Sequence[Audit] = (),
) -> Verdict:
    """Store what the differences `found` of a plan say by their interval, or that an audit rejects them."""
    violation = failed(audits)
    verdict = Verdict(
        plan=plan.id,
        kind=VerdictKind.REJECTED if violation else kind_of(log2_cm),
        pairs=len(found),
        failures=sum(d is None for d in found),
        difference=paired_interval(at_bound(found, plan.rule)),
        log2_cm=log2_cm,
        per_bit=1 / round.slope(),
        reason=full(violation) if violation else reason,
    )
    round.lab.store.put_verdict(round.campaign, verdict)
    if audits:
        round.lab.keep_audits(verdict, audits)
    return verdict


def kind_of(log2_cm: Interval) -> VerdictKind:
    """What an interval says by itself, outside the error budget of the claims."""
    if log2_cm.low > 0:
        return VerdictKind.BETTER
    return VerdictKind.WORSE if log2_cm.high < 0 else VerdictKind.NO_DIFFERENCE_SHOWN


def _lead(round: Round, arm: str, plans: dict[str, Plan], pairs: Pairs) -> float:
    """log2 CM over the trunk of an arm's own control, 0 where that is the trunk: gains over a better control
    are read off the curve where that stands."""
    own, over = plans[arm], _over_trunk(plans, arm)
    gains = [at_bound(differences(pairs[plan.id]), plan.rule) for plan in (over, own)]
    ahead = [gain - rest for gain, rest in zip(*gains, strict=True)]
    return round.in_compute(ahead).value if over is not own else 0.0


def _over_trunk(plans: dict[str, Plan], arm: str) -> Plan:
    """The pairs of an arm with the trunk, also where its effect is measured against a control of its own."""
    return plans.get(arm + OVER_TRUNK, plans[arm])


def _choose(
    round: Round, arms: dict[str, Line], stack: Line, plans: dict[str, Plan], pairs: Pairs
) -> tuple[str, Line]:
    """The arm with the largest mean gain on the block, of the stack and the single claims; ("", the old
    trunk) if none gained. No claim is left out for its interval here: that would flatter those that stay."""
    lines = {name: line for name, line in {**arms, STACK: stack}.items() if name in plans}
    gains = {name: _gain(plans, pairs, name) for name in sorted(lines)}
    best = max(gains, key=lambda name: gains[name], default="")
    return (best, lines[best]) if best and gains[best] > 0 else ("", round.control)


def _gain(plans: dict[str, Plan], pairs: Pairs, arm: str) -> float:
    """Mean gain of an arm over the trunk, bits per byte."""
    plan = _over_trunk(plans, arm)
    values = at_bound(differences(pairs[plan.id]), plan.rule)
    return sum(values) / len(values)


def _over_original(
    plans: dict[str, Plan], pairs: Pairs, chosen: str
) -> tuple[list[float], list[list[float]] | None]:
    """Loss of the original minus loss of the new trunk, seed by seed, through the control they share; and the
    same window by window of the text."""
    plan = _over_trunk(plans, chosen)
    own = pairs[plan.id]
    gains, windows = at_bound(differences(own), plan.rule), by_window(own)
    if ORIGINAL not in plans:
        return gains, windows
    base = pairs[plans[ORIGINAL].id]
    deficits = at_bound(differences(base), plans[ORIGINAL].rule)
    over = [gain - deficit for gain, deficit in zip(gains, deficits, strict=True)]
    # Both against the same control: its windows cancel.
    return over, by_window([(before, after) for (_, before), (_, after) in zip(base, own, strict=True)])


def _record(round: Round, real: Sequence[Claim], effects: dict[str, Effect], new: Line) -> None:
    drop_superseded(round, new)
    for claim in real:
        idea, effect = claim.candidate.idea, effects[claim.candidate.idea.name]
        adopted = idea.name in new.names
        finding = make_finding(
            idea,
            round=round.number,
            control=claim.candidate.control.recipe,
            treatment=claim.candidate.line.recipe,
            rung=round.rung,
            cost_ratio=claim.charge.ratio,
            cpu_ratio=claim.charge.cpu_ratio,
            log2_cm=effect.log2_cm,
            verdicts=(claim.verdict, effect.verdict) if effect.verdict else (claim.verdict,),
            shrunk=effect.verdict is None,
            runs=2 * claim.verdict.pairs + effect.runs,
            adopted=adopted,
            skills=effect.skills,
        )
        round.lab.store.put_finding(round.campaign, finding)
        state = IdeaState.ADOPTED if adopted else IdeaState.CLAIMED
        round.move(idea.name, state, f"{state.value}: CM {cm(effect.log2_cm)}", "adopt")
        outcome = "adopted" if adopted else "claimed, not adopted"
        message = f"{idea.name}: {outcome}, CM {cm(effect.log2_cm)} {finding.measured}"
        round.lab.say(f"{round.number}/adopt/{idea.name}", "adopt", message, idea.name)


def evict(round: Round, names: Sequence[str], why: str, stage: str) -> None:
    """Drop an idea that leaves the trunk before `round`, and the others of `names`, which do not fit without
    it. Their findings stay and say so; those of later rounds are on record when a campaign is continued."""
    for name in names:
        note = why if name == names[0] else f"{why}; it does not fit without {names[0]}"
        round.move(name, IdeaState.DROPPED, note, stage)
        for finding in round.lab.store.findings(round.campaign):
            if finding.idea.name == name and finding.round < round.number and finding.adopted:
                marked = finding.model_copy(update={"adopted": False, "evicted": note})
                round.lab.store.put_finding(round.campaign, marked)


def record_trunk(
    round: Round, line: Line, log2_cm: Interval, checked: bool, key: str = "", what: str = ""
) -> None:
    """Keep where the trunk stands against the original, and what that took. `checked`: on seeds that had no
    part in choosing it. `key` and `what` tell records of one round apart."""
    lab = round.lab

    def point() -> dict[str, object]:
        return {
            "round": round.number,
            "rung": round.rung,
            "recipe": line.recipe,
            "adopted": list(line.names),
            "log2_cm": log2_cm.model_dump(),
            "checked": checked,
            "runs": lab.meter.runs,
            "worker_seconds": lab.progress.worker_seconds,
        }

    if not what:
        what = "last check of the trunk, on fresh seeds" if checked else f"trunk after round {round.number}"
    lab.once(f"trunk/{round.number}/{round.rung}{key}", point)
    lab.progress.trunk, lab.progress.trunk_cm = line.names, log2_cm
    lab.say(
        f"{round.number}/{round.rung}/trunk{key}",
        "verify",
        f"{what}, rung {round.rung}: CM {cm(log2_cm)} over {lab.campaign.recipe}",
    )
