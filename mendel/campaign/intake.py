"""The intake: ideas that can never run are found before anything is trained, not when their turn comes.

A file that the user gave is refused with what is wrong; of the catalog and of what is in the store already,
a note is made and the campaign goes on with the others. What was written for a later trunk waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mendel.campaign.config import CampaignConfig, ConfigError
from mendel.campaign.lab import Lab
from mendel.campaign.rounds import Round
from mendel.campaign.screen import lose
from mendel.campaign.trunk import Line, prepare
from mendel.ideas.userfile import load_ideas
from mendel.patches import Tree, read_tree
from mendel.patches.fit import Misfit, misfit
from mendel.records import Idea, Recipe, Testbed, tree_hash
from mendel.report.knobs import written_knobs
from mendel.store import Campaign, IdeaState, Store
from mendel.testbeds import load_testbed

NO_FILE = ("catalog", "blanks", "none")
"""Values of the setting `ideas` that name no file."""


def admit(round: Round) -> None:
    """Before the first run of a session: look at all ideas that wait. The original recipe has had its smoke
    run, which tells its knobs.

    ConfigError where an idea of the user's file can never run; any other such idea has failed, with a note.
    """
    lab, config = round.lab, round.config
    entries = lab.store.ideas(round.campaign)
    waiting = [entry.idea for entry in entries if entry.state is IdeaState.QUEUED]
    knobs = written_knobs(lab.store, round.campaign, round.original.recipe, round.rung)
    others = [entry.idea for entry in entries]
    found = misfits(waiting, others, round.shelf.tree, lab.testbed, knobs)
    lab.fits |= {(round.original.recipe, idea.name): idea.name not in found for idea in waiting}
    if config.ideas not in NO_FILE:
        given = [idea.name for idea in load_ideas(Path(config.ideas))]
        refuse(config.ideas, {name: found[name] for name in given if name in found})
    for name, one in found.items():
        if one.waits_for:
            state, note = IdeaState.QUEUED, f"waits for {' or '.join(one.waits_for)}: {one.words}"
        else:
            state, note = IdeaState.FAILED, one.words
        round.move(name, state, note, "intake")
        lab.say(f"intake/{name}", "smoke", f"{name}: {state.value}, {note}", name)


def smoke_given(round: Round) -> None:
    """Before the first round: smoke runs of what the user's file holds, as many ideas as a round takes.

    Which knobs there are a testbed need not tell; what does not run is then known before the curve is paid
    for. The round would make these runs too. ConfigError where not one of all the file's ideas runs."""
    lab, config = round.lab, round.config
    if config.ideas in NO_FILE or lab.store.decision(round.campaign, "0/ideas") is not None:
        return
    queued = {entry.idea.name for entry in lab.store.ideas(round.campaign, IdeaState.QUEUED)}
    fit = {name for recipe, name in lab.fits if lab.fits[recipe, name]}
    given = load_ideas(Path(config.ideas))
    here = [idea for idea in given if idea.name in queued & fit and not idea.patch.tune]
    here = here[: config.policy.screen_ideas]
    _, lost = prepare(lab, round.shelf, round.original, here, round.rung)
    if lost and len(lost) == len(given):
        name, (_, reason) = next(iter(lost.items()))
        raise ConfigError(f"{config.ideas}: none of its ideas runs; {name!r}: {reason}")
    for name, (state, reason) in lost.items():
        lose(round, name, IdeaState(state), reason)


def misfits(
    ideas: Iterable[Idea],
    others: Sequence[Idea],
    tree: Tree,
    testbed: Testbed,
    knobs: Mapping[str, Any] | None,
) -> dict[str, Misfit]:
    """The ideas that do not fit a recipe, by name."""
    found = {
        idea.name: misfit(
            idea, [one for one in others if one.name != idea.name], tree, testbed.editable, knobs
        )
        for idea in ideas
    }
    return {name: one for name, one in found.items() if one is not None}


def refuse(file: str | Path, found: Mapping[str, Misfit]) -> None:
    """ConfigError for the first idea of a file that can never run, with the names of the others."""
    never = {name: one.words for name, one in found.items() if not one.waits_for}
    if never:
        first, *more = never
        also = f" (nor do these fit: {', '.join(more)})" if more else ""
        raise ConfigError(f"{file}: idea {first!r}: {never[first]}{also}")


def check_added(store: Store, campaign: Campaign, file: Path, ideas: Sequence[Idea]) -> None:
    """`refuse` a file of ideas that are to join a campaign."""
    others = [*ideas, *(entry.idea for entry in store.ideas(campaign.id))]
    refuse(file, misfits_added(store, campaign, ideas, others))


def misfits_added(
    store: Store, campaign: Campaign, ideas: Sequence[Idea], others: Sequence[Idea]
) -> dict[str, Misfit]:
    """Those of the ideas that are to join a campaign which do not fit its original recipe, by name; `others`
    may be adopted before them. Knobs are known once the campaign has begun."""
    testbed = load_testbed(campaign.config["testbed"])
    tree = read_tree(testbed)
    original = Recipe(testbed=testbed.name, tree=tree_hash(tree), base=campaign.recipe)
    knobs = written_knobs(store, campaign.id, original.id, campaign.config["rungs"][0])
    return misfits(ideas, others, tree, testbed, knobs)


def still_waiting(lab: Lab, config: CampaignConfig, trunk: Line) -> set[str]:
    """Queued ideas that fit neither the original recipe nor this trunk: nothing is tried of them yet. What is
    known of an idea is not looked at again: thousands may be queued."""
    names = {entry.idea.name: entry.idea for entry in lab.store.ideas(lab.campaign.id, IdeaState.QUEUED)}
    for recipe in dict.fromkeys((trunk.trunk.base.id, trunk.recipe)):
        if new := [idea for name, idea in names.items() if (recipe, name) not in lab.fits]:
            lab.smoke([(recipe, config.rungs[0], None)])
            knobs = written_knobs(lab.store, lab.campaign.id, recipe, config.rungs[0])
            tree = lab.store.load_tree(lab.store.recipe(recipe).tree)
            unfit = misfits(new, (), tree, lab.testbed, knobs)
            lab.fits |= {(recipe, idea.name): idea.name not in unfit for idea in new}
        names = {name: idea for name, idea in names.items() if not lab.fits[recipe, name]}
    return set(names)
