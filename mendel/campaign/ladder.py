"""`mendel ladder`: train a recipe on the cheap rungs, predict a dearer one, then train that and compare.

Runs are kept in a store of their own below the lab's folder, found by the hash of their specification: asking
again trains nothing again, asking for more rungs or seeds trains only those, and no campaign meets them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from mendel.campaign.budget import Budget, Meter
from mendel.campaign.config import CampaignConfig, ConfigError, Settings
from mendel.campaign.jobs import Request
from mendel.campaign.lab import Lab, LabError
from mendel.campaign.progress import Progress
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.trunk import Line, Shelf, runs_alone
from mendel.patches import read_tree
from mendel.plans.seeds import seed_block
from mendel.records import (
    Currency,
    Fingerprint,
    Interval,
    PlanKind,
    Recipe,
    RunResult,
    RunSpec,
    Testbed,
    Trunk,
    content_hash,
    tree_hash,
)
from mendel.report.curves import read_text
from mendel.store import Campaign, Store
from mendel.testbeds import check_rung, load_testbed
from mendel.verdicts.prediction import LadderFit, fit_ladder

FOLDER = "ladders"
STAGE = "ladder"
MOST_SEEDS = 64
"""Runs of any rung: further ones would hardly sharpen the curve."""
CURVE_POINTS = 25
"""Budgets at which the result tells the curve, for whoever draws it."""


@dataclass(frozen=True)
class Question:
    """Which rungs are measured, which one is predicted from them, and how many runs that is worth."""

    rungs: tuple[int, ...]
    predict: int
    seeds: int
    """Runs at the highest measured rung."""
    measure: bool = True
    """Whether the predicted rung is trained, too."""

    def runs(self, rung: int) -> int:
        """Twice as many at each rung down, because they cost a quarter; the predicted rung gets half."""
        if rung == self.predict:
            return (self.seeds + 1) // 2
        return int(min(MOST_SEEDS, self.seeds * 2 ** (self.rungs[-1] - rung)))


def ask(
    testbed: str, rungs: Sequence[int] | None, predict: int | None, seeds: int, measure: bool
) -> Question:
    """The question in full. Without `predict` it is the rung above `rungs`, without either the testbed's
    highest; without `rungs` they are all below. ConfigError or TestbedError for what cannot be."""
    found = load_testbed(testbed)
    if predict is None:
        predict = rungs[-1] + 1 if rungs else len(found.rungs) - 1
    rungs = tuple(range(predict)) if rungs is None else tuple(rungs)
    for rung in (*rungs, predict):
        check_rung(found, rung)
    if len(rungs) < 2:
        raise ConfigError(f"command line: rungs: a curve needs two at least (found {list(rungs)})")
    if predict <= rungs[-1]:
        raise ConfigError(
            f"command line: predict: rung {predict} is not above the measured ones, {list(rungs)}"
        )
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"command line: seeds: {seeds} found; allowed are 1 to {MOST_SEEDS}")
    return Question(rungs, predict, seeds, measure)


def climb(
    config: CampaignConfig, question: Question, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Measure, fit, predict, measure again; the result as one JSON object (docs/ladder.md lists its keys).

    Of `config` the testbed, recipe, data, workers and sandbox count. Raises what `session.run` raises;
    LabError where a rung cannot be measured or the loss does not fall.
    """
    ground, recipe = prepare(config, settings, progress)
    testbed = ground.testbed
    fingerprint = make_fingerprint(ground)
    with Store(settings.root / FOLDER, None, settings.database_timeout) as store:
        kept = kept_runs(store, config, testbed, recipe, fingerprint)
        with store.lock(kept.id):
            executor = start_workers(config, ground, progress)
            try:
                wanted = [*question.rungs, *([question.predict] if question.measure else [])]
                meter = Meter(Budget(runs=sum(map(question.runs, wanted))), executor.workers)
                lab = Lab(store, kept, ground, executor, meter, progress)
                if executor.sandbox.warning:
                    progress.say(f"warning: {executor.sandbox.warning}")
                with stops_on_signal(lab.stop):
                    return _Climb(lab, question).result()
            finally:
                executor.close()


def kept_runs(
    store: Store, config: CampaignConfig, testbed: Testbed, recipe: str, fingerprint: Fingerprint
) -> Campaign:
    """The entry that holds this recipe's earlier runs on this machine, or a new one. It has no campaign's
    loop: only runs and costs."""
    rests_on = testbed.model_dump(mode="json", exclude={"root", "folder", "python", "rungs"})
    shapes = [rung.set for rung in testbed.rungs]
    name = content_hash([rests_on, recipe, fingerprint.id, *([shapes] if any(shapes) else [])])
    for campaign in store.campaigns():
        if campaign.name == name:
            return campaign
    settings = {"rungs": [0], "max_usd": None, "usd_per_hour": 0.0}
    return store.create_campaign(name, 0, config.testbed, recipe, settings, fingerprint)


