"""`mendel ablate`: which of several changes carry the gain, and which of them interact.

Every cell of a design (a set of changes that are in) is trained with the same seeds at equal charged
compute and scored on the validation shard. Runs are kept in a store of their own below the lab's folder,
found by the hash of their specification: asking again trains nothing again, another design or more seeds
train only what is new, and no campaign meets them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mendel.campaign.ablation_plan import (
    CURVE_MULTIPLES,
    CURVE_SEEDS,
    Kept,
    noise_of,
    plan_fields,
    plan_lines,
    slope_key,
)
from mendel.campaign.ablation_result import Cells, analyse
from mendel.campaign.ablation_words import sentences
from mendel.campaign.audits import audit_patch, failed, full
from mendel.campaign.budget import Budget, Meter
from mendel.campaign.config import CampaignConfig, ConfigError, Settings
from mendel.campaign.factors import Factor, build_cells, check_distinct, ideas_of, label_of
from mendel.campaign.jobs import Request
from mendel.campaign.lab import Lab, LabError
from mendel.campaign.ladder import kept_runs
from mendel.campaign.progress import Progress
from mendel.campaign.rounds import BOUND_DOUBLINGS, LEAST_SLOPE, CurveError, Points, measure_curve
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.tier import check_tier
from mendel.campaign.trunk import Refused, Shelf, tokens_at, validation_spec
from mendel.patches import build, read_tree
from mendel.plans.costs import BLIND
from mendel.plans.designs import Design, DesignError, make_design
from mendel.plans.seeds import seed_block
from mendel.records import (
    PlanKind,
    Recipe,
    Rule,
    RunResult,
    RunSpec,
    RunStatus,
    Testbed,
    Trunk,
    tree_hash,
)
from mendel.store import Campaign, RunState, Store
from mendel.testbeds import check_rung
from mendel.verdicts.curve import fit_curve

FOLDER = "ablations"
STAGE = "ablate"
BLOCK_ROUND = 999
"""Seeds of a round that no campaign comes to: the changes were chosen on others."""
MOST_SEEDS = 64


@dataclass(frozen=True)
class Question:
    """What is varied, by which design, how often."""

    factors: tuple[Factor, ...]
    design: str = "auto"
    cells: int | None = None
    rung: int = 0
    seeds: int = 5
    effect: float = 0.1
    """log2 CM that one cares about."""
    curve: bool = True
    """Whether the reference's scaling curve is measured."""


def ablate(
    config: CampaignConfig,
    question: Question,
    settings: Settings,
    progress: Progress,
    plan_only: bool = False,
    source: Campaign | None = None,
) -> dict[str, Any]:
    """Plan, measure and analyse; the result as one JSON object (docs/ablate.md lists its keys), with
    `plan_only` the plan alone. `source` is the campaign whose runs tell the noise beforehand.

    Of `config` the testbed, recipe, data, seed, workers and sandbox count. Raises what `session.run` raises;
    LabError where a cell does not run.
    """
    _check(question)
    ground, recipe = prepare(config, settings, progress)
    testbed = ground.testbed
    check_rung(testbed, question.rung)
    fingerprint = make_fingerprint(ground)
    with Store(settings.root / FOLDER, None, settings.database_timeout) as store:
        kept = kept_runs(store, config, testbed, recipe, fingerprint)
        layout = _lay_out(testbed, recipe, question)
        seeds = seed_block(config.seed, BLOCK_ROUND, PlanKind.ESTIMATE, question.seeds, question.rung)
        plan = _plan(store, kept, layout, question, seeds, config, settings, source)
        for line in (*plan_lines(plan), *layout.notes):
            progress.say(line)
        if plan_only:
            return {**layout.fields(), "plan": plan}
        with store.lock(kept.id):
            executor = start_workers(config, ground, progress)
            try:
                meter = Meter(Budget(runs=plan["runs"]), executor.workers)
                lab = Lab(store, kept, ground, executor, meter, progress)
                if executor.sandbox.warning:
                    progress.say(f"warning: {executor.sandbox.warning}")
                check_tier([factor.on for factor in question.factors], executor, store.root)
                with stops_on_signal(lab.stop):
                    return {**_Ablation(lab, layout, question, seeds).result(), "plan": plan}
            finally:
                executor.close()


def _check(question: Question) -> None:
    check_distinct(question.factors)
    if not question.factors:
        raise ConfigError("command line: nothing to ablate; give a campaign, --ideas FILE or --set KEY=A,B")
    if not 2 <= question.seeds <= MOST_SEEDS:
        raise ConfigError(f"command line: seeds: {question.seeds} found; allowed are 2 to {MOST_SEEDS}")
    if question.effect <= 0:
        raise ConfigError(f"command line: effect: {question.effect} found; it must be above 0 (log2 CM)")


