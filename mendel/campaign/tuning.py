"""The tune stage, between smoke runs and the screen: values for the knobs that ideas leave open.

An idea that is nothing but knobs becomes the best point of a search on the trunk. An idea with code is
searched on top of its patch, and then compared not with the trunk but with the trunk whose same knobs were
searched as long, by the same sampler with the same seed: else every idea that brings a tuned knob along would
gain what tuning alone gains.

All runs of all searches on a trunk have one seed, of a block of their own: so ideas that tune the same share
the runs of their control, in whatever round. These runs choose and prove nothing: what they found is screened
and confirmed on seeds that no search has seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mendel.campaign.jobs import Request
from mendel.campaign.rounds import Round
from mendel.campaign.trunk import Candidate, Line, Refused, prepare, tokens_at, validation_spec
from mendel.patches import PatchError, Stale, adopt
from mendel.plans.seeds import seed_block
from mendel.plans.tuner import Number, Point, Search, best_of
from mendel.records import Idea, Patch, PlanKind, Range, Recipe, RunStatus, Trunk
from mendel.report.knobs import written_knobs
from mendel.store import TUNED


@dataclass
class _Arm:
    """A recipe whose knobs are searched."""

    line: Line
    search: Search
    start: dict[str, Number]
    """Values of the recipe as it stands, as far as they are known."""
    idea: str | None
    """Whom the ledger charges; None for a control."""
    failure: str = ""
    """Why the first point that sets a knob and failed did so."""

    @property
    def trained(self) -> bool:
        """Whether any point that sets a knob has a loss."""
        return any(point and loss is not None for point, loss in self.search.told)

    def said(self, key: str, best: Point) -> str:
        """What was found for a knob, in words."""
        if key not in self.search.ranges:
            return "has none"
        if key in best:
            return f"{best[key]:g}"
        return f"{self.start[key]:g} as it was" if key in self.start else "as it was"


def prepare_tuned(round: Round, ideas: Sequence[Idea]) -> tuple[list[Candidate], dict[str, tuple[str, str]]]:
    """`trunk.prepare`, with knobs tuned where ideas leave them open: a candidate then has the values that
    were found, and a control as well tuned. Ideas are also lost as "dropped": nothing better was found."""
    lab, shelf, control, rung = round.lab, round.shelf, round.control, round.rung
    ready, lost = prepare(lab, shelf, control, [one for one in ideas if not one.patch.only_tunes], rung)
    open_ = {one.idea.name: (one.idea, one.line) for one in ready if one.idea.patch.tune}
    for idea in ideas:
        if idea.patch.only_tunes:
            try:
                open_[idea.name] = idea, _without_rival(round, idea)
            except (Stale, PatchError) as error:
                lost[idea.name] = "stale", str(error)
    if not open_:
        return ready, lost
    found = lab.once(f"{round.number}{TUNED}", lambda: _search(round, list(open_.values())))["ideas"]
    resolved = []
    for name, (idea, _) in open_.items():
        lab.say(f"{round.number}/tune/{name}", "tune", f"{name}: {found[name]['words']}", name)
        if found[name]["lost"]:
            lost[name] = found[name]["lost"], found[name]["words"]
        else:
            resolved.append(with_values(idea, found[name]["values"]))
    tuned, more = prepare(lab, shelf, control, resolved, rung)
    by_name = {one.idea.name: one for one in ready if one.idea.name not in open_}
    by_name |= {one.idea.name: _against(round, one, found[one.idea.name]["control"]) for one in tuned}
    return [by_name[idea.name] for idea in ideas if idea.name in by_name], lost | more


def _without_rival(round: Round, idea: Idea) -> Line:
    """What knobs alone are searched on: the trunk, without what the idea supersedes."""
    kept = adopt(round.control.trunk, idea).adopted[:-1]
    if kept == round.control.trunk.adopted:
        return round.control
    trunk = Trunk(base=round.control.trunk.base, adopted=kept)
    return round.shelf.line(trunk, round.control.excess, f"{round.control.recipe} without {idea.patch.slot}")


def with_values(idea: Idea, values: Point) -> Idea:
    """The idea with the values that a search found in place of the knobs that it left open."""
    old = idea.patch
    patch = Patch(
        edits=old.edits, overrides={**old.overrides, **values}, slot=old.slot, tuned=tuple(sorted(values))
    )
    return idea.model_copy(update={"patch": patch})


def _against(round: Round, candidate: Candidate, recipe: str) -> Candidate:
    """A candidate whose control is the tuned trunk of this recipe."""
    lab, rung = round.lab, round.rung
    ratio = lab.flops_per_token(candidate.line.recipe, rung) / lab.flops_per_token(recipe, rung)
    return replace(candidate, flops_ratio=ratio, control=replace(round.control, recipe=recipe))


# --- searches -------------------------------------------------------------------------------------------


def _search(round: Round, ideas: Sequence[tuple[Idea, Line]]) -> dict[str, Any]:
    """Tune all ideas of a round and their controls, side by side. As JSON: the trunk they were tuned `on`,
    and by idea the `values`, the `control`'s recipe, as what it is `lost` if it is, and `words`."""
    number = round.lab.once(f"tune/{round.control.recipe}", lambda: round.number)
    seed = seed_block(round.config.seed, number, PlanKind.TUNE, 1, round.rung)[0]
    trials = round.config.policy.tune_trials
    arms: dict[str, _Arm] = {}
    controls: dict[str, _Arm] = {}
    for idea, line in ideas:
        ranges: dict[str, Range] = {}
        if not idea.patch.only_tunes:
            ranges = {key: one for key, one in idea.patch.tune.items() if _can_set(round, idea, key, one)}
        # Where there is a control to exchange with, that is the last trial of both.
        own = trials - 1 if ranges else trials
        arms[idea.name] = _arm(round, line, idea.patch.tune, own, seed, idea.name)
        if ranges:
            controls[idea.name] = _arm(round, round.control, ranges, own, seed, None)
    _train(round, [*arms.values(), *controls.values()], seed)
    best = {name: (arm.search.best, Point()) for name, arm in arms.items()}
    best |= _exchange(round, arms, controls, seed)
    told = {
        idea.name: _told(round, idea, arms[idea.name], controls.get(idea.name), *best[idea.name])
        for idea, _ in ideas
    }
    return {"on": round.control.recipe, "ideas": told}