class _Climb:
    """One recipe on its way up: what each rung showed, and what follows for the next."""

    def __init__(self, lab: Lab, question: Question) -> None:
        self.lab, self.question = lab, question
        self.tree = read_tree(lab.testbed)
        base = Recipe(testbed=lab.testbed.name, tree=tree_hash(self.tree), base=lab.campaign.recipe)
        self.line: Line = Shelf(lab, self.tree, base).line(Trunk(base=base), 1.0, base.base)

    def result(self) -> dict[str, Any]:
        lab, ask = self.lab, self.question
        rows = self.measure(ask.rungs)
        points = [(row["flops"], loss) for row in rows for loss in row["bits_per_byte"]]
        try:
            fit = fit_ladder([flops for flops, _ in points], [loss for _, loss in points])
        except ValueError as error:
            raise LabError(f"recipe {lab.campaign.recipe}: {error}") from None
        # What a run there spends in whole steps is known only once it was run; its budget is close to that.
        budget = lab.testbed.rungs[ask.predict].compute
        predicted = fit.predict(budget, ask.runs(ask.predict))
        top = None
        if ask.measure:
            lab.progress.say(
                f"rung {ask.predict} predicted: {predicted.value:.4f} {lab.testbed.unit} "
                f"[{predicted.low:.4f}, {predicted.high:.4f}]"
            )
            (top,) = self.measure([ask.predict])
            predicted = fit.predict(top["flops"], top["runs"])
        return {
            "recipe": lab.campaign.recipe,
            "testbed": lab.testbed.name,
            **lab.campaign.fingerprint.losses,
            "rungs": rows,
            "fit": _fit_fields(fit),
            "predict": ask.predict,
            **_prediction_fields(predicted, top),
            "curve": _curve(fit, [row["flops"] for row in rows], top["flops"] if top else budget),
            "made": lab.made(self.tree),
        }

    def measure(self, rungs: Sequence[int]) -> list[dict[str, Any]]:
        """Train and score what is not there yet at each of `rungs`; a row for each, lowest first."""
        specs = {rung: self.specs(rung) for rung in rungs}
        longest_first = [spec for rung in sorted(rungs, reverse=True) for spec in specs[rung]]
        self.lab.try_again(longest_first)
        results = self.lab.complete([Request(spec, STAGE) for spec in longest_first])
        return [self.row(specs[rung], [results[spec.id] for spec in specs[rung]]) for rung in sorted(rungs)]

    def specs(self, rung: int) -> list[RunSpec]:
        """The runs that are wanted at a rung, each with the rung's whole budget and a seed of its own."""
        seeds = seed_block(0, 0, PlanKind.CURVE, self.question.runs(rung), rung)
        return runs_alone(self.lab, self.line, rung, seeds)

    def row(self, specs: Sequence[RunSpec], results: Sequence[RunResult]) -> dict[str, Any]:
        """What a rung showed. LabError where no run of it ended well."""
        rung = specs[0].rung
        both = [(spec, result) for spec, result in zip(specs, results, strict=True)]
        done = [(spec, result) for spec, result in both if result.bits_per_byte is not None]
        if not done:
            raise LabError(
                f"recipe {self.lab.campaign.recipe}: all {len(results)} runs at rung {rung} failed: "
                f"{results[0].status}, {results[0].reason}"
            )
        losses = [result.bits_per_byte or 0.0 for _, result in done]
        told = self.lab.testbed.budget.told == Currency.TOKENS
        tokens = (told and done[0][1].tokens) or specs[0].tokens  # in whole steps: a little less than allowed
        per_token = self.lab.flops_per_token(self.line.recipe, rung)
        return {
            "rung": rung,
            "flops": tokens * per_token,
            "flops_per_token": per_token,
            "tokens": tokens,
            "runs": len(done),
            "failed": len(results) - len(done),
            "seeds": [spec.seed for spec, _ in done],
            "bits_per_byte": losses,
            "mean": fmean(losses),
            "sd": stdev(losses) if len(losses) > 1 else None,
            "seconds": fmean(result.train_seconds for _, result in done),
            "shape": self.wrote(done[0][0], "config.json"),
            "computed": self.wrote(done[0][0], "run.json"),
        }

    def wrote(self, spec: RunSpec, name: str) -> Any:
        """What a run wrote of itself into a file of its folder; None where it did not, or not as JSON."""
        path = self.lab.store.run_folder(self.lab.campaign.id, spec.id).out / name
        try:
            return json.loads(read_text(path) or "null")
        except ValueError:
            return None


def _fit_fields(fit: LadderFit) -> dict[str, Any]:
    """L(C) = E + A (C / reference)^-alpha with a 95 % interval for each."""
    named = {"E": fit.floor, "A": fit.scale, "alpha": fit.alpha}
    return {name: _value(interval) for name, interval in named.items()} | {"reference": fit.reference}


def _value(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _prediction_fields(predicted: Interval, top: dict[str, Any] | None) -> dict[str, Any]:
    """Prediction against measurement, in bits per byte; `relative_error` is predicted / measured - 1."""
    measured = top["mean"] if top else None
    return {
        "predicted": predicted.value,
        "predicted_low": predicted.low,
        "predicted_high": predicted.high,
        "measured": measured,
        "relative_error": predicted.value / measured - 1 if measured else None,
        "within_interval": predicted.low <= measured <= predicted.high if measured else None,
        "top": top,
    }


def _curve(fit: LadderFit, measured: Sequence[float], last: float) -> list[dict[str, float]]:
    """The curve from the first measured budget to the predicted one."""
    first, steps = min(measured), CURVE_POINTS - 1
    budgets = [first * (last / first) ** (place / steps) for place in range(CURVE_POINTS)]
    return [{"flops": flops, **_value(fit.predict(flops))} for flops in budgets]
