"""Which columns of a table were set, which were measured, and which only name a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mendel.inputs import allowed
from mendel.knowledge.fits import Floats, Ints
from mendel.knowledge.patterns.columns import is_count, is_name, is_result, is_scale, is_shared
from mendel.knowledge.states import COLUMNS, is_state
from mendel.knowledge.table import FALSE, SHORT, TRUE, Runs, Table, TableError

RESULT = "final."
"""What the names of imported runs' results begin with."""
WIDE = 8.0
"""Ratio of a positive knob's ends from which it is read on a logarithmic scale."""
FEW = 3
"""Runs of a level below which it is put together with other rare ones."""
MANY_NUMBERS = 12
"""Different numbers of a column up to which, where it has gaps, each is a setting."""
MANY_LEVELS = 40
"""Levels of a knob at most, in fewer than 20 times as many runs."""
ENDS = (0.1, 0.9)
"""Quantiles of a number between which its effect is told."""
CUTS = np.linspace(0.15, 0.85, 8)
"""Quantiles at which a step is looked for."""
FEWEST = 8
"""Runs from which a name that several rows share is one of runs."""
RARE, NONE = "(rare)", "(none)"
FOLLOWS = 1e-3
"""Share of a knob's variance that others leave, below which it follows from them."""
ALIKE = 0.98
"""Correlation of two knobs from which their effects cannot be told apart."""


@dataclass(frozen=True)
class Center:
    """Where a number lies and how wide, and its ends: of all units, so that both parts speak of one thing."""

    middle: float
    width: float
    low: float
    high: float
    cuts: tuple[float, ...]

    @classmethod
    def of(cls, x: Floats) -> Center:
        """Of codes (units,)."""
        low, high = (float(one) for one in np.quantile(x, ENDS))
        values = np.unique(x)
        if low == high:
            low, high = float(x.min()), float(x.max())
        # A cut lies between two settings that were tried.
        places = {
            min(max(int(np.searchsorted(values, one)), 1), len(values) - 1) for one in np.quantile(x, CUTS)
        }
        cuts = tuple(float(values[place - 1] + values[place]) / 2 for place in sorted(places))
        return cls(float(x.mean()), float(x.std()) or 1.0, low, high, cuts)

    def scaled(self, codes: Floats | float) -> Floats:
        return np.asarray((np.asarray(codes) - self.middle) / self.width)


@dataclass(frozen=True)
class Factor:
    """A knob: what it was set to in each unit."""

    name: str
    codes: Floats
    """(units,): for a number, on its scale; else the place in `levels`."""
    levels: tuple[str, ...] = ()
    """Names of the settings; none for a number."""
    scale: str = "linear"
    """Of a number: "linear", "log" (base 2), or "from zero", log2(1 + x / unit)."""
    unit: float = 1.0
    alike: tuple[str, ...] = ()
    """Other columns that change with it, nearly always."""
    missing: np.ndarray | None = None
    """(units,): where a number is none; its code is the median there."""

    @property
    def is_number(self) -> bool:
        return not self.levels

    @property
    def columns(self) -> list[str]:
        return [self.name, *self.alike]

    @property
    def label(self) -> str:
        return self.name + (f" (with {', '.join(self.alike)})" if self.alike else "")

    @cached_property
    def center(self) -> Center:
        return Center.of(self.codes)

    def setting(self, code: float) -> str:
        """A code as a person writes it."""
        return self.levels[int(code)] if self.levels else short(self.value(code))

    def value(self, code: float) -> float:
        """The number that a code stands for."""
        if self.scale == "linear":
            return code
        return float(2.0**code if self.scale == "log" else self.unit * (2.0**code - 1))

    def take(self, places: Ints) -> Factor:
        missing = None if self.missing is None else self.missing[places]
        return replace(self, codes=self.codes[places], missing=missing)


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are."""

    knobs: tuple[Factor, ...]
    shared: dict[str, list[str]] = field(default_factory=dict)
    """Column such as a seed or a campaign -> its label for each row."""
    measured: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    """Knobs that say how large a run is."""
    constant: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    told: bool = False
    """Whether somebody named the knobs."""
    determined: dict[str, list[str]] = field(default_factory=dict)
    """Knob without an effect of its own -> those that it follows from: FLOPs from size and tokens."""


def short(value: float, digits: int = 3) -> str:
    """A number as a person writes it: 1024 and not 1.02e+03."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.{digits}g}"


