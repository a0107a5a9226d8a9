"""Tools that ask for something: an idea in the queue, an ablation. Neither trains anything by itself.

What an agent adds has its name as proposer, so it counts as written by a machine: its code runs only in a
sandbox that passed its self-check.
"""

from __future__ import annotations

import shlex
from typing import Annotated

from pydantic import Field

from mendel.agents.desk import CampaignId, Desk, line
from mendel.agents.seen import AblationAsked, Added
from mendel.agents.sight import ADDED, look
from mendel.campaign.ablate import Question, ablate
from mendel.campaign.config import CampaignConfig, ConfigError
from mendel.campaign.factors import finished_campaign, of_campaign
from mendel.campaign.intake import misfits_added
from mendel.campaign.progress import Progress
from mendel.ideas.userfile import to_idea
from mendel.records import Edit, Idea, Range, Scalar
from mendel.store import Campaign, CampaignState, IdeaState

MOST_WAITING = 200
"""Ideas of one agent that may wait in a queue: triage would look at them all in every round."""
MOST_TEXT = 60_000
"""Characters of an idea with its patch."""


Name = Annotated[str, Field(description="Lower case letters, digits, - and _; unique in the campaign.")]
Class = Annotated[str, Field(description="architecture, attention, optimiser, schedule, data, shape, ...")]
Hypothesis = Annotated[str, Field(description="One or two sentences that a measurement could refute.")]
Mechanism = Annotated[str, Field(description="One sentence: what the patch does.")]
Citation = Annotated[str, Field(description="Where the idea comes from.")]
Mean = Annotated[float, Field(description="Expected log2 compute multiplier: 0.1 is 7 % less compute.")]
Sd = Annotated[float, Field(description="Your uncertainty about it: you are scored on both.")]
Runs = Annotated[float, Field(description="Probability that the patch runs at all.")]
Edits = Annotated[
    list[Edit], Field(description="`search` occurs exactly once in `path` and becomes `replace`.")
]
Overrides = Annotated[dict[str, Scalar], Field(description="Knob -> value.")]
Tune = Annotated[dict[str, Range], Field(description="Knob -> range, searched before the idea is judged.")]
Slot = Annotated[str, Field(description="Ideas of one slot are alternatives, such as optimizer.")]
DryRun = Annotated[bool, Field(description="Only say whether it fits; add nothing.")]


def add_idea(
    desk: Desk,
    name: Name,
    idea_class: Class,
    hypothesis: Hypothesis,
    mechanism: Mechanism,
    citation: Citation,
    forecast_mean: Mean,
    forecast_sd: Sd,
    p_runs: Runs = 0.95,
    edits: Edits = [],  # noqa: B006
    overrides: Overrides = {},  # noqa: B006
    tune: Tune = {},  # noqa: B006
    slot: Slot = "",
    campaign: CampaignId = "",
    dry_run: DryRun = False,
) -> Added:
    """Propose an idea with its patch: it joins the queue of a campaign that is not finished.

    Try `dry_run` first. Change one thing, keep edits small, and never touch seeds, data order, evaluation or
    logging: audits look for that, and a rejection tells its class only. Draw no random numbers before the
    seed is set; no logit may depend on later tokens. The idea is tried when a person runs the campaign and
    triage picks it; `watch` tells what became of it.
    """
    table = {
        "name": name,
        "class": idea_class,
        "hypothesis": hypothesis,
        "mechanism": mechanism,
        "citation": citation,
        "forecast": {"mean": forecast_mean, "sd": forecast_sd, "p_runs": p_runs},
        "edits": [edit.model_dump() for edit in edits],
        "overrides": overrides,
        "tune": {key: one.model_dump() for key, one in tune.items()},
    }
    idea = to_idea(table | ({"slot": slot} if slot else {}), "add_idea", 1, desk.agent)
    return _propose(desk, desk.campaign(campaign), idea, dry_run)


