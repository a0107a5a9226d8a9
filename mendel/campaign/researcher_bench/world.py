"""Campaigns of the real lab in a small world: training is a formula, researchers sit behind a loopback
server.

The code that is researched is the built-in testbed's, so that prompts, patches and static audits are those of
a real campaign. No patch is executed: what a run does follows from the words that are in its source and its
settings, so that answers of any model can be tried without a sandbox.

Text that is held out is `HARDER` by bits per byte than any other, so that a number of it is known wherever it
turns up.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mendel.campaign.budget import Meter
from mendel.campaign.config import CampaignConfig
from mendel.campaign.ground import lay_ground
from mendel.campaign.lab import Lab
from mendel.campaign.loop import run_campaign
from mendel.campaign.progress import Progress
from mendel.campaign.session import make_fingerprint, seats
from mendel.patches import read_tree
from mendel.records import Idea, RunResult, RunStatus, Shard
from mendel.runs import Job
from mendel.runs.fake import FakeExecutor
from mendel.store import Store
from mendel.testbeds import load_testbed
from mendel.testing.messages_client import loopback_model
from mendel.testing.messages_scripts import Script
from mendel.testing.messages_server import Entry, serve
from mendel.yardstick import Corpus, build_corpus

TESTBED = "gpt"
FLOOR, SCALE, ALPHA, REFERENCE = 1.2, 1.6, 0.3, 80_000
FLOPS_PER_TOKEN = 2.5e6
SEED_NOISE, OWN_NOISE = 0.02, 0.004
"""Standard deviations in bits per byte: of a seed, shared by both runs of a pair, and of a run alone."""
HARDER = 40.0
POLICY: dict[str, Any] = {
    "screen_ideas": 16,
    "curve_seeds": 2,
    "max_pairs": 6,
    "estimate_pairs": 3,
    "verify_pairs": 3,
    "recheck_pairs": 3,
    "recheck_max_pairs": 3,
    "recheck_after": 9,
    "early_stop": 0.0,
    "together": False,
    "blank_share": 0.0,
}
DOCUMENTS, LETTERS = 24, 11_600
"""Of the smallest text that the yardstick takes."""


@dataclass(frozen=True)
class Flaw:
    """How a run with some words in its source or settings ends."""

    status: RunStatus
    reason: str
    log: str = ""
    """What it has printed by then."""


@dataclass(frozen=True)
class World:
    """What runs come to, by words that stand in their editable files or in their settings (`lr=0.02`)."""

    gains: Mapping[str, float] = field(default_factory=dict)
    """Words -> factor of the compute multiplier."""
    flaws: Mapping[str, Flaw] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    """File in its own folder -> what every run writes into it."""
    config: Mapping[str, str] = field(default_factory=dict)
    """Keys that every run adds to its config.json."""

    def train(self, editable: Sequence[str], job: Job) -> RunResult:
        """What the executor would report of a job."""
        argv = list(job.argv)
        settings = [argv[place + 1] for place, one in enumerate(argv) if one == "--set"]
        said = "\n".join([*((job.source / path).read_text() for path in editable), *settings])
        tokens, seed = (int(argv[argv.index(name) + 1]) for name in ("--tokens", "--seed"))
        for name, text in self.writes.items():
            (job.out / name).write_text(text)
        knobs = _knobs((job.source / "config.py").read_text())
        knobs |= {
            key: type(knobs.get(key, ""))(value) for key, value in (one.split("=", 1) for one in settings)
        }
        (job.out / "config.json").write_text(json.dumps(knobs | dict(self.config)))
        measured: dict[str, Any] = {"tokens": tokens, "flops": FLOPS_PER_TOKEN * tokens}
        measured |= {"train_seconds": 1.0, "cpu_seconds": 1.0, "score_seconds": 0.1}
        for words, flaw in self.flaws.items():
            if words in said:
                (job.out / "train.log").write_text(flaw.log)
                return RunResult(status=flaw.status, reason=flaw.reason, **measured)
        multiplier = 1.0
        for words, gain in self.gains.items():
            multiplier *= gain if words in said else 1.0
        loss = FLOOR + SCALE * (tokens * multiplier / REFERENCE) ** -ALPHA
        loss += _noise(SEED_NOISE, seed) + _noise(OWN_NOISE, seed, multiplier, tokens)
        planned = json.loads((job.source.parent / "config.json").read_text())
        loss += HARDER * (planned.get("shard") == Shard.HELD_OUT.value)
        return RunResult(status=RunStatus.DONE, bits_per_byte=loss, **measured)


def _knobs(source: str) -> dict[str, Any]:
    """Names and defaults of the knobs that a config.py has, read from its text alone."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    fields = [one for node in classes for one in node.body if isinstance(one, ast.AnnAssign) and one.value]
    return {ast.unparse(one.target): ast.literal_eval(ast.unparse(one.value or one)) for one in fields}