def roles(table: Table, target: str, knobs: Sequence[str] = (), shared: Sequence[str] = ()) -> Roles:
    """What each column is: told by `knobs` and `shared`, else read off names and values."""
    columns = readable(table)
    target, *said = (_known(table, name, columns) for name in (target, *knobs, *shared))
    knobs, shared = said[: len(knobs)], said[len(knobs) :]
    if target in knobs:
        raise TableError(f"--knobs {target!r}: it is the target")
    found: list[Factor] = []
    together: dict[str, list[str]] = {}
    lists: dict[str, list[str]] = {"measured": [], "constant": [], "ignored": []}
    for name in columns:
        if name == target:
            continue
        labels = table.labels(name)
        named = name in knobs or name in shared
        if len(set(labels)) < 2:
            lists["constant"].append(name)
        elif name in shared or (
            not named and (is_shared(name) or name in table.groups or _repeats(name, labels))
        ):
            together[name] = labels
        elif not named and (table.full(name).startswith(RESULT) or _is_measured(name, labels)):
            lists["measured"].append(name)
        elif not named and (knobs or is_name(name) or is_count(labels)):
            lists["ignored"].append(name)
        elif (factor := as_factor(name, labels)) is None:
            if named:
                raise TableError(f"{table.name}: --knobs {name!r}: nearly each run has a value of its own")
            lists["ignored"].append(name)
        else:
            found.append(factor)
    kept, determined = _own(_merged(found))
    scales = tuple(one.name for one in kept if any(is_scale(column) for column in one.columns))
    return Roles(
        tuple(kept), together, tuple(lists["measured"]), scales, tuple(lists["constant"]),
        tuple(lists["ignored"]), bool(knobs), determined,
    )  # fmt: skip


def readable(table: Table) -> list[str]:
    """A table's columns; of imported runs the configuration, the results and what groups them, by short names
    where those are no one else's."""
    if not isinstance(table, Runs):
        return table.columns
    found = []
    for column in table.columns:
        short_ = next((column.removeprefix(one) for one in SHORT if column.startswith(one)), None)
        if short_ is None:
            found += [column] if column in table.groups or column in ("status", "diverged") else []
            continue
        twice = short_ in table.columns or sum(one + short_ in table.columns for one in SHORT) > 1
        found.append(column if twice else short_)
    return found


def _known(table: Table, name: str, columns: Sequence[str]) -> str:
    """The name by which a column goes here."""
    if name in columns:
        return name
    for column in columns:
        if table.full(column) == table.full(name):
            return column
    if name not in table.columns:
        raise TableError(f"{table.name}: no column {name!r}{allowed(name, columns)}")
    return name


def _is_measured(name: str, labels: Sequence[str]) -> bool:
    """A result by its name, and not made of words: a choice may be called loss, too."""
    if not is_result(name):
        return False
    flags = {*TRUE, *FALSE}
    return (
        name.lower() in COLUMNS
        or _numbers(labels) is not None
        or all(is_state(one) or one.lower() in flags for one in {*labels})
    )


def _repeats(name: str, labels: Sequence[str]) -> bool:
    """A name of runs that several rows share: they are steps or folds of one run."""
    return is_name(name) and FEWEST <= len(set(labels)) <= len(labels) / 2


def as_factor(name: str, labels: Sequence[str]) -> Factor | None:
    """A column as a knob; None for one that names each run, or nearly."""
    numbers = _numbers(labels)
    known = numbers[np.isfinite(numbers)] if numbers is not None else np.zeros(0)
    different = len(np.unique(known))
    # A few numbers beside nothing are settings: to clip at 1 and not to clip lie on no line.
    if numbers is not None and different > 2 and (len(known) == len(numbers) or different > MANY_NUMBERS):
        return _number(name, numbers)
    texts = [one.strip() or NONE for one in labels]
    names, counts = np.unique(np.array(texts, dtype=object), return_counts=True)
    most = max(MANY_LEVELS, len(texts) / 20)
    if (len(names) > 2 and (counts < FEW).mean() > 0.5) or len(names) > most:
        return None
    rare = {str(one) for one, count in zip(names, counts, strict=True) if count < FEW and len(names) > 2}
    order = [str(one) for one in names if str(one) not in rare] + ([RARE] if rare else [])
    if len(order) < 2:
        return None
    if numbers is not None:
        order.sort(key=lambda one: (one == RARE, one == NONE, _value(one)))
    place = {one: number for number, one in enumerate(order)}
    codes = np.array([place[RARE if one in rare else one] for one in texts], dtype=float)
    return Factor(name, codes, tuple(order))


