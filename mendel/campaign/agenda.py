"""What to do next: which ideas a round tries, and what the budget has room for.

Triage ranks what waits; a random stream of it is run regardless (`mendel.ideas.stream`), so that the record
of forecasts is not only of what triage liked. Prices are in runs of the lowest rung.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from mendel.campaign.config import CampaignConfig, Policy
from mendel.campaign.confirm import FEW
from mendel.campaign.forecasts import EARLIER, earlier_campaigns, pooled_anew, track_record
from mendel.campaign.forward import BESIDES, cohort_of
from mendel.campaign.intake import still_waiting
from mendel.campaign.lab import Lab, Paused
from mendel.campaign.planting import proposed_again
from mendel.campaign.rounds import CURVE, SHORT_CURVE
from mendel.campaign.screen import ENTRY_PAIRS, SHARING
from mendel.campaign.trunk import Line
from mendel.ideas.stream import choose
from mendel.ideas.triage import Triage, balanced, rank
from mendel.records import Idea, Patch, Verdict, VerdictKind
from mendel.store import CARRIES, TUNED, IdeaState
from mendel.verdicts.together import LEAST, SPARE

LEAST_IDEAS = 3
"""A round that could screen fewer is not begun."""
MORE_PAIRS = 0.3
"""Share of the ideas that get further screening pairs."""
ENTERING = 1 / 4
"""Share of the screened ideas that enters confirmation."""
CONFIRMED = 6
"""Pairs that a confirmation takes on average."""
STACKS = 1.1
"""Runs of an idea that is screened forward, its share of the stacks of what gained at once included."""
CLAIMED = 1 / 2
"""Share of the ideas in confirmation that is claimed."""
NOT_TRIED = (IdeaState.REVIEW, IdeaState.FAILED, IdeaState.REJECTED, IdeaState.DROPPED)
"""Of ideas, before the first round."""
UNLIKELY = 0.025
"""Chance of a gain below which a screened idea has no second one."""
CURVE_SEEDS = 2
"""Seeds of each point of a curve that is measured for the last check."""
TIMID = 1.1
"""Prices are estimates: a stage begins only if this many times its price is left."""


def next_ideas(lab: Lab, config: CampaignConfig, number: int, trunk: Line) -> dict[str, float]:
    """The ideas of the next round, best first, each with the probability with which it is run; none when the
    queue or the budget is at its end.

    An idea that was not claimed gets another chance once the trunk has changed and nothing new is left.
    """
    policy = config.policy
    fresh = _fresh(lab, config, trunk)
    tuning = _tuning(lab, config)
    ranked = _ranked(lab, config, fresh, tuning)
    chances = second_chances(lab, trunk)
    names = [item.name for item in ranked] + chances
    if not names:
        return {}
    count = min(policy.screen_ideas, len(names))
    # The first round goes before a step up: without a claim there is nothing to climb with.
    kept = reserve(lab, config) if number else verify_price(lab, config)
    left = lab.meter.remaining() / TIMID - kept
    least = min(LEAST_IDEAS, len(names))
    while count >= least and _round_price(config, count, number) > left:
        count -= 1
    if count < least:
        return {}
    waiting = balanced(ranked, {idea.name: idea.idea_class for idea in fresh}, count)
    room = left - _round_price(config, count, number)
    names = _affordable(waiting + chances, tuning, room)
    if len(names) < least:
        return {}
    return choose(names, len(set(waiting) & set(names)), min(count, len(names)), config.seed, number)


def room_for_ideas(lab: Lab, config: CampaignConfig, number: int) -> bool:
    """Whether the budget has room for a round of new ideas: without it, none are asked for."""
    kept = reserve(lab, config) if number else verify_price(lab, config)
    return _round_price(config, LEAST_IDEAS, number) <= lab.meter.remaining() / TIMID - kept


def nothing_waits(lab: Lab) -> bool:
    """Whether researchers are seated and there is no idea at all that might be tried."""
    seated = lab.campaign.config["researchers"]["who"] != "none"
    return seated and all(one.state in NOT_TRIED for one in lab.store.ideas(lab.campaign.id))


def wait_for_people(lab: Lab) -> None:
    """Raise Paused where nothing is left to do but patches wait for a person: the campaign does not end."""
    waiting = [entry.idea.name for entry in lab.store.ideas(lab.campaign.id, IdeaState.REVIEW)]
    if waiting:
        raise Paused(
            f"{', '.join(waiting)}: waiting for a person; read them with `mendel review`, then give the same "
            "command again"
        )


def last_tries(lab: Lab, config: CampaignConfig, trunk: Line) -> list[str]:
    """Ideas to try on top of each other, best first, as far as the budget goes beside the last check, which
    then proves what they add: for what no round has room for."""
    if not config.goes_forward:
        return []
    if lab.meter.remaining() - verify_price(lab, config) - BESIDES < 1:
        return []
    fresh, tuning = _fresh(lab, config, trunk), _tuning(lab, config)
    ranked = [item.name for item in _ranked(lab, config, fresh, tuning)]
    return [name for name in ranked + second_chances(lab, trunk) if not tuning[name]]


def _tuning(lab: Lab, config: CampaignConfig) -> dict[str, float]:
    """By idea the runs that its tuning takes."""
    entries = lab.store.ideas(lab.campaign.id)
    return {entry.idea.name: tuning_price(config.policy, entry.idea.patch) for entry in entries}


def _ranked(
    lab: Lab, config: CampaignConfig, fresh: Sequence[Idea], tuning: Mapping[str, float]
) -> list[Triage]:
    policy, entries = config.policy, lab.store.ideas(lab.campaign.id)
    spent = Counter(entry.idea.idea_class for entry in entries if entry.state is not IdeaState.QUEUED)
    lab.once(EARLIER, lambda: earlier_campaigns(lab.store, lab.campaign))
    screening = policy.screen_pairs + MORE_PAIRS * policy.more_screen_pairs
    costs = {name: 1 + price / screening for name, price in tuning.items()}
    forecast = pooled_anew(lab.store, lab.campaign, fresh)
    return rank(forecast, track_record(lab.store, lab.campaign), spent, costs)


def _fresh(lab: Lab, config: CampaignConfig, trunk: Line) -> list[Idea]:
    """Ideas that were never tried and may be tried on this trunk."""
    waiting = still_waiting(lab, config, trunk)
    queued = (entry.idea for entry in lab.store.ideas(lab.campaign.id, IdeaState.QUEUED))
    return [idea for idea in queued if idea.name not in waiting]


def _affordable(names: Sequence[str], tuning: Mapping[str, float], room: float) -> list[str]:
    """The names in their order without those whose tuning takes more than is left of `room`: they wait."""
    kept = []
    for name in names:
        if not tuning[name] or tuning[name] <= room:
            room -= tuning[name]
            kept.append(name)
    return kept


def too_small(lab: Lab, config: CampaignConfig, trunk: Line) -> str:
    """Why the budget is not enough to begin, in one line."""
    count, needed = _least(lab, config, trunk)
    if not count:
        return f"ideas: {config.ideas!r} holds no idea that can be tried"
    unit = f"{math.ceil(needed + max(lab.meter.runs, _curve_runs(config)))} runs"
    if not lab.meter.counts_runs:
        unit = f"{lab.meter.elapsed + needed * lab.meter.run_seconds / lab.meter.workers:.0f} s here"
    return f"budget: {config.budget} is too small; {count} ideas and the last check need {unit}"


def why_no_round(lab: Lab, config: CampaignConfig, trunk: Line) -> str:
    """Why `next_ideas` has none, by what waits: that is stored, and the clock has no part in it."""
    waiting = len(lab.store.ideas(lab.campaign.id, IdeaState.QUEUED)) + len(second_chances(lab, trunk))
    if not waiting:
        return "nothing is left that is worth a try"
    ideas = f"{waiting} idea{'s'[: waiting != 1]} could be tried"
    return f"{ideas}, but what is left of the budget ({config.budget}) has no room for another round"


def hopeless(lab: Lab, config: CampaignConfig, trunk: Line) -> bool:
    """Whether it is plain before the original's curve is trained that no round could follow. What a time
    buys is known only after."""
    count, needed = _least(lab, config, trunk)
    return not count or (config.budget.runs or math.inf) < needed + _curve_runs(config)


def _least(lab: Lab, config: CampaignConfig, trunk: Line) -> tuple[int, float]:
    """Of how many ideas a first round is at least, and what it and the last check take, in runs of the lowest
    rung."""
    ideas = _fresh(lab, config, trunk)
    count = min(LEAST_IDEAS, len(ideas))
    tuning = sum(sorted(tuning_price(config.policy, idea.patch) for idea in ideas)[:count])
    return count, TIMID * (_round_price(config, count, 0) + tuning + verify_price(lab, config))


def _curve_runs(config: CampaignConfig) -> int:
    """Runs of the original's scaling curve."""
    return len(CURVE) * config.policy.curve_seeds


