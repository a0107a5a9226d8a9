"""The loop: rounds from the queue to the trunk until the budget is spent, then one last check of the trunk.

It is a plain program, run from its first line each time the campaign is started. What was done is looked up
(runs by their hash, choices that depended on the clock by their key), so a campaign may be killed at any
instruction, and continuing it is running it again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mendel.campaign.adopt import adopt_claims, put_measured, record_trunk
from mendel.campaign.agenda import (
    CURVE_SEEDS,
    check_price,
    hopeless,
    last_tries,
    next_ideas,
    nothing_waits,
    proof_price,
    reserve,
    rung_scale,
    too_small,
    verify_price,
    wait_for_people,
    why_no_round,
)
from mendel.campaign.carry import last_line, settle
from mendel.campaign.claim_audits import audit_costs, audit_runs
from mendel.campaign.climb import Climber, original_curve
from mendel.campaign.config import CampaignConfig, ConfigError
from mendel.campaign.confirm import confirm
from mendel.campaign.forecasts import EARLIER, earlier_campaigns
from mendel.campaign.forward import Working, forward
from mendel.campaign.intake import admit, smoke_given
from mendel.campaign.lab import Lab, LabError, OutOfMoney
from mendel.campaign.planting import plant_descendant, unblind_all
from mendel.campaign.recheck import Watch
from mendel.campaign.rounds import (
    CURVE,
    CurveError,
    ErrorBudget,
    Round,
    at_bound,
    measure_curve,
)
from mendel.campaign.screen import Screened, screen
from mendel.campaign.summary import LAST_ROUND, OUT_OF_MONEY
from mendel.campaign.tier import check_tier
from mendel.campaign.trunk import Line, Refused, Shelf, differences, must_run, run_pairs, tokens_at
from mendel.patches import read_tree
from mendel.plans.seeds import seed_block
from mendel.records import (
    Currency,
    Idea,
    Interval,
    PlanKind,
    Recipe,
    RunStatus,
    Shard,
    Trunk,
    Trust,
    VerdictKind,
    tree_hash,
)
from mendel.verdicts.curve import fit_curve
from mendel.verdicts.noise import UNKNOWN, Noise

if TYPE_CHECKING:
    from mendel.campaign.research import Research
    from mendel.researchers.desk import Desk

PLANNED_SHARE = 0.4
"""Most of the queue that is planned for confirmation: screening stops the rest."""
ENTRY_PRICE = 15.0
"""Runs of the lowest rung that go with an entry, screening of those that do not enter included. Planning for
more entries than there will be makes every claim dearer; for fewer, those that come later."""
JOINT_PRICE = 9.0
"""The same where ideas are confirmed together."""
LONGEST = 16.0
"""Longest run of the original, as a multiple of the rung's compute, to read the trunk's multiplier off."""


@dataclass(frozen=True)
class Outcome:
    """How a campaign stands when its loop ends."""

    trunk: Line
    rounds: int
    trunk_cm: dict[int, Interval]
    """log2 CM of the trunk over the original recipe on fresh seeds, by rung."""


def run_campaign(lab: Lab, config: CampaignConfig, desk: Desk | None = None) -> Outcome:
    """Run or continue a campaign to the end of its budget, and say why it ended; `desk` asks researchers.

    Raises Interrupted, OutOfMoney, LabError; all that was done until then is stored.
    """
    try:
        return _run(lab, _one_by_one(lab, config), desk)
    except OutOfMoney as error:
        lab.say(OUT_OF_MONEY, "end", f"ended before its last check: {error}")
        raise


def _one_by_one(lab: Lab, config: CampaignConfig) -> CampaignConfig:
    """The settings as they suit the testbed. In a fixed time no run repeats: one that is kept was lucky too,
    and on top of each other its luck would count against all that is tried next."""
    if lab.testbed.budget is not Currency.SECONDS or not config.goes_forward:
        return config
    return config.model_copy(update={"policy": config.policy.model_copy(update={"forward": 0})})


def _run(lab: Lab, config: CampaignConfig, desk: Desk | None) -> Outcome:
    shelf, original = _original(lab, config)
    trunk, rung, errors = original, config.rungs[0], ErrorBudget()
    # The original's curve comes first of all: it also tells what a run costs on this machine.
    first = Round(lab, shelf, config, errors, 0, original, original, rung, planned=1)
    admit(first)
    research = None if desk is None else _research(lab, shelf, config, desk)
    if research:
        research.before_round(0, trunk)
    if nothing_waits(lab):  # researchers were asked and brought nothing, or nothing that may run yet
        wait_for_people(lab)
    elif lab.store.decision(lab.campaign.id, "0/ideas") is None and hopeless(lab, config, original):
        raise ConfigError(too_small(lab, config, original))
    smoke_given(first)
    first.measure_curve()
    planned = lab.once("planned", lambda: _planned(lab, config))
    number, climber, watch, noise = 0, Climber(first), Watch(first), UNKNOWN
    while True:
        trunk = climber.climb(number, trunk)
        trunk = watch.recheck(number, trunk, reserve(lab, config))
        if research:
            research.before_round(number, trunk)
        names = lab.once(f"{number}/ideas", lambda: _chosen(lab, config, number, trunk))  # noqa: B023
        if not names:
            wait_for_people(lab)
            lab.say(LAST_ROUND, "end", f"no further rounds: {why_no_round(lab, config, trunk)}")
            break
        by_name = {entry.idea.name: entry.idea for entry in lab.store.ideas(lab.campaign.id)}
        # Ideas may have joined since the session began, when all that waited were looked at.
        check_tier([by_name[name] for name in names], lab.executor, lab.store.root)
        left = verify_price(lab, config)
        round = Round(lab, shelf, config, errors, number, trunk, original, rung, planned, left)
        try:
            ideas = [by_name[name] for name in names]
            screened, working = _screen(round, ideas)
        except CurveError as error:
            if trunk.recipe == original.recipe:
                raise
            lab.say(LAST_ROUND, "end", f"no further rounds on this trunk: {error}")
            break
        claims = confirm(round, screened)
        trunk = adopt_claims(round, claims, first.points, working)
        noise = working.noise if working else round.noise
        plant_descendant(lab, config, number)
        if research:
            research.after_round(number, trunk, names)
        number += 1
    trunk = climber.climb(number, trunk, last=True)
    last = _last_round(first, number, trunk, noise)
    tried = last_line(last, lambda: last_tries(lab, config, trunk))
    line = watch.recheck(number, tried, last.reserve, last=True)
    checked = _verify(last, line, original, planned, proposed=tried.recipe != trunk.recipe)
    if tried.recipe == trunk.recipe or settle(last, tried, line, _stands(last)):
        trunk = line
    elif lab.once("end/room", lambda: lab.meter.remaining() >= verify_price(lab, config)):
        checked = _verify(replace(last, number=number + 1), trunk, original, planned)
    else:
        checked = {}
    unblind_all(lab)
    return Outcome(trunk, number, checked)


def _original(lab: Lab, config: CampaignConfig) -> tuple[Shelf, Line]:
    """The recipe that the campaign starts from, which must run."""
    tree = read_tree(lab.testbed)
    base = Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe)
    shelf = Shelf(lab, tree, base)
    original, rung = shelf.line(Trunk(base=base), 1.0, base.base), config.rungs[0]
    must_run(lab, original, rung)
    try:
        tokens = tokens_at(lab, original, rung)
    except Refused as error:
        raise LabError(f"recipe {base.base}: {error}") from None
    lab.once(EARLIER, lambda: _earlier(lab, config))
    if lab.testbed.trust is Trust.SCORED:
        epochs = lab.ground.text.epochs(tokens)
        lab.say("epochs", "start", f"a run of {base.base} at rung {rung} reads {epochs:.2g} epochs of it")
    return shelf, original


def _earlier(lab: Lab, config: CampaignConfig) -> list[str]:
    """The campaigns that this one learns from: a replay, from those that the replayed one did."""
    replayed = config.researchers.replay
    known = lab.store.decision(replayed, EARLIER) if replayed else None
    return earlier_campaigns(lab.store, lab.campaign) if known is None else list(known)


def _research(lab: Lab, shelf: Shelf, config: CampaignConfig, desk: Desk) -> Research:
    # What it imports takes as long as everything else, and most campaigns have no researchers.
    from mendel.campaign.research import Research

    return Research(lab, shelf, config, desk)


def _chosen(lab: Lab, config: CampaignConfig, number: int, trunk: Line) -> dict[str, float]:
    """The ideas of a round. A refusal of the first is not kept: the machine may be less busy next time."""
    names = next_ideas(lab, config, number, trunk)
    if not names and number == 0 and not (config.researchers.seated and nothing_waits(lab)):
        raise ConfigError(too_small(lab, config, trunk))
    return names


def _screen(round: Round, ideas: Sequence[Idea]) -> tuple[list[Screened], Working | None]:
    if not round.config.goes_forward:
        return screen(round, ideas), None
    return forward(round, ideas, proof_price(round.config, len(ideas)))


def _last_round(first: Round, number: int, trunk: Line, noise: Noise) -> Round:
    """What follows the rounds, on the original's curve: no claims are made on this trunk."""
    left = verify_price(first.lab, first.config)
    return replace(first, number=number, control=trunk, ahead=trunk.ahead, reserve=left, noise=noise)