def ask_ablation(
    desk: Desk,
    reason: Annotated[str, Field(min_length=10, max_length=300, description="What it would settle.")],
    names: Annotated[list[str], Field(description="Adopted changes; empty for all of the trunk.")] = [],  # noqa: B006
    design: Annotated[str, Field(description="auto, loo, add, full, fraction or pb.")] = "auto",
    seeds: Annotated[int, Field(description="Runs of each cell.")] = 5,
    effect: Annotated[float, Field(description="log2 CM that you care about.")] = 0.1,
    campaign: Annotated[
        str, Field(description="Empty for the last finished one that adopted something.")
    ] = "",
) -> AblationAsked:
    """Ask for an ablation: which adopted changes carry the gain, and which interact. Nothing is trained.

    The request is recorded in the campaign's log with its price in runs, for a person to run; one that takes
    more runs than this server allows is refused.
    """
    found = finished_campaign(desk.store, campaign or None)
    factors = of_campaign(desk.store, found, names)
    question = Question(tuple(factors), design, None, found.config["rungs"][0], seeds, effect)
    config = CampaignConfig.model_validate(found.config)
    planned = ablate(config, question, desk.settings, Progress(), plan_only=True, source=found)
    plan = planned["plan"]
    if plan["runs"] > desk.ablation_runs:
        raise ConfigError(
            f"it takes {plan['runs']} runs; at most {desk.ablation_runs} may be asked for: "
            "name fewer changes, or give fewer seeds or a smaller design"
        )
    parts = ["mendel", "ablate", found.id]
    parts += ["--names", ",".join(names)] if names else []
    command = shlex.join([*parts, "--design", design, "--seeds", str(seeds), "--effect", f"{effect:g}"])
    new = plan["runs"] - plan["finished_runs"]
    price = f"{plan['runs']} runs, {new} of them new"
    desk.store.event(
        found.id, ADDED, f"{desk.agent} asks for an ablation ({price}): {command}: {line(reason)}"
    )
    return AblationAsked(
        campaign=found.id,
        command=command,
        design=planned["design"]["kind"],
        runs=plan["runs"],
        new_runs=new,
        seconds=plan["seconds"],
        event=desk.store.events(found.id)[-1].id,
        words="recorded; nothing is trained until a person runs the command",
    )


def _propose(desk: Desk, campaign: Campaign, idea: Idea, dry_run: bool) -> Added:
    if (size := len(idea.model_dump_json())) > MOST_TEXT:
        raise ConfigError(f"edits: the idea has {size:,} characters; at most {MOST_TEXT:,} are allowed")
    if campaign.state is CampaignState.FINISHED:
        raise ConfigError(f"campaign {campaign.id} is finished; ask a person to begin another: mendel run")
    sight = look(desk.store, campaign)
    # Of ideas that are not settled nothing is told, so not either what their patches would bring.
    others = [entry.idea for entry in sight.facts.ideas if sight.settled(entry.idea.name)]
    misfit = misfits_added(desk.store, campaign, [idea], others).get(idea.name)
    if misfit and not misfit.waits_for and not dry_run:
        raise ConfigError(f"{idea.name}: {line(misfit.words)}")
    return Added(
        campaign=campaign.id,
        name=idea.name,
        added=not dry_run and _add(desk, campaign.id, idea),
        fits=misfit is None,
        words=line(misfit.words) if misfit else "",
        waits_for=list(misfit.waits_for)[:20] if misfit else [],
        after=max((event.id for event in desk.store.events(campaign.id)), default=0),
    )


def _add(desk: Desk, campaign: str, idea: Idea) -> bool:
    """Queue an idea; False where it is there already. That an agent brought it is part of the log."""
    with desk.store.transaction():
        queued = desk.store.ideas(campaign, IdeaState.QUEUED)
        waiting = sum(one.idea.proposer == desk.agent for one in queued)
        if waiting >= MOST_WAITING:
            raise ConfigError(f"{waiting} of your ideas wait already; see what becomes of them first")
        if not desk.store.add_ideas(campaign, [idea]):
            return False
        desk.store.event(campaign, ADDED, f"{idea.name}: added by {desk.agent}", idea.name)
    return True