@dataclass(frozen=True)
class Layout:
    """A design with the trunk of each cell."""

    testbed: Testbed
    recipe: str
    factors: tuple[Factor, ...]
    design: Design
    trunks: tuple[Trunk, ...]
    tree: dict[str, str]
    notes: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        return [label_of(self.factors, row) for row in self.design.rows]

    def fields(self) -> dict[str, Any]:
        names = [factor.name for factor in self.factors]
        return {
            "recipe": self.recipe,
            "testbed": self.testbed.name,
            "factors": [
                {"name": factor.name, "off": factor.levels[0], "on": factor.levels[1]}
                for factor in self.factors
            ],
            "design": {
                "kind": self.design.kind,
                "resolution": self.design.resolution,
                "words": [[names[place] for place in word] for word in self.design.words],
                "rows": [list(row) for row in self.design.rows],
                "orthogonal_cells": self.design.core,
                "reference": self.labels[self.design.reference],
            },
        }


def _lay_out(testbed: Testbed, recipe: str, question: Question) -> Layout:
    try:
        design = make_design(question.design, len(question.factors), question.cells)
    except DesignError as error:
        raise ConfigError(f"command line: design: {error}") from None
    tree = read_tree(testbed)
    base = Recipe(testbed=testbed.name, tree=tree_hash(tree), base=recipe)
    design, trunks, notes = build_cells(design, question.factors, base, tree, testbed.editable)
    return Layout(testbed, recipe, question.factors, design, tuple(trunks), tree, tuple(notes))


def _plan(
    store: Store,
    kept: Campaign,
    layout: Layout,
    question: Question,
    seeds: Sequence[int],
    config: CampaignConfig,
    settings: Settings,
    source: Campaign | None,
) -> dict[str, Any]:
    own = Kept(store, kept, question.rung)
    recipes = {build(trunk, layout.tree, layout.testbed.editable).recipe.id for trunk in layout.trunks}
    done = store.runs(kept.id, RunState.FINISHED)
    finished = sum(
        run.spec.recipe in recipes and run.spec.rung == question.rung and run.spec.seed in seeds
        for run in done
    )
    if source is None:
        noise = noise_of(own, None)
    else:
        with Store(settings.root, settings.database_url, settings.database_timeout) as lab:
            noise = noise_of(own, Kept(lab, source, question.rung))
    workers = config.workers or os.cpu_count() or 1
    return plan_fields(
        layout.design, layout.testbed, question.rung, question.seeds, question.effect, noise, question.curve,
        workers, finished,
    )  # fmt: skip


