"""The changes of a campaign's trunk as a series: after each one, the source as a reviewer would have it.

The trunk is built prefix by prefix, as the campaign built it. A knob's value is an argument of the command
line there; where the source has exactly one literal for it, the series changes that literal, so that the code
does by itself what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mendel.campaign.config import ConfigError
from mendel.campaign.session import INPUTS, ORIGIN, SOURCE
from mendel.campaign.summary import trunk_points
from mendel.campaign.tuning import with_values
from mendel.patches import Built, PatchError, Stale, Tree, build, read_tree
from mendel.patches.configured import plain
from mendel.patches.defaults import Ground, with_default
from mendel.patches.kept import audit_kept
from mendel.records import Finding, Idea, Recipe, Scalar, Trunk, tree_hash
from mendel.store import TUNED, Campaign, CampaignState, Store
from mendel.testbeds import TestbedError, load_testbed
from mendel.testbeds.source import Source, describe, without_repository


@dataclass(frozen=True)
class Change:
    """One adopted change."""

    idea: Idea
    finding: Finding | None
    """None: carried, proven with the trunk as a whole."""
    tree: Tree
    """The source with it and all before it."""
    written: Mapping[str, Scalar]
    """Its knobs whose new value is in that source."""
    left: Mapping[str, str]
    """Its other knobs -> why their value stays on the command line."""


@dataclass(frozen=True)
class Held:
    """What the trunk of a campaign holds, and where its source came from."""

    campaign: Campaign
    source: Source
    trunk: Trunk
    base: Tree
    point: Mapping[str, Any]
    """The trunk's newest measurement at the lowest rung, as `trunk_points` gives it."""
    findings: Mapping[str, Finding]
    notes: tuple[str, ...] = ()


def chosen_campaign(store: Store, campaign: str | None) -> Campaign:
    """The campaign of this id, or the latest that adopted something. ConfigError: there is none."""
    if campaign is not None:
        found = store.campaign(campaign)
        if not _point(store, found):
            raise ConfigError(f"campaign {found.id} adopted nothing: {_states(store, found)}")
        return found
    known = [one for one in store.campaigns() if "policy" in one.config]  # not other entries of the store
    if not known:
        raise ConfigError(f"{store.root}: no campaign here yet; begin with `mendel demo` or `mendel run`")
    able = next((one for one in reversed(known) if _point(store, one)), None)
    if able is None:
        there = "; ".join(f"{one.id} ({_states(store, one)})" for one in known[-3:])
        raise ConfigError(f"{store.root}: no campaign here adopted anything; the latest: {there}")
    return able


def held_by(store: Store, campaign: Campaign) -> Held:
    """The trunk of a campaign that adopted something. ConfigError where it cannot be built again."""
    point = _point(store, campaign)
    assert point is not None, "chosen_campaign sees to it"
    recipe = store.recipe(point["recipe"])
    source, notes = _source(store, campaign)
    if campaign.state is not CampaignState.FINISHED:
        notes.append(f"the campaign is not finished ({campaign.state.value}): this is its trunk as it stands")
    findings = {one.idea.name: one for one in store.findings(campaign.id)}
    trunk = Trunk(
        base=Recipe(testbed=recipe.testbed, tree=source.tree, base=recipe.base),
        adopted=tuple(_ideas(store, campaign, point["adopted"], findings)),
    )
    held = Held(campaign, source, trunk, store.load_tree(source.tree), point, findings, tuple(notes))
    try:
        built = _build(held, trunk.adopted)
    except (Stale, PatchError) as error:
        raise ConfigError(f"campaign {campaign.id}: its trunk cannot be built again: {error}") from None
    if built.recipe.id != recipe.id:
        raise ConfigError(
            f"campaign {campaign.id}: its trunk was recipe {recipe.id}, and what the store has of it builds "
            f"{built.recipe.id}: nothing is exported that was not measured"
        )
    return held


def only_claimed(held: Held) -> tuple[tuple[Idea, ...], dict[str, str], list[str]]:
    """The claimed changes in their order with what they do not build without; why each of these others could
    not be left out; the names of those that were. ConfigError where nothing is claimed."""
    ideas = held.trunk.adopted
    if not any(idea.name in held.findings for idea in ideas):
        names = ", ".join(idea.name for idea in ideas)
        raise ConfigError(
            f"campaign {held.campaign.id}: nothing that its trunk holds is claimed by itself; carried, which "
            f"is proven with the trunk as a whole: {names}; leave out --claimed to export them"
        )
    stay: dict[str, str] = {}
    gone: list[str] = []
    for idea in reversed([idea for idea in ideas if idea.name not in held.findings]):
        fewer = tuple(one for one in ideas if one != idea)
        try:
            _build(held, fewer)
        except (Stale, PatchError) as error:
            stay[idea.name] = str(error).splitlines()[0]
        else:
            ideas = fewer
            gone.insert(0, idea.name)
    return ideas, stay, gone


