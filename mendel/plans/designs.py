"""Ablation designs: which factors are on in which cells, and which contrasts of the cells answer what is
asked.

A factor is a patch (in or out) or a knob (its first or its second value). Levels are -1 (off) and +1 (on).
All estimates are linear contrasts of the cells' *gains* (minus the loss), fixed here before any run:

* the main effect of a factor: mean gain of the cells that have it minus mean gain of those that have not (in
  leave-one-out and add-one-in: the difference of two cells);
* the interaction of two factors: what they gain together minus the sum of what each gains alone, averaged
  over the other factors (four times the coefficient of a regression on -1 and +1, twice the effect of Box,
  Hunter and Hunter 2005);
* Shapley values of the whole gain, exact in a full factorial.

Everything here is exact arithmetic on small tables; numpy, no randomness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from math import factorial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mendel.plans.fractions import MOST_FACTORS, defining_words, generators

Floats = NDArray[np.float64]
Row = tuple[int, ...]
Kind = Literal["loo", "add", "full", "fraction", "pb"]

KINDS: dict[str, str] = {
    "loo": "leave one out",
    "add": "add one in",
    "full": "full factorial",
    "fraction": "fractional factorial",
    "pb": "Plackett-Burman",
}
MOST_FULL = 8
"""Factors of a full factorial: 256 cells."""
PB_CELLS = {4: 3, 8: 7, 12: 11, 20: 19, 24: 23, 32: 31, 44: 43, 48: 47}
"""Cells of a Plackett-Burman design -> the prime its first row is made from. 16 is made from 8 twice."""
LEAST = 1e-9


class DesignError(ValueError):
    """A design that does not exist: the message says what is allowed."""


@dataclass(frozen=True)
class Contrast:
    """A question: `weights` (cells,) times the gains of the cells, which add up to zero."""

    kind: Literal["main", "interaction", "shapley", "whole", "beyond"]
    factors: tuple[int, ...]
    weights: tuple[float, ...]
    aliases: tuple[tuple[tuple[int, ...], float], ...] = ()
    """Main effects and pairs that move it too, each with how much of one unit of it arrives here: a pair
    that is the same column as a main effect moves it by half its interaction, with one of two signs."""


@dataclass(frozen=True)
class Design:
    """Cells to train, and the contrasts that are read off them."""

    kind: Kind
    rows: tuple[Row, ...]
    """(cells, factors) of -1 and +1. The orthogonal part comes first, cells added beside it last."""
    core: int
    """Number of cells of the orthogonal part; 0 where there is none."""
    reference: int
    """The cell whose scaling curve is measured, and that failures are counted from."""
    resolution: int | None = None
    """Length of the shortest word that is confounded with the mean; None where nothing is confounded."""
    words: tuple[tuple[int, ...], ...] = ()
    """Defining relation of a regular fraction, without signs."""
    main: tuple[Contrast, ...] = ()
    interactions: tuple[Contrast, ...] = ()
    shapley: tuple[Contrast, ...] = ()
    whole: Contrast | None = None
    """All factors on, against all off."""
    beyond: Contrast | None = None
    """The whole minus the sum of the main effects."""

    @property
    def factors(self) -> int:
        return len(self.rows[0])


def make_design(kind: str, factors: int, cells: int | None = None) -> Design:
    """The design of a kind ("auto" chooses, see `choose`) for a number of factors.

    `cells` asks a fraction or a Plackett-Burman design for a size. Raises DesignError.
    """
    if factors < 1:
        raise DesignError("a design needs at least one factor")
    if kind == "auto":
        kind = choose(factors)
    if kind not in KINDS:
        raise DesignError(f"design {kind!r} is unknown; allowed are auto, {', '.join(KINDS)}")
    if cells is not None and kind not in ("fraction", "pb"):
        raise DesignError(f"cells: {cells} given, but a {KINDS[kind]} design has one size; leave it out")
    if kind == "loo":
        return _one_at_a_time("loo", factors)
    if kind == "add":
        return _one_at_a_time("add", factors)
    if kind == "full":
        return _full(factors)
    return _fraction(factors, cells) if kind == "fraction" else _plackett_burman(factors, cells)


def choose(factors: int) -> str:
    """Every interaction up to four factors, main effects clear of interactions up to eleven, then main
    effects."""
    if factors <= 4:
        return "full"
    return "fraction" if factors <= MOST_FACTORS else "pb"


# --- one at a time --------------------------------------------------------------------------------------


def _one_at_a_time(kind: Literal["loo", "add"], factors: int) -> Design:
    """Both ends, and from one of them each factor changed by itself."""
    level = 1 if kind == "add" else -1
    start, end = (-level,) * factors, (level,) * factors
    singles = [(*start[:i], level, *start[i + 1 :]) for i in range(factors)]
    rows = tuple(dict.fromkeys([start, *singles, end]))
    place = {row: cell for cell, row in enumerate(rows)}

    def gain(over: Row, under: Row) -> tuple[float, ...]:
        weights = [0.0] * len(rows)
        weights[place[over]] += 1.0
        weights[place[under]] -= 1.0
        return tuple(weights)

    ends = (end, start) if kind == "add" else (start, end)
    main = tuple(
        Contrast("main", (i,), gain(single, start) if kind == "add" else gain(start, single))
        for i, single in enumerate(singles)
    )
    design = Design(kind, rows, 0, place[start], main=main)
    return _with_whole(design, gain(*ends))


def drop_whole(design: Design) -> Design:
    """An add-one-in design without the cell that has everything on, for factors that cannot be together."""
    assert design.kind == "add" and design.factors > 1

    def cut(contrast: Contrast) -> Contrast:
        return Contrast(contrast.kind, contrast.factors, contrast.weights[:-1], contrast.aliases)

    return Design("add", design.rows[:-1], 0, design.reference, main=tuple(map(cut, design.main)))


# --- factorials -------------------------------------------------------------------------------------------


def _full(factors: int) -> Design:
    if factors > MOST_FULL:
        raise DesignError(
            f"a full factorial of {factors} factors has {2**factors} cells; allowed are up to {MOST_FULL} "
            "factors: take a fraction, or Plackett-Burman"
        )
    rows = tuple(tuple(reversed(row)) for row in product((-1, 1), repeat=factors))
    return _factorial("full", rows, None, (), _shapley(rows))


def _fraction(factors: int, cells: int | None) -> Design:
    """The smallest fraction that keeps main effects clear of pairs (resolution IV), or of a given size."""
    if factors < 3:
        raise DesignError(f"a fraction needs three factors at least, found {factors}: take a full factorial")
    if factors > MOST_FACTORS:
        raise DesignError(f"fractions go up to {MOST_FACTORS} factors, found {factors}: take Plackett-Burman")
    sizes = [basic for basic in range(2, factors) if factors <= 2**basic - 1]
    if cells is None:
        # 2^(basic - 1) factors fit with resolution IV; of three factors there is only the half of
        # resolution III
        basic = next((b for b in sizes if factors <= 2 ** (b - 1)), sizes[-1])
    else:
        basic = cells.bit_length() - 1
        if basic not in sizes or 2**basic != cells:
            allowed = ", ".join(str(2**b) for b in sizes)
            raise DesignError(f"no fraction of {cells} cells for {factors} factors; allowed are {allowed}")
    try:
        masks = generators(factors, basic)
    except ValueError as error:
        raise DesignError(str(error)) from None
    letters = np.array([tuple(reversed(row)) for row in product((-1, 1), repeat=basic)])
    columns = [letters[:, place] for place in range(basic)]
    for mask in masks:
        chosen = [place for place in range(basic) if mask >> place & 1]
        # The sign puts the cell with everything off into the fraction: it is the reference.
        columns.append(letters[:, chosen].prod(axis=1) * (-1) ** (len(chosen) + 1))
    words = defining_words(masks, basic)
    rows = tuple(tuple(int(value) for value in row) for row in np.stack(columns, axis=1))
    return _factorial("fraction", rows, len(words[0]), words)


def _plackett_burman(factors: int, cells: int | None) -> Design:
    """Plackett and Burman 1946, "The design of optimum multifactorial experiments": cyclic shifts of the
    quadratic residues of a prime, and a row with everything off; 16 cells are 8 doubled."""
    sizes = sorted([*PB_CELLS, 16])
    fits = [size for size in sizes if size > factors]
    if not fits:
        raise DesignError(f"Plackett-Burman designs go up to {sizes[-1] - 1} factors, found {factors}")
    if cells is not None and cells not in fits:
        raise DesignError(
            f"no Plackett-Burman design of {cells} cells for {factors} factors; allowed are "
            f"{', '.join(map(str, fits))}"
        )
    size = cells or fits[0]
    if size == 16:
        half = _residues(7)
        table = np.block([[half, np.ones((8, 1), int), half], [-half, -np.ones((8, 1), int), half]])
        table = table * -table[-1]  # the last row is the one with everything off
    else:
        table = _residues(PB_CELLS[size])
    rows = tuple(tuple(int(value) for value in row) for row in table[:, :factors])
    if len(set(rows)) < size:
        raise DesignError(
            f"a Plackett-Burman design of {size} cells has some twice for {factors} factors: take fewer "
            "cells, or a full factorial"
        )
    return _factorial("pb", rows, 3, ())


def _residues(prime: int) -> NDArray[np.int64]:
    """(prime + 1, prime): +1 where the place is zero or a square modulo `prime`, shifted row by row."""
    squares = {n * n % prime for n in range(prime)}
    first = [1 if n in squares else -1 for n in range(prime)]
    shifts = [first[-n:] + first[:-n] for n in range(prime)]
    return np.array([*shifts, [-1] * prime])


def _factorial(
    kind: Kind,
    rows: tuple[Row, ...],
    resolution: int | None,
    words: tuple[tuple[int, ...], ...],
    shapley: tuple[tuple[float, ...], ...] = (),
) -> Design:
    """Contrasts of an orthogonal table, with the cell that has everything on beside it where it is
    missing."""
    core, factors = len(rows), len(rows[0])
    on = (1,) * factors
    rows = rows if on in rows else (*rows, on)
    levels = np.array(rows, dtype=float)
    levels[core:] = 0.0
    main = [_contrast("main", (i,), 2 * levels[:, i] / core, levels, core) for i in range(factors)]
    pairs = []
    if kind != "pb":
        for group in _clear_groups(levels, core):
            weights = 4 * levels[:, group[0][0]] * levels[:, group[0][1]] / core
            pairs.append(_contrast("interaction", group[0], weights, levels, core))
    values = [tuple(weights) for weights in shapley] or [contrast.weights for contrast in main]
    design = Design(
        kind, rows, core, rows.index((-1,) * factors), resolution, words, tuple(main), tuple(pairs),
        tuple(Contrast("shapley", (i,), weights) for i, weights in enumerate(values)),
    )  # fmt: skip
    whole = [0.0] * len(rows)
    whole[rows.index(on)], whole[design.reference] = 1.0, -1.0
    return _with_whole(design, tuple(whole))


def _with_whole(design: Design, weights: tuple[float, ...]) -> Design:
    everything = tuple(range(design.factors))
    total = np.sum([contrast.weights for contrast in design.main], axis=0)
    rest = tuple(float(value) for value in np.subtract(weights, total))
    beyond = Contrast("beyond", everything, rest) if np.abs(rest).max() > LEAST else None
    return replace(design, whole=Contrast("whole", everything, weights), beyond=beyond)


def _clear_groups(levels: Floats, core: int) -> list[list[tuple[int, int]]]:
    """Pairs of factors whose product is no main effect; those with one product (up to sign) together."""
    groups: dict[bytes, list[tuple[int, int]]] = {}
    for pair in combinations(range(levels.shape[1]), 2):
        column = levels[:core, pair[0]] * levels[:core, pair[1]]
        if np.abs(levels[:core].T @ column).max() > LEAST:
            continue
        groups.setdefault((column * column[0]).astype(np.int8).tobytes(), []).append(pair)
    return list(groups.values())


def _contrast(
    kind: Literal["main", "interaction"], own: tuple[int, ...], weights: Floats, levels: Floats, core: int
) -> Contrast:
    """With what it is aliased: the change of its expectation for each unit of another effect."""
    found = []
    factors = levels.shape[1]
    others = [(i,) for i in range(factors)] + list(combinations(range(factors), 2))
    for other in others:
        # One unit of a main effect moves a gain by 1/2 of the level, one of an interaction by 1/4.
        moved = float(weights @ levels[:, list(other)].prod(axis=1)) / 2 ** len(other)
        if other != own and abs(moved) > LEAST:
            found.append((tuple(other), round(moved, 12)))
    return Contrast(kind, own, tuple(float(weight) for weight in weights), tuple(found))


def _shapley(rows: tuple[Row, ...]) -> tuple[tuple[float, ...], ...]:
    """Weights of the Shapley values of a full factorial (Shapley 1953): a factor's gain when it joins those
    that are there, averaged over all orders in which all could join."""
    factors = len(rows[0])
    found = []
    for own in range(factors):
        weights = []
        for row in rows:
            others = sum(level > 0 for place, level in enumerate(row) if place != own)
            share = factorial(others) * factorial(factors - others - 1) / factorial(factors)
            weights.append(share * row[own])
        found.append(tuple(weights))
    return tuple(found)
