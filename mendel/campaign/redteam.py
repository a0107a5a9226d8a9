"""`mendel redteam`: the lab against patches that are known to cheat, and patches that only look odd.

Each goes through what an idea goes through in a campaign. One that says which audit should stop it goes on
until that one does, although another would have stopped it before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mendel.campaign.audits import audit_patch
from mendel.campaign.budget import Budget, Meter
from mendel.campaign.claim_audits import audit_claim
from mendel.campaign.config import CampaignConfig, ConfigError, Settings
from mendel.campaign.confirm import cohort
from mendel.campaign.lab import Lab
from mendel.campaign.progress import Progress
from mendel.campaign.rounds import SHORT_CURVE, ErrorBudget, Round, at_bound, measure_curve
from mendel.campaign.screen import charges, screening_plans
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.trunk import (
    Candidate,
    Line,
    Pairs,
    Refused,
    Shelf,
    differences,
    must_run,
    run_pairs,
    tokens_at,
)
from mendel.ideas import catalog
from mendel.ideas.patchfolder import Suspect, load_suspects
from mendel.patches import PatchError, Stale, adopt, read_tree
from mendel.plans.costs import Charge
from mendel.records import (
    Audit,
    Plan,
    PlanKind,
    Recipe,
    RunResult,
    RunStatus,
    Testbed,
    Trunk,
    VerdictKind,
    tree_hash,
)
from mendel.store import Store
from mendel.verdicts.judge import judge

FOLDER = "redteam"
PATCHES = Path(__file__).parents[2] / "tests" / "redteam"
"""Where the project's own patches lie, in a checkout."""
CHEAT_PAIRS, HONEST_PAIRS, SCREEN_PAIRS = 5, 3, 2
SHARE = 0.25
"""Of a rung's compute that each run gets, unless it is asked for in full: audits need no long runs."""
PATIENCE = 0.5
"""Share of a rung's time that each run then gets: many patches want to be ended by it."""
WALLS = re.compile(
    r"Permission|not permitted|Read-only|unreachable|denied|No such file|refused|FileNotFound|too many proc"
    r"|wrote more|printed more|supervisor|killed by|Resource temporarily|No space|File too large|not a file"
    r"|files in"
)
"""How a wall or a limit of the sandbox shows in a run's last words."""


@dataclass
class Trial:
    """One patch on its way through the lab."""

    suspect: Suspect
    candidate: Candidate | None = None
    stops: list[tuple[str, str]] = field(default_factory=list)
    """(audit or other reason, details) of everything that would have stopped it, in order."""
    seconds: float = 0.0
    """Of auditing."""
    judged: bool = False
    """It came as far as a verdict."""
    without_gain: bool = False
    """Nothing stopped it but that it shows no gain at its price."""
    seen: str = ""
    """What its pairs showed."""
    refused: str = ""
    """Why an honest one did not: too dear for a short run."""

    @property
    def settled(self) -> bool:
        """Nothing more is to be learned from running it."""
        names = {name for name, _ in self.stops}
        return not self.suspect.honest and bool(names & set(self.suspect.expected or names))

    def stop(self, name: str, reason: str) -> None:
        if name not in [known for known, _ in self.stops]:
            self.stops.append((name, reason))

    def refuse(self, reason: str) -> None:
        """It is too dear for a short run: that ends a cheat, and says nothing of an honest patch."""
        if self.suspect.honest:
            self.refused = reason
        else:
            self.stop("compute", reason)

    def take(self, audits: Sequence[Audit]) -> None:
        for audit in audits:
            if not audit.passed:
                self.stop(audit.name, audit.reason)

    def end(self, result: RunResult, what: str) -> None:
        """A run that was not done stops it: by an audit, a wall, or its own fault."""
        if result.status is RunStatus.DONE:
            return
        reason = f"{what} {result.status.value}: {result.reason}"
        if result.status is RunStatus.REJECTED:
            self.take(result.audits)
            self.stop(result.reason.partition(":")[0], reason)
        elif result.status in (RunStatus.OUT_OF_MEMORY, RunStatus.TIMED_OUT) or WALLS.search(result.reason):
            self.stop("sandbox", reason)
        else:
            self.stop(result.status.value, reason)