def series(held: Held, ideas: Sequence[Idea]) -> list[Change]:
    """The changes one after the other. Of a knob whose value can be written now and not after a later change,
    nothing is written: the series never takes back what it did."""
    built = [_build(held, ideas[:count]) for count in range(len(ideas) + 1)]
    since: dict[str, int] = {}  # knob -> number of the change from which on its value is in the source
    why: dict[tuple[int, str], str] = {}
    for number, idea in enumerate(ideas, 1):
        for key in idea.patch.overrides:
            reason = next(filter(None, (_refusal(held, later, key) for later in built[number:])), "")
            if not reason:
                since.setdefault(key, number)
            else:
                why[number, key] = reason
    changes = []
    for number, (idea, found) in enumerate(zip(ideas, built[1:], strict=True), 1):
        tree = found.tree
        for key in (key for key, first in since.items() if first <= number):
            written = with_default(tree, _ground(held), key, found.recipe.overrides[key])
            assert not isinstance(written, str), written
            tree = written
        own = idea.patch.overrides
        left = {key: why[number, key] for key in own if (number, key) in why}
        changes.append(
            Change(
                idea,
                held.findings.get(idea.name),
                tree,
                {key: value for key, value in own.items() if key not in left},
                left,
            )
        )
    return changes


def _refusal(held: Held, built: Built, key: str) -> str:
    """Why the value of a knob cannot be written into a tree; empty where it can."""
    given = _given(held.source, key)
    if given:
        return f"the testbed's {given} gives {key} a value"
    found = with_default(built.tree, _ground(held), key, built.recipe.overrides[key])
    if isinstance(found, str):
        return found
    kept = audit_kept(held.source, held.base, found)
    return "" if kept.passed else f"the testbed protects its place: {kept.reason}"


def _given(source: Source, key: str) -> str:
    """What of the testbed gives a knob a value in its runs, whatever the source says; empty for nothing."""
    words = {plain(word.partition("=")[0]) for word in source.command}
    begins = [part.format(key=key, value="\0").partition("\0")[0] for part in source.override]
    known = (one for one in begins if key in one)
    if plain(key) in words or any(_begins(word, one, key) for one in known for word in source.command):
        return "command"
    if plain(key) in map(plain, source.set):
        return "set"
    rungs = (number for number, one in enumerate(source.rung_sets) if plain(key) in map(plain, one))
    return next((f"set of rung {number}" for number in rungs), "")


def _begins(word: str, argument: str, key: str) -> bool:
    """Whether a word of the command is this argument for the knob; `lr_min` is none for `lr`."""
    return word == argument if argument.endswith(key) else word.startswith(argument)


def _ground(held: Held) -> Ground:
    source = held.source
    if source.protected_files is None:
        why = "is not editable, and the campaign did not note whether it is protected"
        locked = {path: why for path in held.base if path not in source.editable}
    else:
        locked = dict.fromkeys(source.protected_files, "is protected")
    values = (one for table in (source.set, *source.rung_sets) for one in table.values())
    words = [word.replace("{recipe}", held.campaign.recipe) for word in source.command]
    return Ground(source.editable, locked, [*words, *(one for one in values if isinstance(one, str))])


# --- what the store has -------------------------------------------------------------------------------


def _build(held: Held, ideas: Sequence[Idea]) -> Built:
    # Every file: what may be edited was checked when the patches ran.
    return build(Trunk(base=held.trunk.base, adopted=tuple(ideas)), held.base, held.base.keys())


def _point(store: Store, campaign: Campaign) -> dict[str, Any] | None:
    """Where the trunk stands; None where it holds nothing."""
    rungs = campaign.config.get("rungs") or [0]
    lowest = [point for point in trunk_points(store, campaign) if point["rung"] == rungs[0]]
    return lowest[-1] if lowest and lowest[-1]["adopted"] else None


def _ideas(
    store: Store, campaign: Campaign, names: Sequence[str], findings: Mapping[str, Finding]
) -> list[Idea]:
    """The ideas as they ran: with the values that a search found for knobs they left open."""
    queue = {entry.idea.name: entry.idea for entry in store.ideas(campaign.id)}
    tuned = store.decisions([campaign.id], TUNED)[campaign.id]
    by_round = sorted(tuned.items(), key=lambda one: int(one[0].partition("/")[0]))
    values = {name: one["values"] for _, kept in by_round for name, one in kept["ideas"].items()}
    found = []
    for name in names:
        idea = queue[name]
        if name in findings:
            idea = findings[name].idea
        elif idea.patch.tune:
            idea = with_values(idea, values.get(name, {}))
        found.append(idea)
    return found


def _source(store: Store, campaign: Campaign) -> tuple[Source, list[str]]:
    """Where the campaign's source lay, and what there is to say of it."""
    kept = store.decision(campaign.id, ORIGIN)
    if kept is not None:
        return Source.model_validate(kept), []
    # A campaign older than this record: its source may still be there as it was.
    try:
        testbed = load_testbed(campaign.config["testbed"])
    except TestbedError as error:
        raise ConfigError(f"campaign {campaign.id} did not record its source: {error}") from None
    tree = read_tree(testbed)
    began = (store.decision(campaign.id, INPUTS) or {}).get(SOURCE, tree_hash(tree))
    if began == tree_hash(tree):
        words = "the campaign did not record where its source lay; its files are still as they were"
        return describe(testbed, tree), [words]
    reason = "the campaign did not record where its source lay, and its files have changed since"
    return without_repository(testbed, began, reason), []


def _states(store: Store, campaign: Campaign) -> str:
    """Its ideas by state, in words."""
    by_state: dict[str, list[str]] = {}
    for entry in store.ideas(campaign.id):
        by_state.setdefault(entry.state.value, []).append(entry.idea.name)
    counts = [
        f"{len(names)} {state}" + (f" ({', '.join(names)})" if state == "claimed" else "")
        for state, names in by_state.items()
    ]
    return f"{campaign.state.value}, ideas: {', '.join(counts) or 'none'}"
