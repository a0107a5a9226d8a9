"""What an ablation varies: patches that are in or out, knobs with two values, and the recipes of its
cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from mendel.campaign.config import ConfigError
from mendel.campaign.session import INPUTS, SOURCE
from mendel.campaign.summary import trunk_points
from mendel.ideas import catalog
from mendel.ideas.userfile import load_ideas
from mendel.patches import Built, PatchError, Stale, Tree, build, read_tree
from mendel.plans.designs import Design, drop_whole
from mendel.records import Forecast, Idea, Patch, Recipe, Scalar, Trunk, tree_hash
from mendel.store import Campaign, CampaignState, Store
from mendel.testbeds import load_testbed

TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Factor:
    """One thing that is on or off."""

    name: str
    on: Idea
    off: Idea | None = None
    """None: the recipe as it is."""
    excess: float = 1.0
    """CPU seconds charged beyond its FLOPs, as the campaign that adopted it did."""

    @property
    def levels(self) -> tuple[str, str]:
        """What off and on mean, in words."""
        if self.off is None:
            return "out", "in"
        first, second = (next(iter(idea.patch.overrides.values())) for idea in (self.off, self.on))
        return str(first), str(second)


# --- where factors come from --------------------------------------------------------------------------


def finished_campaign(store: Store, campaign: str | None) -> Campaign:
    """The campaign of this id, or the last finished one that adopted something. ConfigError: there is
    none."""
    if campaign is not None:
        return store.campaign(campaign)
    done = [one for one in store.campaigns() if one.state is CampaignState.FINISHED]
    found = next((one for one in reversed(done) if adopted_names(store, one)), None)
    if found is None:
        raise ConfigError(
            f"{store.root}: no finished campaign here adopted anything; give --ideas FILE or --set KEY=A,B"
        )
    return found


def adopted_names(store: Store, campaign: Campaign) -> list[str]:
    """Names of what the campaign's trunk holds, in the order of adoption."""
    points = [p for p in trunk_points(store, campaign) if p["rung"] == campaign.config["rungs"][0]]
    return list(points[-1]["adopted"]) if points else []


def of_campaign(store: Store, campaign: Campaign, names: Sequence[str] = ()) -> list[Factor]:
    """The adopted changes of a campaign's trunk, all or those of `names`, charged as they were adopted."""
    held = adopted_names(store, campaign)
    if not held:
        raise ConfigError(f"campaign {campaign.id}: its trunk holds no adopted change")
    check_source(store, campaign)
    chosen = _chosen(held, names, f"the trunk of campaign {campaign.id}")
    ideas = {entry.idea.name: entry.idea for entry in store.ideas(campaign.id)}
    # Of tuned ideas the finding holds the values that the search found.
    ideas |= {finding.idea.name: finding.idea for finding in store.findings(campaign.id)}
    return [Factor(name, ideas[name], excess=_excess(store, campaign, name)) for name in chosen]


def check_source(store: Store, campaign: Campaign) -> None:
    """Adopted changes are patches of the source that the campaign began with."""
    before = (store.decision(campaign.id, INPUTS) or {}).get(SOURCE)
    now = tree_hash(read_tree(load_testbed(campaign.config["testbed"])))
    if before is not None and before != now:
        raise ConfigError(
            f"campaign {campaign.id}: {SOURCE} changed since: it was {before!r}, now it is {now!r}; "
            "restore it, or take ideas that fit it with --ideas FILE"
        )


def _excess(store: Store, campaign: Campaign, name: str) -> float:
    """What the finding behind an adopted change charged, over its FLOPs."""
    for finding in reversed(store.findings(campaign.id)):
        if finding.idea.name == name:
            costs = [
                store.cost(campaign.id, one, finding.rung) for one in (finding.treatment, finding.control)
            ]
            flops = [cost.flops_per_token for cost in costs if cost and cost.flops_per_token]
            return finding.cost_ratio / (flops[0] / flops[1] if len(flops) == 2 else 1.0)
    return 1.0


def of_ideas(source: str, names: Sequence[str] = ()) -> list[Factor]:
    """Ideas of a file, or of the catalog: all, or those of `names` in their order."""
    ideas = catalog.load_catalog() if source == "catalog" else load_ideas(Path(source))
    if source == "catalog" and not names:
        raise ConfigError("command line: names: say which ideas of the catalog, as in --names rope,muon")
    by_name = {idea.name: idea for idea in ideas}
    return [Factor(name, by_name[name]) for name in _chosen(list(by_name), names, source)]


def _chosen(known: Sequence[str], names: Sequence[str], where: str) -> list[str]:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"command line: names: {name!r} is not in {where}; there are {', '.join(known)}"
            )
    return list(names or known)


