"""Many campaigns of a regime, the same ones for every policy; the bandits are tuned on others first."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mendel.bench.baselines import Asha, FixedPairs, Greedy, Halving, Random
from mendel.bench.lab import Lab, OutOfBudget, OutOfSeeds, Policy
from mendel.bench.mendel_policy import Mendel, Oracle
from mendel.bench.regime import Regime
from mendel.bench.replay import Replay, Table, draw_replay
from mendel.bench.score import Score, Truth, score, summarise
from mendel.bench.simulated import ALPHA, make_lab, strong_gain, truth_of
from mendel.bench.tpe import Tpe
from mendel.bench.world import draw_world

Make = Callable[[], Policy]
Campaign = tuple[Lab, Truth]

PLAIN: dict[str, Make] = {
    "greedy": Greedy,
    "n=1": lambda: FixedPairs(1),
    "n=3": lambda: FixedPairs(3),
    "random": Random,
    "mendel": Mendel,
}
TUNING = 12
"""Campaigns on which a bandit's settings are chosen; their seeds are used for nothing else."""
TUNING_SEED = 10_000_000
TPE_SHARE, TPE_LEAST, TPE_IDEAS = 0.02, 5, 300
"""Optuna takes seconds a campaign: it plays a share of them, some at least, and none with more ideas than
this."""


class PolicyError(ValueError):
    """A policy that cannot be used: the message names it and says what is wrong."""


def load_policy(path: str) -> Make:
    """The class at a dotted path, `package.module:Class`. Raises PolicyError."""
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise PolicyError(f"--policy: {path!r} is not understood; allowed is package.module:Class")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found = _load(path, module, name)
    if not isinstance(found, type):
        raise PolicyError(f"--policy: {path!r} is a {type(found).__name__}, and must be a class")
    if not callable(getattr(found, "run", None)):
        raise PolicyError(f"--policy: {path!r} has no method run(lab)")
    try:
        inspect.signature(found().run).bind(None)
    except TypeError as error:
        raise PolicyError(
            f"--policy: {path!r} must be made by {name}() and used by run(lab): {error}"
        ) from None
    return found


def _load(path: str, module: str, name: str) -> object:
    """What a user's module calls by a name."""
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise PolicyError(f"--policy: {path!r} cannot be imported: {what}") from None


def bench_regime(
    regime: Regime, campaigns: int, own: Sequence[str] = (), seed: int = 0, workers: int = 1
) -> dict[str, Any]:
    """Scores of all policies, and of the user's `own` by dotted path, over `campaigns` of a regime."""
    for path in own:
        load_policy(path)  # complains here rather than in a worker
    tuned = {name: _tune(regime, settings) for name, settings in _grids().items()}
    numbers = range(seed, seed + campaigns)
    parts = [(regime, tuple(part), tuple(own), tuned, seed, campaigns) for part in _split(numbers, workers)]
    return {"name": regime.name, "campaigns": campaigns, "policies": _gather(_simulated, parts, workers)}


def bench_table(
    table: Table, how: Replay, campaigns: int, own: Sequence[str] = (), seed: int = 0, workers: int = 1
) -> dict[str, Any]:
    """The same for replayed campaigns: each splits the recorded seeds anew."""
    for path in own:
        load_policy(path)
    parts = [(table, how, tuple(part), tuple(own)) for part in _split(range(seed, seed + campaigns), workers)]
    return {"name": table.name, "campaigns": campaigns, "policies": _gather(_replayed, parts, workers)}


def _gather(job: Callable[[Any], dict[str, list[Score]]], parts: list[Any], workers: int) -> dict[str, Any]:
    if workers > 1:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            found = pool.map(job, parts, chunksize=1)
    else:
        found = [job(part) for part in parts]
    names = list(dict.fromkeys(name for part in found for name in part))
    return {name: summarise([s for part in found for s in part.get(name, [])]) for name in names}


def _split(numbers: Iterable[int], workers: int) -> list[list[int]]:
    parts = np.array_split(np.array(list(numbers)), max(1, workers))
    return [part.tolist() for part in parts if len(part)]


def _grids() -> dict[str, list[tuple[float, ...]]]:
    """Settings to choose from."""
    return {
        "halving": [(eta, rungs) for eta in (2, 3, 4) for rungs in (2, 3)],
        "asha": [(eta, first, top) for eta in (2, 3, 4) for first in (0.34, 1.0) for top in (2, 3)],
    }


def _make(name: str, setting: tuple[float, ...]) -> Policy:
    if name == "halving":
        return Halving(int(setting[0]), int(setting[1]))
    return Asha(int(setting[0]), setting[1], int(setting[2]))