def _noise(sd: float, *about: object) -> float:
    """A normal number that follows from `about`."""
    return random.Random(hashlib.sha256(json.dumps(about).encode()).digest()).gauss(0.0, sd)


@dataclass(frozen=True)
class Site:
    """What campaigns of a measurement share: a text, and where their stores are made."""

    folder: Path
    data: Path
    corpus: Corpus


def make_site(folder: Path) -> Site:
    """In a folder that is there and may be written."""
    data = folder / "text"
    data.mkdir()
    for number in range(DOCUMENTS):
        text = "".join(random.Random(number).choices("ab", k=LETTERS))
        (data / f"{number:02}.txt").write_text(text)
    return Site(folder, data, build_corpus(data, folder / "corpus"))


@dataclass(frozen=True)
class Played:
    """A campaign that was run, its store open, and all that the server was asked."""

    store: Store
    campaign: str
    tree: dict[str, str]
    """The testbed's source."""
    editable: tuple[str, ...]
    log: tuple[Entry, ...]


Prefill = Callable[[Lab], None]


@contextmanager
def playing(
    ground: Site,
    name: str,
    script: Script,
    world: World,
    *,
    ideas: Sequence[Idea] = (),
    budget: str = "150runs",
    researchers: Mapping[str, Any] | None = None,
    make: Callable[[str, str], Any] = loopback_model,
    prefill: Prefill | None = None,
) -> Iterator[Played]:
    """A campaign named `name` from its first line to its end. `make` gives a model by the URL of the server
    and its name; `prefill` puts a history into the store first."""
    own = {"who": "models", "patience": 1.0, **(researchers or {})}
    config = CampaignConfig.model_validate(
        {"ideas": "none", "data": str(ground.data), "budget": budget, "seed": 1, "workers": 2}
        | {"policy": POLICY, "researchers": own}
    )
    own_ground = lay_ground(load_testbed(TESTBED), config, ground.folder / "corpus")
    testbed = own_ground.testbed
    with ExitStack() as stack:
        store = stack.enter_context(Store(ground.folder / name))
        campaign = store.create_campaign(
            name, config.seed, TESTBED, testbed.recipes[0], config.model_dump(mode="json"),
            make_fingerprint(own_ground),
        )  # fmt: skip
        store.add_ideas(campaign.id, ideas)
        executor = FakeExecutor(partial(world.train, testbed.editable))
        lab = Lab(store, campaign, own_ground, executor, Meter(config.budget, 2), Progress())
        if prefill is not None:
            prefill(lab)
        server = stack.enter_context(serve(script))
        with seats(lab, config, partial(make, server.url)) as desk:
            run_campaign(lab, config, desk)
        yield Played(store, campaign.id, dict(read_tree(testbed)), testbed.editable, tuple(server.log))


__all__ = ["Flaw", "Site", "Played", "World", "make_site", "playing"]