def _stands(last: Round) -> bool:
    """Whether the last check has shown the trunk to be better than the original."""
    store = last.lab.store
    plans = {plan.id for plan in store.plans(last.campaign, PlanKind.VERIFY) if plan.round == last.number}
    found = [verdict for verdict in store.verdicts(last.campaign) if verdict.plan in plans]
    return bool(found) and all(verdict.kind is VerdictKind.BETTER for verdict in found[:1])


def _planned(lab: Lab, config: CampaignConfig) -> int:
    """Ideas that the queue and the budget let one expect in confirmation."""
    left = max(0.0, lab.meter.remaining() - verify_price(lab, config))
    queue = PLANNED_SHARE * len(lab.store.ideas(lab.campaign.id))
    price = JOINT_PRICE if config.policy.together and not config.goes_forward else ENTRY_PRICE
    return max(1, math.ceil(min(queue, left / price)))


# --- the last check -------------------------------------------------------------------------------------


def _verify(
    last: Round, trunk: Line, original: Line, planned: int, proposed: bool = False
) -> dict[int, Interval]:
    """The trunk, or what is `proposed` as one, against the original recipe on fresh seeds, at every rung."""
    checked: dict[int, Interval] = {}
    lab, shelf, config, errors, number = last.lab, last.shelf, last.config, last.errors, last.number
    if trunk.recipe == original.recipe:
        return checked
    for rung in config.rungs:
        round = Round(
            lab, shelf, config, errors, number, original, original, rung, planned, points=last.points
        )
        if rung != config.rungs[0]:
            price = check_price(lab, config, rung)
            if not lab.once(f"verify/{rung}", lambda: lab.meter.remaining() >= price):  # noqa: B023
                lab.say(
                    f"verify/{rung}/skip", "verify", f"rung {rung}: not checked, the budget does not reach"
                )
                continue
            smoked = lab.smoke([(original.recipe, rung, None), (trunk.recipe, rung, None)])
            bad = [result for result in smoked.values() if result.status is not RunStatus.DONE]
            if bad:
                why = f"rung {rung}: not checked, a smoke run {bad[0].status}: {bad[0].reason}"
                lab.say(f"verify/{rung}/skip", "verify", why)
                continue
        try:
            if rung != config.rungs[0]:
                round.points = original_curve(round)
            checked[rung] = _check(round, trunk, proposed)
        except (CurveError, Refused) as error:
            lab.say(f"verify/{rung}/skip", "verify", f"rung {rung}: not checked, {error}")
    return checked