def _told(
    round: Round, idea: Idea, arm: _Arm, control: _Arm | None, values: Point, control_values: Point
) -> dict[str, Any]:
    keys, trials = list(idea.patch.tune), f"{round.config.policy.tune_trials} trials"
    words = f"tuned: {', '.join(f'{key} {arm.said(key, values)}' for key in keys)}"
    if control is not None:
        words += f" ({trials}; control {', '.join(control.said(key, control_values) for key in keys)})"
    elif idea.patch.only_tunes:
        words += f" ({trials})"
    else:
        words += f" ({trials}; the control has no such knob{'s' if len(keys) > 1 else ''})"
    lost = ""
    stands = not idea.patch.only_tunes and any(loss is not None for _, loss in arm.search.told)
    if not (arm.trained or stands):
        lost, words = "failed", f"no value of {', '.join(keys)} trains: {arm.failure}"
    elif idea.patch.only_tunes and not values:
        lost, words = "dropped", f"{words}: no better values than the trunk has"
    recipe = _with(round, round.control, control_values).recipe
    return {"values": values, "control": recipe, "lost": lost, "words": words}


def _arm(
    round: Round, line: Line, ranges: Mapping[str, Range], trials: int, seed: int, idea: str | None
) -> _Arm:
    start = _settings(round, line, idea)
    return _Arm(line, Search(ranges, trials, round.config.policy.tune_sampler, seed, start), start, idea)


def _exchange(
    round: Round, arms: Mapping[str, _Arm], controls: Mapping[str, _Arm], seed: int
) -> dict[str, tuple[Point, Point]]:
    """The last trial of each idea and of its control: the best that the other one found. Returns the best
    values of both by idea.

    So luck in one search is no advantage over the other; without this, code that does nothing is claimed
    several times as often (docs/decisions.md).
    """
    both = [pair for name, one in controls.items() for pair in ((arms[name], one), (one, arms[name]))]
    trials = [(_with(round, arm.line, _taken(arm, other)), arm.idea) for arm, other in both]
    losses, _ = _run(round, {line.recipe: (line, idea) for line, idea in trials}, seed)

    def best(arm: _Arm, other: _Arm) -> Point:
        point = _taken(arm, other)
        loss = losses.get(_with(round, arm.line, point).recipe)
        return best_of([*arm.search.told, (point, loss)])

    return {name: (best(arms[name], one), best(one, arms[name])) for name, one in controls.items()}