def _tune(regime: Regime, settings: list[tuple[float, ...]], name: str = "") -> tuple[float, ...]:
    """The settings that gain most on campaigns of their own; with a tenth of them in very large regimes."""
    name = "halving" if len(settings[0]) == 2 else "asha"
    count = TUNING if regime.ideas <= TPE_IDEAS else 2
    gained = []
    for setting in settings:
        scores = []
        for number in range(count):
            world = draw_world(regime, TUNING_SEED + number)
            scores.append(_play(_make(name, setting), (make_lab(world), truth_of(world))).gain)
        gained.append(float(np.sum(scores)))
    return settings[int(np.argmax(gained))]


def _simulated(
    part: tuple[Regime, tuple[int, ...], tuple[str, ...], dict[str, tuple[float, ...]], int, int],
) -> dict[str, list[Score]]:
    regime, numbers, own, tuned, first, campaigns = part
    with_tpe = regime.ideas <= TPE_IDEAS
    tpe_until = first + max(TPE_LEAST, int(TPE_SHARE * campaigns)) if with_tpe else first
    found: dict[str, list[Score]] = {}
    for number in numbers:
        world = draw_world(regime, number)
        truth = truth_of(world)
        makers: dict[str, Make] = {name: _maker(name, setting) for name, setting in tuned.items()}
        if number < tpe_until:
            makers["tpe with hyperband"] = Tpe
        makers |= PLAIN | {path: load_policy(path) for path in own}
        makers["oracle"] = _oracle(truth)
        for name, make in makers.items():
            _play_all(found, name, make(), (make_lab(world), truth))
    return found


def _replayed(part: tuple[Table, Replay, tuple[int, ...], tuple[str, ...]]) -> dict[str, list[Score]]:
    table, how, numbers, own = part
    early = table.early is not None
    found: dict[str, list[Score]] = {}
    for number in numbers:
        strong = strong_gain(0.25)
        truth = draw_replay(table, how, ALPHA, strong, number)[1]
        makers: dict[str, Make] = {
            "halving": Halving,
            "asha": Asha if early else lambda: Asha(first=1.0),
            **PLAIN,
            **{path: load_policy(path) for path in own},
            "oracle": _oracle(truth),
        }
        if number - numbers[0] < TPE_LEAST:
            makers["tpe with hyperband"] = Tpe if early else lambda: Tpe(shares=(1.0,))
        for name, make in makers.items():
            _play_all(found, name, make(), draw_replay(table, how, ALPHA, strong, number))
    return found


def _maker(name: str, setting: tuple[float, ...]) -> Make:
    return lambda: _make(name, setting)


def _oracle(truth: Truth) -> Make:
    winner = (truth.null < 0.5) & (truth.original == np.arange(len(truth.original)))
    return lambda: Oracle(truth.gain.copy(), winner)


def _play_all(found: dict[str, list[Score]], name: str, policy: Policy, campaign: Campaign) -> None:
    """Add the policy's score; a campaign of Mendel's is read without error control, too."""
    found.setdefault(name, []).append(_play(policy, campaign))
    if type(policy) is Mendel:
        lab, truth = campaign
        plain = score(truth, policy.without_control(), [], lab.spent)
        found.setdefault("mendel, no error control", []).append(plain)


def _play(policy: Policy, campaign: Campaign) -> Score:
    lab, truth = campaign
    try:
        claims = _checked(policy, policy.run(lab), len(lab.ideas))
    except (OutOfBudget, OutOfSeeds) as error:
        raise PolicyError(
            f"--policy: {_name(policy)!r} was refused a purchase and did not catch it: "
            f"{type(error).__name__}, {error}; catch mendel.bench.lab.{type(error).__name__}, or ask lab.left"
        ) from None
    _checked(policy, [idea for _, idea in lab.adopted], len(lab.ideas))
    return score(truth, claims, lab.adopted, lab.spent)


def _checked(policy: Policy, claims: object, ideas: int) -> list[int]:
    """What a policy claims, or adopted on its way, as a list. Raises PolicyError."""
    found = []
    for one in claims if isinstance(claims, Iterable) else [claims]:
        if isinstance(one, bool) or not isinstance(one, int | np.integer) or not 0 <= one < ideas:
            raise PolicyError(
                f"--policy: {_name(policy)!r} adopts {one!r:.60}; allowed are ideas 0 to {ideas - 1}"
            )
        found.append(int(one))
    return found


def _name(policy: Policy) -> str:
    """As `--policy` takes it."""
    return f"{type(policy).__module__}:{type(policy).__name__}"