def of_knob(text: str) -> Factor:
    """A knob with two values, as in `lr=0.002,0.004`: off is the first. ConfigError for anything else."""
    key, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(",")]
    if not equals or not key.strip() or len(parts) != 2 or not all(parts):
        raise ConfigError(f"command line: set: {text!r} is not understood; write KEY=FIRST,SECOND")
    off, on = (_scalar(part) for part in parts)
    if (type(off), off) == (type(on), on):
        raise ConfigError(f"command line: set: {text!r} has the same value twice")
    return Factor(key.strip(), _knob(key.strip(), on), _knob(key.strip(), off))


def _scalar(text: str) -> Scalar:
    if text.lower() in TRUTH:
        return TRUTH[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _knob(key: str, value: Scalar) -> Idea:
    name = re.sub(r"[^a-z0-9_-]+", "-", f"{key}-{value}".lower()).strip("-_")[:60]
    return Idea(
        name=name or "knob",
        idea_class="shape",
        hypothesis=f"{key} = {value}",
        mechanism="A setting of the command line.",
        citation="none",
        forecast=Forecast(mean=0.0, sd=1.0),
        patch=Patch(overrides={key: value}),
        proposer="user",
    )


def check_distinct(factors: Sequence[Factor]) -> None:
    """ConfigError for two factors of one name."""
    names = [factor.name for factor in factors]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"command line: {twice!r} is given twice; each factor stands once")


# --- cells --------------------------------------------------------------------------------------------


def ideas_of(factors: Sequence[Factor], row: Sequence[int]) -> tuple[Idea, ...]:
    """The ideas of a cell, in the order of the factors."""
    levels = zip(factors, row, strict=True)
    found = [factor.on if level > 0 else factor.off for factor, level in levels]
    return tuple(idea for idea in found if idea is not None)


def label_of(factors: Sequence[Factor], row: Sequence[int]) -> str:
    """A cell in words: what is in it, and the values of its knobs."""
    parts = []
    for factor, level in zip(factors, row, strict=True):
        if factor.off is not None:
            parts.append(f"{factor.name}={factor.levels[level > 0]}")
        elif level > 0:
            parts.append(factor.name)
    return " + ".join(parts) or "none"


def build_cells(
    design: Design, factors: Sequence[Factor], base: Recipe, tree: Tree, editable: Sequence[str]
) -> tuple[Design, list[Trunk], list[str]]:
    """The design, the trunk of each of its cells, and notes on what had to give.

    An add-one-in design of factors that cannot stand together is left without the cell that has them all.
    ConfigError where a cell cannot be built, naming the pair that does not compose or what stands in the way.
    """
    notes = []
    clash = _slot_clash(factors)
    if clash is None and design.kind == "add" and design.factors > 1:
        clash = _flaw(base, tree, editable, ideas_of(factors, design.rows[-1]))
    if clash is not None and design.kind == "add":
        design = drop_whole(design)
        notes.append(f"no cell has everything: {clash}")
    elif clash is not None:
        raise ConfigError(f"{clash}: no cell can have both; leave one out, or take --design add")
    trunks = []
    for row in design.rows:
        ideas = ideas_of(factors, row)
        flaw = _flaw(base, tree, editable, ideas)
        if flaw is not None:
            raise ConfigError(f"the cell {label_of(factors, row)!r} cannot be built: {flaw}")
        trunks.append(Trunk(base=base, adopted=ideas))
    return design, trunks, notes


def _slot_clash(factors: Sequence[Factor]) -> str | None:
    for one, other in combinations(factors, 2):
        if one.on.patch.slot is not None and one.on.patch.slot == other.on.patch.slot:
            return (
                f"{one.name!r} and {other.name!r} share the slot {one.on.patch.slot!r} and replace each other"
            )
    return None


def _flaw(base: Recipe, tree: Tree, editable: Sequence[str], ideas: tuple[Idea, ...]) -> str | None:
    """Why these ideas do not stack in this order: the smallest reason there is, by one idea or by a pair."""
    reason = _error(base, tree, editable, ideas)
    if reason is None:
        return None
    for idea in ideas:
        alone = _error(base, tree, editable, (idea,))
        if alone is not None:
            return f"{idea.name!r} does not fit without others: {alone}"
    for pair in combinations(ideas, 2):
        both = _error(base, tree, editable, pair)
        if both is not None:
            return f"{pair[0].name!r} and {pair[1].name!r} do not compose: {both}"
    return reason


def _error(base: Recipe, tree: Tree, editable: Sequence[str], ideas: tuple[Idea, ...]) -> str | None:
    found = _built(base, tree, editable, ideas)
    return found if isinstance(found, str) else None


def _built(base: Recipe, tree: Tree, editable: Sequence[str], ideas: tuple[Idea, ...]) -> Built | str:
    try:
        return build(Trunk(base=base, adopted=ideas), tree, editable)
    except Stale as error:
        return str(error)
    except PatchError as error:
        return error.summary