def second_chances(lab: Lab, trunk: Line) -> list[str]:
    """Ideas that may be tried on this trunk although they were judged on an earlier one, best first; among
    them knobs that stood well there, as if they were worth nothing.

    Left out: what was claimed, what was shown to be worse or not to run, what its last verdict
    leaves hardly a chance to gain, blanks whose descendants are tried instead, and what a working line had to
    give up because it was planted.
    """
    campaign = lab.campaign.id
    plans = {plan.id: plan for plan in lab.store.plans(campaign) if plan.idea is not None}
    last: dict[str, Verdict] = {}
    judged_on: dict[str, set[str]] = {}
    for verdict in lab.store.verdicts(campaign):
        plan = plans.get(verdict.plan)
        if plan is not None and plan.idea is not None:
            last[plan.idea] = verdict
            judged_on.setdefault(plan.idea, set()).add(plan.control)
    stood_well: set[str] = set()
    for tuned in lab.store.decisions([campaign], TUNED)[campaign].values():
        for name, one in tuned["ideas"].items():
            # Compared with the trunk as well tuned, and so with this trunk.
            judged_on.setdefault(name, set()).add(tuned["on"])
            if one["lost"] == IdeaState.DROPPED:
                stood_well.add(name)
    chances, again = [], proposed_again(lab)
    known = {
        name for one in lab.store.decisions([campaign], CARRIES)[campaign].values() for name in one["planted"]
    }
    for entry in lab.store.ideas(campaign):
        name = entry.idea.name
        found = None if name in again | known else last.get(name)
        if found is None and name in stood_well and trunk.recipe not in judged_on[name]:
            chances.append((0.0, name))
        if found is None or found.log2_cm is None or trunk.recipe in judged_on[name]:
            continue
        if name in trunk.names or entry.state in (
            IdeaState.ADOPTED,
            IdeaState.STALE,
            IdeaState.FAILED,
            IdeaState.REJECTED,
        ):
            continue  # it is in the trunk, had its second chance without a verdict, or deserves none
        hopeless = found.kind in (VerdictKind.BETTER, VerdictKind.WORSE, VerdictKind.FAILED)
        if not hopeless and _may_gain(found, lab.campaign.config["policy"]["min_gain"]):
            chances.append((-found.log2_cm.value, name))
    return [name for _, name in sorted(chances)]


