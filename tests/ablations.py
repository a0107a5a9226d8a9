"""Ablations on the toy testbed with the trainer called as a function, for tests."""

from __future__ import annotations

from types import SimpleNamespace

import toy

from mendel.campaign import ablate as module
from mendel.campaign.ablate import FOLDER, Question, ablate
from mendel.campaign.config import Settings
from mendel.campaign.factors import of_ideas
from mendel.campaign.progress import Progress
from mendel.runs.fake import FakeExecutor
from mendel.store import RunState, Store

INTERACTION = 0.8
"""What good-knob and good-source together multiply compute by, beside their own factors."""
PLANTED = """\
    if EFFICIENCY > 1 and knobs["gain_a"] > 1:
        multiplier *= 0.8
"""


def fake_workers(config, testbed, progress, answer=toy.train_here, order=None):
    """An executor that trains in this process, in the place of one with a sandbox."""
    executor = FakeExecutor(answer, config.workers or 2, seed=order)
    executor.sandbox = SimpleNamespace(name="none", reason="", warning="")
    return executor


def run(monkeypatch, root, data, factors, answer=toy.train_here, testbed=toy.TESTBED, **asked):
    """The result of an ablation, and what it said."""
    plan_only = asked.pop("plan_only", False)
    source = asked.pop("source", None)
    said = []
    progress = Progress()
    progress.listener = said.append
    monkeypatch.setattr(module, "start_workers", lambda *a: fake_workers(*a, answer=answer))
    config = toy.config("catalog", data, testbed=str(testbed))
    question = Question(tuple(factors), **asked)
    found = ablate(config, question, Settings(root=root), progress, plan_only, source)
    return found, said


def kept(root):
    """Run -> when it finished, of all that is kept."""
    with Store(root / FOLDER) as store:
        return {run.id: run.finished for run in store.runs(store.campaign().id, RunState.FINISHED)}


def ideas_file(folder, ideas):
    return of_ideas(str(toy.write_ideas(folder / "ablated.toml", ideas)))