def _taken(arm: _Arm, other: _Arm) -> Point:
    """The point of an arm with the best values of the other; with its own for knobs that only it has."""
    point = dict(arm.search.best)
    for key in arm.search.ranges.keys() & other.search.ranges.keys():
        value = other.search.best.get(key)
        if value is None and arm.start.get(key) != other.start.get(key):  # the patch sets it
            value = other.start.get(key)
        point.pop(key, None)
        if value is not None:
            point[key] = value
    return point


def _train(round: Round, arms: Sequence[_Arm], seed: int) -> None:
    """Run all searches to their ends, in step, so that no worker waits for one of them."""
    while asked := [
        (arm, point, _with(round, arm.line, point)) for arm in arms for point in arm.search.ask()
    ]:
        losses, failures = _run(round, {line.recipe: (line, arm.idea) for arm, _, line in asked}, seed)
        for arm in arms:
            mine = [(point, line.recipe) for one, point, line in asked if one is arm]
            failed = [failures[recipe] for point, recipe in mine if point and recipe in failures]
            arm.failure = arm.failure or next(iter(failed), "")
            arm.search.tell([losses.get(recipe) for _, recipe in mine])


def _run(
    round: Round, lines: Mapping[str, tuple[Line, str | None]], seed: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Train recipes at equal charged compute, each for an idea or for none. Returns losses in bits per byte,
    and why the others have none."""
    lab, rung = round.lab, round.rung
    smoked = lab.smoke([(recipe, rung, idea) for recipe, (_, idea) in lines.items()])
    requests: dict[str, Request] = {}
    losses: dict[str, float] = {}
    failures: dict[str, str] = {}
    for recipe, (line, idea) in lines.items():
        smoke = smoked[recipe, rung]
        if smoke.status is not RunStatus.DONE:
            failures[recipe] = f"smoke run {smoke.status}: {smoke.reason}"
            continue
        try:
            spec = validation_spec(lab, line, rung, seed, tokens_at(lab, line, rung))
        except Refused as error:
            failures[recipe] = str(error)
            continue
        requests[recipe] = Request(spec, PlanKind.TUNE.value, idea)
    results = lab.complete(list(requests.values()))
    for recipe, request in requests.items():
        result = results[request.spec.id]
        if result.bits_per_byte is None:
            failures[recipe] = f"{result.status}: {result.reason}"
        else:
            losses[recipe] = result.bits_per_byte
    return losses, failures


def _with(round: Round, line: Line, values: Point) -> Line:
    """A recipe with other values of its knobs."""
    if not values:
        return line
    store = round.lab.store
    old = store.recipe(line.recipe)
    new = Recipe(testbed=old.testbed, tree=old.tree, base=old.base, overrides={**old.overrides, **values})
    named = ", ".join(f"{key} {value:g}" for key, value in sorted(values.items()))
    return replace(line, recipe=store.put_recipe(new, f"{line.recipe} with {named}"))


# --- what a recipe has ----------------------------------------------------------------------------------


def _can_set(round: Round, idea: Idea, key: str, range: Range) -> bool:
    """Whether the control has a knob, too: a patch of the source may bring its own."""
    if not idea.patch.edits or key in _settings(round, round.control, None):
        return True
    line, rung = _with(round, round.control, {key: range.middle}), round.rung
    return round.lab.smoke([(line.recipe, rung, None)])[line.recipe, rung].status is RunStatus.DONE


def _settings(round: Round, line: Line, idea: str | None) -> dict[str, Number]:
    """Values of a recipe's numeric knobs, as far as its overrides and the `config.json` of its smoke run say.
    They tell the sampler where the search begins; nothing else depends on them.

    At the lowest rung of the testbed, because a rung may scale what a knob sets.
    """
    lab = round.lab
    lab.smoke([(line.recipe, 0, idea)])
    written = written_knobs(lab.store, lab.campaign.id, line.recipe, 0) or {}
    return dict(_numbers([*written.items(), *lab.store.recipe(line.recipe).overrides.items()]))


def _numbers(pairs: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Number]]:
    for key, value in pairs:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield key, value
