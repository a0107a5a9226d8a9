"""A session: everything a campaign needs is opened, the loop is run, everything is closed again.

The same configuration finds its campaign again, so repeating a command continues it.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mendel.campaign.budget import Meter
from mendel.campaign.config import CampaignConfig, ConfigError, Settings, same_settings
from mendel.campaign.ground import Ground, lay_ground
from mendel.campaign.lab import Interrupted, Lab, OutOfMoney
from mendel.campaign.loop import run_campaign
from mendel.campaign.planting import plant
from mendel.campaign.progress import Progress
from mendel.campaign.tier import check_tier
from mendel.ideas import catalog
from mendel.ideas.blanks import make_blanks
from mendel.ideas.triage import duplicates
from mendel.ideas.userfile import load_ideas
from mendel.patches import read_tree
from mendel.records import Currency, Fingerprint, Idea, Testbed, Trust, content_hash, tree_hash
from mendel.runs import executor_class
from mendel.runs.cards import cards
from mendel.store import Campaign, CampaignState, IdeaState, Store
from mendel.testbeds import check_rung, load_testbed
from mendel.testbeds.environment import versions
from mendel.testbeds.source import describe
from mendel.yardstick import sealed_paths

if TYPE_CHECKING:
    from mendel.researchers.desk import Desk
    from mendel.researchers.models import MakeModel

LIVE_BLANKS = 60
"""Ideas of an A/A campaign."""
USUAL = ("torch", "numpy", "jax")
_INSTRUCTION_SETS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "avx", "sse4_2", "asimd")
"""Best first: matrix products differ in their last bits between these."""


class MissingExtra(RuntimeError):
    """The testbed needs a library that is not installed."""


def run(
    config: CampaignConfig,
    settings: Settings,
    progress: Progress,
    fresh: bool = False,
) -> tuple[Store, Campaign]:
    """Run or continue the campaign of `config`; returns the open store and the campaign as it stands.

    `fresh` begins a new campaign even if this one is there. SIGINT and SIGTERM stop it in good order
    (Interrupted). Raises ConfigError, StoreError, CorpusError, TestbedError or LabError with one line each.
    """
    ground, recipe = prepare(config, settings, progress)
    with ExitStack() as unless_returned:
        store = unless_returned.enter_context(
            Store(settings.root, settings.database_url, settings.database_timeout)
        )
        campaign = _open(store, config, ground.testbed, recipe, make_fingerprint(ground), fresh)
        if campaign.state is CampaignState.FINISHED:
            progress.say(f"campaign {campaign.id} is finished; these are its results (--fresh runs it again)")
            unless_returned.pop_all()
            return store, campaign
        with store.lock(campaign.id):
            store.set_state(campaign.id, CampaignState.RUNNING)
            state = CampaignState.STOPPED
            try:
                _run(store, campaign, ground, config, progress)
                state = CampaignState.FINISHED
            except OutOfMoney:
                state = CampaignState.FINISHED
            finally:
                store.set_state(campaign.id, state)
        unless_returned.pop_all()
    return store, store.campaign(campaign.id)


def prepare(config: CampaignConfig, settings: Settings, progress: Progress) -> tuple[Ground, str]:
    """What `config` asks to train: a testbed with all that its runs need, and the name of the base recipe;
    all checked to be there.

    Raises ConfigError, CorpusError, TestbedError or MissingExtra.
    """
    testbed = load_testbed(config.testbed)
    for rung in config.rungs:
        check_rung(testbed, rung)
    recipe = config.recipe or testbed.recipes[0]
    if recipe not in testbed.recipes:
        raise ConfigError(
            f"recipe {recipe!r} is not in {testbed.folder}/testbed.toml ({', '.join(testbed.recipes)})"
        )
    if testbed.python == sys.executable:
        check_installed(testbed)  # before a corpus is read
    progress.stage = "reading the corpus"
    ground = lay_ground(testbed, config, settings.root)
    check_installed(ground.testbed)
    return ground, recipe


def start_workers(config: CampaignConfig, ground: Ground, progress: Progress) -> Any:
    """The executor of a session, for the caller to close. ExecutorError where it cannot start."""
    testbed = ground.testbed
    workers = config.workers or default_workers(testbed)
    if testbed.gpus * (workers or 1) > len(cards()):
        raise ConfigError(
            f"{testbed.folder}/testbed.toml: gpus: {testbed.gpus} for each of {workers or 1} runs at a time; "
            f"this machine has {len(cards())}"
        )
    hidden = sealed_paths(testbed.python) if config.data == "default" and ground.corpus else ()
    progress.stage = "starting workers"
    return executor_class("local")(
        testbed.python,
        testbed.preload,
        workers,
        sandbox=config.sandbox,
        image=config.image or testbed.image,
        hidden=hidden,
    )


def _run(
    store: Store,
    campaign: Campaign,
    ground: Ground,
    config: CampaignConfig,
    progress: Progress,
) -> None:
    executor = start_workers(config, ground, progress)
    try:
        meter = Meter(config.budget, executor.workers)
        lab = Lab(store, campaign, ground, executor, meter, progress)
        _introduce(lab, executor.sandbox.warning)
        ideas = [entry.idea for entry in store.ideas(campaign.id)]
        check_tier(ideas, executor, store.root, config.researchers.seated)
        with stops_on_signal(lab.stop), seats(lab, config) as desk:
            run_campaign(lab, config, desk)
        seconds = lab.time()
        lab.once(
            "loop",
            lambda: {
                "seconds": seconds,
                "overhead_fraction": 1 - progress.worker_seconds / (executor.workers * seconds),
                "workers": executor.workers,
                "sandbox": {"name": executor.sandbox.name, "reason": executor.sandbox.reason},
            },
        )
    finally:
        executor.close()


def _introduce(lab: Lab, warning: str) -> None:
    """First lines of the log: what is trained on, and what the user should know before trusting it."""
    corpus, testbed = lab.ground.corpus, lab.testbed
    if corpus:
        size = f"{corpus.train.bytes / 1e6:.1f} MB to train on, from {corpus.source}"
        lab.say("corpus", "start", f"corpus {corpus.hash}: {size}")
    if testbed.trust is Trust.REPORTED:
        lab.say(
            "trust",
            "start",
            f"losses are {testbed.trust.words}, in {testbed.unit}: there is no held-out text, and no audit "
            "of what a model answers; a score file would give both (docs/testbed.md)",
        )
    if testbed.budget is Currency.SECONDS:
        lab.say(
            "clock",
            "start",
            "budgets are in seconds: no run repeats, and runs at the same time share the machine, so ideas "
            "are tried each alone; `mendel testbed check` measures the noise",
        )
    if warning:
        lab.say("sandbox", "start", f"warning: {warning}")


@contextmanager
def seats(lab: Lab, config: CampaignConfig, make: MakeModel | None = None) -> Iterator[Desk | None]:
    """The desk of a campaign, None where nobody is to be asked. ConfigError where somebody cannot be."""
    own = config.researchers
    if not own.seated:
        yield None
        return
    # Clients of providers take longer to import than everything else.
    from mendel.researchers.book import Book, UnknownPrice
    from mendel.researchers.desk import Desk
    from mendel.researchers.models import NoModel, make_model

    replay = own.replay and lab.store.campaign(own.replay).id
    book = Book(lab.store, lab.campaign.id, own.limits, own.prices, replay)

    def asking(seat: str) -> None:
        lab.progress.stage = f"asking the {seat}"

    with Desk(own, book, lab.stop.is_set, make or make_model, asking) as desk:
        try:
            desk.check()
        except (NoModel, UnknownPrice) as error:
            raise ConfigError(str(error)) from None
        yield desk


def find(store: Store, config: CampaignConfig) -> Campaign | None:
    """The latest campaign with this configuration."""
    same = [campaign for campaign in store.campaigns() if same_settings(campaign.config, config)]
    return same[-1] if same else None


def _open(
    store: Store, config: CampaignConfig, testbed: Testbed, recipe: str, fingerprint: Fingerprint, fresh: bool
) -> Campaign:
    """The campaign of `config`, found or made. ConfigError where what it rests on has changed."""
    ideas, blanks = queue(config, testbed.name)
    inputs = make_inputs(testbed, ideas)
    campaign = None if fresh else find(store, config)
    if campaign is not None:
        same = campaign.fingerprint == fingerprint and store.decision(campaign.id, INPUTS) == inputs
        # Before its first run there is nothing to compare: who mends a file that was refused begins anew.
        if campaign.state is not CampaignState.FINISHED and store.runs(campaign.id):
            _check_unchanged(campaign.fingerprint.model_dump(), fingerprint.model_dump())
            _check_unchanged(store.decision(campaign.id, INPUTS) or {}, inputs)
        if same:
            return campaign  # a finished one that asked another question stays, beside the new one
    source = describe(testbed, read_tree(testbed))
    with store.transaction():
        campaign = store.create_campaign(
            config.id, config.seed, config.testbed, recipe, config.model_dump(mode="json"), fingerprint
        )
        store.decide(campaign.id, INPUTS, inputs)
        store.decide(campaign.id, ORIGIN, source.model_dump(mode="json"))
        store.add_ideas(campaign.id, ideas)
        store.add_blanks(campaign.id, blanks)
        for name, earlier in duplicates(ideas):
            store.set_idea_state(campaign.id, name, IdeaState.DROPPED, f"the same patch as {earlier}")
    return campaign


INPUTS = "inputs"
"""Under this key a campaign keeps the hashes of what it was started with."""
SOURCE = "the testbed's source"
ORIGIN = "source"
"""Under this key it keeps where its source lay: `mendel.testbeds.source.Source` as JSON."""


def make_inputs(testbed: Testbed, ideas: Sequence[Idea]) -> dict[str, str]:
    """Hashes of what a campaign reads at each start and must find as it was."""
    settings = testbed.model_dump(mode="json", exclude={"root", "folder", "python"})
    return {
        "testbed.toml": content_hash(settings),
        SOURCE: tree_hash(read_tree(testbed)),
        "the ideas": content_hash([idea.id for idea in ideas]),
    }


def queue(config: CampaignConfig, testbed: str) -> tuple[list[Idea], dict[str, str]]:
    """The ideas of a campaign with the planted ones among them, and the kind of each of these by name.

    Catalog and blanks are patches of the built-in testbed; another brings its own ideas and has none planted.
    An A/A campaign has blanks and nothing else.
    """
    if config.ideas == "none":
        return [], {}
    if testbed != catalog.TESTBED and config.ideas in ("catalog", "blanks"):
        raise ConfigError(
            f"ideas: {config.ideas!r} is written for testbed {catalog.TESTBED!r}; for {testbed!r} give a file"
        )
    if config.ideas == "blanks":
        planted = make_blanks(LIVE_BLANKS, config.seed)
        return [idea for idea, _ in planted], {idea.name: kind for idea, kind in planted}
    if config.ideas != "catalog" and not Path(config.ideas).suffix:
        raise ConfigError(
            f"ideas: {config.ideas!r} is unknown; allowed are catalog, blanks, none, or a .toml or .md file"
        )
    ideas = list(catalog.load_catalog() if config.ideas == "catalog" else load_ideas(Path(config.ideas)))
    if testbed == catalog.TESTBED:
        return plant(ideas, config)
    return ideas, {}


def make_fingerprint(ground: Ground) -> Fingerprint:
    """What the losses of this machine depend on besides the recipe."""
    testbed = ground.testbed
    flags: set[str] = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                flags |= set(line.split(":", 1)[1].split())
    found = next((name for name in _INSTRUCTION_SETS if name in flags), "baseline")
    return Fingerprint(
        device=ground.device,
        instruction_set=f"{platform.machine()} {found}",
        threads=testbed.cpus,
        precision="auto",  # the testbed chooses by instruction set, and records it in each run
        libraries={name: text for name, text in _libraries(testbed).items() if text},
        corpus=ground.hash,
        unit=testbed.unit,
        trust=testbed.trust,
        currency=testbed.budget,
    )


def default_workers(testbed: Testbed) -> int | None:
    """Runs at a time where nobody says: as many as there are cores, or graphics cards, for them."""
    if testbed.gpus:
        return max(1, len(cards()) // testbed.gpus)
    return None if testbed.cpus == 1 else max(1, (os.cpu_count() or 1) // testbed.cpus)


def _libraries(testbed: Testbed) -> dict[str, str | None]:
    """Versions of what is preloaded; where a testbed says nothing of it, of what trainers usually rest on."""
    return versions(testbed.python, testbed.preload or USUAL)


def check_installed(testbed: Testbed) -> None:
    """Raise MissingExtra for a module that the testbed's interpreter does not have."""
    for name, version in _libraries(testbed).items():
        if version is None and testbed.preload:
            where = "" if testbed.python == sys.executable else f" for {testbed.python}"
            remedy = "install it there, or leave it out of preload"
            if testbed.name == catalog.TESTBED:
                remedy = "for the built-in trainer: pip install 'mendel[gpt]'"
            raise MissingExtra(
                f"{testbed.folder}/testbed.toml: preload: {name!r} is not installed{where}; {remedy}"
            )


def _check_unchanged(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ConfigError if something a campaign rests on is no longer what it began with."""
    for key in dict.fromkeys((*before, *now)):
        was, is_now = before.get(key), now.get(key)
        if was != is_now:
            raise ConfigError(
                f"{key} changed under the campaign: it began with {was!r}, now it is {is_now!r}; "
                "results of the two are never compared: restore it, or begin a new campaign with --fresh"
            )


@contextmanager
def stops_on_signal(stop: threading.Event) -> Iterator[None]:
    """The first signal asks the loop to stop; a second one does what it always does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, previous[number])

    previous: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        previous[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


__all__ = [
    "Interrupted",
    "MissingExtra",
    "find",
    "make_fingerprint",
    "prepare",
    "queue",
    "run",
    "start_workers",
    "stops_on_signal",
]
