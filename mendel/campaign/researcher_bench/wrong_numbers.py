"""Explanations with one wrong number each: is it sent back, and does it stay out of what is stored?

The analyst looks at the evidence as an honest one does, and first tells one number of it wrongly, each time
in another way; when that is sent back it tells the right ones.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mendel.campaign.researcher_bench.world import Site, World, playing
from mendel.store import EXPLAINED, Store
from mendel.testing.messages_records import Answer, Request
from mendel.testing.team import Team, Values, change, proposal, tool_results

KNOBS: dict[str, dict[str, Any]] = {
    "softcap": {"softcap": 15.0}, "beta-two": {"beta2": 0.98}, "relu-squared": {"activation": "relu2"},
    "rms-norm": {"norm": "rmsnorm"}, "less-decay": {"weight_decay": 0.02}, "fan-in": {"init": "fan_in"},
    "untied": {"tied": False}, "rotary": {"positions": "rope"}, "clip-less": {"clip": 0.0},
    "floor": {"final_lr": 0.05},
}  # fmt: skip
"""Ideas, one for each way to be wrong."""
CLASSES = ("loss", "optimiser", "architecture", "embedding", "initialisation", "attention", "schedule")
MOST_ROUNDS = 9


@dataclass(frozen=True)
class Told:
    """What the tools returned of an idea, as far as wrong numbers are made of it."""

    value: float
    low: float
    high: float
    pairs: int
    other: float
    """The same multiplier of another idea."""

    @property
    def percent(self) -> float:
        return (self.value - 1) * 100


Wrong: TypeAlias = Callable[[Told], str]


def _off_in_the_last_digit(told: Told) -> str:
    return f"CM {told.value + 0.001:.3f}"


def _wrong_sign(told: Told) -> str:
    return f"a gain of {-told.percent:+.1f} %"


def _of_another_idea(told: Told) -> str:
    return f"CM {told.other:.3f}"


def _number_word(told: Told) -> str:
    return "over seventeen pairs"


def _percent_of_a_share(told: Told) -> str:
    return "at a level of 9.5 %"


def _swapped_interval(told: Told) -> str:
    return f"CM {told.value:.2f} ({told.high:.2f} to {told.low:.2f})"


def _invented_pairs(told: Told) -> str:
    return f"over {told.pairs + 30} pairs"


def _exponent(told: Told) -> str:
    return f"CM {told.value:.2f}e2"


def _thousands(told: Told) -> str:
    return f"CM {round(told.value * 1000):,}"


def _rounded_wrongly(told: Told) -> str:
    """Up where it is down, at the first digit where that makes a difference."""
    digits = next((d for d in (3, 4) if 0.05 < told.value * 10**d % 1 < 0.45), 3)
    return f"CM {math.ceil(told.value * 10**digits) / 10**digits:.{digits}f}"


WAYS: tuple[tuple[str, Wrong], ...] = (
    ("off in the last digit", _off_in_the_last_digit),
    ("wrong sign of a percentage", _wrong_sign),
    ("number of another idea", _of_another_idea),
    ("number word", _number_word),
    ("percentage of a share", _percent_of_a_share),
    ("swapped ends of an interval", _swapped_interval),
    ("invented pairs", _invented_pairs),
    ("exponent", _exponent),
    ("thousands", _thousands),
    ("rounded up wrongly", _rounded_wrongly),
)


class Mistaken(Team):
    """Explains each idea wrongly until that is sent back. `told`: idea -> what it first said."""

    def __init__(self) -> None:
        names = list(KNOBS)
        ideas = [
            proposal(name, f"Set {name}.", CLASSES[place % len(CLASSES)], hypothesis=f"A {name} change.")
            for place, name in enumerate(names)
        ]
        super().__init__([ideas], {name: change(**knobs) for name, knobs in KNOBS.items()})
        self.ways = dict(zip(names, WAYS, strict=True))
        self.told: dict[str, str] = {}
        self.back: dict[str, list[str]] = {}
        self._last = 2.222

    def analyst(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        returned = tool_results(request)
        if not returned:
            return Answer.call("verdicts")
        found = json.loads(returned[0])
        name, cm, pairs = found["idea"], *_effect(found)
        told = Told(cm["value"], cm["low"], cm["high"], pairs, self._last)
        if back:
            self._last = told.value
            self.back[name] = [*self.back.get(name, []), back[-1]]
            return _explanation(f"CM {told.value:.2f} ({told.low:.2f} to {told.high:.2f})")
        self.told[name] = self.ways[name][1](told)
        return _explanation(f"It is {self.told[name]}.")


def _effect(found: dict[str, Any]) -> tuple[dict[str, float], int]:
    """The multiplier that the idea is told by, and the pairs of the last verdict."""
    shown = [one for one in [found.get("claim") or {}, *reversed(found["verdicts"])] if one.get("cm")]
    return shown[0]["cm"], found["verdicts"][-1]["pairs"]


def _explanation(effect: str) -> Values:
    words = {"what_changed": "A setting.", "effect": effect, "where": "At the lowest rung."}
    return {**words, "refuted_by": "Fresh pairs.", "next": "Another scale."}


def plant_wrong_numbers(ground: Site) -> dict[str, Any]:
    """How many were planted, and caught: sent back, and not in what the store keeps."""
    gains = [1.31, 0.87, 1.23, 0.94, 1.17, 1.41, 0.82, 1.12, 1.27, 1.36]
    marks = {f"{key}={value}": gain for knobs, gain in zip(KNOBS.values(), gains, strict=True)
             for key, value in knobs.items()}  # fmt: skip
    team = Mistaken()
    seats = {"ideas": len(KNOBS)}
    with playing(ground, "wrong-numbers", team, World(marks), budget="80runs", researchers=seats) as played:
        stored = {name: _stored(played.store, played.campaign, name) for name in KNOBS}
    rows = []
    for name, (way, _) in team.ways.items():
        wrong = team.told.get(name)
        caught = wrong is not None and name in team.back and bool(stored[name])
        caught = caught and not any(str(wrong) in text for text in stored[name])
        rows.append({"way": way, "told": wrong, "caught": caught})
    planted = [row for row in rows if row["told"] is not None]
    return {"model": "scripted", "planted": len(planted), "caught": sum(row["caught"] for row in planted),
            "all": rows}  # fmt: skip


def _stored(store: Store, campaign: str, name: str) -> list[str]:
    """What is kept of an idea's explanations, of all rounds."""
    kept = [store.decision(campaign, f"{number}/{name}{EXPLAINED}") for number in range(MOST_ROUNDS)]
    return [re.sub(r"\s+", " ", one["effect"]) for one in kept if one is not None]