def _check(round: Round, trunk: Line, proposed: bool) -> Interval:
    lab, policy = round.lab, round.config.policy
    seeds = seed_block(round.config.seed, round.number, PlanKind.VERIFY, policy.verify_pairs, round.rung)
    plan = round.plan(PlanKind.VERIFY, None, trunk, seeds, Shard.VALIDATION)
    lab.store.put_plan(round.campaign, plan)
    pairs = run_pairs(lab, [plan], 0, len(seeds))[plan.id]
    found = differences(pairs)
    _extend_curve(round, at_bound(found, plan.rule))
    log2_cm = round.multiplier(pairs, plan.rule)
    audits = (*audit_runs(pairs), *audit_costs(round, plan, pairs))
    why = "the whole trunk against the original recipe"
    verdict = put_measured(round, plan, found, log2_cm, why, audits)
    if verdict.kind is VerdictKind.REJECTED:
        lab.say(f"verify/{round.rung}/audit", "audit", f"last check of the trunk: {verdict.reason}")
    if verdict.kind is VerdictKind.BETTER or not proposed:
        record_trunk(round, trunk, log2_cm, checked=True)
    return log2_cm


def _extend_curve(round: Round, gains: Sequence[float]) -> None:
    """Buy longer runs of the original until its curve reaches the trunk's loss, while the budget lasts: a
    multiplier between measured points is worth more than one beyond them."""
    lab = round.lab
    gain = sum(gains) / len(gains)
    multiple = 2 * max(CURVE)
    while multiple <= LONGEST:
        flops, losses = [c for c, _ in round.points], [loss for _, loss in round.points]
        curve = fit_curve(flops, losses)
        if float(curve.loss(round.flops)) - gain >= float(curve.loss(max(flops))):
            return
        price = CURVE_SEEDS * rung_scale(lab, round.config, round.rung) * multiple
        key = f"extend/{round.rung}/{multiple:g}"
        if not lab.once(key, lambda: lab.meter.remaining() >= price):  # noqa: B023
            words = (
                f"the budget has no room for runs of the original as long as the trunk is worth ({multiple:g}"
            )
            words += " times the rung's compute): its multiplier is read beyond them"
            lab.say(f"{key}/skip", "verify", words)
            return
        seeds = round.seeds(PlanKind.CURVE, CURVE_SEEDS)
        before = round.points
        try:
            round.points = before + measure_curve(lab, round.original, round.rung, (multiple,), seeds)
            round.slope()
        except CurveError:  # too long for the rung's time limit, say, or for the recipe: the curve stays
            round.points = before
            return
        multiple *= 2