def _may_gain(last: Verdict, min_gain: float) -> bool:
    """Whether an idea could still gain more than `min_gain`. A screen's own interval cannot tell: the luck of
    the control moves all ideas that were compared with it."""
    if last.probability is not None:
        return last.probability > UNLIKELY
    return last.log2_cm is not None and last.log2_cm.high > min_gain


def _round_price(config: CampaignConfig, ideas: int, number: int) -> float:
    """Expected price of a round in runs of the lowest rung, tuning not included."""
    policy = config.policy
    counted = config.budget.runs is not None
    points = () if number == 0 else SHORT_CURVE  # the original's curve is there before the first round
    curve = len(points) if counted else sum(points)
    if config.goes_forward:
        first = policy.forward + 1  # whose second pairs tell the noise
        return curve * policy.curve_seeds + STACKS * ideas + 1 + first + proof_price(config, ideas)
    controls = math.ceil(ideas / SHARING)
    screening = (ideas + controls) * policy.screen_pairs + MORE_PAIRS * ideas * policy.more_screen_pairs
    entering = min(policy.cohort, ideas if policy.enter == 0 else max(1.0, ENTERING * ideas))
    # What enters has two pairs, also where fewer get further ones for being in doubt.
    if MORE_PAIRS * policy.more_screen_pairs * ideas < entering:
        screening += max(0, ENTRY_PAIRS - policy.screen_pairs) * entering
    # One by one, then a few claims, their stack and two controls; or in halves, then stack and controls.
    measured = min(CLAIMED * entering, FEW)
    confirming = (entering + 1) * CONFIRMED + (measured + 3) * policy.estimate_pairs
    if policy.together and entering >= LEAST:
        confirming = min(confirming, 2 * (entering + CONFIRMED) + 3 * policy.estimate_pairs)
    return curve * policy.curve_seeds + screening + confirming