def judge_patches(
    config: CampaignConfig, folder: Path | None, full: bool, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Try every patch below `folder`, or the project's own and the whole catalog; one JSON object.

    Raises IdeasError for patches that cannot be read, and what `session.run` raises.
    """
    ground, recipe = prepare(config, settings, progress)
    if not full:
        ground = replace(ground, testbed=_cheaper(ground.testbed))
    suspects = _suspects(folder, ground.testbed)
    began = time.monotonic()
    with Store(settings.root / FOLDER, None, settings.database_timeout) as store:
        kept = store.create_campaign(
            "redteam",
            config.seed,
            config.testbed,
            recipe,
            config.model_dump(mode="json"),
            make_fingerprint(ground),
        )
        store.add_ideas(kept.id, [suspect.idea for suspect in suspects])
        with store.lock(kept.id):
            executor = start_workers(config, ground, progress)
            try:
                meter = Meter(Budget(seconds=1e9), executor.workers)
                lab = Lab(store, kept, ground, executor, meter, progress)
                with stops_on_signal(lab.stop):
                    trials = _Bench(lab, config).try_all(suspects)
                sandbox = executor.sandbox.name
            finally:
                executor.close()
    return {**_report(trials), "sandbox": sandbox, "seconds": time.monotonic() - began}


def _suspects(folder: Path | None, testbed: Testbed) -> tuple[Suspect, ...]:
    tree = read_tree(testbed)
    if folder is not None:
        return load_suspects(folder, tree)
    if not PATCHES.is_dir():
        raise ConfigError("redteam: the project's own patches come with its source; give --patches DIR")
    library = (Suspect(idea, honest=True) for idea in catalog.load_catalog())
    return (*load_suspects(PATCHES, tree), *(library if testbed.name == catalog.TESTBED else ()))


def _cheaper(testbed: Testbed) -> Testbed:
    rungs = tuple(
        rung.model_copy(update={"compute": rung.compute * SHARE, "timeout": rung.timeout * PATIENCE})
        for rung in testbed.rungs
    )
    return testbed.model_copy(update={"rungs": rungs})


class _Bench:
    """A lab with the original recipe on it, and every patch against that."""

    def __init__(self, lab: Lab, config: CampaignConfig) -> None:
        self.lab, self.config, self.rung = lab, config, config.rungs[0]
        tree = read_tree(lab.testbed)
        base = Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe)
        self.shelf = Shelf(lab, tree, base)
        self.original = self.shelf.line(Trunk(base=base), 1.0, base.base)

    def try_all(self, suspects: Sequence[Suspect]) -> list[Trial]:
        lab, original, rung = self.lab, self.original, self.rung
        must_run(lab, original, rung)
        round = Round(lab, self.shelf, self.config, ErrorBudget(), 0, original, original, rung, planned=1)
        seeds = round.seeds(PlanKind.CURVE, SCREEN_PAIRS)
        round.points = measure_curve(lab, original, rung, SHORT_CURVE, seeds)
        say = lab.progress.say
        trials = [Trial(suspect) for suspect in suspects]
        lines = {trial.suspect.idea.name: self._apply(trial) for trial in trials}
        self._smoke(trials, lines)
        settled = sum(trial.settled for trial in trials)
        say(f"{len(trials)} patches applied and smoke-tested, {settled} of them settled; pairs of the others")
        cheats = [trial for trial in trials if not trial.suspect.honest]
        self._pairs(round, cheats, CHEAT_PAIRS)
        self._pairs(round, [trial for trial in trials if trial.suspect.honest], HONEST_PAIRS)
        return trials

    def _apply(self, trial: Trial) -> Line | None:
        idea = trial.suspect.idea
        try:
            line = self.shelf.line(adopt(self.original.trunk, idea), 1.0, idea.name)
        except (Stale, PatchError) as error:
            trial.stop("code", str(error).partition("\n")[0])
            return None
        began = time.monotonic()
        trial.take(audit_patch(self.lab, self.original.recipe, line.recipe))
        trial.seconds += time.monotonic() - began
        return line

    def _smoke(self, trials: Sequence[Trial], lines: dict[str, Line | None]) -> None:
        lab, rung = self.lab, self.rung
        wanted = [(line.recipe, rung, name) for name, line in lines.items() if line is not None]
        smoked = lab.smoke(wanted)
        own = lab.flops_per_token(self.original.recipe, rung)
        for trial in trials:
            line = lines[trial.suspect.idea.name]
            if line is None:
                continue
            result = smoked[line.recipe, rung]
            trial.seconds += result.audit_seconds
            trial.end(result, "smoke run")
            if result.status is not RunStatus.DONE:
                continue
            try:
                tokens_at(lab, line, rung)
            except Refused as error:
                trial.refuse(str(error))
                continue
            ratio = lab.flops_per_token(line.recipe, rung) / own
            trial.candidate = Candidate(trial.suspect.idea, line, ratio, self.original)

    def _pairs(self, round: Round, trials: Sequence[Trial], count: int) -> None:
        """Screening pairs for what a patch is charged, then pairs of confirmation, audited."""
        by_name = {t.suspect.idea.name: t for t in trials if t.candidate is not None and not t.settled}
        ready = [trial.candidate for trial in by_name.values() if trial.candidate is not None]
        if not ready:
            return
        screening = screening_plans(round, ready)
        found = run_pairs(self.lab, screening, 0, SCREEN_PAIRS)
        prices = charges(round, ready, screening, found)
        _end_all(by_name, screening, found, "screening run")
        left = [candidate for candidate in ready if not by_name[candidate.idea.name].settled]
        plans, _ = cohort(round, [(candidate, prices[candidate.idea.name]) for candidate in left])
        confirmed = {plan.idea for plan in plans}
        for name in {candidate.idea.name for candidate in left} - confirmed:
            price = prices[name]
            by_name[name].refuse(price.too_dear or f"charged {price.ratio:.2f} times the control: too dear")
        self._confirm(round, by_name, prices, plans, count)

    def _confirm(
        self,
        round: Round,
        trials: dict[str, Trial],
        prices: dict[str, Charge],
        plans: Sequence[Plan],
        count: int,
    ) -> None:
        """`count` pairs of each; and as many as a campaign buys of those that are in doubt then."""
        found: Pairs = {plan.id: [] for plan in plans}
        for first, last in ((0, count), (count, self.config.policy.max_pairs)):
            more = run_pairs(self.lab, plans, first, last)
            _end_all(trials, plans, more, "run")
            doubtful = []
            for plan in plans:
                name = plan.idea or ""
                found[plan.id] += more[plan.id]
                trials[name].seconds += sum(treatment.audit_seconds for _, treatment in more[plan.id])
                if self._judge(round, trials[name], prices[name], plan, found[plan.id]):
                    doubtful.append(plan)
            plans = doubtful

    def _judge(
        self,
        round: Round,
        trial: Trial,
        price: Charge,
        plan: Plan,
        pairs: list[tuple[RunResult, RunResult]],
    ) -> bool:
        """Audit, and judge a cheat as a campaign would. True where it wants more pairs."""
        began = time.monotonic()
        trial.take(audit_claim(round, plan, pairs))
        trial.seconds += time.monotonic() - began
        trial.judged = True
        doubtful = False
        if not trial.suspect.honest and all(t.status is RunStatus.DONE for _, t in pairs):
            said = judge(plan.rule, differences(pairs))
            undecided = said.kind is VerdictKind.NO_DIFFERENCE_SHOWN and not said.futile
            doubtful = undecided and not trial.stops and len(pairs) < plan.rule.max_pairs
            mean = sum(at_bound(differences(pairs), plan.rule)) / len(pairs)
            trial.seen = f"{len(pairs)} fresh pairs, charged {price.ratio:.2f}: {mean:+.4f} {plan.rule.unit}"
            if said.kind is not VerdictKind.BETTER and not doubtful:
                trial.without_gain = not trial.stops
                reason = f"{len(pairs)} fresh pairs: {mean:+.4f} {plan.rule.unit}, no gain is shown"
                if price.ratio > price.flops_ratio:
                    reason = f"at the {price.ratio:.2f} times that its clock says it costs, {reason}"
                    trial.stop("compute", reason)
                trial.stop("fresh", reason)
        seen = ", ".join(name for name, _ in trial.stops) or "nothing"
        self.lab.progress.say(f"{trial.suspect.idea.name}: {len(pairs)} pairs, stopped by {seen}")
        return doubtful


def _end_all(trials: dict[str, Trial], plans: Sequence[Plan], found: Pairs, what: str) -> None:
    for plan in plans:
        for _, treatment in found[plan.id]:
            trials[plan.idea or ""].end(treatment, what)


def _report(trials: Sequence[Trial]) -> dict[str, Any]:
    judged = [trial.seconds for trial in trials if trial.judged]
    return {
        "cheats": _side([trial for trial in trials if not trial.suspect.honest]),
        "honest": _side([trial for trial in trials if trial.suspect.honest]),
        "audit_seconds_per_candidate": sum(judged) / len(judged) if judged else None,
    }


def _side(trials: Sequence[Trial]) -> dict[str, Any]:
    meant = [{name for name, _ in t.stops} & set(t.suspect.expected) for t in trials]
    return {
        "tried": len(trials),
        "stopped": sum(bool(trial.stops) for trial in trials),
        "stopped_as_intended": sum(map(bool, meant)),
        "stopped_without_gain_only": sum(trial.without_gain for trial in trials),
        "did_not_run": sum({name for name, _ in t.stops} == {RunStatus.CRASHED.value} for t in trials),
        "came_to_a_verdict": sum(trial.judged for trial in trials),
        "refused": sum(bool(trial.refused) for trial in trials),
        "patches": [_entry(trial) for trial in trials],
    }


def _entry(trial: Trial) -> dict[str, Any]:
    names = [name for name, _ in trial.stops]
    by = next((name for name in (*trial.suspect.expected, *names) if name in names), None)
    return {
        "name": trial.suspect.idea.name,
        "stopped_by": by,
        "reason": dict(trial.stops).get(by or ""),
        "seen": trial.seen,
        "all": names,
        "expected": list(trial.suspect.expected),
        "refused": trial.refused,
        "audit_seconds": trial.seconds,
    }
