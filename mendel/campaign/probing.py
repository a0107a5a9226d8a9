"""`mendel probe`: train a recipe with a few seeds and say which skills it has, with their spread over seeds.

Runs are kept in a store of their own below the lab's folder: asking again trains nothing again, and no
campaign ever meets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from mendel.campaign.budget import Meter
from mendel.campaign.config import CampaignConfig, ConfigError, Settings, same_settings
from mendel.campaign.jobs import Request
from mendel.campaign.lab import Lab, LabError
from mendel.campaign.progress import Progress
from mendel.campaign.scoring import PROBE
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.trunk import Line, Shelf, runs_alone
from mendel.patches import read_tree
from mendel.probes import VERSION
from mendel.records import (
    SKILL_CHANCE,
    Fingerprint,
    Recipe,
    RunResult,
    RunStatus,
    Skill,
    Trunk,
    Trust,
    tree_hash,
)
from mendel.store import Campaign, Store

FOLDER = "probes"


def probe_recipe(
    config: CampaignConfig, seeds: int, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Train `config`'s recipe at its rung with seeds 1 to `seeds`, two at least, and average what they show.

    Raises what `session.run` raises; LabError where the recipe or every run of it fails.
    """
    if seeds < 2:
        raise ConfigError(f"command line: seeds: {seeds} is too few; allowed are 2 and more")
    ground, recipe = prepare(config, settings, progress)
    if ground.testbed.trust is Trust.REPORTED:
        raise ConfigError(
            f"{ground.testbed.folder}/testbed.toml: metric: not measured: probes ask the checkpoint, and the "
            "runs report their own loss; they need a score file (docs/testbed.md)"
        )
    with Store(settings.root / FOLDER, None, settings.database_timeout) as store:
        campaign = _kept(store, config, recipe, make_fingerprint(ground))
        with store.lock(campaign.id):
            executor = start_workers(config, ground, progress)
            try:
                meter = Meter(config.budget, executor.workers)
                lab = Lab(store, campaign, ground, executor, meter, progress)
                with stops_on_signal(lab.stop):
                    tokens, results = _train(lab, config.rungs[0], range(1, seeds + 1))
            finally:
                executor.close()
    done = [result for result in results if result.status is RunStatus.DONE]
    if not done:
        raise LabError(f"recipe {recipe}: no run of {seeds} ended well: {results[0].reason}")
    answered = [result for result in done if result.skills]  # one that gave no usable answers has none
    return {
        "recipe": recipe,
        "rung": config.rungs[0],
        "tokens": tokens,
        "seeds": len(done),
        "failed": len(results) - len(done),
        "bits_per_byte": fmean(result.bits_per_byte or 0.0 for result in done),
        "score_seconds": fmean(result.score_seconds for result in done),
        "chance": SKILL_CHANCE,
        "skills": {skill: _over_seeds(skill, answered) for skill in (answered[0].skills if answered else ())},
    }


def _kept(store: Store, config: CampaignConfig, recipe: str, fingerprint: Fingerprint) -> Campaign:
    """The entry that holds earlier runs of the same question, or a new one."""
    settings, questions = config.model_dump(mode="json"), f"questions {VERSION}"
    for campaign in store.campaigns():
        asked = campaign.name == questions and same_settings(campaign.config, config)
        if asked and campaign.fingerprint == fingerprint:
            return campaign
    return store.create_campaign(questions, config.seed, config.testbed, recipe, settings, fingerprint)


def _train(lab: Lab, rung: int, seeds: Sequence[int]) -> tuple[int, list[RunResult]]:
    """Tokens of a run with the rung's compute, and the result of each seed."""
    tree = read_tree(lab.testbed)
    base = Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe)
    line: Line = Shelf(lab, tree, base).line(Trunk(base=base), 1.0, base.base)
    specs = runs_alone(lab, line, rung, seeds)
    results = lab.complete([Request(spec, PROBE) for spec in specs])
    return specs[0].tokens, [results[spec.id] for spec in specs]


def _over_seeds(skill: str, done: Sequence[RunResult]) -> dict[str, float] | None:
    """Mean and standard deviation over the runs; None where the span is beyond the context of any."""
    found = [result.skills.get(skill) for result in done]
    seen: list[Skill] = [one for one in found if one is not None]
    if len(seen) < len(found):
        return None
    values = {"accuracy": [s.accuracy for s in seen], "advantage": [s.advantage for s in seen]}
    summary = {name: fmean(each) for name, each in values.items()}
    return summary | {f"{name}_sd": stdev(each) if len(each) > 1 else 0.0 for name, each in values.items()}