class _Ablation:
    """One design on its way from cells to effects."""

    def __init__(self, lab: Lab, layout: Layout, question: Question, seeds: Sequence[int]) -> None:
        self.lab, self.layout, self.question, self.seeds = lab, layout, question, seeds
        self.rung, self.flops = question.rung, lab.testbed.rungs[question.rung].compute
        shelf = Shelf(lab, layout.tree, layout.trunks[0].base)
        self.lines = [
            shelf.line(trunk, self.excess(row), label)
            for trunk, row, label in zip(layout.trunks, layout.design.rows, layout.labels, strict=True)
        ]

    def excess(self, row: Sequence[int]) -> float:
        """CPU seconds charged beyond FLOPs: what the cell's changes were charged when they were adopted."""
        product = 1.0
        for factor, level in zip(self.layout.factors, row, strict=True):
            product *= factor.excess if level > 0 else 1.0
        return product

    def result(self) -> dict[str, Any]:
        lab, design = self.lab, self.layout.design
        self.audit()
        specs = self.specs()
        lab.try_again(spec for block in specs for spec in block)
        results = lab.complete(
            [Request(one[cell], STAGE, self.layout.labels[cell]) for one in specs for cell in range(len(one))]
        )
        table = [[results[spec.id] for spec in block] for block in specs]
        losses = [[result.bits_per_byte for result in block] for block in table]
        reference = [block[design.reference] for block in table]
        if not any(result.bits_per_byte is not None for result in reference):
            raise LabError(
                f"the reference cell {self.layout.labels[design.reference]!r} failed with all "
                f"{len(reference)} seeds: {reference[0].status}, {reference[0].reason}"
            )
        curve, notes = self.curve(losses)
        bound = self.bound(curve)
        names = tuple(factor.name for factor in self.layout.factors)
        found = analyse(Cells(design, names, losses, bound, curve, self.flops, lab.testbed.unit))
        found["notes"] = [*self.layout.notes, *notes, *found["notes"], *self.blind(specs, table)]
        fields = {
            **self.layout.fields(),
            "rung": self.rung,
            **lab.campaign.fingerprint.losses,
            "flops": self.flops,
            "seeds": list(self.seeds),
            "cells": [self.cell(cell, specs, table) for cell in range(len(design.rows))],
            "curve": [{"flops": flops, "bits_per_byte": loss} for flops, loss in curve],
            **found,
        }
        return {**fields, "summary": sentences(fields), "made": lab.made(self.layout.tree)}

    def audit(self) -> None:
        """Whether the code of the cells is an idea at all. LabError for what an audit rejects."""
        lab = self.lab
        control = lab.recipe(self.layout.trunks[0].base, self.layout.tree, self.layout.recipe)

        def look(recipe: str) -> dict[str, str]:
            violation = failed(audit_patch(lab, control, recipe))
            return {"violation": full(violation) if violation else ""}

        for line, label in zip(self.lines, self.layout.labels, strict=True):
            seen = lab.once(f"audited/{line.recipe}", lambda: look(line.recipe))  # noqa: B023
            if seen["violation"]:
                raise LabError(f"the cell {label!r} is rejected: {seen['violation']}")

    def specs(self) -> list[list[RunSpec]]:
        """The runs, seed by seed, a cell after the other, each with the rung's whole compute as charged."""
        labels = self.layout.labels
        smoked = self.lab.smoke(
            [(line.recipe, self.rung, label) for line, label in zip(self.lines, labels, strict=True)]
        )
        self.must_run([smoked[line.recipe, self.rung] for line in self.lines])
        tokens = []
        for line, label in zip(self.lines, labels, strict=True):
            try:
                tokens.append(tokens_at(self.lab, line, self.rung))
            except Refused as error:
                raise LabError(f"the cell {label!r} cannot be compared at equal compute: {error}") from None
        return [
            [
                validation_spec(self.lab, line, self.rung, seed, own)
                for line, own in zip(self.lines, tokens, strict=True)
            ]
            for seed in self.seeds
        ]

    def must_run(self, smoked: Sequence[RunResult]) -> None:
        """LabError for the smallest cell that does not run a few steps: two changes that run alone and not
        together are named as a pair."""
        rows, labels = self.layout.design.rows, self.layout.labels
        lost = [cell for cell, result in enumerate(smoked) if result.status is not RunStatus.DONE]
        if not lost:
            return
        cell = min(lost, key=lambda one: len(ideas_of(self.layout.factors, rows[one])))
        on = [place for place, level in enumerate(rows[cell]) if level > 0]
        singles = [tuple(1 if place == one else -1 for place in range(len(rows[cell]))) for one in on]
        what = f"the cell {labels[cell]!r} does not run"
        if len(on) == 2 and set(singles) <= set(rows):
            first, second = (self.layout.factors[place].name for place in on)
            what = f"{first!r} and {second!r} run alone and do not run together"
        raise LabError(f"{what} at rung {self.rung}: {smoked[cell].status}, {smoked[cell].reason}")

    def curve(self, losses: Sequence[Sequence[float | None]]) -> tuple[Points, list[str]]:
        """Points of the reference's scaling curve: its runs of the design, and a few at half and twice the
        budget."""
        place = self.layout.design.reference
        own = [(self.flops, block[place]) for block in losses]
        points = [(flops, loss) for flops, loss in own if loss is not None]
        if not self.question.curve:
            return [], []
        seeds = self.seeds[:CURVE_SEEDS]
        try:
            more = measure_curve(self.lab, self.lines[place], self.rung, CURVE_MULTIPLES, seeds)
        except CurveError as error:
            return [], [f"no effect is told as compute: {error}"]
        return [*more, *points], []

    def bound(self, curve: Points) -> float:
        """Bits per byte by which a failure is counted worse: three doublings of the reference's compute."""
        try:
            found = fit_curve([flops for flops, _ in curve], [loss for _, loss in curve])
        except ValueError:
            return Rule().bound
        slope = max(float(found.slope(self.flops)), LEAST_SLOPE)
        self.lab.once(slope_key(self.rung), lambda: slope)
        return BOUND_DOUBLINGS * slope

    def blind(self, specs: Sequence[Sequence[RunSpec]], table: Sequence[Sequence[RunResult]]) -> list[str]:
        """Cells whose CPU seconds say that their counted FLOPs are far too few."""
        used = [
            fmean(block[cell].cpu_seconds for block in table) for cell in range(len(self.layout.design.rows))
        ]
        reference = used[self.layout.design.reference]
        if not self.lab.testbed.count_flops or reference <= 0:
            return []
        slow = [
            f"{label!r} ({seconds / reference:.1f})"
            for label, seconds in zip(self.layout.labels, used, strict=True)
            if seconds > BLIND * reference
        ]
        if not slow:
            return []
        return [
            "cells that took many times the CPU seconds of the reference at equal counted FLOPs: this "
            f"flatters their gains: {', '.join(slow)}"
        ]

    def cell(
        self, cell: int, specs: Sequence[Sequence[RunSpec]], table: Sequence[Sequence[RunResult]]
    ) -> dict[str, Any]:
        own = [block[cell] for block in table]
        losses = [result.bits_per_byte for result in own]
        done = [loss for loss in losses if loss is not None]
        lost = next((result for result in own if result.bits_per_byte is None), None)
        return {
            "name": self.layout.labels[cell],
            "on": [
                factor.name
                for factor, level in zip(self.layout.factors, self.layout.design.rows[cell], strict=True)
                if level > 0
            ],
            "recipe": specs[0][cell].recipe,
            "tokens": specs[0][cell].tokens,
            "flops_per_token": self.lab.flops_per_token(specs[0][cell].recipe, self.rung),
            "bits_per_byte": losses,
            "mean": fmean(done) if done else None,
            "failed": len(losses) - len(done),
            "failure": f"{lost.status.value}: {lost.reason}" if lost else None,
            "seconds": fmean(result.train_seconds for result in own),
            "cpu_seconds": fmean(result.cpu_seconds for result in own),
        }