def proof_price(config: CampaignConfig, tried: int) -> float:
    """Runs that forward screening of so many ideas leaves for what follows: the confirmation of its cohort,
    and the measurement of what comes of it beside the trunk and the original."""
    cohort = cohort_of(tried, config.policy)
    proof = 2 * (cohort + SPARE) if config.policy.together else CONFIRMED * (cohort + 1)
    return proof + 3 * config.policy.estimate_pairs


def tuning_price(policy: Policy, patch: Patch) -> float:
    """Runs that it takes to tune a patch: its search; of code also that of its control, and what this is then
    trained for as far as the idea is expected to come."""
    if not patch.tune:
        return 0.0
    if patch.only_tunes:
        return policy.tune_trials
    return 2 * policy.tune_trials + own_control_price(policy, ENTERING, CLAIMED)


def own_control_price(policy: Policy, entering: float, claimed: float) -> float:
    """Expected runs of a control with which one idea alone is compared, if that enters confirmation and is
    then claimed with these probabilities."""
    screening = policy.screen_pairs + MORE_PAIRS * policy.more_screen_pairs
    again = max(0, ENTRY_PAIRS - policy.screen_pairs)
    return screening + entering * (again + CONFIRMED + claimed * policy.estimate_pairs)


def reserve(lab: Lab, config: CampaignConfig) -> float:
    """What later rounds leave: the last check of the trunk, and the first step up of one change. In runs of
    the lowest rung."""
    higher = climbable(lab, config)[1:]
    return verify_price(lab, config) + (climb_price(lab, config, higher[0]) if higher else 0.0)


def climbable(lab: Lab, config: CampaignConfig) -> tuple[int, ...]:
    """The lowest rung, and those that adopted changes may climb to: none above the target scale."""
    target = config.policy.target_flops or float("inf")
    first, *higher = config.rungs
    return first, *(rung for rung in higher if lab.testbed.rungs[rung].compute <= target)


def climb_price(lab: Lab, config: CampaignConfig, rung: int, arms: int = 2) -> float:
    """Price of measuring a change at a higher rung, with its control where that is not yet trained. Of the
    curve there the last check has the price already."""
    return arms * config.policy.climb_pairs * rung_scale(lab, config, rung)


def verify_price(lab: Lab, config: CampaignConfig) -> float:
    """Price of the last check of the trunk in runs of the lowest rung."""
    longer = 0.0 if lab.meter.counts_runs else CURVE_SEEDS * 2 * max(CURVE)
    return sum(check_price(lab, config, rung) for rung in config.rungs) + longer


def check_price(lab: Lab, config: CampaignConfig, rung: int) -> float:
    """Price of the last check at one rung: pairs, and the original's curve where it is not there yet."""
    curve = 0.0
    if rung != config.rungs[0] and not lab.store.decision(lab.campaign.id, curve_key(rung)):
        curve = CURVE_SEEDS * (len(CURVE) if lab.meter.counts_runs else sum(CURVE))
    return rung_scale(lab, config, rung) * (2 * config.policy.verify_pairs + curve)


def curve_key(rung: int) -> str:
    """Under this key a campaign notes that it has the original's scaling curve at a higher rung."""
    return f"curve/{rung}"


def rung_scale(lab: Lab, config: CampaignConfig, rung: int) -> float:
    """Price of a run of a rung in runs of the campaign's lowest; a budget in runs counts each as one."""
    if lab.meter.counts_runs:
        return 1.0
    return lab.testbed.rungs[rung].compute / lab.testbed.rungs[config.rungs[0]].compute