def _numbers(labels: Sequence[str]) -> Floats | None:
    """A column's numbers, NaN where it is empty; None for text, and for true and false."""
    found = np.array([_value(one) for one in labels])
    empty = np.array([not one.strip() or one.strip().lower() in ("none", "nan", "null") for one in labels])
    if np.isnan(found[~empty]).any() or empty.all():
        return None
    return np.where(np.isfinite(found), found, np.nan)


def _value(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return math.nan


def _number(name: str, x: Floats) -> Factor:
    known = x[np.isfinite(x)]
    scale, unit = "linear", 1.0
    positive = known[known > 0]
    if len(positive) and known.min() >= 0 and known.max() >= WIDE * positive.min():
        spaced = known.min() > 0
        if spaced and _geometric(np.unique(known)):
            scale = "log"
        elif not spaced and len(np.unique(known)) <= 12:  # an off beside powers
            scale, unit = "from zero", float(positive.min())
    codes = x
    with np.errstate(all="ignore"):
        if scale != "linear":
            codes = np.log2(x) if scale == "log" else np.log2(1 + x / unit)
    there = np.isfinite(codes)
    codes = np.where(there, codes, np.median(codes[there]))
    return Factor(name, np.asarray(codes), scale=scale, unit=unit, missing=None if there.all() else ~there)


def _geometric(x: Floats) -> bool:
    """Whether different numbers lie more evenly by their logarithm than as they are."""
    logs = np.log2(x)
    plain = abs(float(np.median(x)) - (x.min() + x.max()) / 2) / max(x.max() - x.min(), 1e-300)
    raised = abs(float(np.median(logs)) - (logs.min() + logs.max()) / 2) / max(
        logs.max() - logs.min(), 1e-300
    )
    return bool(raised <= plain)


def _merged(factors: list[Factor]) -> list[Factor]:
    """One factor for columns that change together: their effects cannot be told apart."""
    kept: list[Factor] = []
    places: list[int] = []
    if not factors:
        return kept
    codes = np.stack([one.codes for one in factors])
    counts = [len(np.unique(one)) for one in codes]
    settings = len(np.unique(codes, axis=1).T)
    ranks = np.stack([np.unique(one, return_inverse=True)[1] for one in codes]).astype(float)
    alike = np.ones((1, 1), dtype=bool)
    if len(factors) > 1:
        alike = (np.abs(np.corrcoef(codes)) > ALIKE) | (np.abs(np.corrcoef(ranks)) > ALIKE)
    for place, one in enumerate(factors):
        twin = None
        for number, (old, other) in enumerate(zip(places, kept, strict=True)):
            numbers = one.is_number and other.is_number
            # Names: one to one, and not because each setting differs in all knobs.
            few = not numbers and counts[place] == counts[old] <= settings / 2
            if (numbers and alike[place, old]) or (
                few and len(np.unique(codes[[place, old]], axis=1).T) == counts[place]
            ):
                twin = number
                break
        if twin is None:
            kept.append(one)
            places.append(place)
        else:
            kept[twin] = replace(kept[twin], alike=(*kept[twin].alike, one.name))
    return kept


def _own(factors: list[Factor]) -> tuple[list[Factor], dict[str, list[str]]]:
    """The knobs that do not follow from those before them, and what the others follow from."""
    kept: list[Factor] = []
    determined: dict[str, list[str]] = {}
    for one in factors:
        columns = [_standard(other) for other in kept]
        x, y = np.concatenate([np.zeros((len(one.codes), 0)), *columns], axis=1), _standard(one)
        b = np.linalg.lstsq(x, y, rcond=1e-8)[0] if x.shape[1] else np.zeros((0, y.shape[1]))
        left = ((y - x @ b) ** 2).mean(axis=0)
        if not x.shape[1] or len(y) <= 2 * x.shape[1] or (left > FOLLOWS).any():
            kept.append(one)
            continue
        cuts = np.cumsum([other.shape[1] for other in columns])[:-1]
        weights = [float(np.abs(part).max()) for part in np.split(b, cuts)]
        determined[one.name] = [
            other.name for other, weight in zip(kept, weights, strict=True) if weight > 0.05
        ]
    return kept, determined


def _standard(factor: Factor) -> Floats:
    """A number's codes, or a column for each level but one, about zero with unit variance: (rows, k)."""
    x = factor.codes[:, None]
    if factor.levels:
        x = np.asarray(factor.codes[:, None] == np.arange(1, len(factor.levels)), dtype=float)
    return np.asarray((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12))
