"""Campaigns on the toy testbed: a corpus, planted ideas, and ways to run them."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import time
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from mendel.campaign.budget import Meter
from mendel.campaign.config import CampaignConfig, Settings
from mendel.campaign.ground import lay_ground
from mendel.campaign.lab import Lab
from mendel.campaign.loop import run_campaign
from mendel.campaign.progress import Progress
from mendel.campaign.session import make_fingerprint, queue, seats
from mendel.campaign.session import run as run_session
from mendel.ideas.userfile import to_toml
from mendel.records import Edit, Forecast, Idea, Patch, RunResult, RunStatus
from mendel.runs import Job
from mendel.runs.fake import FakeExecutor
from mendel.store import Store
from mendel.testbeds import load_testbed

TESTBED = Path(__file__).with_name("toy_testbed")
POLICY = {
    "screen_ideas": 12,
    "forward": 0,
    "curve_seeds": 2,
    "max_pairs": 8,
    "estimate_pairs": 4,
    "verify_pairs": 4,
    "blank_share": 0.0,
}


def corpus_folder(folder: Path) -> Path:
    """The smallest text that the yardstick takes: 24 unrelated documents of two letters, so that a model that
    gives each the same probability can still have a small loss."""
    folder.mkdir(parents=True)
    for number in range(24):
        (folder / f"{number:02}.txt").write_text("".join(random.Random(number).choices("ab", k=11_600)))
    return folder


def idea(name, overrides=None, edits=(), mean=0.1, sd=0.3, slot=None, idea_class="optimiser"):
    """An idea of the toy testbed; `edits` are (search, replace) of train.py, or (path, search, replace)."""
    edits = [edit if len(edit) == 3 else ("train.py", *edit) for edit in edits]
    patch = Patch(
        edits=tuple(Edit(path=path, search=search, replace=replace) for path, search, replace in edits),
        overrides=overrides or {},
        slot=slot,
    )
    words = {"hypothesis": f"{name} helps.", "mechanism": "By its knob.", "citation": "made up"}
    forecast = Forecast(mean=mean, sd=sd)
    return Idea(name=name, idea_class=idea_class, forecast=forecast, patch=patch, proposer="user", **words)


GOOD = (
    idea("good-knob", {"gain_a": 1.5}),
    idea("good-source", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.6")]),
)
NULL = (idea("null-one", {"label": "one"}), idea("null-two", {"label": "two"}))
HARMFUL = (idea("harmful", {"gain_b": 0.5}),)


def write_ideas(path: Path, ideas) -> Path:
    path.write_text("\n".join(to_toml(one) for one in ideas))
    return path


def config(ideas: Path | str, data: Path, **changes) -> CampaignConfig:
    """A campaign on the toy testbed with a small policy."""
    policy = {**POLICY, **changes.pop("policy", {})}
    settings = {"budget": "300runs", "workers": 2, "seed": 1, **changes}
    common = {"testbed": str(TESTBED), "data": str(data), "ideas": str(ideas), "policy": policy}
    return CampaignConfig.model_validate({**common, **settings})


def run_local(settings: CampaignConfig, root: Path, **options):
    """The campaign in real processes; the open store and the campaign."""
    return run_session(settings, Settings(root=root), Progress(), **options)


def run_fake(
    settings,
    root: Path,
    workers: int = 2,
    order: int | None = None,
    answer=None,
    blanks=None,
    added=(),
    model=None,
    make=None,
):
    """The campaign with the trainer called as a function, runs finishing in an order of their own.

    `blanks` are those of its ideas that count as planted: name -> kind. `added`: ideas beside its file's.
    `model` sits in every seat that the settings name; `make` makes the model of a name."""
    ground = lay_ground(load_testbed(settings.testbed), settings, root)
    testbed = ground.testbed
    store = Store(root)
    fingerprint = make_fingerprint(ground)
    recipe = settings.recipe or testbed.recipes[0]
    campaign = store.create_campaign(
        "toy", settings.seed, "toy", recipe, settings.model_dump(mode="json"), fingerprint
    )
    store.add_ideas(campaign.id, [*queue(settings, testbed.name)[0], *added])
    store.add_blanks(campaign.id, blanks or {})
    outcome = continue_fake(settings, store, campaign, workers, order, answer, model, make)
    return store, store.campaign(campaign.id), outcome


def continue_fake(
    settings, store, campaign, workers: int = 2, order: int | None = None, answer=None, model=None, make=None
):
    """Run a campaign of `run_fake`, from its first line as always."""
    ground = lay_ground(load_testbed(settings.testbed), settings, store.root)
    executor = FakeExecutor(answer or train_here, workers, seed=order)
    meter = Meter(settings.budget, workers)
    lab = Lab(store, campaign, ground, executor, meter, Progress())
    with seats(lab, settings, make or (lambda name: model)) as desk:
        return run_campaign(lab, settings, desk)


@lru_cache(maxsize=64)
def _compiled(script: str) -> CodeType:
    """Campaigns run the same script hundreds of times."""
    return compile(script, "train.py", "exec")


def train_here(job: Job) -> RunResult:
    """What the executor would report of a job, with the job's own source, in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            names: dict[str, Any] = {"__name__": "trainer"}
            exec(_compiled((job.source / job.argv[0]).read_text()), names)
            code = names["main"](list(job.argv[1:]))
        except SystemExit as error:
            said.write(str(error))
            code = 1
        except Exception as error:  # whatever a script raises ends its run
            said.write(f"{type(error).__name__}: {error}")
            code = 1
    checkpoint = job.out / "model.json"
    if code == 0 and not checkpoint.exists():
        code, said = 1, io.StringIO("scoring: no checkpoint")
    last = (said.getvalue().strip().splitlines() or [""])[-1]
    measured = {"train_seconds": 1.0, "cpu_seconds": 1.0, "score_seconds": 0.1}
    measured["tokens"] = int(job.argv[job.argv.index("--tokens") + 1])
    if code:
        status = RunStatus.DIVERGED if code == 3 else RunStatus.CRASHED
        return RunResult(status=status, reason=last, **measured)
    loss = json.loads(checkpoint.read_text())["bits_per_byte"]
    # As score.py and the yardstick would: through log-probabilities in single precision.
    loss = -float(np.float32(-loss * math.log(2))) / math.log(2)
    return RunResult(status=RunStatus.DONE, bits_per_byte=loss, **measured)


# --- what came of it ----------------------------------------------------------------------------------


ENDS = {"log2_cm": {"low", "high"}}
"""Of a multiplier's interval: over text, too, where real scoring gave the windows of a run."""


def verdict_records(store: Store, campaign: str) -> list[dict]:
    """All verdicts in the order in which they were decided."""
    return [verdict.model_dump(mode="json", exclude=ENDS) for verdict in store.verdicts(campaign)]


def finding_records(store: Store, campaign: str) -> list[dict]:
    """All findings, without the one number that a clock gave and the hashes of whole verdicts."""
    return [
        finding.model_dump(mode="json", exclude={"cpu_ratio": True, "verdicts": True, **ENDS})
        for finding in store.findings(campaign)
    ]


def states(store: Store, campaign: str) -> dict[str, tuple[str, str]]:
    """Idea -> (state, note)."""
    return {entry.idea.name: (entry.state.value, entry.note) for entry in store.ideas(campaign)}


# --- processes ----------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
